"""Score against what a step costs, side by side: bytes kept for backward, the peak, seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any, ClassVar

from workbench.core.units import format_size
from workbench.figures.groups import Metric, group, metric_of
from workbench.figures.info import FigureInfo, caption_of
from workbench.figures.points import Place, place_of, places
from workbench.figures.style import looks
from workbench.figures.table import Column, Table, score_text
from workbench.records.schema import RunRecord


@dataclass(frozen=True)
class Cost:
    """One axis: what it is, its unit (``bytes``, ``s``, ``share`` or another word), and the arms on it; ``log`` where
    its values span decades. ``rules`` are values to compare with, each with a word."""

    label: str
    unit: str
    places: tuple[Place, ...]
    log: bool = False
    rules: tuple[tuple[float, str], ...] = ()


@dataclass(frozen=True)
class StoredArm:
    """One arm that is known by its numbers alone. ``seeds``: each seed with its score and its costs by label; a cost
    that is absent leaves the arm off that axis. ``tag`` tells it from other arms of its method, beside its mark;
    arms of one method that have the same ``series`` are joined by their ``order``."""

    label: str
    method: str
    seeds: tuple[tuple[int, float, Mapping[str, float]], ...]
    tag: str = ""
    series: str = ""
    order: float = 0.0


@dataclass(frozen=True)
class TradeInfo(FigureInfo):
    """The same arms over several costs, which share the axis of scores."""

    kind: ClassVar[str] = "trade"

    y_label: str
    y_is_share: bool
    costs: tuple[Cost, ...]
    tags: Mapping[str, str] = field(default_factory=dict)
    """What is written beside the mark of an arm. With any, colours, markers and the legend are of methods."""
    lines: tuple[tuple[str, ...], ...] = ()
    """Arms that are joined, in this order."""

    def rows(self) -> list[dict[str, Any]]:
        return [
            {"arm": p.label, "seed": seed, "cost": c.label, "value": x, self.y_label: y}
            for c in self.costs
            for p in c.places
            for seed, x, y in p.seeds
        ]


def trade(records: Sequence[RunRecord]) -> TradeInfo:
    """Every finished run with a measurement; the highest step of a run is its peak."""
    groups, metric = group(records), metric_of(records)
    costs = (
        Cost("kept for backward, measured", "bytes", places(groups, _kept, _score)),
        Cost("highest step, measured", "bytes", places(groups, _peak, _score)),
        Cost("median step, measured", "s", places(groups, _seconds, _score)),
    )
    runs = tuple(r.id for r in records)
    return TradeInfo(
        title=f"{metric.name.capitalize()} against memory and time",
        caption=caption_of(
            "As many steps for every arm. Large marks are means, small ones seeds, bars 95 % t intervals over seeds. "
            "A step's worst is predicted beforehand and stands in the table; times are of this host as busy as it was.",
            runs,
        ),
        alt=_alt(costs, metric),
        runs=runs,
        y_label=_y_label(metric),
        y_is_share=metric.share,
        costs=costs,
    )


def stored_trade(
    title: str,
    caption: str,
    arms: Sequence[StoredArm],
    costs: Mapping[str, str],
    metric: Metric,
    rules: Mapping[str, Sequence[tuple[float, str]]] | None = None,
) -> TradeInfo:
    """The same picture of stored numbers instead of runs, one colour and marker a method; ``costs`` are units by label.

    A mark stands at its seeds' median cost, which one slow run does not move. A cost whose values lie more than a
    decade apart gets a logarithmic axis. ``rules`` are values to compare with, by the cost's label.
    """
    methods = list(dict.fromkeys(arm.method for arm in arms))
    drawn = dict(zip(methods, looks(methods)))
    axes = []
    for name, unit in costs.items():
        known = []
        for arm in arms:
            seeds = [(seed, c[name], score) for seed, score, c in arm.seeds if name in c]
            place = place_of(arm.label, arm.method, drawn[arm.method], seeds)
            known += [] if place is None else [replace(place, x=median(x for _, x, _ in seeds))]
        values = [p.x for p in known if p.x > 0]
        log = bool(values) and max(values) > 10 * min(values)
        axes.append(Cost(name, unit, tuple(known), log, tuple((rules or {}).get(name, ()))))
    series = dict.fromkeys((arm.method, arm.series) for arm in arms if arm.series)
    in_order = sorted(arms, key=lambda arm: arm.order)
    joined = [tuple(a.label for a in in_order if (a.method, a.series) == one) for one in series]
    tags = {arm.label: arm.tag for arm in arms}
    return TradeInfo(
        title, caption, _alt(axes, metric), (), _y_label(metric), metric.share, tuple(axes), tags, tuple(joined)
    )


def trade_table(records: Sequence[RunRecord]) -> Table:
    """One row for each arm: score, bytes kept, peaks predicted and seen, seconds."""
    columns = (
        Column("method", "Arm"),
        Column("score", "Score (95 %)"),
        Column("kept", "Kept for backward", "bytes"),
        Column("predicted", "Worst step, predicted", "bytes"),
        Column("measured", "Worst step, measured", "bytes"),
        Column("highest", "Highest step of the run", "bytes"),
        Column("seconds", "Median step"),
        Column("state", "State"),
    )
    text = (
        "Bytes are measured unless they say predicted. The worst step is one that the method's rules allow, with "
        "optimizer state for all that can train; a run need not meet it."
    )
    return Table(columns, tuple(_row(g) for g in group(records)), text)


def _row(one: Any) -> dict[str, Any]:
    seconds = [s for s in map(_seconds, one.runs) if s is not None]
    return {
        "method": one.label,
        "score": score_text(one),
        "kept": one.measured.saved if one.measured else None,
        "predicted": one.predicted.peak if one.predicted else None,
        "measured": one.measured.peak if one.measured else None,
        "highest": max((s.peak for r in one.runs for s in r.steps if s.peak is not None), default=None),
        "seconds": f"{sorted(seconds)[len(seconds) // 2]:.3g} s" if seconds else "–",
        "state": one.state.value if not one.reason else f"{one.state.value}: {one.reason}",
    }


def _score(record: RunRecord) -> float | None:
    return record.accuracy if record.state == "done" else None


def _kept(record: RunRecord) -> float | None:
    return record.measured.saved if record.measured else None


def _peak(record: RunRecord) -> float | None:
    return max((s.peak for s in record.steps if s.peak is not None), default=None)


def _seconds(record: RunRecord) -> float | None:
    return record.step_time.value if record.step_time else None


def _y_label(metric: Metric) -> str:
    return f"{metric.name} ({'lower' if metric.lower_is_better else 'higher'} is better)"


def _alt(costs: Sequence[Cost], metric: Metric) -> str:
    if not costs[0].places:
        return "No run has a score and a measurement."
    kept, peaks = costs[0].places, {p.label: p.x for p in costs[1].places}
    step = costs[1].label.split(",")[0]
    said = [
        f"{p.label} {metric.shown(p.y)} keeps {format_size(int(p.x))}, {step} {format_size(int(peaks[p.label]))}"
        for p in kept
        if p.label in peaks
    ]
    return f"{'; '.join(said)}."
