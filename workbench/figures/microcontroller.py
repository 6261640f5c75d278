"""Tables of a step on a microcontroller: its SRAM line by line, its fit, and arms at their own learning rates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from workbench.core.units import format_size
from workbench.figures.info import percent
from workbench.figures.table import Column, Table
from workbench.figures.update_order import PLANNED, UpdateOrderInfo, update_order
from workbench.records.schema import RunRecord
from workbench.stats import score_interval


class Line(Protocol):
    """See :class:`workbench.lens.microcontroller.Line`."""

    @property
    def label(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def size(self) -> int: ...


class Plan(Protocol):
    """See :class:`workbench.lens.microcontroller.StepPlan`."""

    @property
    def sram(self) -> int: ...
    @property
    def arena(self) -> int: ...
    @property
    def flash_bytes(self) -> int: ...
    @property
    def instructions(self) -> tuple[str, ...]: ...
    @property
    def peak_instruction(self) -> int: ...
    def ledger(self) -> Sequence[Line]: ...


class Arm(Protocol):
    """See :class:`workbench.studies.tuned_arms.TunedArm`."""

    @property
    def label(self) -> str: ...
    @property
    def lr(self) -> float: ...
    @property
    def losses(self) -> Mapping[float, float | None]: ...
    @property
    def records(self) -> tuple[RunRecord, ...]: ...
    @property
    def scores(self) -> tuple[float, ...]: ...


def sram_table(plan: Plan) -> Table:
    """Every byte of SRAM at the peak of the step, the largest lines first; the lines sum to the total."""
    lines = sorted(plan.ledger(), key=lambda line: -line.size)
    rows: list[dict[str, Any]] = [{"label": line.label, "kind": line.kind, "size": line.size} for line in lines]
    rows.append({"label": "all of SRAM", "kind": "total", "size": plan.sram})
    columns = (Column("label", "What"), Column("kind", "Kind"), Column("size", "Bytes", "bytes"))
    text = (
        f"Predicted, exact: {plan.sram:,} bytes, of which {plan.arena:,} are the planned arena, fullest at "
        f"{plan.instructions[plan.peak_instruction]}. Its forward and backward pass, performed inside an arena of "
        "that size, give the same integers as outside it; an update, made from each sum where it lies, is not "
        "performed there. Code, stack and the sensor's own buffer are not in it."
    )
    return Table(columns, tuple(rows), text, filterable=True)


def plans_table(plans: Mapping[str, Plan], refusals: Mapping[str, str | None]) -> Table:
    """One row for each planned step: SRAM, arena, flash, and why it does not fit where it does not."""
    columns = (
        Column("label", "Step"),
        Column("verdict", "Fits", "verdict", "why"),
        Column("sram", "SRAM", "bytes"),
        Column("arena", "of it arena", "bytes"),
        Column("flash", "Flash", "bytes"),
    )
    rows = tuple(
        {
            "label": label,
            "verdict": "fits" if refusals[label] is None else "cannot",
            "why": refusals[label],
            "sram": plan.sram,
            "arena": plan.arena,
            "flash": plan.flash_bytes,
        }
        for label, plan in plans.items()
    )
    text = "Predicted from the plan of one step on one example; nothing runs. Flash holds the net, not the code."
    return Table(columns, rows, text, (Column("why", "why"),))


def tuned_table(arms: Sequence[Arm]) -> Table:
    """One row for each arm: its rate, the grid it was chosen from, its score, and the bytes it keeps on this host."""
    columns = (
        Column("label", "Arm"),
        Column("lr", "Rate"),
        Column("grid", "Last loss by rate"),
        Column("score", "Score (95 %)"),
        Column("weights", "Weights", "bytes"),
        Column("state", "Optimizer state", "bytes"),
        Column("saved", "Saved for backward", "bytes"),
        Column("error", "Predicted less measured peak", "difference"),
    )
    rows = tuple(_tuned(arm) for arm in arms)
    text = (
        "Of the rates that an arm was given, the one with the lowest training loss at the end of one run was taken; "
        "the test score played no part. Bytes are measured on this host; workspace of the emulation is not shown."
    )
    return Table(columns, rows, text)


def _tuned(arm: Arm) -> dict[str, Any]:
    losses = "; ".join(f"{lr:g}: {'diverged' if loss is None else f'{loss:.2f}'}" for lr, loss in arm.losses.items())
    row: dict[str, Any] = {"label": arm.label, "lr": arm.lr, "grid": losses, "score": _score(arm)}
    measured = next((r.measured for r in arm.records if r.measured is not None), None)
    predicted = next((r.predicted for r in arm.records if r.predicted is not None), None)
    if measured is not None:
        sizes = {str(category): size for category, size in measured.by_category.items()}
        row |= {"weights": sizes.get("weights"), "state": sizes.get("optimizer state"), "saved": measured.saved}
    if measured is not None and predicted is not None:
        row["error"] = predicted.peak - measured.peak
    return row


def _score(arm: Arm) -> str:
    if not arm.scores:
        return "no run ended"
    found = score_interval(arm.scores, int(arm.records[0].score.get("count", 0)))
    if found.low is None or found.high is None:
        return percent(found.mean)
    return f"{percent(found.mean)} ({percent(found.low)} to {percent(found.high)})"


def contribution_table(found: Any, chosen: Any) -> Table:
    """Gains of :func:`workbench.studies.contribution.contributions`, and what the search took."""
    rows: list[dict[str, Any]] = [
        {"what": f"last {k} biases", "gain": gain, "chosen": "trains" if k == chosen.biases else "no"}
        for k, gain in found.biases.items()
    ]
    rows += [
        {
            "what": f"weight of convolution {i}, {share} of its input channels",
            "gain": gain,
            "chosen": "trains" if chosen.weights.get(i) == share else "no",
        }
        for (i, share), gain in found.weights.items()
    ]
    columns = (Column("what", "What trains"), Column("gain", "Gain in score", "share"), Column("chosen", "Chosen"))
    shared = (
        f" All at one rate of {found.lr:g}: what the head alone would gain at a rate of its own counts here as a gain "
        "of tensors."
        if found.lr
        else ""
    )
    text = (
        f"Measured in {found.runs} runs, each scored on {found.examples} training examples set aside and never on the "
        f"test set: biases over the head alone ({percent(found.base)}), weights over the last "
        f"{found.reference} biases. The chosen scheme needs {format_size(chosen.sram)} of SRAM; {chosen.tried} schemes "
        "were judged by their summed gain, which is an assumption, and by their planned bytes, which are exact."
        f"{shared}"
    )
    return Table(columns, tuple(rows), text)


def microcontroller_answer(plan: Plan, whole: Plan, arms: Sequence[Arm], budget: int) -> str:
    """What the page found, in two sentences that follow from its numbers."""
    scored = [a for a in arms if a.scores]
    best = max(scored, key=lambda a: sum(a.scores) / len(a.scores), default=None)
    fits = "fits" if plan.sram <= budget else "does not fit"
    head = (
        f"One step of the sparse scheme needs {format_size(plan.sram)} of SRAM and {fits} the {format_size(budget)}; "
        f"updating everything needs {format_size(whole.sram)}."
    )
    if best is None:
        return head
    told = "; ".join(f"{a.label} {_score(a)}" for a in scored)
    return f"{head}\nAt their own learning rates: {told}."


def planned_order(found: Any) -> UpdateOrderInfo:
    """Live bytes of planned steps, early against late updates, by scheme."""
    return update_order(found, PLANNED)


def learned_table(found: Sequence[Any]) -> Table:
    """What was learned with one example a step, beside the SRAM that step needs on the device."""
    columns = (
        Column("task", "Task"),
        Column("label", "What trains"),
        Column("lr", "Rate"),
        Column("score", "Score (95 %)"),
        Column("steps", "Examples seen", "count"),
        Column("sram", "SRAM, planned", "bytes"),
        Column("trained", "Trained numbers", "count"),
        Column("error", "Predicted less measured peak here", "difference"),
    )
    rows = tuple(_learned(arm) for arm in found)
    text = (
        "One example a step. Each row takes the rate of its own lowest training loss on the first seed. Scores are "
        "measured; SRAM is that of the plan, exact; the last column is of this host."
    )
    return Table(columns, rows, text)


def _learned(arm: Any) -> dict[str, Any]:
    first = arm.records[0]
    row = {
        "task": arm.group,
        "label": arm.label,
        "lr": arm.lr,
        "score": _score(arm),
        "sram": arm.sram,
        "trained": first.trainable,
    }
    if first.measured is not None and first.predicted is not None:
        row["error"] = first.predicted.peak - first.measured.peak
    return {**row, "steps": len(first.steps)}
