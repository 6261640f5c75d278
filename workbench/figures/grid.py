"""A declared grid of runs: what is done, what is missing, and any two of its metrics against each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from workbench.core.errors import BadInput
from workbench.figures.groups import combination, group
from workbench.figures.info import FigureInfo, caption_of
from workbench.figures.measures import Measure, Read, Spread, measures, peak_of, printed, spread
from workbench.figures.style import MARKERS, PALETTE
from workbench.figures.table import show_value
from workbench.records.grid import GridPoint
from workbench.records.schema import RunRecord, State

MISSING = "not run"
Place = tuple[int, ...]  #: an index into the values of each axis


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
    marker: str
    values: dict[str, Spread]


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
    metrics: tuple[Measure, ...]
    cells: tuple[GridCell, ...]
    budget: int | None
    missing: int
    live: bool  #: whether a kernel stands behind the button that runs what is missing
    doing: str  #: what is being run just now; empty when nothing is
    problem: str  #: why running it could not go on
    command: str

    def cell(self, **at: Any) -> GridCell:
        """The cell at a value of each axis; an axis of one value may be left out. Raises ``BadInput``."""
        place = []
        for axis in self.axes:
            value = _said(at[axis.name]) if axis.name in at else axis.values[0]
            if value not in axis.values or (axis.name not in at and len(axis.values) > 1):
                raise BadInput(axis.name, at.get(axis.name), f"one of {', '.join(axis.values)}")
            place.append(axis.values.index(value))
        found = next((cell for cell in self.cells if cell.place == tuple(place)), None)
        if found is None:
            raise BadInput("cell", at, "a combination that the grid has")
        return found

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
    metrics = measures(records)
    cells = tuple(
        _cell(place, found, metrics, budget, look)
        for (place, found), look in zip(keyed.items(), _looks(axes, keyed), strict=True)
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


def _looks(axes: Sequence[GridAxis], keyed: Mapping[Place, Sequence[GridPoint]]) -> list[tuple[str, str, str]]:
    """Label, colour and marker of every cell: those that its runs have in any other drawing.

    A cell without a run, and one whose runs have the same settings as another's, is named by its place.
    """
    runs = [[p.record for p in points if p.record is not None] for points in keyed.values()]
    of = {id(record): found for found in group([r for records in runs for r in records]) for record in found.runs}
    own = [of[id(records[0])] if records else None for records in runs]
    varied = [i for i, axis in enumerate(axes) if axis.name == "method" or len(axis.values) > 1]
    found = []
    for i, (place, drawn) in enumerate(zip(keyed, own, strict=True)):
        if drawn is not None and sum(other is drawn for other in own) == 1:
            found.append((drawn.label, drawn.colour, drawn.marker))
            continue
        name = combination({axes[j].name: axes[j].values[place[j]] for j in varied or range(len(axes))})
        found.append((name, PALETTE[i % len(PALETTE)], MARKERS[i % len(MARKERS)]))
    return found


def _cell(
    place: Place,
    points: Sequence[GridPoint],
    metrics: Sequence[tuple[Measure, Read]],
    budget: int | None,
    look: tuple[str, str, str],
) -> GridCell:
    records = [p.record for p in points if p.record is not None]
    worst = next((r for r in records if r.state is not State.DONE), None)
    label, colour, marker = look
    values = {metric.key: found for metric, read in metrics if (found := spread(records, metric, read)) is not None}
    return GridCell(
        label=label,
        place=place,
        state=worst.state.value if worst else ("done" if len(records) == len(points) else MISSING),
        reason=worst.reason if worst else "",
        done=sum(not p.missing for p in points),
        planned=len(points),
        over=any(_over(r, budget) for r in records),
        colour=colour,
        marker=marker,
        values=values,
    )


def _over(record: RunRecord, budget: int | None) -> bool:
    peak = peak_of(record)
    return record.state is State.OVER_BUDGET or (budget is not None and peak is not None and peak[0] > budget)


def _alt(
    axes: Sequence[GridAxis],
    cells: Sequence[GridCell],
    metrics: Sequence[tuple[Measure, Read]],
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
