"""The tracker: one dispatch mode that follows every storage, on real tensors and on fake ones alike.

Prediction and measurement use this same class, so they cannot drift apart. What differs is the ``Runner``
that executes an operator and tells how many bytes it needed inside itself.
"""

from __future__ import annotations

import gc
import weakref
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from workbench.core import attribution
from workbench.core.profile import Category, Phase
from workbench.core.stopping import check
from workbench.memory.events import Allocation, EventLog, categories_of
from workbench.memory.labels import label_gradients, label_model, label_optimizer
from workbench.memory.ledger import Refusal
from workbench.memory.outside import Foreign
from workbench.memory.runner import OverBudget, Runner, run_plainly
from workbench.memory.step import Step, kept_by_parts, storages_of, tensors_in
from workbench.memory.unwatched import (
    ADD,
    ADD_IN_PLACE,
    SCATTERS,
    accumulates,
    known_random_state,
    known_storages,
    lean_pooling,
    refuse_bare_numbers,
)
from workbench.memory.whereabouts import ACCUMULATE, Whereabouts, called_by_engine, within_transform

_SCALAR_OPERATORS = tuple(getattr(torch.ops.aten, name).Tensor for name in ("mul", "div", "mul_", "div_"))
_OF_A_NUMBER = frozenset({"MulBackward0", "DivBackward0"})  #: backward passes of what was done with one number


class Tracker(TorchDispatchMode):
    """Logs when every storage begins and ends, which operator, module and phase made it, and what for."""

    def __init__(self, model: nn.Module, run: Runner = run_plainly) -> None:
        super().__init__()
        self.model = model
        self.run = run
        self.log = EventLog()
        self.where = Whereabouts(model)
        self.saved: dict[str, int] = {}
        self.foreign = Foreign()
        self.limit: int | None = None  #: bytes; enforced after each operator when set
        self.highest = 0
        self.refused: tuple[tuple[str, str, Category], dict[Category, int]] | None = None
        self.over: Refusal | None = None  #: what passed ``limit``
        self._known: dict[int, tuple[int, weakref.ref[Any]]] = {}
        self._pending: weakref.ref[Tensor] | None = None
        self._was_backward = False
        self._recomputed: list[int] = []
        self._running = False
        self._operator, self._module, self._phase, self._node = "", "", Phase.FORWARD, -1

    # -- storages ------------------------------------------------------------------------------------

    def _index(self, storage: torch.UntypedStorage) -> int | None:
        found = self._known.get(storage._cdata)
        return None if found is None else found[0]

    def _know(self, storage: torch.UntypedStorage, category: Category | None = None) -> int:
        """Index of this storage in the log; first sight is its allocation."""
        key = storage._cdata
        found = self._known.get(key)
        if found is not None:
            return found[0]
        recomputed = self.where.recomputing
        foreign = bool(self._operator) and self.foreign.takes(storage)
        allocation = Allocation(
            0 if foreign else storage.nbytes(),
            self._operator,
            self._module,
            self._phase,
            category,
            self._node,
            recomputed,
        )
        index = self.log.allocate(allocation)
        if recomputed:
            self._recomputed.append(index)
        self._known[key] = (index, self._follow(storage, key, index))
        return index

    def _follow(self, storage: torch.UntypedStorage, key: int, index: int) -> weakref.ref[Any]:
        def ended(_: Any) -> None:
            found = self._known.get(key)
            if found is not None and found[0] == index:
                del self._known[key]
                self.foreign.ended(key)
                self.log.free(index, self._operator, self._module, self._phase)

        return weakref.ref(storage, ended)

    def label(self, tensors: Any, category: Category, module: str | None = None) -> None:
        """Say what these tensors' storages are for, learning of them if they are new."""
        for tensor in tensors_in(tensors):
            for storage in storages_of(tensor):
                allocation = self.log.allocations[self._know(storage)]
                allocation.category = category
                if module is not None:
                    allocation.module = module

    def _made(self, storage: torch.UntypedStorage) -> None:
        """Python made a storage without a tensor; those that a runner makes for itself are its own matter."""
        if not self._running and storage.device.type == "cpu":
            self._operator, self._module = "UntypedStorage", self.where.module(None)
            self._phase, self._node = self.where.phase(), -1
            self._know(storage)

    def _shared(self, storage: torch.UntypedStorage) -> None:
        """A storage moved into memory that torch did not allocate."""
        self._operator = "share_memory_"
        index = self._index(storage)
        if index is not None:
            self.log.free(index, self._operator, self._module, self._phase)
            del self._known[storage._cdata]
        self._know(storage)

    # -- operators -----------------------------------------------------------------------------------

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func.namespace in ("prim", "profiler"):  # a question about a fake tensor, a mark for a profiler
            return func(*args, **kwargs)
        check()
        refuse_bare_numbers(func, args)
        if self._pending is not None:
            self._find_saved_scalar()
        node = self.where.node()
        self._locate(func, node)
        inputs = [s for t in tensors_in((args, kwargs)) for s in storages_of(t)]
        for storage in inputs:
            self._know(storage)
        before = self.log.live_bytes
        if node is not None and (func is ADD or func in SCATTERS) and called_by_engine():
            func = self._unwatched(func, args, node)
        self._running = True
        try:
            result, inside = self.run(func, args, kwargs)
        except torch.OutOfMemoryError:
            self.refused = self.asking(), self.ledger_now()
            raise
        finally:
            self._running = False
        if node is not None and node.name() in _OF_A_NUMBER and func in _SCALAR_OPERATORS:
            kept = 0 if isinstance(args[1], Tensor) else 8  # unwatched it takes the number that forward kept
            inside = max(0, inside - kept)
        self._learn(func, args, result, inputs, inside)
        if node is not None and node.name() == ACCUMULATE and called_by_engine():
            self.label((args[0], result), Category.GRADIENTS)
        self.highest = max(self.highest, self.log.live_bytes + inside)
        if self.limit is not None and self.log.live_bytes > self.limit:
            self.refused = self.asking(), self.ledger_now()
            self.over = Refusal(self.log.live_bytes - before, before, self.limit)
            raise OverBudget(f"{self.over.asked} bytes asked while {before} were live")
        return result

    def _locate(self, func: Any, node: Any) -> None:
        self._operator = func.name().removeprefix("aten::")
        self._phase = self.where.phase()
        self._module = self.where.module(node)
        self._node = -1 if node is None else node._sequence_nr()
        backward = node is not None or self._phase is Phase.BACKWARD
        if backward and not self._was_backward:
            self._keep_forward()
        if self._recomputed and not self.where.recomputing:
            self._keep(self._recomputed)
            self._recomputed = []
        self._was_backward = backward

    def _learn(self, func: Any, args: Any, result: Any, inputs: list[Any], inside: int) -> None:
        for tensor in tensors_in(result):
            for storage in storages_of(tensor):
                self._know(storage)
        if func._schema.is_mutable:
            for storage in inputs:
                self._grow(storage)
        if inside:
            self.log.inside(inside, self._operator, self._module, self._phase)
        if func in _SCALAR_OPERATORS and not isinstance(args[1], Tensor) and torch.is_grad_enabled():
            self._pending = weakref.ref(result)

    def _grow(self, storage: torch.UntypedStorage) -> None:
        """Follow a storage that an operator resized in place."""
        key = storage._cdata
        if key in self.foreign:
            return
        index = self._known[key][0]
        size = storage.nbytes()
        if self.log.allocations[index].size != size:
            category = self.log.allocations[index].category
            self.log.free(index, self._operator, self._module, self._phase)
            del self._known[key]
            self._know(storage, category)

    def _find_saved_scalar(self) -> None:
        """``x * 2.0`` keeps the number as a small tensor for the backward pass; no dispatch shows it."""
        pending, self._pending = self._pending, None
        tensor = pending() if pending is not None else None
        saved = getattr(tensor.grad_fn, "_saved_other", None) if tensor is not None else None
        if saved is not None and saved.ndim == 0:
            self._know(saved.untyped_storage())

    def _unwatched(self, func: Any, args: Any, node: Any) -> Any:
        """The operator that a bare backward pass would call in the place of ``func``."""
        if args[0].layout is not torch.strided or within_transform():
            return func
        index = self._index(args[0].untyped_storage())
        allocation = None if index is None else self.log.allocations[index]
        own = allocation is not None and allocation.node == self._node
        if func is ADD:
            return ADD_IN_PLACE if accumulates(args[0], node, index is not None and not own) else func
        return SCATTERS[func] if own and allocation is not None and "zeros" in allocation.operator else func

    # -- what storages are for -----------------------------------------------------------------------

    def _keep(self, indices: Iterable[int]) -> None:
        """What outlives the forward pass that made it was saved for backward."""
        for index in indices:
            allocation = self.log.allocations[index]
            if index in self.log.live and allocation.category is None:
                allocation.category = Category.SAVED

    def _keep_forward(self) -> None:
        fresh = [i for i in self.log.live if i not in self.log.baseline]
        self._keep(i for i in fresh if self.log.allocations[i].phase is Phase.FORWARD)
        split: Counter[str] = Counter()
        for index in self.log.live:
            allocation = self.log.allocations[index]
            if allocation.category is Category.SAVED:
                split[allocation.module] += allocation.size
        if sum(split.values()) > sum(self.saved.values()):
            self.saved = dict(split.most_common())

    def is_weight(self, storage: torch.UntypedStorage) -> bool:
        """Whether this storage is known already, as a weight."""
        index = self._index(storage)
        return index is not None and self.log.allocations[index].category is Category.WEIGHTS

    # -- what a captured graph says of itself ----------------------------------------------------------

    def at(self, phase: Phase | None, module: str | None) -> None:
        self.where.at(phase, module)

    def made_gradient(self, gradient: Tensor, module: str) -> None:
        self.label(gradient, Category.GRADIENTS, module)

    # -- a step that was cut short -------------------------------------------------------------------

    def asking(self) -> tuple[str, str, Category]:
        """Operator and module at work, and what the bytes asked would be for, as far as can be told then."""
        if self._phase is Phase.UPDATE:
            category = Category.OPTIMIZER if self._operator.startswith("zeros") else Category.WORKSPACE
        elif self._phase is Phase.FORWARD and torch.is_grad_enabled():
            category = Category.SAVED
        else:
            category = Category.WORKSPACE
        return self._operator, self._module, category

    def ledger_now(self) -> dict[Category, int]:
        """Live bytes by category; in an unfinished forward pass what it made counts as saved."""
        if self._phase is Phase.FORWARD and torch.is_grad_enabled():
            self._keep_forward()
        return dict(categories_of(self.log, self.log.live))

    # -- running -------------------------------------------------------------------------------------

    @contextmanager
    def tracing(self) -> Iterator[Tracker]:
        """Watch modules, phases, random states and every operator while the context lasts."""
        with ExitStack() as stack:
            stack.enter_context(self.where.watching())
            stack.enter_context(attribution.watching(self))
            stack.enter_context(known_random_state(self._know))
            stack.enter_context(known_storages(self._made, self._shared))
            stack.enter_context(lean_pooling())
            stack.enter_context(self)
            yield self

    def adopt(self, step: Step, batch: Any) -> None:
        """Learn what the step holds already; it becomes the baseline of what is logged from here."""
        self._operator, self._module, self._phase = "", "", Phase.FORWARD
        label_model(self)
        label_optimizer(self, step)
        self.label(batch, Category.INPUTS, "(batch)")
        for storage in (s for tensor in kept_by_parts(step) for s in storages_of(tensor)):
            allocation = self.log.allocations[self._know(storage)]
            allocation.category = allocation.category or Category.OPTIMIZER
        self.log.begin()
        self.foreign.begin()
        self.saved = {}
        self._was_backward = False

    def step(self, step: Step, batch: Any) -> None:
        """Perform and log one step; whatever was logged before becomes its baseline."""
        self.adopt(step, batch)
        result = step(batch)
        del result
        gc.collect(1)  # reference cycles made by this step; older objects cannot be among them
        label_optimizer(self, step)
        label_gradients(self)
