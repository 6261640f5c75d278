"""One run: loss and peak memory of each step, what the memory is made of, and how the run stands."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any, ClassVar

from workbench.core.profile import MemoryProfile
from workbench.core.units import format_size, format_time
from workbench.figures.info import FigureInfo, caption_of
from workbench.figures.style import CATEGORIES, CATEGORY_COLOURS
from workbench.records.schema import RunRecord, State, StepRecord

MAX_POINTS = 120
RECENT = 20  #: steps whose time says how long the rest will take

#: Where a run stands that is not over, with what is said of it.
STAGES = {
    "ready": "not started",
    "queued": "waiting until the run before it is over",
    "preparing": "reading the data, predicting, and measuring the first step",
    "running": "training",
    "cancelling": "stopping after the step under way; what was done is kept",
}
#: What the end of a run means, for whoever does not know the word.
ENDS = {
    State.DONE: "trained to the end under its budget",
    State.CANCELLED: "stopped on request; the steps done are kept and marked",
    State.OVER_BUDGET: "stopped before the allocation that would have passed the budget",
    State.OUT_OF_MEMORY: "stopped because the machine has no more memory",
    State.PREDICTED: "not run",
    State.REFUSED: "not started",
    State.DIVERGED: "stopped because the loss was no longer finite",
    State.FAILED: "stopped by an error",
}
BAD = (State.OVER_BUDGET, State.OUT_OF_MEMORY, State.REFUSED, State.DIVERGED, State.FAILED)


@dataclass(frozen=True)
class RunInfo(FigureInfo):
    """One run, over or not. Sizes are bytes, times seconds; each point stands for a block of steps.

    ``steps`` count from 1, as in step 3 of 100, and name the last of each block; ``losses`` are means of blocks,
    ``peaks`` highest values, so that no peak is lost. ``by_category`` splits ``profile_peak`` in the order of
    ``categories``; ``source`` says whether it is measured or predicted.
    """

    kind: ClassVar[str] = "run"
    module: ClassVar[str] = "run"

    method: str
    state: str
    sentence: str  #: how the run stands
    reason: str  #: why it ended as it did; for a budget, who asked for how much
    ways: tuple[str, ...]  #: ways out of the budget, each verified by a prediction
    over: bool
    bad: bool
    live: bool  #: whether buttons that start and cancel have a kernel behind them
    budget: int | None
    planned: int
    done: int
    steps: tuple[int, ...]
    losses: tuple[float, ...]
    peaks: tuple[int | None, ...]
    highest: int | None
    seconds_left: float | None
    source: str
    profile_peak: int | None
    profile_sentence: str
    by_category: tuple[int, ...]
    categories: tuple[str, ...]
    colours: tuple[str, ...]
    command: str
    python: str

    def rows(self) -> list[dict[str, Any]]:
        """One row for each point that is drawn."""
        return [
            {"method": self.method, "step": step, "loss": loss, "peak bytes": peak, "budget bytes": self.budget}
            for step, loss, peak in zip(self.steps, self.losses, self.peaks)
        ]


def run(
    record: RunRecord,
    *,
    stage: str = "",
    note: str = "",
    live: bool = False,
    command: str = "",
    python: str = "",
) -> RunInfo:
    """The figure of one record; ``stage`` is one of ``STAGES`` while its state is still ``RUNNING``.

    ``note`` is a sentence to add, such as that the record was taken from the store.
    """
    over = record.state is not State.RUNNING
    state = record.state.value if over else stage or "running"
    profile = record.measured or record.predicted
    blocks = _blocks(record.steps, record.planned_steps)
    left = None if over else _left(record)
    sentence = _sentence(record, state, left, note)
    return RunInfo(
        title=f"{record.method} on {record.task}, seed {record.seed}",
        caption=caption_of(
            "Loss and peak memory of each step of one run (measured), and what the memory of the step is made of.",
            [record.id] if record.id else [],
        ),
        alt=sentence,
        runs=(record.id,) if record.id else (),
        method=record.method,
        state=state,
        sentence=sentence,
        reason=record.reason,
        ways=record.ways or (),
        over=over,
        bad=record.state in BAD,
        live=live,
        budget=record.budget,
        planned=record.planned_steps,
        done=len(record.steps),
        steps=tuple(block[-1].step + 1 for block in blocks),
        losses=tuple(fmean(s.loss for s in block) for block in blocks),
        peaks=tuple(max((s.peak for s in block if s.peak is not None), default=None) for block in blocks),
        highest=_highest(record.steps),
        seconds_left=left,
        source=profile.source.value if profile else "",
        profile_peak=profile.peak if profile else None,
        profile_sentence=profile.sentence() if profile else "",
        by_category=_split(profile),
        categories=CATEGORIES,
        colours=tuple(CATEGORY_COLOURS[c] for c in CATEGORIES),
        command=command,
        python=python,
    )


def _split(profile: MemoryProfile | None) -> tuple[int, ...]:
    return tuple(profile.by_category.get(c, 0) for c in CATEGORIES) if profile else ()  # type: ignore[call-overload]


def _highest(steps: Sequence[StepRecord]) -> int | None:
    return max((s.peak for s in steps if s.peak is not None), default=None)


def _blocks(steps: Sequence[StepRecord], planned: int) -> list[Sequence[StepRecord]]:
    """Blocks of steps as wide as the whole run will need, so that points stay where they are as it grows."""
    finite = [s for s in steps if math.isfinite(s.loss)]
    width = max(1, math.ceil(max(len(finite), planned) / MAX_POINTS))
    return [finite[i : i + width] for i in range(0, len(finite), width)]


def _left(record: RunRecord) -> float | None:
    """Seconds that the remaining steps take at the median of the last ones; extrapolated."""
    if not record.steps or not record.planned_steps:
        return None
    return median(s.seconds for s in record.steps[-RECENT:]) * (record.planned_steps - len(record.steps))


def _sentence(record: RunRecord, state: str, left: float | None, note: str) -> str:
    meaning = ENDS.get(record.state) or STAGES[state]
    text = f"{record.method} is {state}" if record.state is State.RUNNING else f"{record.method}: {state}"
    text += f", {meaning}"
    if record.steps:
        text += f". Step {len(record.steps)} of {record.planned_steps}, loss {record.steps[-1].loss:.3g}"
        highest = _highest(record.steps)
        if highest is not None:
            text += f", highest peak {format_size(highest)}"
            text += f" of {format_size(record.budget)}" if record.budget is not None else ""
    if left is not None and state == "running":
        text += f", about {format_time(left)} left (extrapolated)"
    if record.accuracy is not None:
        text += f", {record.score.get('name', 'score')} {record.accuracy:.4g}"
    search = f"{record.note[0].upper()}{record.note[1:]}." if record.note else ""
    return " ".join(part for part in (f"{text}.", search, note) if part)
