"""What optimizers with little state keep, cost and score beside the first one of the comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from workbench.core.profile import Category, MemoryProfile
from workbench.core.units import format_size
from workbench.figures.groups import Group, budget_of, group, metric_of
from workbench.figures.table import Column, Table, score_text, verdict, why
from workbench.records.schema import RunRecord, StepRecord
from workbench.stats import paired_difference

#: Steps at the start of a run in which every basis is refreshed.
OPENING = 3


def low_state_answer(records: Sequence[RunRecord]) -> str:
    """State of every other arm as a share of the first one's; below, what that costs, never beyond the interval."""
    groups = [g for g in group(records) if g.profile is not None]
    base = _state(groups[0].profile) if groups else None
    if len(groups) < 2 or not base:
        return "There is nothing to compare: fewer than two arms have a result, or the first keeps no state."
    first, others = groups[0], groups[1:]
    shares = [f"{g.label} keeps {100 * (_state(g.profile) or 0) / base:.1f} %" for g in others]
    head = f"Of the {format_size(base)} of optimizer state of {first.label}, {'; '.join(shares)}."
    return f"{head}\n{' '.join(_against(g, first, records) for g in others)}"


def _against(one: Group, first: Group, records: Sequence[RunRecord]) -> str:
    metric = metric_of(records).name
    found = paired_difference(one.by_seed, first.by_seed)
    if found is None:
        return f"{one.label} has no {metric} to compare."
    text = f"{one.label}: {found.mean * 100:+.1f} points of {metric} against {first.label}"
    if found.low is None or found.high is None:
        return f"{text} (one seed, no interval)."
    told = ", not told apart" if found.low <= 0 <= found.high else ""
    span = f"{found.low * 100:+.1f} to {found.high * 100:+.1f}"
    return f"{text} (paired 95 % interval {span} over {found.count} seeds{told})."


def low_state_table(records: Sequence[RunRecord], budget: int | None = None) -> Table:
    """One row for each arm: score, state predicted and measured, peak, and the step time as a ratio to the first."""
    groups = group(records)
    base = groups[0] if groups else None
    columns = (
        Column("method", "Arm"),
        Column("verdict", "Fits", "verdict", "why"),
        Column("score_text", f"{metric_of(records).name.capitalize()} (95 %)"),
        Column("state_predicted", "State, predicted", "bytes"),
        Column("state_measured", "State, measured", "bytes"),
        Column("peak", "Peak, measured", "bytes"),
        Column("time_ratio", "Time / first", "ratio"),
    )
    text = (
        "State is what the optimizer keeps between steps: moments, bases, histories. The time of a step is measured: "
        "the median wall clock in an arm's least disturbed seed, over that of the first arm. A dash is not known."
    )
    hidden = (Column("why", "why"), Column("state_share", "state_share"))
    return Table(columns, tuple(_row(g, base, budget_of(records, budget)) for g in groups), text, hidden)


def _row(one: Group, base: Group | None, budget: int | None) -> dict[str, Any]:
    predicted, measured = _state(one.predicted), _state(one.measured)
    whole = _state(base.profile) if base else None
    seconds, unit = _seconds(one), _seconds(base) if base else None
    shown = measured if measured is not None else predicted
    return {
        "method": one.label,
        "fits": one.fits(budget),
        "verdict": verdict(one, budget),
        "why": why(one, budget) or None,
        "score_text": score_text(one),
        "state_predicted": predicted,
        "state_measured": measured,
        "state_share": shown / whole if whole and shown is not None else None,
        "peak": one.measured_peak,
        "time_ratio": round(seconds / unit, 2) if seconds and unit else None,
    }


def _state(profile: MemoryProfile | None) -> int | None:
    return None if profile is None else int(profile.by_category.get(Category.OPTIMIZER, 0))


def _seconds(one: Group) -> float | None:
    """The median step of the least disturbed seed."""
    known = [r.step_time.value for r in one.runs if r.step_time is not None and r.step_time.value is not None]
    return min(known) if known else None


def refresh_table(records: Sequence[RunRecord]) -> Table:
    """What refreshing the projection costs: steps that do against steps that do not, of every arm that projects."""
    columns = (
        Column("method", "Arm"),
        Column("refresh", "Projector"),
        Column("interval", "Refreshed every", "count"),
        Column("ordinary", "Ordinary step", "seconds"),
        Column("refreshing", "Refreshing step", "seconds"),
        Column("share", "Share of all time", "score"),
    )
    text = (
        "Measured wall clock, medians over steps and seeds without the opening of a run. The share is what refreshing "
        "adds, of the time of a whole interval; who refreshes at every step has no ordinary step to compare with."
    )
    rows = [_refresh(g) for g in group(records) if "interval" in g.runs[0].config and any(r.steps for r in g.runs)]
    return Table(columns, tuple(rows), text)


def _refresh(one: Group) -> dict[str, Any]:
    config = one.runs[0].config
    interval = int(config["interval"])
    steps = [s for r in one.runs for s in r.steps if s.step >= OPENING and not s.layer_norms]
    slow = _middle([s for s in steps if s.step % interval == 0])
    plain = _middle([s for s in steps if s.step % interval])
    added = slow - plain if slow is not None and plain is not None else None
    share = added / (plain * interval + added) if added is not None and plain is not None else None
    return {
        "method": one.label,
        "refresh": {"svd": "full SVD", "iteration": "one warm subspace iteration"}.get(str(config["refresh"])),
        "interval": interval,
        "ordinary": plain,
        "refreshing": slow,
        "share": None if share is None else max(0.0, share),  # below zero is noise
    }


def _middle(steps: Sequence[StepRecord]) -> float | None:
    return median(s.seconds for s in steps) if steps else None


@dataclass(frozen=True)
class PaperModel:
    """A model of the paper: shapes and rank as in the authors' configuration files, memory as its table prints it."""

    name: str
    hidden: int
    intermediate: int
    layers: int
    rank: int
    full: str
    galore: str


VOCABULARY, HISTORY, BF16 = 32_000, 20, 2
#: Read in configs/llama_*.json of jiaweizzhao/GaLore at 8460814c, and in the memory column of the Natural GaLore paper.
PAPER_MODELS = (
    PaperModel("60M", 512, 1376, 8, 128, "0.36 GB", "0.24 GB"),
    PaperModel("130M", 768, 2048, 12, 256, "0.76 GB", "0.52 GB"),
    PaperModel("350M", 1024, 2736, 24, 256, "2.06 GB", "1.22 GB"),
    PaperModel("1B", 2048, 5461, 24, 512, "7.80 GB", "4.38 GB"),
)


def counted(model: PaperModel) -> dict[str, int]:
    """Bytes of weights and state in bf16, Adam on the embeddings, projections in attention and feed-forward only."""
    square, wide = (model.hidden, model.hidden), (model.intermediate, model.hidden)
    matrices = [shape for shape in [square] * 4 + [wide] * 3 for _ in range(model.layers)]
    embeddings = 2 * VOCABULARY * model.hidden
    weights = embeddings + sum(m * n for m, n in matrices)
    moments = 2 * embeddings + sum(2 * max(s) * model.rank + min(s) * model.rank for s in matrices)
    history = HISTORY * sum(max(s) * model.rank for s in matrices)
    return {
        "full": BF16 * 3 * weights,
        "galore": BF16 * (weights + moments),
        "history": BF16 * history,
        "natural": BF16 * (weights + moments + history),
    }


def paper_memory() -> Table:
    """The paper's memory column, which prints one figure for both, beside what is counted from its shapes."""
    columns = (
        Column("name", "Model of the paper"),
        Column("rank", "Rank", "count"),
        Column("paper_full", "Paper: full"),
        Column("paper_galore", "Paper: GaLore and Natural GaLore"),
        Column("full", "Counted: full"),
        Column("galore", "Counted: GaLore"),
        Column("history", f"Counted: history of {HISTORY}"),
        Column("natural", "Counted: Natural GaLore"),
    )
    text = (
        "Weights and optimizer state in bf16 without norms. The paper's columns are its text; counted means arithmetic "
        "on the shapes in the authors' configuration files, not a measurement. The paper has one figure for both, so "
        "the history is in neither. GB is 10^9 bytes."
    )
    rows = [
        {"name": m.name, "rank": m.rank, "paper_full": m.full, "paper_galore": m.galore}
        | {name: f"{size / 1e9:.2f} GB" for name, size in counted(m).items()}
        for m in PAPER_MODELS
    ]
    return Table(columns, tuple(rows), text)
