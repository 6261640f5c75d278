"""Files that are either whole or not there."""

from __future__ import annotations

import glob
import os
import tempfile
from pathlib import Path


def write_atomically(path: Path, text: str) -> None:
    """Write beside the target, flush to the disk, rename into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path)
    handle, name = tempfile.mkstemp(prefix=_prefix(path), dir=path.parent)
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


def _prefix(path: Path) -> str:
    return f".{path.name[:100]}.{os.getpid()}."


def _sweep(path: Path) -> None:
    """Remove what a killed writer left beside ``path``; a file of a process that lives is let be."""
    if not Path("/proc/self").exists():  # no way to tell who lives
        return
    for orphan in path.parent.glob(f".{glob.escape(path.name[:100])}.*.*"):
        owner = orphan.name.removeprefix(f".{path.name[:100]}.").partition(".")[0]
        if owner.isdigit() and int(owner) != os.getpid() and not Path(f"/proc/{owner}").exists():
            orphan.unlink(missing_ok=True)
