"""Files that are either whole or not there."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

_UNFINISHED = re.compile(r"\.writing-(\d+)-\w+")


def write_atomically(path: Path, text: str) -> None:
    """Write beside the target, flush to the disk, rename into place. What killed writers left there is swept."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path.parent)
    handle, name = tempfile.mkstemp(prefix=f".writing-{os.getpid()}-", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _sweep(folder: Path) -> None:
    """Remove unfinished files whose writer is gone; without ``/proc`` nobody can tell, and they stay."""
    if not Path("/proc/self").exists():
        return
    for file in folder.glob(".writing-*"):
        owner = _UNFINISHED.fullmatch(file.name)
        if owner and not Path(f"/proc/{owner.group(1)}").exists():
            file.unlink(missing_ok=True)
