"""Pictures side by side: one line for each way of making them, one column for each noise they were made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from workbench.figures.info import FigureInfo, caption_of

if TYPE_CHECKING:
    import numpy as np

Picture = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class DrawingsInfo(FigureInfo):
    """``lines`` are (label, note under it, pictures); a picture is rows of grey values from 0 (ink) to 255 (paper)."""

    kind: ClassVar[str] = "drawings"

    lines: tuple[tuple[str, str, tuple[Picture, ...]], ...]

    def rows(self) -> list[dict[str, Any]]:
        return [
            {"line": label, "note": note, "picture": number, "row": y, "grey values": " ".join(map(str, row))}
            for label, note, pictures in self.lines
            for number, picture in enumerate(pictures)
            for y, row in enumerate(picture)
        ]


def drawings(
    shown: Mapping[str, np.ndarray], notes: Mapping[str, str] | None = None, runs: Sequence[str] = ()
) -> DrawingsInfo:
    """``shown``: pictures by label, (count, side, side) uint8 with 0 for paper; ``notes``: a few words by label."""
    notes = notes or {}
    lines = tuple((label, notes.get(label, ""), _pictures(found)) for label, found in shown.items())
    said = "; ".join(f"{label} ({note})" if note else label for label, note, _ in lines)
    return DrawingsInfo(
        title="Side by side",
        caption=caption_of("Pictures of one column began as the same noise, except the real ones.", runs),
        alt=f"Small pictures in lines: {said}." if lines else "No pictures.",
        runs=tuple(runs),
        lines=lines,
    )


def _pictures(found: np.ndarray) -> tuple[Picture, ...]:
    return tuple(tuple(tuple(255 - int(v) for v in row) for row in picture) for picture in found)
