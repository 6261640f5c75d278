"""One run: loss and peak memory of each step, what the memory is made of, and how the run stands."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any, ClassVar

from workbench.core.profile import Category, MemoryProfile
from workbench.core.units import format_size, format_time
from workbench.figures.compare import differences
from workbench.figures.groups import metric_of
from workbench.figures.info import FigureInfo, caption_of
from workbench.figures.style import CATEGORIES, CATEGORY_COLOURS
from workbench.figures.timeline import thinned
from workbench.records.schema import RunRecord, State, StepRecord

MAX_POINTS = 120
MAX_MOMENTS = 64  #: of the step that is followed inside; the whole figure goes to the page a few times a second
MAX_PINNED_POINTS = 60
RECENT = 20  #: steps whose time says how long the rest will take

#: Where a run stands that is not over, with what is said of it.
STAGES = {
    "ready": "not started",
    "queued": "waiting until the run before it is over",
    "preparing": "reading the data, predicting, and measuring the first step",
    "running": "training",
    "cancelling": "stopping; the steps done are kept",
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
_DRAWN = "Loss and peak memory of each step of one run (measured), and"
_NOT_STARTED = "No step was done:"
BAD = (State.OVER_BUDGET, State.OUT_OF_MEMORY, State.REFUSED, State.DIVERGED, State.FAILED)


@dataclass(frozen=True)
class PinnedRun:
    """Another run, kept in sight beside this one. ``differs`` is (fact, its value there, its value here)."""

    id: str
    name: str
    state: str
    partial: bool
    differs: tuple[tuple[str, str, str], ...]
    steps: tuple[int, ...]
    losses: tuple[float, ...]
    peaks: tuple[int | None, ...]


@dataclass(frozen=True)
class RunInfo(FigureInfo):
    """One run, over or not. Sizes are bytes, times seconds; each point stands for a block of steps.

    ``steps`` count from 1, as in step 3 of 100, and name the last of each block; ``losses`` are means of blocks,
    ``peaks`` highest values, so that no peak is lost. ``by_category`` splits ``profile_peak`` in the order of
    ``categories``; ``source`` says whether it is measured or predicted. ``inside[category][moment]`` follows that one
    step through its ``phases``. ``held`` says from which point on how much was live before a step, by category.
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
    phases: tuple[str, ...]
    inside: tuple[tuple[int, ...], ...]
    held: tuple[tuple[int, tuple[int, ...]], ...]
    pins: tuple[PinnedRun, ...]
    is_pinned: bool
    categories: tuple[str, ...]
    colours: tuple[str, ...]
    command: str
    python: str

    def printed(self) -> tuple[str, ...]:
        return tuple(text for text in (self.sentence, self.reason, *(f"Way out: {way}." for way in self.ways)) if text)

    def rows(self) -> list[dict[str, Any]]:
        """One row for each point that is drawn; of a run without a step, one for each moment of the one predicted."""
        if not self.steps:
            return [
                {"method": self.method, "moment": i, "phase": phase, **{f"{c} bytes": s[i] for c, s in named}}
                for named in [tuple(zip(self.categories, self.inside))]
                for i, phase in enumerate(self.phases)
            ]
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
    pinned: Sequence[RunRecord] = (),
) -> RunInfo:
    """The figure of one record; ``stage`` is one of ``STAGES`` while its state is still ``RUNNING``.

    ``note`` is a sentence to add, such as that the record was taken from the store. ``pinned`` runs are drawn beside.
    """
    over = record.state is not State.RUNNING
    state = record.state.value if over else stage or "running"
    profile = record.measured or record.predicted
    moments = [profile.timeline[i] for i in thinned(profile.timeline, MAX_MOMENTS)] if profile else []
    blocks = _blocks(record.steps)
    left = None if over else _left(record)
    sentence = _sentence(record, state, left, note)
    return RunInfo(
        title=f"{record.method} on {record.task}, seed {record.seed}",
        caption=caption_of(
            f"{_DRAWN if blocks else _NOT_STARTED} the memory inside one step by category"
            f"{f' ({profile.source.value})' if profile else ''}.",
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
        losses=_losses(blocks),
        peaks=_peaks(blocks),
        highest=record.steps_peak,
        seconds_left=left,
        source=profile.source.value if profile else "",
        profile_peak=profile.peak if profile else None,
        profile_sentence=profile.sentence() if profile else "",
        by_category=_split(profile),
        phases=tuple(m.phase.value for m in moments),
        inside=tuple(tuple(m.live.get(c, 0) for m in moments) for c in Category) if moments else (),
        held=_held(blocks),
        pins=pins(record, pinned),
        is_pinned=any(other.id == record.id for other in pinned),
        categories=CATEGORIES,
        colours=tuple(CATEGORY_COLOURS[c] for c in CATEGORIES),
        command=command,
        python=python,
    )


def pins(record: RunRecord, pinned: Sequence[RunRecord]) -> tuple[PinnedRun, ...]:
    """Pinned runs as they stand beside ``record``; itself and runs without a step are left out."""
    found = []
    for other in pinned:
        if not other.steps or other.id == record.id:
            continue
        blocks = _blocks(other.steps, MAX_PINNED_POINTS)
        steps = tuple(block[-1].step + 1 for block in blocks)
        state, partial = other.state.value, other.state is not State.DONE
        state += f" after {len(other.steps)} of {other.planned_steps} steps" if partial else ""
        name, differs = f"{other.method}, seed {other.seed}", differences(other, record)
        found.append(PinnedRun(other.id, name, state, partial, differs, steps, _losses(blocks), _peaks(blocks)))
    return tuple(found)


def _losses(blocks: Sequence[Sequence[StepRecord]]) -> tuple[float, ...]:
    return tuple(fmean(s.loss for s in block) for block in blocks)


def _peaks(blocks: Sequence[Sequence[StepRecord]]) -> tuple[int | None, ...]:
    return tuple(max((s.peak for s in block if s.peak is not None), default=None) for block in blocks)


def _held(blocks: Sequence[Sequence[StepRecord]]) -> tuple[tuple[int, tuple[int, ...]], ...]:
    """(point, bytes by category) from where on that is held: what was live before the highest step of the block."""
    now, found = tuple[int, ...](), list[tuple[int, tuple[int, ...]]]()
    for point, block in enumerate(blocks):
        highest = max((s.peak or 0 for s in block), default=0)
        shown = now
        for step in block:
            if step.held:
                now = tuple(step.held.get(c, 0) for c in CATEGORIES)
            shown = now if step.peak == highest else shown
        if shown and (not found or found[-1][1] != shown):
            found.append((point, shown))
    return tuple(found)


def _split(profile: MemoryProfile | None) -> tuple[int, ...]:
    return tuple(profile.by_category.get(c, 0) for c in CATEGORIES) if profile else ()  # type: ignore[call-overload]


def _blocks(steps: Sequence[StepRecord], most: int = MAX_POINTS) -> list[Sequence[StepRecord]]:
    """At most so many blocks of the steps that were done. Their width doubles, so that points rarely move."""
    finite = [s for s in steps if math.isfinite(s.loss)]
    width = 1
    while len(finite) > width * most:
        width *= 2
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
        highest = record.steps_peak
        if highest is not None:
            text += f", highest peak {format_size(highest)}"
            text += f" of {format_size(record.budget)}" if record.budget is not None else ""
    if left is not None and state == "running":
        text += f", about {format_time(left)} left (extrapolated)"
    if record.accuracy is not None:
        metric = metric_of([record])
        text += f", {metric.name} {metric.shown(record.accuracy)}"
    search = f"{record.note[0].upper()}{record.note[1:]}." if record.note else ""
    return " ".join(part for part in (f"{text}.", search, note) if part)
