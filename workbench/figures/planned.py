"""Tables of what was asked before anything runs: verdicts on methods, and a plan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from workbench.core.units import format_energy, format_size, format_time
from workbench.figures.table import Column, Table

if TYPE_CHECKING:
    from collections.abc import Callable

    from workbench.plan.planned import Plan
    from workbench.plan.verdict import Verdict
    from workbench.records.schema import Quantity


def verdicts_table(verdicts: Sequence[Verdict]) -> Table:
    """One row for each method: whether it fits, its peak and what binds, its cost, and what to change."""
    columns = (
        Column("method", "Method"),
        Column("verdict", "Fits", "verdict"),
        Column("peak", "Predicted peak", "bytes"),
        Column("binding", "Mostly"),
        Column("time", "Step time"),
        Column("energy", "Energy"),
        Column("why", "Why, or what to change"),
    )
    hidden = tuple(Column(name, name) for name in ("family", "layer", "source"))
    return Table(columns, tuple(map(_row, verdicts)), "Nothing was run. Times and energies carry their kind.", hidden)


def _row(v: Verdict) -> dict[str, Any]:
    changes = "; ".join(f"{c.sentence} ({format_size(c.peak)}, {c.source})" for c in v.changes)
    return {
        "method": v.method,
        "verdict": v.fits,
        "fits": v.fits == "fits",
        "peak": v.peak,
        "binding": v.binding,
        "time": _valued(v.step_time, format_time),
        "energy": _valued(v.step_energy, format_energy),
        "why": changes or v.reason,
        "family": v.family,
        "layer": v.layer,
        "source": v.source,
    }


def plan_table(plan: Plan) -> Table:
    """A plan's settings and what it rests on, then slower ones that need less; the plan itself is the first row."""
    columns = (
        Column("settings", "Settings"),
        Column("peak", "Predicted peak", "bytes"),
        Column("speed", "Relative speed", "score"),
        Column("time", "Step time"),
    )
    own = {"settings": plan.words, "peak": plan.predicted.peak, "speed": 1.0, "fits": True}
    own["time"] = _valued(plan.step_time, format_time)
    others = [{"settings": o.words, "peak": o.peak, "speed": o.speed, "fits": True} for o in plan.others]
    return Table(columns, (own, *others), f"Chosen by {plan.objective}: {plan.searched}. What binds: {plan.binds}.")


def _valued(quantity: Quantity | None, words: Callable[[float], str]) -> str | None:
    if quantity is None or quantity.value is None:
        return None
    return f"{words(quantity.value)} ({quantity.kind})"
