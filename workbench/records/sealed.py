"""A directory of files that is whole or not there, and that says so itself: written aside, sealed, renamed into place.

The manifest holds size and SHA-256 of every file. It is written last, after the others are on disk, and it is bytes
in one canonical form, so that any flipped bit shows, in the manifest too. No format that we know of for tensors
detects one.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"
ASIDE, GONE, DAMAGED = ".tmp", ".gone", ".damaged"  #: endings of directories that are none of the sealed ones


class Damaged(Exception):
    """A sealed directory does not hold what its manifest says; the text says which file and how."""


@contextmanager
def sealing(parent: Path, name: str, facts: Mapping[str, Any]) -> Iterator[Path]:
    """A new directory to write files in; at the end of the context it is sealed and becomes ``parent / name``.

    Killed at any moment, or left by an exception, it has changed nothing that was there.
    """
    parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    aside = parent / f"{name}-{secrets.token_hex(4)}{ASIDE}"
    aside.mkdir(mode=0o700)
    try:
        yield aside
        _seal(aside, facts)
        if (parent / name).exists():
            remove(parent / name)
        aside.rename(parent / name)
        _to_disk(parent)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _seal(folder: Path, facts: Mapping[str, Any]) -> None:
    files = sorted(folder.iterdir())
    for file in files:
        _to_disk(file)
    listed = {file.name: {"bytes": file.stat().st_size, "sha256": _digest(file)} for file in files}
    manifest = folder / MANIFEST
    manifest.write_bytes(_canonical({"facts": facts, "files": listed}))
    _to_disk(manifest)
    _to_disk(folder)


def unsealed(folder: Path) -> dict[str, Any]:
    """The facts of a sealed directory, once every byte in it is as it was written; raises ``Damaged``."""
    try:
        raw = (folder / MANIFEST).read_bytes()
        manifest = json.loads(raw)
        body = {"facts": manifest["facts"], "files": manifest["files"]}
        if raw != _canonical(body):
            raise Damaged(f"{MANIFEST} was changed")
        for name, said in manifest["files"].items():
            _verify(folder / name, said)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Damaged(f"{MANIFEST} cannot be read ({type(error).__name__})") from None
    facts: dict[str, Any] = manifest["facts"]
    return facts


def _verify(file: Path, said: Mapping[str, Any]) -> None:
    if not file.is_file():
        raise Damaged(f"{file.name} is missing")
    if file.stat().st_size != said["bytes"]:
        raise Damaged(f"{file.name} has {file.stat().st_size} of {said['bytes']} bytes")
    if _digest(file) != said["sha256"]:
        raise Damaged(f"{file.name} was changed")


def remove(folder: Path) -> None:
    """Delete a sealed directory; half of it is never found under its name."""
    gone = folder.with_name(f"{folder.name}-{secrets.token_hex(4)}{GONE}")
    folder.rename(gone)
    shutil.rmtree(gone)


def clear_orphans(parent: Path) -> int:
    """Delete what killed writers left in ``parent``; the number of directories. Only while no other process writes."""
    left = [f for f in parent.glob("*") if f.suffix in (ASIDE, GONE)] if parent.is_dir() else []
    for folder in left:
        shutil.rmtree(folder, ignore_errors=True)
    return len(left)


def set_aside(folder: Path) -> Path:
    """Give a damaged directory a name under which it is kept but never used."""
    aside = folder.with_name(f"{folder.name}-{secrets.token_hex(2)}{DAMAGED}")
    folder.rename(aside)
    return aside


def _canonical(body: Mapping[str, Any]) -> bytes:
    sealed = {**body, "sha256": hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()}
    return json.dumps(sealed, sort_keys=True, indent=1).encode()


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
