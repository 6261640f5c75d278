"""Score against peak memory: who fits the budget, and what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from workbench.core.units import format_size
from workbench.figures.groups import Group, Metric, budget_of, combination, group, metric_of
from workbench.figures.info import FigureInfo, caption_of
from workbench.figures.measures import Measure, Read, kinds, measures, spread, value_of
from workbench.figures.table import show_value
from workbench.records.grid import GridPoint
from workbench.records.schema import RunRecord
from workbench.stats import pareto_front

MAX_NAMES = 16  #: with more points than this only those on the front carry their name


@dataclass(frozen=True)
class Place:
    """Where a method stands on one measure: the mean over its seeds with a 95 % interval; a peak stands at the highest
    of its seeds, from the lowest to the highest. ``seeds`` follows those of the method, None where one has no value.

    ``interval`` is what ``low`` and ``high`` are over: seeds, examples, range or none.
    """

    at: float
    low: float | None
    high: float | None
    interval: str
    kind: str
    seeds: tuple[float | None, ...]


@dataclass(frozen=True)
class ParetoPoint:
    """One method: a place by key of measure, and the highest peak in bytes that it is judged by; absent values are
    None. ``done`` of the ``planned`` runs are there."""

    label: str
    method: str
    family: str
    colour: str
    marker: str
    state: str
    reason: str
    peak: int | None
    peak_kind: str
    values: dict[str, Place]
    fits: bool | None
    reference: bool  #: run without the budget that the others had
    front: bool
    seeds: tuple[int, ...]
    done: int
    planned: int

    @property
    def score(self) -> float | None:
        """Mean score over finished seeds."""
        return self.values["score"].at if "score" in self.values else None


@dataclass(frozen=True)
class Absent:
    """A combination of which nothing was run."""

    label: str
    planned: int


@dataclass(frozen=True)
class ParetoInfo(FigureInfo):
    """All methods of a comparison, those without a result included; ``missing`` counts runs that are not there yet.

    ``measures`` begins with score and peak, which the still drawings show; the reader may choose any two.
    """

    kind: ClassVar[str] = "pareto"
    module: ClassVar[str] = "pareto"

    metric: str
    share: bool  #: the score is a share of examples, printed per cent
    lower_is_better: bool
    budget: int | None
    measures: tuple[Measure, ...]
    points: tuple[ParetoPoint, ...]
    absent: tuple[Absent, ...]
    missing: int
    live: bool  #: whether a kernel stands behind the button that runs what is missing
    doing: str  #: what is being run just now; empty when nothing is
    problem: str  #: why running it could not go on
    command: str

    def rows(self) -> list[dict[str, Any]]:
        others = self.measures[2:]
        return [
            {
                "method": p.label,
                "seed": seed,
                "state": p.state,
                "peak bytes": _of_seed(p, "peak", i) or p.peak,
                "peak kind": p.peak_kind,
                self.metric: _of_seed(p, "score", i),
                "mean": p.score,
                "interval low": p.values["score"].low if "score" in p.values else None,
                "interval high": p.values["score"].high if "score" in p.values else None,
                "fits": p.fits,
                "reference without the budget": p.reference,
                "on the front": p.front,
                **{m.title: _of_seed(p, m.key, i) for m in others},
            }
            for p in self.points
            for i, seed in enumerate(p.seeds)
        ]


def _of_seed(point: ParetoPoint, key: str, index: int) -> float | None:
    return point.values[key].seeds[index] if key in point.values else None


def pareto(
    records: Sequence[RunRecord],
    budget: int | None = None,
    *,
    planned: Sequence[GridPoint] = (),
    live: bool = False,
    doing: str = "",
    problem: str = "",
    command: str = "",
) -> ParetoInfo:
    """Score against highest peak by method; ``budget`` in bytes, else the one the runs share.

    ``planned`` is the grid that the records belong to: what is missing of it is shown as such.
    """
    budget = budget_of(records, budget)
    groups = group(records)
    metric = metric_of(records)
    front = pareto_front(
        [_within(g.measured_peak, budget) for g in groups],
        [g.interval.mean if g.interval else None for g in groups],
        lower_is_better=metric.lower_is_better,
    )
    known = measures(records, always=("score", "peak"))
    points = tuple(_point(g, budget, i in front, known, _beside(g, planned)) for i, g in enumerate(groups))
    missing = sum(p.missing for p in planned)
    runs = tuple(r.id for r in records)
    return ParetoInfo(
        title=f"{metric.name.capitalize()} against peak memory",
        caption=caption_of(_caption(points), runs),
        alt=_alt(points, metric, budget, missing),
        runs=runs,
        metric=metric.name,
        share=metric.share,
        lower_is_better=metric.lower_is_better,
        budget=budget,
        measures=tuple(m for m, _ in known),
        points=points,
        absent=_absent(planned),
        missing=missing,
        live=live,
        doing=doing,
        problem=problem,
        command=command,
    )


def _within(peak: int | None, budget: int | None) -> int | None:
    """The peak where the budget is kept: the front is of what can be had."""
    return None if peak is None or (budget is not None and peak > budget) else peak


def _point(
    group: Group, budget: int | None, front: bool, known: Sequence[tuple[Measure, Read]], planned: Sequence[GridPoint]
) -> ParetoPoint:
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
        values={m.key: place for m, read in known if (place := _place(group, m, read)) is not None},
        fits=group.fits(budget),
        reference=group.reference,
        front=front,
        seeds=tuple(r.seed for r in group.runs),
        done=sum(not p.missing for p in planned) if planned else len(group.runs),
        planned=len(planned) or len(group.runs),
    )


def _place(group: Group, measure: Measure, read: Read) -> Place | None:
    found = [value_of(r, measure, read) for r in group.runs]
    if measure.key == "peak" and group.measured_peak is not None:  # what was measured is not mixed with predictions
        found = [None if v is None or v[1] != "measured" else v for v in found]
    numbers = [v for v in found if v is not None]
    if not numbers:
        return None
    seeds = tuple(None if v is None else v[0] for v in found)
    if measure.key == "peak":
        low, high = min(v for v, _ in numbers), max(v for v, _ in numbers)
        varies = low < high
        return Place(high, low if varies else None, high if varies else None, "range", kinds(numbers), seeds)
    over = spread(group.runs, measure, read)
    assert over is not None
    interval = group.interval.kind if measure.key == "score" and group.interval else "seeds"
    return Place(over.mean, over.low, over.high, interval if over.low is not None else "none", over.kind, seeds)


def _beside(group: Group, planned: Sequence[GridPoint]) -> list[GridPoint]:
    """All seeds that are planned of the combination that the group is made of."""
    own = {id(r) for r in group.runs}
    combinations = [p.at for p in planned if id(p.record) in own]
    return [p for p in planned if p.at in combinations]


def _absent(planned: Sequence[GridPoint]) -> tuple[Absent, ...]:
    """Combinations without a single run, named by the axes in which the grid has more than one value."""
    axes = planned[0].at if planned else {}
    varied = [n for n in axes if n == "method" or len({str(p.at.get(n)) for p in planned}) > 1]
    counts: dict[str, list[GridPoint]] = {}
    for p in planned:
        name = combination({n: show_value(p.at[n]) for n in varied}) or show_value(p.at.get("method", ""))
        counts.setdefault(name, []).append(p)
    return tuple(Absent(name, len(found)) for name, found in counts.items() if all(p.record is None for p in found))


def _caption(points: Sequence[ParetoPoint]) -> str:
    over = {place.interval for p in points for place in p.values.values()}
    text = (
        "Large marks are means over seeds (of peaks, the highest), small ones single seeds; the line joins what no "
        "other beats in the budget."
    )
    if "seeds" in over:
        text += " Bars are 95\u00a0% t intervals over seeds."
    if "range" in {p.values["peak"].interval for p in points if "peak" in p.values and p.values["peak"].low}:
        text += " Bars of a peak reach from its lowest seed to its highest."
    if "examples" in over:
        text += " Where a single seed was run, bars are 95 % Wilson intervals over test examples."
    if len(points) > MAX_NAMES:
        text += " Only methods on that line are named; the others by pointing at them and in the data."
    if any(p.reference for p in points):
        text += " A dashed ring marks a reference that was run without the budget."
    if any(p.score is None for p in points):
        text += " Methods without a score stand on the rail below."
    return text


def _alt(points: Sequence[ParetoPoint], metric: Metric, budget: int | None, missing: int) -> str:
    left = f" {missing} planned runs are missing." if missing else ""
    if not points:
        return f"No runs to draw.{left}"
    parts = []
    for p in sorted(points, key=lambda p: p.peak or 0):
        size = "peak not known" if p.peak is None else f"{format_size(p.peak)} {p.peak_kind}"
        score = f"{metric.shown(p.score)} {metric.name}" if p.score is not None else p.state
        name = f"{p.label} (reference, run without the budget)" if p.reference else p.label
        parts.append(f"{name} {score} at {size}")
    limit = f" The budget is {format_size(budget)}." if budget else ""
    return "; ".join(parts) + "." + limit + left
