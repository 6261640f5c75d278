"""The tables of a comparison: one row for each method, nothing dropped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from workbench.core.profile import Category
from workbench.core.units import format_energy, format_size, format_time
from workbench.figures.groups import REFERENCE, Group, budget_of, group, metric_of
from workbench.figures.info import percent
from workbench.records.schema import Quantity, RunRecord, State
from workbench.stats import mean


@dataclass(frozen=True)
class Column:
    """``kind`` says how a cell is printed: text, verdict, bytes, seconds, joules, count, score or share, difference.

    ``detail`` is the key of a longer text for the same cell, shown on demand. ``data`` are (key, heading) of the plain
    values that stand in the file of data in place of words which were prepared for a page.
    """

    key: str
    title: str
    kind: str = "text"
    detail: str = ""
    data: tuple[tuple[str, str], ...] = ()

    @property
    def in_file(self) -> tuple[tuple[str, str], ...]:
        """Keys and headings of this column in the file of data."""
        unit = self.kind if self.kind in ("bytes", "seconds", "joules") else {"difference": "bytes"}.get(self.kind, "")
        return self.data or ((self.key, f"{self.title}, {unit}" if unit else self.title),)


@dataclass(frozen=True)
class Table:
    """Raw values by column key; absent is None. ``shown`` prints one cell.

    Columns in ``data_only`` are in the file of data and not on the page; ``filterable`` puts a search field above.
    """

    columns: tuple[Column, ...]
    rows: tuple[dict[str, Any], ...]
    caption: str = ""
    data_only: tuple[Column, ...] = ()
    filterable: bool = False

    def plain(self) -> list[dict[str, Any]]:
        """Rows of the file of data: plain values under readable headings."""
        named = [pair for column in (*self.columns, *self.data_only) for pair in column.in_file]
        return [{heading: row.get(key) for key, heading in named} for row in self.rows]

    def shown(self, row: dict[str, Any], column: Column) -> str:
        return show_value(row.get(column.key), column.kind)


_PRINT: dict[str, Callable[[Any], str]] = {
    "bytes": format_size,
    "seconds": format_time,
    "joules": format_energy,
    "count": lambda v: f"{v:,}".replace(",", "\u202f"),
    "score": percent,
    "share": lambda v: f"{v:+.2%}",
    "difference": lambda v: ("+" if v > 0 else "") + format_size(v),
}


def show_value(value: Any, kind: str = "text") -> str:
    """A value as a reader wants it; absent is a dash, never zero."""
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if kind in _PRINT and isinstance(value, int | float):
        return _PRINT[kind](value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def table(records: Sequence[RunRecord], budget: int | None = None) -> Table:
    """The main table: verdict, score with interval, predicted and measured peak, step time and sizes.

    Its file of data holds the columns of :func:`split` and the reasons as well.
    """
    budget = budget_of(records, budget)
    metric = metric_of(records).name
    columns = (
        Column("method", "Method"),
        Column("verdict", "Fits", "verdict", "why"),
        score_column(metric),
        Column("predicted", "Predicted peak", "bytes"),
        Column("measured", "Measured peak", "bytes"),
        Column("difference", "Error of prediction", "difference"),
        _quantity_column("step_time", "Step time", "seconds"),
        Column("trainable", "Trainable", "count"),
        Column("adapter_bytes", "Saved adapter", "bytes"),
    )
    others = ("family", "state", "why", "seeds", "error", "reference")
    hidden = (*(Column(key, key.capitalize()) for key in others), *_split_columns()[1:])
    return Table(columns, tuple(_row(g, budget) for g in group(records)), _caption(records), hidden)


def score_column(metric: str) -> Column:
    """Mean score with its interval, for rows with ``score_text``, ``score``, ``score_low`` and ``score_high``."""
    name = metric.capitalize()
    ends = (("score_low", f"{name}, low end of 95 %"), ("score_high", f"{name}, high end of 95 %"))
    return Column("score_text", f"{name} (95 %)", data=(("score", name), *ends))


def _quantity_column(key: str, title: str, unit: str) -> Column:
    return Column(f"{key}_text", title, data=((key, f"{title}, {unit}"), (f"{key}_kind", f"{title} is")))


def split(records: Sequence[RunRecord], budget: int | None = None) -> Table:
    """The peak of each method by category, and what a step takes on the chosen device."""
    text = f"The categories add up to the peak of one step. {_EMPTY} {AT_BEST}"
    return Table(_split_columns(), tuple(_row(g, budget_of(records, budget)) for g in group(records)), text)


def _split_columns() -> tuple[Column, ...]:
    return (
        Column("method", "Method"),
        *(Column(f"category:{c}", c.value.capitalize(), "bytes") for c in Category),
        Column("split_source", "Split is"),
        _quantity_column("device_time", "Step on device", "seconds"),
        _quantity_column("device_energy", "Energy on device", "joules"),
    )


_EMPTY = "A dash is not known. Times and energies carry their kind."
#: Said wherever extrapolated times stand beside measured ones.
AT_BEST = (
    "A time extrapolated from counted work is one at best: a net of many small operators, such as depthwise "
    "convolutions, takes several times as long."
)


def _caption(records: Sequence[RunRecord]) -> str:
    return f"{len(records)} runs. The error of the prediction is predicted minus measured peak. {_EMPTY}"


def verdict(group: Group, budget: int | None) -> str:
    """One short phrase: fits, or by how much not and what binds; :func:`why` says it in full."""
    running = "running, " if group.state is State.RUNNING else ""
    over = budget is not None and group.peak is not None and group.peak[0] > budget
    judged = (State.DONE, State.RUNNING, State.PREDICTED)
    if group.state not in judged and not (over and group.state is State.REFUSED):
        return group.state.value
    if budget is None:
        return f"{running}no budget"
    if group.peak is None:
        return f"{running}peak not known"
    if not over:
        return f"{running}fits"
    binding = f", {group.profile.binding_category}" if group.profile else ""
    marked = "reference, " if group.reference else ""
    return f"{running}{marked}no: {format_size(group.peak[0] - budget)} over{binding}"


def why(group: Group, budget: int | None) -> str:
    """The reasons that the runs gave, and what the verdict rests on; empty when there is nothing to add."""
    said = [group.reason] if group.reason else []
    if group.reference:
        said.append(REFERENCE)
    if not said and budget is not None and group.fits(budget) is False and group.peak and group.profile:
        said.append(f"{group.peak[1]} peak {format_size(group.peak[0])}; {group.profile.binding_category} binds")
    return "; ".join(said)


def _row(group: Group, budget: int | None) -> dict[str, Any]:
    predicted = group.predicted.peak if group.predicted else None
    measured = group.measured_peak
    off = predicted - measured if predicted is not None and measured is not None else None
    interval = group.interval
    first = group.runs[0]
    row: dict[str, Any] = {
        "method": group.label,
        "family": group.family,
        "state": group.state.value,
        "fits": group.fits(budget),
        "verdict": verdict(group, budget),
        "why": why(group, budget) or None,
        "reference": group.reference,
        "predicted": predicted,
        "measured": measured,
        "difference": off,
        "error": off / measured if off is not None and measured else None,
        "split_source": group.profile.source.value.partition(":")[0] if group.profile else None,
        **_quantity("step_time", [r.step_time for r in group.runs], "seconds"),
        **_quantity("device_time", [r.device_step_time for r in group.runs], "seconds"),
        **_quantity("device_energy", [r.device_step_energy for r in group.runs], "joules"),
        "trainable": first.trainable or None,
        "adapter_bytes": next((r.adapter_bytes for r in group.runs if r.adapter_bytes is not None), None),
        "score": interval.mean if interval else None,
        "score_low": interval.low if interval else None,
        "score_high": interval.high if interval else None,
        "score_text": score_text(group),
        "seeds": ", ".join(str(r.seed) for r in group.runs),
        "runs": list(group.ids),
    }
    for category in Category:
        row[f"category:{category}"] = group.profile.by_category.get(category, 0) if group.profile else None
    return row


def score_text(group: Group) -> str | None:
    """Mean score with its interval; None when no seed finished."""
    interval = group.interval
    if interval is None:
        return None
    if interval.low is None or interval.high is None:
        return group.metric.shown(interval.mean)
    mean, low, high = map(group.metric.shown, (interval.mean, interval.low, interval.high))
    return f"{mean} ({low} to {high})"


def _quantity(key: str, found: Sequence[Quantity | None], unit: str) -> dict[str, Any]:
    """The mean of what is there, its kind, and both in words; nothing where nothing is known."""
    known = [q for q in found if q is not None and q.value is not None]
    if not known:
        return {}
    kinds = "/".join(dict.fromkeys(q.kind for q in known))
    value = mean([float(q.value) for q in known if q.value is not None])
    return {key: value, f"{key}_kind": kinds, f"{key}_text": f"{show_value(value, unit)} ({kinds})"}
