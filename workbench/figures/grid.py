"""A declared grid of runs: what is done, what is missing, and any two of its metrics against each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from workbench.core.units import format_size
from workbench.figures.groups import metric_of
from workbench.figures.info import FigureInfo, caption_of
from workbench.figures.style import PALETTE
from workbench.figures.table import show_value
from workbench.records.grid import GridPoint
from workbench.records.schema import Quantity, RunRecord, State
from workbench.stats import score_interval, t_interval

MISSING = "not run"


@dataclass(frozen=True)
class GridMetric:
    """``unit`` says how a value is printed: score, bytes, seconds, joules, count or number."""

    key: str
    title: str
    unit: str
    lower_is_better: bool


@dataclass(frozen=True)
class GridValue:
    """Mean over seeds with its 95 % interval, and each seed; ``kind`` is that of the numbers, as in measured."""

    mean: float
    low: float | None
    high: float | None
    seeds: tuple[float, ...]
    kind: str


@dataclass(frozen=True)
class GridCell:
    """One combination of the axes over its seeds. ``place`` indexes the values of each axis."""

    label: str
    place: tuple[int, ...]
    state: str
    reason: str
    done: int
    planned: int
    over: bool  #: known not to keep the budget, by a run or by a prediction
    colour: str
    values: dict[str, GridValue]


@dataclass(frozen=True)
class GridAxis:
    """One axis of the grid with its printed values."""

    name: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class GridInfo(FigureInfo):
    """A cell's ``place`` follows the order of ``axes``; ``missing`` counts runs that are not there yet."""

    kind: ClassVar[str] = "grid"
    module: ClassVar[str] = "grid"

    axes: tuple[GridAxis, ...]
    metrics: tuple[GridMetric, ...]
    cells: tuple[GridCell, ...]
    budget: int | None
    missing: int
    live: bool  #: whether a kernel stands behind the button that runs what is missing
    doing: str  #: what is being run just now; empty when nothing is
    problem: str  #: why running it could not go on
    command: str

    def rows(self) -> list[dict[str, Any]]:
        return [
            {
                **{axis.name: axis.values[i] for axis, i in zip(self.axes, cell.place)},
                "state": cell.state,
                "runs done": cell.done,
                "runs planned": cell.planned,
                "metric": metric.title,
                "mean": value.mean if value else None,
                "interval low": value.low if value else None,
                "interval high": value.high if value else None,
                "kind": value.kind if value else None,
                "seeds": " ".join(f"{v:.6g}" for v in value.seeds) if value else "",
                "over the budget": cell.over,
            }
            for cell in self.cells
            for metric in self.metrics
            for value in [cell.values.get(metric.key)]
        ]


def grid(
    points: Sequence[GridPoint],
    budget: int | None = None,
    *,
    live: bool = False,
    doing: str = "",
    problem: str = "",
    command: str = "",
) -> GridInfo:
    """The grid that ``points`` span; seeds are taken together, every other axis is kept.

    A cell counts as over the budget when one of its runs was stopped or refused for it, or peaks above it.
    """
    axes = _axes(points)
    keyed: dict[tuple[int, ...], list[GridPoint]] = {}
    for point in points:
        keyed.setdefault(tuple(axis.values.index(_said(point.at[axis.name])) for axis in axes), []).append(point)
    records = [p.record for p in points if p.record is not None]
    metrics = _metrics(records)
    cells = tuple(
        _cell(place, axes, found, metrics, budget, PALETTE[i % len(PALETTE)])
        for i, (place, found) in enumerate(keyed.items())
    )
    missing = sum(p.missing for p in points)
    runs = tuple(r.id for r in records)
    return GridInfo(
        title="Ablation grid",
        caption=caption_of(
            f"{_spread(records)}, from finished runs only. Cells that cannot keep the budget are marked, and "
            "combinations that were not run are shown as such.",
            runs,
        ),
        alt=_alt(axes, cells, metrics, missing),
        runs=runs,
        axes=axes,
        metrics=tuple(m for m, _ in metrics),
        cells=cells,
        budget=budget,
        missing=missing,
        live=live,
        doing=doing,
        problem=problem,
        command=command,
    )


def _spread(records: Sequence[RunRecord]) -> str:
    """What the intervals of the cells are over: a single seed has none of its own."""
    if len({r.seed for r in records}) > 1:
        return "Means over seeds with 95\u00a0% intervals; of a cell with one seed, over its test examples"
    return "One seed: the 95\u00a0% interval of a score is over its test examples, not over seeds"


def _axes(points: Sequence[GridPoint]) -> tuple[GridAxis, ...]:
    names = dict.fromkeys(name for p in points for name in p.at)
    return tuple(GridAxis(name, tuple(dict.fromkeys(_said(p.at[name]) for p in points))) for name in names)


def _said(value: Any) -> str:
    return ", ".join(map(_said, value)) if isinstance(value, list | tuple) else show_value(value)


def _cell(
    place: tuple[int, ...],
    axes: Sequence[GridAxis],
    points: Sequence[GridPoint],
    metrics: Sequence[tuple[GridMetric, Read]],
    budget: int | None,
    colour: str,
) -> GridCell:
    records = [p.record for p in points if p.record is not None]
    worst = next((r for r in records if r.state is not State.DONE), None)
    chosen = [(axis.name, axis.values[i]) for axis, i in zip(axes, place)]
    words = [value if name == "method" else f"{name} {value}" for name, value in chosen]
    values = {metric.key: found for metric, read in metrics if (found := _value(records, metric, read)) is not None}
    return GridCell(
        label=", ".join(words),
        place=place,
        state=worst.state.value if worst else ("done" if len(records) == len(points) else MISSING),
        reason=worst.reason if worst else "",
        done=sum(not p.missing for p in points),
        planned=len(points),
        over=any(_over(r, budget) for r in records),
        colour=colour,
        values=values,
    )


def _over(record: RunRecord, budget: int | None) -> bool:
    peak = _peak(record)
    return record.state is State.OVER_BUDGET or (budget is not None and peak is not None and peak[0] > budget)


Read = Callable[[RunRecord], tuple[float, str] | None]  #: a number and its kind


def _value(records: Sequence[RunRecord], metric: GridMetric, read: Read) -> GridValue | None:
    """Over finished runs; a peak is known of refused ones too, by prediction."""
    usable = [r for r in records if r.state is State.DONE or metric.key == "peak"]
    found = [v for r in usable if (v := read(r)) is not None]
    if not found:
        return None
    numbers = [number for number, _ in found]
    counts = [r.score.get("count") for r in usable]
    interval = score_interval(numbers, counts[0]) if metric.unit == "score" else t_interval(numbers)
    kinds = sorted({kind for _, kind in found})
    return GridValue(interval.mean, interval.low, interval.high, tuple(numbers), " and ".join(kinds))


def _peak(record: RunRecord) -> tuple[int, str] | None:
    peaks = [s.peak for s in record.steps if s.peak is not None]
    peaks += [record.measured.peak] if record.measured else []
    if peaks:
        return max(peaks), "measured"
    return (record.predicted.peak, "predicted") if record.predicted else None


def _score(record: RunRecord) -> tuple[float, str] | None:
    value = record.score.get("value")
    return None if value is None else (float(value), "measured")


def _last_loss(record: RunRecord) -> tuple[float, str] | None:
    """The mean of the last tenth of the steps, which a single noisy batch does not decide."""
    tail = record.steps[-max(1, len(record.steps) // 10) :]
    return (sum(s.loss for s in tail) / len(tail), "measured") if tail else None


def _of(name: str) -> Read:
    def read(record: RunRecord) -> tuple[float, str] | None:
        quantity = getattr(record, name)
        if isinstance(quantity, Quantity):
            return None if quantity.value is None else (quantity.value, quantity.kind)
        return None if quantity is None else (quantity, "counted")

    return read


def _metrics(records: Sequence[RunRecord]) -> list[tuple[GridMetric, Read]]:
    """The metrics that at least one run knows; the score first."""
    scored = metric_of(records)
    unit = "score" if scored.share else "number"
    known: list[tuple[GridMetric, Read]] = [
        (GridMetric("score", scored.name, unit, scored.lower_is_better), _score),
        (GridMetric("peak", "peak memory", "bytes", True), _peak),
        (GridMetric("step_time", "step time on this host", "seconds", True), _of("step_time")),
        (GridMetric("device_step_time", "step time on the device", "seconds", True), _of("device_step_time")),
        (GridMetric("device_step_energy", "energy of a step on the device", "joules", True), _of("device_step_energy")),
        (GridMetric("last_loss", "training loss at the end", "number", True), _last_loss),
        (GridMetric("trainable", "trainable parameters", "count", True), _of("trainable")),
        (GridMetric("adapter_bytes", "saved adapter", "bytes", True), _of("adapter_bytes")),
    ]
    return [(metric, read) for metric, read in known if any(read(r) is not None for r in records)]


def _alt(
    axes: Sequence[GridAxis],
    cells: Sequence[GridCell],
    metrics: Sequence[tuple[GridMetric, Read]],
    missing: int,
) -> str:
    if not cells:
        return "The grid has no cell."
    spans = " x ".join(f"{len(axis.values)} {axis.name}" for axis in axes)
    text = f"Grid of {spans}, {len(cells)} cells; {missing} runs are missing."
    scored = [(c, c.values["score"].mean) for c in cells if "score" in c.values]
    if scored:
        metric = metrics[0][0]
        best = (min if metric.lower_is_better else max)(scored, key=lambda pair: pair[1])
        text += f" The best mean {metric.title} is {printed(best[1], metric.unit)}, of {best[0].label}."
    over = sum(c.over for c in cells)
    return text + (f" {over} cells do not keep the budget." if over else "")


def printed(value: float, unit: str) -> str:
    """A value of a metric as the drawings print it."""
    return format_size(round(value)) if unit == "bytes" else show_value(value, {"number": "text"}.get(unit, unit))
