"""Every method against a budget that the reader moves: fits, or not and why."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

from workbench.core.units import format_size, parse_size
from workbench.figures.groups import Metric, budget_of, group, metric_of
from workbench.figures.info import FigureInfo, caption_of
from workbench.figures.style import CATEGORIES, CATEGORY_COLOURS
from workbench.figures.style import looks as style_looks
from workbench.figures.table import AT_BEST
from workbench.records.schema import RunRecord, State

if TYPE_CHECKING:
    from workbench.plan.fit_table import FitTable
    from workbench.plan.sizes import Sizes
    from workbench.plan.verdict import Verdict


@dataclass(frozen=True)
class FitRow:
    """One method. ``peak`` in bytes and ``by_category`` in the order of the categories; absent is None."""

    label: str
    method: str
    family: str
    colour: str
    peak: int | None
    source: str
    by_category: tuple[int, ...]
    binding: str
    layer: str
    step_time: float | None
    step_time_kind: str
    energy: float | None
    energy_kind: str
    score: float | None
    reason: str  #: why the method cannot run at all, whatever the budget; empty otherwise
    ways: tuple[tuple[str, int, str], ...] = ()  #: changes at this shape, each with its peak and what that rests on
    sizes: Mapping[str, Any] | None = None  #: peaks and times of other shapes; see :func:`_sizes`


@dataclass(frozen=True)
class FitDevice:
    """A device that step times can be extrapolated to; ``seconds`` of one operation, byte and call, see
    :meth:`workbench.plan.fit_table.FitTable.speeds`."""

    name: str
    marks: tuple[tuple[str, int], ...]
    seconds: Mapping[str, float]
    watts: float | None
    free: int  #: bytes that a step may take there: a budget is lowered to it when the device is chosen


@dataclass(frozen=True)
class FitInfo(FigureInfo):
    """Rows for the fit explorer; ``marks`` are (name, bytes) that the slider shows."""

    kind: ClassVar[str] = "fit"
    module: ClassVar[str] = "fit"

    budget: int | None
    device: str
    metric: str  #: what the scores measure; empty where there are none
    share: bool  #: a score is a share of examples, printed per cent
    marks: tuple[tuple[str, int], ...]
    categories: tuple[str, ...]
    colours: tuple[str, ...]
    methods: tuple[FitRow, ...]
    shape: tuple[int, int] | None = None  #: batch and length of the rows, where others can be asked for
    task: str = ""
    model: str = ""
    devices: tuple[FitDevice, ...] = ()  #: devices that can be chosen without a kernel, that of the rows first
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  #: models by task, where a kernel answers
    batches: tuple[int, int, str] | None = None  #: least and most that may be asked for, and the words for them
    lengths: tuple[int, int, str] | None = None

    def rows(self) -> list[dict[str, Any]]:
        return [
            {
                "method": m.label,
                "family": m.family,
                "fits": None if m.peak is None or self.budget is None else m.peak <= self.budget,
                "peak bytes": m.peak,
                "source": m.source,
                "binding category": m.binding,
                "binding layer": m.layer,
                **{f"{c} bytes": s for c, s in zip(self.categories, m.by_category)},
                "step seconds": m.step_time,
                "step time kind": m.step_time_kind,
                "joules": m.energy,
                "energy kind": m.energy_kind,
                "cannot run because": m.reason,
            }
            for m in self.methods
        ]


def fit(
    records: Sequence[RunRecord],
    budget: int | None = None,
    marks: Mapping[str, int] | None = None,
) -> FitInfo:
    """The fit explorer's rows from runs; a refused run with a prediction is judged by that prediction."""
    rows = []
    for g in group(records):
        profile = g.profile
        time = next((r.device_step_time for r in g.runs if r.device_step_time), None)
        time = time or next((r.step_time for r in g.runs if r.step_time), None)
        energy = next((r.device_step_energy for r in g.runs if r.device_step_energy), None)
        cannot = g.reason if profile is None and g.state in (State.REFUSED, State.FAILED) else ""
        rows.append(
            FitRow(
                label=g.label,
                method=g.method,
                family=g.family,
                colour=g.colour,
                peak=profile.peak if profile else None,
                source=profile.source.value if profile else "not known",
                by_category=tuple(int(profile.by_category.get(c, 0)) for c in CATEGORIES) if profile else (),  # type: ignore[call-overload]
                binding=profile.binding_category.value if profile else "",
                layer=profile.module if profile else "",
                step_time=time.value if time else None,
                step_time_kind=time.kind if time else "",
                energy=energy.value if energy else None,
                energy_kind=energy.kind if energy else "",
                score=g.interval.mean if g.interval else None,
                reason=cannot,
                ways=tuple(dict.fromkeys(way for r in g.runs for text in r.ways or () if (way := _way(text)))),
            )
        )
    device = records[0].device if records else ""
    runs = tuple(r.id for r in records)
    return fit_info(rows, budget_of(records, budget), device, marks, metric_of(records), runs)


def _way(text: str) -> tuple[str, int, str] | None:
    """Change, peak in bytes and what says so, of a way out as a record has it: ``batch 4 (214 MiB, predicted)``."""
    found = re.fullmatch(r"(.+) \((.+), (\w+)\)", text)
    return (found[1], parse_size(found[2]), found[3]) if found else None


def fit_table(
    table: FitTable,
    budget: int,
    verdicts: Sequence[Verdict] = (),
    choices: Mapping[str, Sequence[str]] | None = None,
) -> FitInfo:
    """The fit explorer before anything has run: budget (bytes), device, batch and length are moved without a kernel.

    ``choices`` are models by task that a kernel behind the panel can be asked for.

    ``verdicts`` are the table's at its own shape, for instance with the changes that ``bench.fit`` found.
    """
    found = {v.method: v for v in verdicts or table.at(budget)}
    looks = dict(zip(found, style_looks(list(found))))
    rows = [_row(v, looks[name][0], table) for name, v in found.items()]
    marks = {label: size for size, label in table.device.marks}
    info = fit_info(rows, budget, table.device.name, marks, None, shape=(table.batch, table.length))
    devices = tuple(
        FitDevice(d["name"], _marks({label: size for size, label in d["marks"]}), d["seconds"], d["watts"], d["free"])
        for d in table.speeds()
    )
    known = {task: tuple(models) for task, models in (choices or {}).items()}
    return replace(
        info,
        task=table.task,
        model=table.model,
        devices=devices,
        choices=known,
        batches=table.batches,
        lengths=table.limits,
    )


def _row(v: Verdict, colour: str, table: FitTable) -> FitRow:
    time, energy = v.step_time, v.step_energy
    return FitRow(
        label=v.method,
        method=v.method,
        family=v.family,
        colour=colour,
        peak=v.peak,
        source=v.source or "not known",
        by_category=tuple(int(v.by_category.get(c, 0)) for c in CATEGORIES) if v.by_category else (),  # type: ignore[call-overload]
        binding=v.binding,
        layer=v.layer,
        step_time=time.value if time else None,
        step_time_kind=time.kind if time else "",
        energy=energy.value if energy else None,
        energy_kind=energy.kind if energy else "",
        score=None,
        reason=v.reason if v.peak is None else "",
        ways=_ways(v),
        sizes=_sizes(table.methods.get(v.method), table),
    )


def _ways(v: Verdict) -> tuple[tuple[str, int, str], ...]:
    """Its changes; what its device itself needs is among them whatever the budget, because the reader moves that."""
    there = [(f"{v.there.sentence}: {format_size(v.there.peak)}", v.there.peak, v.there.source)] if v.there else []
    return (*there, *((c.action, c.peak, c.source) for c in v.changes if c != v.there))


UNBOUNDED = 10**9  #: tokens; the bounds of task and model say what can be asked for


def _sizes(sizes: Sizes | None, table: FitTable) -> dict[str, Any] | None:
    """What the browser needs to answer another shape: polynomials over ``terms`` of batch and length.

    ``rows`` are [layer, is only a bound, [[category, term, eighths of a byte], ...]]; ``work`` has, for each class
    of operators, coefficients over ``work_terms`` of its operations by dtype, bytes and calls. With a device's seconds
    of each the time is the sum over classes of max(computing, moving) + calling; joules are its watts times that.
    ``lengths`` is the longest that is answered, false where only the batch was fitted. Batches under ``least`` are
    answered by ``below``, and ``adding`` times the sum is what accumulated batches take, 0 where none can be.
    """
    if sizes is None:
        return None
    rows = []
    for i, (_, module, _) in enumerate(sizes.rows):
        parts = [
            [category, term, round(value * 8)]
            for term, coefficients in enumerate(sizes.memory)
            for category, value in enumerate(coefficients[i])
            if value
        ]
        rows.append([module, sizes.bounds[i], parts])
    return {
        "terms": sizes.terms,
        "rows": rows,
        "traced": sizes.held_out,
        "lengths": sizes.lengths and (sizes.longest or UNBOUNDED),
        "reason": sizes.reason,
        "work_terms": sizes.work_terms,
        "work": sizes.by_class(),
        "adding": sizes.adding,
        "least": sizes.least,
        "below": _sizes(sizes.below, table),
    }


def fit_info(
    rows: Sequence[FitRow],
    budget: int | None,
    device: str,
    marks: Mapping[str, int] | None = None,
    metric: Metric | None = None,
    runs: tuple[str, ...] = (),
    shape: tuple[int, int] | None = None,
) -> FitInfo:
    """The explorer over any rows: from runs, or from a table before anything has run."""
    methods = tuple(sorted(rows, key=lambda m: (m.peak is None, m.peak or 0)))
    fitting = [m.label for m in methods if m.peak is not None and (budget is None or m.peak <= budget)]
    limit = format_size(budget) if budget else "no budget"
    known = sum(m.peak is not None for m in methods)
    what = "budget" if shape is None else "budget, the device, the batch or the length"
    text = f"Move the {what}: every method is judged anew by its highest known peak, without running anything."
    text += f" {AT_BEST}" if any(m.step_time_kind == "extrapolated" for m in methods) else ""
    there = [m.label for m in methods if m.label not in fitting and _fits_there(m, budget)]
    said = f"{', '.join(fitting) or 'none'}." + (f" On the device itself: {', '.join(there)}." if there else "")
    return FitInfo(
        title="What fits",
        caption=caption_of(text, runs) if runs else text,
        alt=f"Under {limit}, {len(fitting)} of {known} methods with a known peak fit: {said}",
        runs=runs,
        budget=budget,
        device=device,
        metric=metric.name if metric else "",
        share=metric is not None and metric.share,
        marks=_marks(marks or {}),
        categories=CATEGORIES,
        colours=tuple(CATEGORY_COLOURS[c] for c in CATEGORIES),
        methods=methods,
        shape=shape,
    )


def _fits_there(row: FitRow, budget: int | None) -> bool:
    return any(source == "planned" and budget is not None and size <= budget for _, size, source in row.ways)


def _marks(marks: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    return tuple((_short(label, size), size) for label, size in marks.items())


def _short(label: str, size: int) -> str:
    """Size and meaning, whether or not the label begins with the size already."""
    meaning = label.removeprefix(f"{format_size(size)}: ").replace("of what is free", "of free memory")
    return f"{format_size(size)} ({meaning})"
