"""Gradient norm of each layer at each step, with frozen layers shown as frozen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from workbench.figures.groups import Group, group
from workbench.figures.info import MAX_PANELS, FigureInfo, caption_of, shown_of
from workbench.figures.layers import in_order
from workbench.records.schema import RunRecord

MAX_STEPS = 60


@dataclass(frozen=True)
class GradientMap:
    """One method: ``norms[layer][step]``, None where nothing was recorded; ``frozen[layer]`` never trains."""

    label: str
    method: str
    steps: tuple[int, ...]
    norms: tuple[tuple[float | None, ...], ...]
    frozen: tuple[bool, ...]


@dataclass(frozen=True)
class GradientsInfo(FigureInfo):
    """Heat-maps of layers x steps on one shared logarithmic scale between ``low`` and ``high``."""

    kind: ClassVar[str] = "gradients"

    layers: tuple[str, ...]
    maps: tuple[GradientMap, ...]
    low: float | None
    high: float | None

    def rows(self) -> list[dict[str, Any]]:
        return [
            {
                "method": m.label,
                "layer": layer,
                "step": step,
                "gradient norm": m.norms[i][j],
                "frozen": m.frozen[i],
            }
            for m in self.maps
            for i, layer in enumerate(self.layers)
            for j, step in enumerate(m.steps)
            if not m.frozen[i] or j == 0
        ]


def gradients(records: Sequence[RunRecord]) -> GradientsInfo:
    """Gradient norms averaged over seeds. A layer that another method trains and this one never does is frozen."""
    groups = [g for g in group(records) if any(s.layer_norms for r in g.runs for s in r.steps)]
    layers = tuple(in_order(n for g in groups for r in g.runs for s in r.steps for n in s.layer_norms))
    maps = tuple(_map(g, layers) for g in groups)
    finite = [v for m in maps for row in m.norms for v in row if v is not None and v > 0]
    runs = tuple(run for g in groups for run in g.ids)
    return GradientsInfo(
        title="Gradient norm by layer and step",
        caption=caption_of(
            "Mean over seeds, one logarithmic scale for all methods. Hatched rows are frozen in that method."
            + shown_of(len(maps), MAX_PANELS, "first"),
            runs,
        ),
        alt=_alt(maps, len(layers)),
        runs=runs,
        layers=layers,
        maps=maps,
        low=min(finite, default=None),
        high=max(finite, default=None),
    )


def _alt(maps: Sequence[GradientMap], layers: int) -> str:
    if not maps:
        return "No run recorded gradient norms by layer."
    parts = [f"{m.label} trains {m.frozen.count(False)} of {layers} layers" for m in maps]
    return f"Heat-map of gradient norms: {'; '.join(parts)}."


def _map(group: Group, layers: Sequence[str]) -> GradientMap:
    by_step: dict[int, list[dict[str, float]]] = {}
    for record in group.runs:
        for step in record.steps:
            if step.layer_norms:
                by_step.setdefault(step.step, []).append(dict(step.layer_norms))
    steps = _evenly(sorted(by_step), MAX_STEPS)
    norms = tuple(tuple(_mean(by_step[s], layer) for s in steps) for layer in layers)
    trained = {n for found in by_step.values() for one in found for n in one}
    return GradientMap(group.label, group.method, steps, norms, tuple(n not in trained for n in layers))


def _mean(found: Sequence[dict[str, float]], layer: str) -> float | None:
    values = [one[layer] for one in found if layer in one and math.isfinite(one[layer])]
    return math.fsum(values) / len(values) if values else None


def _evenly(steps: Sequence[int], count: int) -> tuple[int, ...]:
    if len(steps) <= count:
        return tuple(steps)
    return tuple(steps[round(i * (len(steps) - 1) / (count - 1))] for i in range(count))
