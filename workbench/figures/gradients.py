"""Gradient norm and update of each layer at each step, with frozen layers shown as frozen."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from workbench.figures.groups import Group, group
from workbench.figures.info import MAX_PANELS, FigureInfo, caption_of, shown_of
from workbench.figures.layers import in_order
from workbench.records.schema import ALL_LAYERS, RunRecord, StepRecord

MAX_STEPS = 60


@dataclass(frozen=True)
class GradientMap:
    """One method: ``norms[layer][step]``, None where nothing was recorded; ``frozen[layer]`` never trains.

    ``updates`` has the same shape, or is empty for runs that recorded none: norm of the update over norm of the
    layer's trained weights, on samples. ``cosines`` has the same shape, or is empty: of the estimate to the true
    gradient, at the steps where it was asked for; ``together`` is that of all layers. ``no_cosine`` says why not.
    """

    label: str
    method: str
    steps: tuple[int, ...]  #: counted from 1
    norms: tuple[tuple[float | None, ...], ...]
    updates: tuple[tuple[float | None, ...], ...]
    frozen: tuple[bool, ...]
    cosines: tuple[tuple[float | None, ...], ...] = ()
    together: tuple[float | None, ...] = ()
    no_cosine: str = ""


@dataclass(frozen=True)
class GradientsInfo(FigureInfo):
    """Heat-maps of layers x steps on one shared logarithmic scale between ``low`` and ``high``."""

    kind: ClassVar[str] = "gradients"
    module: ClassVar[str] = "gradients"

    layers: tuple[str, ...]
    maps: tuple[GradientMap, ...]
    low: float | None
    high: float | None

    def data(self) -> dict[str, Any]:
        """Three digits of each norm: a colour shows fewer and a sentence no more."""
        found = super().data()
        for drawn in found["maps"]:
            for name in ("norms", "updates", "cosines"):
                drawn[name] = [[v if v is None else float(f"{v:.3g}") for v in row] for row in drawn[name]]
        return found

    def rows(self) -> list[dict[str, Any]]:
        return [
            {
                "method": m.label,
                "layer": layer,
                "step": step,
                "gradient norm": m.norms[i][j],
                "update over weights": m.updates[i][j] if m.updates else None,
                "cosine to the true gradient": m.cosines[i][j] if m.cosines else None,
                "frozen": m.frozen[i],
            }
            for m in self.maps
            for i, layer in enumerate(self.layers)
            for j, step in enumerate(m.steps)
            if not m.frozen[i] or j == 0
        ]


def gradients(records: Sequence[RunRecord]) -> GradientsInfo:
    """Gradient norms averaged over seeds. A layer that a method never trains is frozen."""
    groups = [g for g in group(records) if any(s.layer_norms for r in g.runs for s in r.steps)]
    layers = tuple(in_order(n for g in groups for r in g.runs for n in (*r.layers, *_trained(r.steps))))
    maps = tuple(_map(g, layers) for g in groups)
    finite = [v for m in maps for row in m.norms for v in row if v is not None and v > 0]
    runs = tuple(run for g in groups for run in g.ids)
    return GradientsInfo(
        title="Gradient norm by layer and step",
        caption=caption_of(
            "Mean over seeds, one logarithmic scale for all methods. Hatched rows are frozen in that method. "
            "An update is the norm of a step's change over the norm of the layer's trained weights, on samples of both."
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


def _trained(steps: Iterable[StepRecord]) -> set[str]:
    return {name for step in steps for name in step.layer_norms}


def _map(group: Group, layers: Sequence[str]) -> GradientMap:
    by_step: dict[int, list[StepRecord]] = {}
    for record in group.runs:
        for step in record.steps:
            if step.layer_norms:
                by_step.setdefault(step.step, []).append(step)
    compared = [s for s in sorted(by_step) if any(one.layer_cosines for one in by_step[s])]
    steps = tuple(sorted({*_evenly(sorted(by_step), MAX_STEPS), *compared}))
    norms = tuple(tuple(_mean([r.layer_norms for r in by_step[s]], layer) for s in steps) for layer in layers)
    updates = tuple(tuple(_mean([r.layer_updates for r in by_step[s]], layer) for s in steps) for layer in layers)
    known = any(value is not None for row in updates for value in row)
    trained = _trained(one for found in by_step.values() for one in found)
    frozen = tuple(n not in trained for n in layers)
    cosines: tuple[tuple[float | None, ...], ...] = ()
    together: tuple[float | None, ...] = ()
    why = ""
    if compared:
        cosines = tuple(tuple(_mean([r.layer_cosines for r in by_step[s]], layer) for s in steps) for layer in layers)
        together = tuple(_mean([r.layer_cosines for r in by_step[s]], ALL_LAYERS) for s in steps)
    else:
        why = "not recorded (cosines=0)" if _estimated(group.runs[0]) else "backpropagation, no estimate along noise"
    return GradientMap(
        group.label,
        group.method,
        tuple(s + 1 for s in steps),
        norms,
        updates if known else (),
        frozen,
        cosines,
        together,
        why,
    )


def _estimated(record: RunRecord) -> bool:
    """Whether the run's gradient is a slope along noise, as its family or its setting says."""
    return record.family == "zeroth-order" or record.config.get("gradient", "own") not in ("own", "backprop")


def _mean(found: Sequence[Mapping[str, float]], layer: str) -> float | None:
    values = [one[layer] for one in found if layer in one and math.isfinite(one[layer])]
    return math.fsum(values) / len(values) if values else None


def _evenly(steps: Sequence[int], count: int) -> tuple[int, ...]:
    if len(steps) <= count:
        return tuple(steps)
    return tuple(steps[round(i * (len(steps) - 1) / (count - 1))] for i in range(count))
