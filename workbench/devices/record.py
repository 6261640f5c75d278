"""What one step asks of the machine: every operator call with its shapes, recorded on fake or real tensors."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)
from torch.utils._python_dispatch import TorchDispatchMode

from workbench.core.phase import is_seldom, listening
from workbench.core.profile import Phase
from workbench.devices.flops import flop_registry

L2, L3 = 1 << 20, 16 << 20  #: reuse distance in bytes up to which an operand is taken to be in that cache
NEAR, MIDDLE, FAR = range(3)
MAPPED = 32 << 20  #: larger blocks are mapped afresh at every allocation, so their probe pays for it already

_NO_DATA = {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "detach", "_unsafe_view"}
_NO_DATA |= {"lift_fresh", "_reshape_alias", "alias", "set_", "resize_", "_local_scalar_dense", "detach_"}
_GEMM = ("mm", "addmm", "bmm", "baddbmm", "linear", "convolution", "mkldnn", "addmv", "mv", "dot", "_int_mm")
_RANDOM = ("bernoulli", "dropout", "normal", "uniform", "rand", "multinomial", "exponential")
_REDUCE = ("norm", "softmax", "sum", "mean", "var", "amax", "amin", "max", "min", "nll_loss", "logsumexp", "any", "all")
_GATHER = ("embedding", "index", "gather", "scatter", "take")


@dataclass(frozen=True)
class TensorSpec:
    """A tensor operand: ``where`` is how far away its bytes were when the operator began (see ``NEAR``)."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype
    where: int = NEAR


@dataclass(frozen=True)
class Signature:
    """One kind of call: operator, class, phase and every argument; equal signatures cost the same.

    ``result`` is how far away the memory is that the result is written to: what autograd keeps goes to memory
    not used since the last step, temporaries of the backward pass to memory just given back.
    """

    op: Any
    group: str
    phase: str
    args: tuple[Any, ...]
    kwargs: tuple[tuple[str, Any], ...]
    flops: int
    bytes: int
    dtype: str
    result: int = NEAR

    @property
    def key(self) -> str:
        """Text that names the timing of this call, the same in every process."""
        return f"{self.op}|{self.args}|{self.kwargs}|{self.result}"


@functools.cache
def _apart(op: Any) -> bool:
    """Whether a call of this operator is recorded as the calls that it consists of."""
    composite = op.has_kernel_for_dispatch_key(torch._C.DispatchKey.CompositeImplicitAutograd)
    return composite and op._overloadpacket not in flop_registry and not op._schema.is_mutable


@functools.cache
def group_of(op: Any, phase: str) -> str:
    """Class of an operator: view, attention, gemm, rng, gather, reduction, elementwise, or optimizer by phase."""
    name = op._schema.name.partition("::")[2]
    if op.is_view or name in _NO_DATA:
        return "view"
    if phase == "update":
        return "optimizer"
    if "scaled_dot_product" in name or "flash_attention" in name:
        return "attention"
    plain = name.removesuffix("_backward").removesuffix("_overrideable")
    if plain in _GEMM or plain.startswith(("convolution", "mkldnn")):
        return "gemm"
    for group, marks in (("rng", _RANDOM), ("gather", _GATHER), ("reduction", _REDUCE)):
        if any(mark in plain for mark in marks):
            return group
    return "elementwise"


def _moved(spec_shape: tuple[int, ...], stride: tuple[int, ...], itemsize: int) -> int:
    """Bytes behind a tensor; an expanded dimension is stored once."""
    count = 1
    for size, step in zip(spec_shape, stride, strict=True):
        count *= size if step or not size else 1
    return count * itemsize


def tensors_in(value: Any) -> list[torch.Tensor]:
    """Tensors of a nested argument, in order; of a sparse one its indices and values, of an opaque one nothing."""
    if isinstance(value, torch.Tensor):
        if value.layout is torch.sparse_coo:
            return [value._indices(), value._values()]
        return [value] if value.layout is torch.strided else []
    if isinstance(value, list | tuple):
        return [t for item in value for t in tensors_in(item)]
    return []


class Recorder(TorchDispatchMode):
    """Counts operator calls by signature while a step runs; enter it inside the fake mode, if there is one.

    ``calls`` maps each ``Signature`` to how often it ran and ``modules`` counts module calls, whose Python
    code takes time of its own.
    :meth:`reset` forgets the counts and keeps what is known of the caches, so that a second, steady step can
    be recorded after a first.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[Signature] = Counter()
        self.costs: list[tuple[str, str, int, int]] = []
        self.modules = 0
        self._together = self._largest = 0
        self._kept: dict[int, StorageWeakRef] = {}
        self._clock = 0
        self._touched: dict[int, int] = {}
        self._declared: Phase | None = None
        self._updating = 0
        self._depth = 0
        self._hooks: ExitStack | None = None
        self._telling = False

    def __enter__(self) -> Recorder:
        if not self._depth:  # entered again for every composite operator; the hooks are set once
            self._hooks = self._watch()
        self._depth += 1
        super().__enter__()
        return self

    def _watch(self) -> ExitStack:
        hooks = ExitStack()
        hooks.enter_context(listening(self._declare))
        for handle in (
            register_optimizer_step_pre_hook(lambda *_: self._step(+1)),
            register_optimizer_step_post_hook(lambda *_: self._step(-1)),
            register_module_forward_pre_hook(lambda *_: self._module()),
        ):
            hooks.callback(handle.remove)
        return hooks

    @contextmanager
    def told(self) -> Iterator[None]:
        """Know of phases and modules while another dispatch mode runs the step and tells of its calls (:meth:`heard`).

        Two modes at once would disturb each other: the lower one sees operators called by the upper one's code.
        """
        with self._watch():
            self._telling = True
            self._depth += 1
            try:
                yield
            finally:
                self._telling = False
                self._depth -= 1

    def heard(self, func: Any, args: Any, kwargs: Any, out: Any) -> None:
        """One call told of by another mode, after it; ignored outside :meth:`told`."""
        if not self._telling or is_seldom() or func.namespace in ("prim", "profiler"):
            return
        if _apart(func):
            with self:
                whole = func.decompose(*args, **kwargs)
            if whole is not NotImplemented:
                for tensor in tensors_in(out):
                    self._touched[tensor.untyped_storage()._cdata] = self._clock
                return
        self._saw(func, args, kwargs, out)

    def __exit__(self, *exc: Any) -> None:
        super().__exit__(*exc)
        self._depth -= 1
        if self._hooks and not self._depth:
            self._hooks.close()
            self._hooks = None

    def reset(self) -> None:
        self.calls = Counter()
        self.costs = []
        self.modules = self._together = self._largest = 0

    @property
    def pages(self) -> int:
        """4 KiB pages that are given back to the system in the step and have to be faulted in again.

        The C library keeps up to twice the largest block it has seen freed; of gradients freed together it
        returns the rest. (Its own rule, for blocks below 32 MiB; a step that frees otherwise may differ.)
        """
        return max(self._together - 2 * self._largest, 0) // 4096

    def _module(self) -> None:
        self.modules += not is_seldom()

    def _declare(self, phase: Phase | None) -> None:
        self._declared = phase

    def _step(self, change: int) -> None:
        self._updating += change

    def _phase(self) -> str:
        if self._updating or self._declared is Phase.UPDATE:
            return "update"
        return "backward" if torch._C._current_graph_task_id() != -1 else "forward"

    def _spec(self, tensor: torch.Tensor, group: str) -> TensorSpec:
        distance = self._clock - self._touched.get(tensor.untyped_storage()._cdata, -(1 << 62))
        where = NEAR if distance <= L2 else MIDDLE if distance <= L3 else FAR
        if group == "view" or tensor.numel() * tensor.element_size() < 1 << 14:
            where = NEAR  # nothing is read, or too little to matter
        return TensorSpec(tuple(tensor.shape), tuple(tensor.stride()), tensor.dtype, where)

    def _encode(self, value: Any, group: str) -> Any:
        if isinstance(value, torch.Tensor):
            if value.layout is not torch.strided:  # cannot be made again from its shape: the call is not timed
                return f"{value.layout} {tuple(value.shape)}"
            return self._spec(value, group)
        if isinstance(value, list | tuple):
            return tuple(self._encode(item, group) for item in value)
        return value

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func.namespace in ("prim", "profiler"):  # no work of the step's own
            return func(*args, **kwargs)
        if func._overloadpacket not in flop_registry:
            with self:  # composite operators that reach us whole (without autograd) are what they consist of
                whole = func.decompose(*args, **kwargs)
            if whole is not NotImplemented:
                return whole
        out = func(*args, **kwargs)
        self._saw(func, args, kwargs, out)
        return out

    def _saw(self, func: Any, args: Any, kwargs: Any, out: Any) -> None:
        """Count one call. Where its operands were before it is still known, since only this moves the clock."""
        operands = [t for value in (*args, *kwargs.values()) for t in tensors_in(value)]
        phase = self._phase()
        group = group_of(func, phase)
        encoded = self._encode(args, group), tuple((k, self._encode(v, group)) for k, v in kwargs.items())
        flops = 0
        if (formula := flop_registry.get(func._overloadpacket)) is not None:
            flops = int(formula(*args, **kwargs, out_val=out))
        results = tensors_in(out)
        self._follow(phase, operands, results)
        moved = self._touch(group, operands, results)
        floats = [t for t in (*operands, *results) if t.is_floating_point()]
        dtype = str((floats or operands or results or [torch.empty(0)])[0].dtype).removeprefix("torch.")
        fresh = NEAR if group == "view" or not moved else FAR if self._keeps(phase) else MIDDLE
        self.calls[Signature(func, group, phase, *encoded, flops, moved, dtype, fresh)] += 1
        self.costs.append((group, dtype, moved, flops))

    def _follow(self, phase: str, operands: list[torch.Tensor], results: list[torch.Tensor]) -> None:
        """Add up the results of the backward pass that an update after it reads: they are freed together."""
        sizes = [t.untyped_storage().nbytes() for t in results]
        self._largest = max([self._largest, *(n for n in sizes if n < MAPPED)])
        if phase == "backward":
            old = {t.untyped_storage()._cdata for t in operands}
            for storage in (t.untyped_storage() for t in results):
                if storage._cdata not in old:
                    self._kept[storage._cdata] = StorageWeakRef(storage)
        elif phase == "update" and torch._C._current_graph_task_id() == -1:
            for tensor in operands:
                storage = tensor.untyped_storage()
                kept = self._kept.pop(storage._cdata, None)
                if kept is not None and not kept.expired() and storage.nbytes() < MAPPED:
                    self._together += storage.nbytes()

    @staticmethod
    def _keeps(phase: str) -> bool:
        """Whether results of this phase mostly outlive it (dispatch runs below autograd, so ask the mode)."""
        return phase == "forward" and torch.is_grad_enabled()

    def _touch(self, group: str, operands: list[torch.Tensor], results: list[torch.Tensor]) -> int:
        """Bytes the call moves; notes that its operands and results are now the nearest ones."""
        sizes = [_moved(tuple(t.shape), tuple(t.stride()), t.element_size()) for t in operands]
        written = [_moved(tuple(t.shape), tuple(t.stride()), t.element_size()) for t in results]
        if group == "view":
            return 0
        if group == "gather" and sizes:  # only the rows asked for are read
            moved = sum(written) + sum(min(size, sum(written)) for size in sizes)
            operands, sizes = [], []
        else:
            moved = sum(sizes) + sum(written)
        for tensor, size in (*zip(operands, sizes), *zip(results, written)):
            self._clock += size
            self._touched[tensor.untyped_storage()._cdata] = self._clock
        return moved


def record(run: Callable[[], Any], *, warm: int = 1) -> Recorder:
    """Run a step ``warm`` times unrecorded (so that caches and optimizer state exist), then once recorded."""
    recorder = Recorder()
    with recorder:
        for _ in range(warm):
            run()
        recorder.reset()
        run()
    return recorder
