"""Who asked for what was refused: operator, module, category and the ledger at that moment, found afterwards.

The event log of the step's prediction knows, where it holds such a request. So does a tracker that was watching. Else
the step is run once more under a tracker and the same budget, from the same random numbers, and put back. A step that
then asks for less leaves only the line of code that was at work.
"""

from __future__ import annotations

import gc
import threading
import traceback
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from workbench.core.errors import BudgetExceeded
from workbench.core.phase import at_its_most
from workbench.core.profile import Category
from workbench.memory import ledger
from workbench.memory.events import EventLog, Kind, categories_of
from workbench.memory.ledger import Refusal
from workbench.memory.randomness import set_random_states
from workbench.memory.snapshot import Snapshot
from workbench.memory.step import Step, held_storages
from workbench.memory.threads import each_start
from workbench.memory.tracker import Tracker

#: Operator, module and category of a refused allocation, and the ledger by category at that moment.
Found = tuple[tuple[str, str, Category], dict[Category, int]]


def held_by_category(step: Step, batch: Any) -> dict[Category, int]:
    """Bytes by category of what the step holds between steps."""
    held: dict[Category, int] = {}
    for size, category in held_storages(step, batch).values():
        held[category] = held.get(category, 0) + size
    return {category: size for category, size in held.items() if size}


def settled(step: Step) -> set[int]:
    """Ids of the parameters that have optimizer state."""
    return {id(p) for optimizer in getattr(step, "optimizers", ()) for p in optimizer.state}


def drop_new_state(step: Step, before: set[int]) -> None:
    """Forget optimizer state begun in the refused step: it may be half made, and no update has used it."""
    for optimizer in getattr(step, "optimizers", ()):
        for parameter in [p for p in optimizer.state if id(p) not in before]:
            del optimizer.state[parameter]


def broom() -> Tensor:
    """A one-number graph older than any node of the step, with which the engine's queue can be emptied."""
    with torch.enable_grad():
        return torch.zeros((), requires_grad=True) * 1.0


def release(step: Step, older: Tensor) -> None:
    """Drop gradients and graph; ``older`` is a :func:`broom` made before the step.

    After an exception autograd's queue still holds the nodes that were ready, and with them the graph. It
    serves younger nodes first and skips those of a failed pass, so an older backward pass empties it.
    """
    older.backward()
    for parameter in step.model.parameters():
        parameter.grad = None
    gc.collect()


def refused_again(limit: int, step: Step, batch: Any, states: Any) -> Found | None:
    """Run the step again under tracker and budget from these random states, then put weights and state back.

    Optimizer state begun under the guard has been dropped: a first step may only make it anew, and the second
    is the one that is refused. ``None`` where nothing is refused this time.
    """
    tracker = Tracker(step.model)
    older, before, beside = broom(), settled(step), list[str]()
    with Snapshot(step):
        set_random_states(states)
        base = sum(held_by_category(step, batch).values())
        with ledger.counting(limit - base) as count:
            try:
                with at_its_most(), in_threads(beside), tracker.tracing():
                    for _ in range(2):
                        tracker.step(step, batch)
                        if count.refusal is not None:
                            break
            except Exception as error:  # whatever a step makes of a refusal
                traceback.clear_frames(error.__traceback__)
        release(step, older)
        drop_new_state(step, before)
    if tracker.refused is None and beside:
        return (beside[-1], "a thread that the step started", Category.WORKSPACE), {}
    return tracker.refused


class _Names(TorchDispatchMode):
    """Notes the operators that are refused in the thread that it is entered in."""

    def __init__(self, names: list[str]) -> None:
        super().__init__()
        self.names = names

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        try:
            return func(*args, **(kwargs or {}))
        except torch.OutOfMemoryError:
            self.names.append(func.name().removeprefix("aten::"))
            raise


def in_threads(names: list[str]) -> AbstractContextManager[None]:
    """Operators that are refused in threads that the code inside starts are added to ``names``."""

    def watch(thread: threading.Thread) -> None:
        run = thread.run

        def named() -> None:
            with _Names(names):
                run()

        thread.run = named  # type: ignore[method-assign]

    return each_start(watch)


def at_work(trace: TracebackType | None, model: nn.Module) -> Found:
    """The line of code and the module that were at work when an error with this ``trace`` was raised."""
    names = {id(module): name for name, module in model.named_modules()}
    line, module = "", ""
    for frame, number in traceback.walk_tb(trace):
        # Not by ``f_locals``: to ask for it makes a dictionary that keeps the step's tensors alive.
        module = next((names[id(v)] for v in gc.get_referents(frame) if id(v) in names), "") or module
        name = frame.f_code.co_name
        line = f"{name} at line {number} of {Path(frame.f_code.co_filename).name}"
        if name == "_engine_run_backward":
            line = "the backward pass"
    return (line or "code outside torch's operators", module, Category.WORKSPACE), {}


def found_in(log: EventLog, refusal: Refusal) -> Found | None:
    """Operator, module and category of the predicted event that asks the same bytes at the same level."""
    members = set(log.baseline)
    live = sum(log.allocations[i].size for i in members)
    for event in log.events:
        if event.kind is Kind.FREED:
            members.discard(event.storage)
            live -= log.allocations[event.storage].size
        elif event.kind is Kind.ALLOCATED:
            allocation = log.allocations[event.storage]
            if live == refusal.live and allocation.size == refusal.asked:
                names = event.operator, event.module, allocation.category or Category.WORKSPACE
                return names, dict(categories_of(log, members))
            members.add(event.storage)
            live += allocation.size
    return None


def error_of(
    limit: int, refusal: Refusal, found: Found, suggestions: tuple[str, ...], sentence: str = ""
) -> BudgetExceeded:
    """What a user is told; ``sentence`` stands in for it where nobody asked.

    What the ledger saw and the tracker did not is inside the operator at work: workspace.
    """
    (operator, module, category), split = found
    unseen = refusal.live - sum(split.values())
    ledger_then = {str(c): size + (unseen if c is Category.WORKSPACE else 0) for c, size in split.items()}
    return BudgetExceeded(
        operator=operator,
        module=module,
        category=str(category),
        asked=refusal.asked,
        live=refusal.live,
        limit=limit,
        ledger=ledger_then,
        suggestions=suggestions,
        sentence=sentence,
    )
