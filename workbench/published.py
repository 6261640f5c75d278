"""Memory figures that others published, with the document each was read in."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from workbench.core import paths

KINDS = ("measured", "estimated", "stated")  #: stated: printed without a word on how it was found


@dataclass(frozen=True)
class PublishedMemory:
    """One figure as printed by its source. ``method`` is our spelling of the nearest setting, ``setting`` theirs."""

    model: str
    method: str
    published: str
    kind: str
    setting: str
    source: str
    address: str


def published_memory(path: Path | None = None) -> list[PublishedMemory]:
    """All figures in the order of the file. Raises ``ValueError`` for one without a source or of no known kind."""
    text = (path or paths.data() / "published_memory.toml").read_text(encoding="utf-8")
    rows = [PublishedMemory(**row) for row in tomllib.loads(text)["figure"]]
    for row in rows:
        if row.kind not in KINDS or not row.source or not row.address or not row.published:
            raise ValueError(f"{row.model}, {row.method}, {row.published}: needs a kind of {KINDS} and a source")
    return rows
