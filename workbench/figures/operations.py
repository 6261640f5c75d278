"""Score against the operations of the whole training, what choosing tensors took included."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from workbench.figures.groups import Metric, group, metric_of
from workbench.figures.info import caption_of
from workbench.figures.points import Place, PointsInfo, places
from workbench.figures.table import Column, Table, score_text
from workbench.records.schema import RunRecord


class Spent(Protocol):
    """Operations of one run; see :class:`workbench.studies.operations.Spent`."""

    @property
    def training(self) -> int: ...
    @property
    def choosing(self) -> int: ...
    @property
    def full(self) -> int: ...


def operations(records: Sequence[RunRecord], spent: Mapping[str, Spent]) -> PointsInfo:
    """The picture; ``spent`` by run id."""
    known = [r for r in records if r.id in spent]
    groups, metric = group(known), metric_of(known)
    found = places(groups, lambda r: (spent[r.id].training + spent[r.id].choosing) / 1e12, lambda r: r.accuracy)
    runs = tuple(r.id for g in groups for r in g.runs)
    return PointsInfo(
        title=f"{metric.name.capitalize()} against operations",
        caption=caption_of(
            "Operations of all steps as torch's own counter counts them, with the two passes of each choice. Large "
            "marks are means, small ones seeds, bars 95 % t intervals over seeds.",
            runs,
        ),
        alt=_alt(found, metric, "TFLOP"),
        runs=runs,
        x_label="operations of the training, TFLOP",
        y_label=f"{metric.name} ({'lower' if metric.lower_is_better else 'higher'} is better)",
        y_is_share=metric.share,
        x_from_zero=True,
        rule=None,
        rule_label="",
        places=found,
    )


def operations_table(records: Sequence[RunRecord], spent: Mapping[str, Spent]) -> Table:
    """One row for each arm: its score, its operations as shares of full tuning's, and its peaks."""
    columns = (
        Column("method", "Arm"),
        Column("score", "Score (95 %)"),
        Column("step", "A step / full's", "score"),
        Column("target", "Its target", "score"),
        Column("whole", "All steps and choices / full's", "score"),
        Column("ordinary", "Highest ordinary step", "bytes"),
        Column("choosing", "Highest choosing step", "bytes"),
        Column("predicted", "Predicted peak", "bytes"),
    )
    text = (
        "Operations are counted on the steps that ran, as shares of full tuning for as many steps. A step that chooses "
        "keeps a copy of the weights it tries; the prediction is of that step. A dash: nothing is chosen. A step lies "
        "more than 2 % below its target where no further tensor fits beside those chosen."
    )
    rows = [_row(g, spent) for g in group([r for r in records if r.id in spent])]
    return Table(columns, tuple(rows), text)


def _row(one: Any, spent: Mapping[str, Spent]) -> dict[str, Any]:
    shares = [spent[r.id] for r in one.runs]
    peaks = [(s.peak, _chooses(r, s.step)) for r in one.runs for s in r.steps if s.peak is not None]
    full = sum(s.full for s in shares) or 1
    return {
        "method": one.label,
        "score": score_text(one),
        "step": sum(s.training for s in shares) / full,
        "target": max((_target(c) for r in one.runs for c in r.choices), default=None),
        "whole": sum(s.training + s.choosing for s in shares) / full,
        "ordinary": max((p for p, chooses in peaks if not chooses), default=None),
        "choosing": max((p for p, chooses in peaks if chooses), default=None),
        "predicted": one.predicted.peak if one.predicted else None,
    }


def _target(choice: Mapping[str, Any]) -> float:
    return float((choice["forward"] + choice["budget"]) / choice["full"])


def _chooses(record: RunRecord, step: int) -> bool:
    return step in {int(c["step"]) for c in record.choices if c.get("selecting")}


def _alt(found: Sequence[Place], metric: Metric, unit: str) -> str:
    if not found:
        return "No run has its operations counted."
    return "; ".join(f"{p.label} {metric.shown(p.y)} {metric.name} for {p.x:.3g} {unit}" for p in found) + "."
