"""Bytes that autograd keeps between forward and backward, by layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from workbench.core.units import format_size
from workbench.figures.groups import group
from workbench.figures.info import MAX_PANELS, FigureInfo, caption_of, shown_of
from workbench.figures.layers import by_block, in_order
from workbench.records.schema import RunRecord


@dataclass(frozen=True)
class SavedBars:
    """One method: bytes by layer in the order of ``SavedInfo.layers``."""

    label: str
    method: str
    colour: str
    source: str
    total: int
    sizes: tuple[int, ...]


@dataclass(frozen=True)
class SavedInfo(FigureInfo):
    """Layers x bytes kept for backward, one column for each method."""

    kind: ClassVar[str] = "saved"

    layers: tuple[str, ...]
    bars: tuple[SavedBars, ...]

    def rows(self) -> list[dict[str, Any]]:
        return [
            {"method": b.label, "source": b.source, "layer": layer, "saved bytes": size}
            for b in self.bars
            for layer, size in zip(self.layers, b.sizes)
        ]


def saved(records: Sequence[RunRecord]) -> SavedInfo:
    """What each method keeps for the backward pass, added up by block; a method that keeps nothing shows 0."""
    found = [(g, g.profile, by_block(g.profile.saved_by_module)) for g in group(records) if g.profile]
    layers = tuple(in_order(name for _, _, sizes in found for name in sizes))
    bars = tuple(
        SavedBars(
            g.label,
            g.method,
            g.colour,
            profile.source.value,
            sum(sizes.values()),
            tuple(sizes.get(layer, 0) for layer in layers),
        )
        for g, profile, sizes in found
    )
    runs = tuple(run for g, _, _ in found for run in g.ids)
    said = "; ".join(f"{b.label} {format_size(b.total)}" for b in bars)
    return SavedInfo(
        title="Saved for backward, by layer",
        caption=caption_of(
            "Bytes autograd keeps between forward and backward, added up by block."
            + shown_of(len(bars), MAX_PANELS, "that keep most"),
            runs,
        ),
        alt=f"Bytes kept for the backward pass: {said}." if said else "No run recorded a memory profile.",
        runs=runs,
        layers=layers,
        bars=bars,
    )
