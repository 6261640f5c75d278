"""Run what is missing of a declared grid. The store is the truth: an unchanged cell costs nothing."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from workbench.case import Case
from workbench.checkpoints.keeper import Checkpoints
from workbench.core.errors import BadInput, Interrupted
from workbench.core.profile import MemoryProfile
from workbench.core.schedule import Schedule
from workbench.plan.refusal import SECONDS
from workbench.records.content import content_key
from workbench.records.schema import FINISHED, RunRecord, State, StepRecord
from workbench.records.store import RunStore
from workbench.results import evaluated
from workbench.session import Session, run
from workbench.tasks.base import Sizes


@dataclass(frozen=True)
class Cell:
    """One point of a grid: a case, a seed and the budget it must keep; see ``Session`` for ``arena``.

    Every ``checkpoint_every`` steps (0: never) its state goes to disk, from where it goes on to the same result.
    ``held_out`` names another task that the tuned model is asked about at the end. ``cosines``: see ``Session``.
    """

    case: Case
    seed: int
    budget: int | None = None
    schedule: Schedule = field(default_factory=Schedule)
    sizes: Sizes = field(default_factory=Sizes)
    device: str = "this-host"
    profile: str = ""
    arena: bool = False
    checkpoint_every: int = 0
    held_out: str = ""
    cosines: int = 0

    def key(self) -> str:
        """Content hash of everything that decides the result."""
        identity = self.case.identity() | {
            "seed": self.seed,
            "budget": self.budget,
            "schedule": vars(self.schedule),
            "sizes": self.sizes.identity(),
            "record": 1,
        }
        more = {"arena": True} if self.arena else {}
        more |= {"held out": self.held_out} if self.held_out else {}
        more |= {"cosines": self.cosines} if self.cosines else {}  # the same training, but a record that holds more
        return content_key(identity | more)

    def question(self) -> str:
        """What a search for ways out answers: the same for every seed."""
        return content_key(self.case.identity() | {"budget": self.budget})

    def checkpoints(self, folder: Path) -> Checkpoints:
        """This cell's own below ``folder``."""
        key = self.key()
        return Checkpoints(folder / key[:32], key, self.checkpoint_every) if self.checkpoint_every else Checkpoints()

    def session(
        self, cancel: threading.Event, checkpoints: Checkpoints | None = None, patience: float = SECONDS
    ) -> Session:
        kept = checkpoints or Checkpoints()
        return Session(
            self.case, self.seed, self.budget, self.schedule, self.sizes, arena=self.arena, patience=patience,
            cancel=cancel, checkpoints=kept, cosines=self.cosines,
        )  # fmt: skip


@dataclass(frozen=True)
class Progress:
    """Where a sweep stands; passed to the observer after every step and every cell that is over.

    With a step come the number of ``planned`` ones and the ``measured`` profile of the run it belongs to.
    """

    done: int
    total: int
    cell: Cell
    step: StepRecord | None = None
    record: RunRecord | None = None
    stored: bool = False
    planned: int = 0
    measured: MemoryProfile | None = None


#: Seconds that all refused cells of a sweep together may look for ways out; a sweep is not about those.
PATIENCE = 24.0

#: Axes that change the shape of a step rather than a setting of the method.
SHAPE = ("batch", "length", "accumulate")


def combinations(axes: Mapping[str, Sequence[Any]]) -> Iterator[tuple[str, int, dict[str, int], dict[str, Any]]]:
    """Every combination of the axes as (method, seed, shape, settings).

    Axes are ``method``, ``seed``, ``batch``, ``length``, ``accumulate``, or any setting of the methods.
    Raises ``BadInput`` for an empty axis or a seed that is no whole number.
    """
    for name, values in axes.items():
        if not list(values):
            raise BadInput(name if name != "seed" else "seeds", list(values), "at least one value")
    for seed in axes.get("seed", ()):
        if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
            raise BadInput("seeds", seed, "whole numbers from 0")
    for values in itertools.product(*axes.values()):
        chosen = dict(zip(axes, values))
        method, seed = chosen.pop("method", "full"), chosen.pop("seed", 0)
        shape = {name: chosen.pop(name) for name in SHAPE if name in chosen}
        yield method, seed, shape, chosen


def sweep(
    cells: Sequence[Cell],
    *,
    store: RunStore | None = None,
    observe: Callable[[Progress], None] | None = None,
    cancel: threading.Event | None = None,
) -> Iterator[RunRecord]:
    """Yield one record per cell, from the store when it is there, else by running it and storing it.

    Finished cells are committed one by one, so an interrupted sweep resumes where it stopped. Raises
    ``Interrupted`` when cancelled; what was finished is kept, and the observer is given the partial record.
    """
    store = store or RunStore()
    cancel = cancel or threading.Event()
    total, patience = len(cells), PATIENCE
    searched: set[str] = set()  # the ways out of a case are the same with every seed
    for done, cell in enumerate(cells):
        stopped = f"stopped after {done} of {total} runs; finished runs are kept and the same command resumes"
        if cancel.is_set():  # a cell may end, refused or from the store, without ever looking
            raise Interrupted(stopped)
        told = partial(_tell, observe, done, total, cell)
        left = 0.0 if cell.question() in searched else min(SECONDS, patience)
        record, stored = settle(cell, store, cancel, told, left)
        if record.ways is not None:
            searched.add(cell.question())
            patience -= 0.0 if stored else SECONDS
        if record.state is State.CANCELLED:
            if observe is not None:
                observe(Progress(done, total, cell, record=record))
            here = f", this one after step {len(record.steps)}" if cell.checkpoint_every else ""
            raise Interrupted(stopped + here)
        if observe is not None:
            observe(Progress(done + 1, total, cell, record=record, stored=stored))
        yield record


def settle(
    cell: Cell,
    store: RunStore,
    cancel: threading.Event,
    on_step: Callable[[StepRecord, Session], None],
    patience: float = SECONDS,
) -> tuple[RunRecord, bool]:
    """The record of one cell, and whether the store had it: else it is run, stored, and its checkpoints dropped.

    ``patience`` is how many seconds ways out of a budget that is passed may be looked for.
    """
    key = cell.key()
    checkpoints = cell.checkpoints(store.folder / "checkpoints")
    record = store.finished(key)
    stored = record is not None
    if record is None:
        session = cell.session(cancel, checkpoints, patience)
        record = run(session, on_step=lambda step: on_step(step, session), profile=cell.profile, device=cell.device)
        if cell.held_out and record.state is State.DONE:
            record = _asked_elsewhere(cell, session, record)
        if not store.put(key, record):  # another process finished the same cell meanwhile, and its record counts
            record = store.finished(key) or record
    if record.state in FINISHED:
        checkpoints.discard()
    return record, stored


def _asked_elsewhere(cell: Cell, session: Session, record: RunRecord) -> RunRecord:
    """The record with what the tuned model scores on the held-out task; a run is not done before it has that."""
    from workbench.probes.held_out import held_out

    ask = partial(held_out, cell.case, session.model, cell.held_out)
    found, state, reason = evaluated(session, ask, len(record.steps))
    notes = tuple(dict.fromkeys((*record.notes, *session.checkpoints.notes)))
    return replace(record, held_out=found or {}, state=state, reason=reason, notes=notes)


def _tell(
    observe: Callable[[Progress], None] | None, done: int, total: int, cell: Cell, step: StepRecord, session: Session
) -> None:
    if observe is not None:
        observe(Progress(done, total, cell, step=step, planned=session.total, measured=session.measured))
