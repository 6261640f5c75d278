"""The one training loop. The notebook, the command line and every report drive this and nothing else."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from workbench.case import Case
from workbench.checkpoints.keeper import Checkpoints
from workbench.core.alone import alone, each_alone
from workbench.core.errors import BadInput, BudgetExceeded, Incompatible, ResourceMissing
from workbench.core.profile import Category, MemoryProfile
from workbench.core.schedule import Schedule
from workbench.core.seeds import derive
from workbench.core.stopping import Stopped, check, heeding
from workbench.plan.refusal import SECONDS, passes, with_ways, with_ways_out
from workbench.records.schema import RunRecord, State, StepRecord
from workbench.results import broken, evaluated, results
from workbench.tasks.base import Sizes

if TYPE_CHECKING:
    from torch import nn

    from workbench.adapters import Adapter
    from workbench.parts.base import TrainingStep
    from workbench.tasks.base import Batch, Metrics, TaskData

OnStep = Callable[[StepRecord], None]

UNLIMITED = 2**62  #: bytes; the guard then only counts

#: Gradient norms by layer are taken at this many steps of a run, spread evenly.
NORM_STEPS = 24

#: With an arena a step with instruments is one that is not planned, so they are at most every this many steps.
NORM_EVERY_WITH_ARENA = 4


@dataclass
class Session:
    """Train one case with one seed under a budget.

    The data split depends on ``split_seed`` alone, so every method and seed sees the same test set; ``seed``
    moves the fresh weights, the order of examples and the noise. ``budget`` is bytes for everything torch
    holds for this training; ``None`` is unlimited. ``arena`` serves repeated steps from one planned block of
    memory: the same numbers to the bit, a smaller process; ``arena_use`` then says how that went. ``patience`` is
    how many seconds ways out of a budget that is passed may be looked for; 0: not at all. With ``checkpoints`` the
    training goes on from the last good one, to the bits it would have had without a stop. At about ``cosines`` steps
    an estimate is compared with the true gradient, which costs a backward pass beside the budget and changes no result.
    """

    case: Case
    seed: int = 0
    budget: int | None = None
    schedule: Schedule = field(default_factory=Schedule)
    sizes: Sizes = field(default_factory=Sizes)
    split_seed: int = 0
    evaluate_before: bool = False
    arena: bool = False
    cosines: int = 0
    patience: float = SECONDS
    cancel: threading.Event = field(default_factory=threading.Event)
    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    adapter: Adapter | None = None
    data: TaskData = field(init=False)
    model: nn.Module = field(init=False)
    training: TrainingStep = field(init=False)
    total: int = field(init=False, default=0)
    measured: MemoryProfile | None = field(init=False, default=None)
    arena_use: Mapping[str, int] = field(init=False, default_factory=dict)

    def load(self) -> None:
        """Load the data and count the steps; refuses a batch that the data cannot fill."""
        case = self.case
        sizes = replace(self.sizes, length=self.sizes.length or case.length)
        self.data = case.task.loaded(case.spec, sizes, self.split_seed)
        per_step = case.batch * case.accumulate
        if per_step > len(self.data.train):
            raise BadInput("batch", per_step, f"at most the {len(self.data.train)} training examples per step")
        self.total = self.schedule.total(len(self.data.train), per_step)

    @alone()
    def prepare(self) -> None:
        """Load data, build the model, attach the method. Nothing is trained yet."""
        case = self.case
        if not hasattr(self, "data"):
            self.load()
        self.model = case.attached(seed=self.seed)
        if self.adapter is not None:
            self.adapter.load_into(case, self.model)
        self.training = case.step(self.model)

    def steps(self) -> Iterator[StepRecord]:
        """Train; yields one record per step. Stops early, with the steps done kept, when cancelled: within a step
        that can be given up, else after it.

        Steps that a checkpoint has behind it are yielded again as they were. Before the very first the step itself
        is measured on its batch and everything put back. Raises ``BudgetExceeded``, with ways out, before the
        allocation that would pass the budget, and ``FloatingPointError`` when the loss is no longer finite.
        """
        try:
            with suppress(Stopped):  # cancelled while it waited for its first turn
                yield from each_alone(self._steps(), self.cancel)
        except BudgetExceeded as error:
            raise (with_ways_out(error, self.case, self.patience, self.cancel) if self.patience else error) from None

    def _steps(self) -> Generator[StepRecord]:
        from workbench.checkpoints.randomness import own_randomness
        from workbench.lens.estimate_angles import estimate_angles
        from workbench.lens.layers import layer_norms
        from workbench.memory.guard import guard
        from workbench.memory.interrupt import Interrupt
        from workbench.memory.measure import measure
        from workbench.memory.snapshot import Snapshot
        from workbench.predictions import recent_log

        log = recent_log(self.case)
        limit = UNLIMITED if self.budget is None else self.budget
        norm_every = max(NORM_EVERY_WITH_ARENA if self.arena else 2, self.total // NORM_STEPS)
        due = norm_every * max(1, round(self.total / norm_every / self.cosines)) if self.cosines else 0
        # The caller's random state is its own.
        with (
            own_randomness(derive(self.seed, "noise")) as lent, self._planned() as planned,
            self.checkpoints.of(self) as kept, Interrupt(self.cancel) as interrupt,
        ):  # fmt: skip
            yield from kept
            told: dict[Category, int] = {}
            for index, micro in enumerate(self._batches(len(kept)), len(kept)):
                if self.cancel.is_set():
                    return
                if index == 0:
                    with Snapshot(self.training), interrupt.anywhere():
                        self.measured = measure(self.training, micro, budget=self.budget, log=log)
                lr = self.case.config.lr * self.schedule.factor(index, self.total)
                self.training.set_lr(lr)
                self.training.epoch = index // max(1, len(self.data.train) // (self.case.batch * self.case.accumulate))
                norms = layer_norms(self.model) if index % norm_every == 0 else None
                angles = estimate_angles(self.case, self.training, micro) if due and index % due == 0 else None
                self.training.observer = angles.beside(norms) if norms and angles else norms
                started = time.perf_counter()
                with guard(limit, self.training, micro, log=log) as guarded, interrupt.of(self.training):
                    perform = planned if norms is None else self.training
                    loss = float(perform(micro, seed=derive(self.seed, "step", index)))
                seconds = time.perf_counter() - started
                if not math.isfinite(loss):
                    raise FloatingPointError(f"the loss became {loss} at step {index + 1} (seed {self.seed})")
                seen = (norms.values(), norms.updates()) if norms else ({}, {})
                watched = getattr(self.training.parts.estimator, "watched", None) if norms else None
                extras = watched(self.model) if watched else {}
                held, told = guarded.held if guarded.held != told else {}, guarded.held
                record = StepRecord(
                    index, loss, seconds, guarded.peak, lr, *seen, extras, held, angles.values() if angles else {}
                )
                self.checkpoints.after(record, self)
                with lent():
                    yield record

    @contextmanager
    def _planned(self) -> Iterator[Callable[..., Any]]:
        """What performs a step without instruments: the training itself, or an arena around it."""
        if not self.arena:
            yield self.training
            return
        from workbench.memory.arena import planned

        with planned(self.training) as arena:
            try:
                yield arena.step
            finally:
                self.arena_use = arena.use()

    def _batches(self, first: int = 0) -> Iterator[list[Batch]]:
        """The micro-batches of each step in turn, from step ``first`` on."""
        case, seed = self.case, derive(self.seed, "batches")
        stream = case.task.batches(self.data, case.spec, case.batch, seed, first * case.accumulate)
        for _ in range(first, self.total):
            yield [next(stream) for _ in range(case.accumulate)]

    @alone()
    def score(self) -> Metrics:
        return self.case.task.score(self.model, self.data, self.case.spec)


def run(
    session: Session,
    *,
    predict: bool = True,
    on_step: OnStep | None = None,
    profile: str = "",
    device: str = "this-host",
) -> RunRecord:
    """Predict, train under the guard, evaluate, and return the complete record whatever happened.

    A budget the prediction already passes is not tried: the record's state says refused and why. Bad input
    is raised, never recorded.
    """
    from workbench.environment import environment, new_id, now

    started = time.monotonic()
    case = session.case
    record = RunRecord(
        id=new_id(),
        task=case.task_name,
        model=case.model_name,
        method=case.method_name,
        seed=session.seed,
        state=State.RUNNING,
        config=case.config.model_dump(),
        family=case.method.card.family,
        device=device,
        budget=session.budget,
        batch=case.batch,
        accumulate=case.accumulate,
        length=case.length,
        profile=profile,
        environment=environment(),
        created=now(),
    )
    if case.spec.cost_only:
        raise ResourceMissing(f"{case.model_name} ships as shapes only; it can be predicted but not trained here")
    try:
        with heeding(session.cancel), alone():
            record = _made_ready(session, record, predict)
    except Stopped:
        return replace(record, state=State.CANCELLED, reason="cancelled before its first step")
    if _passes(record) and session.patience:
        return with_ways(record, case, session.patience, session.cancel)
    if record.state is not State.RUNNING:
        return record
    return replace(_train(session, record, on_step), seconds=time.monotonic() - started)


def _made_ready(session: Session, record: RunRecord, predict: bool) -> RunRecord:
    """The record with its prediction; no longer running where the run ends before its first step."""
    from workbench.devices import get as find_device
    from workbench.plan.verdict import on_device

    case = session.case
    session.load()
    check()
    if case.config.executor == "auto":
        from workbench.races import raced

        raced(case)  # before the prediction, so that what is predicted is what will run
    try:
        if predict:
            record = replace(record, predicted=_prediction(case))
            seconds, joules = on_device(case, find_device(record.device))
            found = {"device_step_time": seconds, "device_step_energy": joules}
            record = replace(record, **{name: q for name, q in found.items() if q.value is not None})
            if record.predicted and _passes(record):
                return replace(record, state=State.REFUSED, reason=passes(record.predicted, session.budget))
        check()
        session.prepare()
        check()
    except Incompatible as error:
        if error.field != "method" and case.refusal() is None:
            raise
        return replace(record, state=State.REFUSED, reason=error.reason)
    except (RuntimeError, MemoryError) as error:
        state, reason = broken(error, begun=False)
        if state is not State.OUT_OF_MEMORY:
            raise
        return replace(record, state=state, reason=reason)
    return record


def _passes(record: RunRecord) -> bool:
    """Whether what is predicted passes the budget."""
    return record.budget is not None and record.predicted is not None and record.predicted.peak > record.budget


def _prediction(case: Case) -> MemoryProfile | None:
    """The predicted profile; ``None`` for a step that only a measurement can answer for, which may still train."""
    try:
        return case.predict()
    except Incompatible as error:
        if error.field != "prediction":
            raise
        return None


def _train(session: Session, record: RunRecord, on_step: OnStep | None) -> RunRecord:
    steps: list[StepRecord] = []
    before, scored, state, reason = None, None, State.DONE, ""
    if session.evaluate_before:
        before, state, reason = evaluated(session, session.score)
    if state is State.DONE:
        record, state, reason = _trained(session, record, steps, on_step)
    if state is State.DONE and steps:
        scored, state, reason = evaluated(session, session.score, len(steps))
    return replace(record, state=state, reason=reason, **results(session, steps, scored, before))


def _trained(
    session: Session, record: RunRecord, steps: list[StepRecord], on_step: OnStep | None
) -> tuple[RunRecord, State, str]:
    """Fills ``steps``; how the training ended, and the record with the ways out of a budget that it passed."""
    state, reason = State.DONE, ""
    try:
        for step in session.steps():
            steps.append(step)
            if on_step is not None:
                on_step(step)
    except BudgetExceeded as error:
        state, reason = State.OVER_BUDGET, error.reason
        if session.patience:
            record = replace(record, ways=error.suggestions, note=error.note)
    except FloatingPointError as error:
        state, reason = State.DIVERGED, str(error)
    except (RuntimeError, MemoryError) as error:
        state, reason = broken(error, begun=bool(steps))
    if session.cancel.is_set() and len(steps) < session.total:
        state, reason = State.CANCELLED, f"cancelled after {len(steps)} of {session.total} steps"
    return record, state, reason
