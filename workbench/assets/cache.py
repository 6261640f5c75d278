"""Bring an asset into the per-user cache: download, verify, convert once, rename into place."""

from __future__ import annotations

import os
import sysconfig
import warnings
from pathlib import Path

from workbench.assets.catalogue import Asset, find
from workbench.assets.sources import Progress, fetch, how_to_get
from workbench.assets.store import locked, problem, publish, workspace
from workbench.assets.unpack import unpack
from workbench.core.errors import ResourceMissing

_checked: set[tuple[str, int]] = set()


def _consent(asset: Asset, accept: bool) -> None:
    if asset.opt_in and not accept and asset.name not in os.environ.get("PINTPOT_ACCEPT", "").split(","):
        raise ResourceMissing(
            f"asset {asset.name} is opt-in: {asset.notes} If you accept that, say so once with "
            f"`pintpot assets pull {asset.name} --accept`, accept=True, or PINTPOT_ACCEPT={asset.name}."
        )


def pull(name: str, *, progress: Progress | None = None, force: bool = False, accept: bool = False) -> Path:
    """Folder of the finished asset, downloaded if it is absent or damaged; ``force`` makes it anew.

    ``progress(label, done, total)`` is called in bytes while downloading. Raises ``UnknownName`` or
    ``ResourceMissing`` with the command that would help. Interrupting leaves the cache as it was.
    """
    asset = find(name)
    if asset.source == "stdlib:":
        return Path(sysconfig.get_path("stdlib"))
    with locked(asset):
        if not force and not problem(asset, contents=True):
            return asset.folder
        _consent(asset, accept)
        with workspace(asset) as scratch:
            carrier = fetch(asset, scratch, progress)
            raw, ready = scratch / "raw", scratch / "ready"
            raw.mkdir()
            unpack(asset, carrier, raw)
            if asset.convert:
                from workbench.assets.convert import convert

                if progress:
                    progress(f"{name}: convert", 0, 1)
                ready.mkdir()
                convert(asset, raw, ready)
            else:
                raw.rename(ready)
            folder = publish(asset, ready)
        if progress:
            progress(f"{name}: ready", asset.archive_size, asset.archive_size)
        return folder


def locate(name: str, *, accept: bool = False) -> Path:
    """Folder of the asset, pulled if need be; with ``PINTPOT_OFFLINE=1`` only the cache is used.

    The first call in a process hashes every file. A damaged copy is named in a warning and pulled again.
    """
    asset = find(name)
    if asset.source == "stdlib:":
        return pull(name)
    manifest = asset.folder / "manifest.json"
    key = (str(manifest), manifest.stat().st_mtime_ns if manifest.exists() else 0)
    wrong = problem(asset, contents=key not in _checked)
    if not wrong:
        _checked.add(key)
        return asset.folder
    if os.environ.get("PINTPOT_OFFLINE") == "1":
        raise ResourceMissing(f"asset {name}: {wrong}, and PINTPOT_OFFLINE=1 forbids downloading; {how_to_get(asset)}")
    if asset.folder.exists():
        warnings.warn(f"asset {name}: {wrong}; pulling it again", stacklevel=2)
        # A copy that was made here was accepted here.
        accept = True
    return pull(name, accept=accept)


def verify(name: str) -> None:
    """Hash the cached copy against its manifest; raises ``ResourceMissing`` saying what is wrong with it."""
    asset = find(name)
    wrong = "" if asset.source == "stdlib:" else problem(asset, contents=True)
    if wrong:
        raise ResourceMissing(f"asset {name}: {wrong}; {how_to_get(asset)}")
