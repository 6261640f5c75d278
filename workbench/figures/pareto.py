"""Score against peak memory: who fits the budget, and what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from workbench.core.units import format_size
from workbench.figures.groups import Group, Metric, budget_of, group, metric_of
from workbench.figures.info import FigureInfo, caption_of
from workbench.records.schema import RunRecord
from workbench.stats import pareto_front

MAX_NAMES = 16  #: with more points than this only those on the front carry their name


@dataclass(frozen=True)
class SeedPoint:
    """One seed of a method; ``peak`` in bytes."""

    seed: int
    peak: int | None
    score: float | None


@dataclass(frozen=True)
class ParetoPoint:
    """One method: mean score with its interval, highest peak in bytes; absent values are None."""

    label: str
    method: str
    family: str
    colour: str
    marker: str
    state: str
    reason: str
    peak: int | None
    peak_kind: str
    score: float | None
    low: float | None
    high: float | None
    interval: str
    fits: bool | None
    reference: bool  #: run without the budget that the others had
    front: bool
    seeds: tuple[SeedPoint, ...]


@dataclass(frozen=True)
class ParetoInfo(FigureInfo):
    """All methods of a comparison, those without a result included."""

    kind: ClassVar[str] = "pareto"
    module: ClassVar[str] = "pareto"

    metric: str
    share: bool  #: the score is a share of examples, printed per cent
    lower_is_better: bool
    budget: int | None
    points: tuple[ParetoPoint, ...]

    def rows(self) -> list[dict[str, Any]]:
        return [
            {
                "method": p.label,
                "seed": s.seed,
                "state": p.state,
                "peak bytes": s.peak if s.peak is not None else p.peak,
                "peak kind": "measured" if s.peak is not None else p.peak_kind,
                self.metric: s.score,
                "mean": p.score,
                "interval low": p.low,
                "interval high": p.high,
                "fits": p.fits,
                "reference without the budget": p.reference,
                "on the front": p.front,
            }
            for p in self.points
            for s in p.seeds
        ]


def pareto(records: Sequence[RunRecord], budget: int | None = None) -> ParetoInfo:
    """Score against highest peak by method; ``budget`` in bytes, else the one the runs share."""
    budget = budget_of(records, budget)
    groups = group(records)
    metric = metric_of(records)
    front = pareto_front(
        [_within(g.measured_peak, budget) for g in groups],
        [g.interval.mean if g.interval else None for g in groups],
        lower_is_better=metric.lower_is_better,
    )
    points = tuple(_point(g, budget, i in front) for i, g in enumerate(groups))
    runs = tuple(r.id for r in records)
    return ParetoInfo(
        title=f"{metric.name.capitalize()} against peak memory",
        caption=caption_of(_caption(points), runs),
        alt=_alt(points, metric, budget),
        runs=runs,
        metric=metric.name,
        share=metric.share,
        lower_is_better=metric.lower_is_better,
        budget=budget,
        points=points,
    )


def _within(peak: int | None, budget: int | None) -> int | None:
    """The peak where the budget is kept: the front is of what can be had."""
    return None if peak is None or (budget is not None and peak > budget) else peak


def _point(group: Group, budget: int | None, front: bool) -> ParetoPoint:
    interval = group.interval
    peak, kind = group.peak or (None, "not known")
    return ParetoPoint(
        label=group.label,
        method=group.method,
        family=group.family,
        colour=group.colour,
        marker=group.marker,
        state=group.state.value,
        reason=group.reason,
        peak=peak,
        peak_kind=kind,
        score=interval.mean if interval else None,
        low=interval.low if interval else None,
        high=interval.high if interval else None,
        interval=interval.kind if interval else "none",
        fits=group.fits(budget),
        reference=group.reference,
        front=front,
        seeds=tuple(SeedPoint(r.seed, r.measured.peak if r.measured else None, r.accuracy) for r in group.runs),
    )


def _caption(points: Sequence[ParetoPoint]) -> str:
    kinds = {p.interval for p in points}
    text = (
        "Large marks are means over seeds, small ones single seeds; the line joins what no other beats in the budget."
    )
    if "seeds" in kinds:
        text += " Bars are 95\u00a0% t intervals over seeds."
    if "examples" in kinds:
        text += " Where a single seed was run, bars are 95 % Wilson intervals over test examples."
    if len(points) > MAX_NAMES:
        text += " Only methods on that line are named; the others by pointing at them and in the data."
    if any(p.reference for p in points):
        text += " A dashed ring marks a reference that was run without the budget."
    if any(p.score is None for p in points):
        text += " Methods without a score stand on the rail below."
    return text


def _alt(points: Sequence[ParetoPoint], metric: Metric, budget: int | None) -> str:
    if not points:
        return "No runs to draw."
    parts = []
    for p in sorted(points, key=lambda p: p.peak or 0):
        size = "peak not known" if p.peak is None else f"{format_size(p.peak)} {p.peak_kind}"
        score = f"{metric.shown(p.score)} {metric.name}" if p.score is not None else p.state
        name = f"{p.label} (reference, run without the budget)" if p.reference else p.label
        parts.append(f"{name} {score} at {size}")
    limit = f" The budget is {format_size(budget)}." if budget else ""
    return "; ".join(parts) + "." + limit
