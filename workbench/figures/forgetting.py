"""What was learned against what was forgotten: score on the own task, and on one the model was not tuned on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from workbench.figures.groups import Metric, group, metric_of
from workbench.figures.info import caption_of
from workbench.figures.points import Place, PointsInfo, places
from workbench.figures.table import Column, Table, score_text
from workbench.records.schema import RunRecord


def forgetting(records: Sequence[RunRecord]) -> PointsInfo:
    """The picture of every run that was asked about another task."""
    known = [r for r in records if r.held_out]
    groups, metric = group(known), metric_of(known)
    found = places(groups, lambda r: r.accuracy, lambda r: r.held_out["value"])
    task, name, lower, before = _asked(known)
    runs = tuple(r.id for g in groups for r in g.runs)
    return PointsInfo(
        title=f"Learned and forgotten: {task}" if task else "Learned and forgotten",
        caption=caption_of(
            f"Across, the score on the task that was tuned; upwards, {name} on {task or 'another task'}. The line is "
            "the model before tuning. Large marks are means, small ones seeds, bars 95 % t intervals over seeds.",
            runs,
        ),
        alt=_alt(found, metric, task, before),
        runs=runs,
        x_label=metric.name,
        y_label=f"{name} on {task} ({'lower' if lower else 'higher'} is better)" if task else "held-out score",
        y_is_share=not lower,
        x_from_zero=False,
        rule=before,
        rule_label="before tuning",
        places=found,
    )


def forgetting_table(records: Sequence[RunRecord]) -> Table:
    """One row for each arm: what trains, what ships, what was learned and what the other task lost."""
    groups = group(records)
    columns = (
        Column("method", "Arm"),
        Column("score", "Score (95 %)"),
        Column("held", "Held-out score"),
        Column("change", "Change by tuning"),
        Column("trained", "Trained", "count"),
        Column("adapter", "Ships as", "bytes"),
        Column("peak", "Peak, measured", "bytes"),
        Column("predicted", "Peak, predicted", "bytes"),
    )
    task, name, _, before = _asked([r for r in records if r.held_out])
    said = f" Held out is {task}: {name}, {before:.4g} before tuning." if task and before is not None else ""
    text = f"Means over seeds with 95 % t intervals.{said}"
    return Table(columns, tuple(_row(g) for g in groups), text)


def _row(one: Any) -> dict[str, Any]:
    held = [r.held_out["value"] for r in one.runs if r.held_out]
    before = [r.held_out["before"] for r in one.runs if r.held_out]
    adapters = [r.adapter_bytes for r in one.runs if r.adapter_bytes is not None]
    return {
        "method": one.label,
        "score": score_text(one),
        "held": f"{sum(held) / len(held):.4g}" if held else None,
        "change": _change([v - b for v, b in zip(held, before)]),
        "trained": max((r.trainable for r in one.runs), default=None),
        "adapter": max(adapters, default=None),
        "peak": one.measured.peak if one.measured else None,
        "predicted": one.predicted.peak if one.predicted else None,
    }


def _change(values: Sequence[float]) -> str | None:
    from workbench.stats import mean, t_interval

    if len(values) < 2:
        return f"{values[0]:+.4f} (one seed)" if values else None
    spread = t_interval(values)
    return f"{mean(values):+.4f} ({spread.low:+.4f} to {spread.high:+.4f})"


def _asked(records: Sequence[RunRecord]) -> tuple[str, str, bool, float | None]:
    if not records:
        return "", "a score", False, None
    held = records[0].held_out
    return held["task"], held["name"], bool(held["lower_is_better"]), held["before"]


def _alt(found: Sequence[Place], metric: Metric, task: str, before: float | None) -> str:
    if not found or before is None:
        return "No run was asked about another task."
    parts = [f"{p.label} learns {metric.shown(p.x)} and keeps {p.y:.4g}" for p in found]
    return f"{'; '.join(parts)} on {task}, against {before:.4g} before tuning."
