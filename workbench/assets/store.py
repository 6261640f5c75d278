"""One finished asset on disk: a folder, its manifest written last, and what may be wrong with it."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from workbench.assets.catalogue import Asset

MANIFEST = "manifest.json"


def digest(path: Path) -> str:
    """SHA-256 of a file as hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def problem(asset: Asset, *, contents: bool) -> str:
    """Why the cached copy cannot be used, or an empty string. ``contents`` hashes every file."""
    folder = asset.folder
    try:
        manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
        files = {str(name): (str(f["sha256"]), int(f["size"])) for name, f in manifest["files"].items()}
    except FileNotFoundError:
        return "not in the cache"
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"{folder / MANIFEST} is damaged"
    if manifest.get("fingerprint") != asset.fingerprint:
        return f"{folder} was made from another catalogue entry"
    for name, (sha256, size) in files.items():
        path = folder / name
        if not path.is_file():
            return f"{path} is missing"
        if path.stat().st_size != size:
            return f"{path} is damaged: {path.stat().st_size} bytes instead of {size}"
        if contents and digest(path) != sha256:
            return f"{path} is damaged: its SHA-256 is not the recorded one"
    return ""


@contextmanager
def workspace(asset: Asset) -> Iterator[Path]:
    """A scratch folder on the cache's own file system, removed afterwards whatever happens."""
    base = asset.folder.parent
    base.mkdir(parents=True, exist_ok=True)
    path = Path(tempfile.mkdtemp(prefix=f".{asset.name}-", dir=base))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def locked(asset: Asset) -> Iterator[None]:
    """Only one process pulls an asset at a time; the others wait and then find it there."""
    base = asset.folder.parent
    base.mkdir(parents=True, exist_ok=True)
    with (base / f".{asset.name}.lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def publish(asset: Asset, ready: Path) -> Path:
    """Write the manifest of ``ready`` last, flush it, and rename the folder into place."""
    files = {
        str(path.relative_to(ready)): {"sha256": digest(path), "size": path.stat().st_size}
        for path in sorted(ready.rglob("*"))
        if path.is_file()
    }
    manifest = {"asset": asset.name, "source": asset.source, "fingerprint": asset.fingerprint, "files": files}
    with (ready / MANIFEST).open("w", encoding="utf-8") as stream:
        json.dump(manifest, stream, indent=1)
        stream.flush()
        os.fsync(stream.fileno())
    ready.chmod(0o755)
    target = asset.folder
    if target.exists():
        # A folder cannot be renamed over a full one, so the old copy steps aside first and is then removed.
        aside = Path(tempfile.mkdtemp(prefix=f".old-{asset.name}-", dir=target.parent))
        target.rename(aside / "copy")
        ready.rename(target)
        shutil.rmtree(aside, ignore_errors=True)
    else:
        ready.rename(target)
    return target
