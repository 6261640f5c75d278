"""What one step asks of the machine: every operator call with its shapes, recorded on fake or real tensors."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)
from torch.utils._python_dispatch import TorchDispatchMode

from workbench.core.phase import counting, is_seldom, listening
from workbench.core.profile import Phase
from workbench.devices.flops import flop_registry
from workbench.devices.tape import Tape

#: What a step pays for beside its operators' own time: per view; per other operator by phase; once where it updates at
#: all, per step of an optimizer, per parameter in it; per call of a module of torch's own, of one of a library; per
#: call whose weights are perturbed on the way. The cold ones are paid on top where an operator has just moved so much
#: that code is no longer in the caches: per module called after it, per such operator of a backward pass, for the
#: update of a step with such operators.
CLASSES = (
    "view", "forward", "backward", "optimizer", "update", "step", "parameter", "module", "block",
    "perturbed", "cold module", "cold block", "cold backward", "cold update",
)  # fmt: skip
WIDE = 1 << 19  #: bytes: half of the second-level cache of most cores, which code and tensors share

_NO_DATA = {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "detach", "_unsafe_view"}
_NO_DATA |= {"lift_fresh", "_reshape_alias", "alias", "set_", "resize_", "_local_scalar_dense", "detach_"}
_GEMM = ("mm", "addmm", "bmm", "baddbmm", "linear", "convolution", "mkldnn", "addmv", "mv", "dot", "_int_mm")
_GEMM += ("linear_with_noise", "_grouped_mm")
_RANDOM = ("bernoulli", "dropout", "normal", "uniform", "rand", "multinomial", "exponential")
_REDUCE = ("norm", "softmax", "sum", "mean", "var", "amax", "amin", "max", "min", "nll_loss", "logsumexp", "any", "all")
_GATHER = ("embedding", "index", "gather", "scatter", "take")


@dataclass(frozen=True)
class Call:
    """One kind of operator call by what it asks of a machine: ``group`` of :func:`group_of`, ``bytes`` moved."""

    group: str
    phase: str
    flops: int
    bytes: int
    dtype: str


@functools.cache
def _apart(op: Any) -> bool:
    """Whether a call of this operator is recorded as the calls that it consists of."""
    composite = op.has_kernel_for_dispatch_key(torch._C.DispatchKey.CompositeImplicitAutograd)
    return composite and op._overloadpacket not in flop_registry


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


def _moved(tensor: torch.Tensor) -> int:
    """Bytes behind a tensor; an expanded dimension is stored once."""
    stride = tensor.stride()
    if 0 not in stride:
        return tensor.nbytes
    count = 1
    for size, step in zip(tensor.shape, stride, strict=True):
        count *= size if step or not size else 1
    return count * tensor.element_size()


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
    """Counts operator calls while a step runs and writes them on a tape; enter it inside the fake mode, if any.

    ``calls`` maps each ``Call`` to how often it ran, ``counts`` maps pairs of phase and one of ``CLASSES`` to how
    often that cost is paid, ``costs`` has class, dtype, bytes and operations of each call in order, ``tape`` the
    program of the step, which stays empty where ``taped`` is off: writing it takes as long as counting. :meth:`reset`
    forgets all of it, so that a second, steady step can be recorded after a first.
    """

    def __init__(self, *, taped: bool = True) -> None:
        super().__init__()
        self.taped = taped
        self._declared: Phase | None = None
        self._updating = self._depth = self._within = self._moved = 0
        self._hooks: ExitStack | None = None
        self._telling = False
        self.reset()

    def reset(self) -> None:
        self.calls: Counter[Call] = Counter()
        self.counts: Counter[tuple[str, str]] = Counter()
        self.costs: list[tuple[str, str, int, int]] = []
        self.tape = Tape()
        self._cold = self._ever_cold = False

    def __enter__(self) -> Recorder:
        if not self._depth:  # entered again for every composite operator; the hooks are set once
            self._hooks = self._watch()
        self._depth += 1
        super().__enter__()
        return self

    def __exit__(self, *exc: Any) -> None:
        super().__exit__(*exc)
        self._depth -= 1
        if self._hooks and not self._depth:
            self._hooks.close()
            self._hooks = None

    def _watch(self) -> ExitStack:
        hooks = ExitStack()
        hooks.enter_context(listening(self._declare))
        hooks.enter_context(counting(self._paid))
        for handle in (
            register_optimizer_step_pre_hook(lambda optimizer, *_: self._step(optimizer)),
            register_optimizer_step_post_hook(lambda *_: self._stepped()),
            register_module_forward_pre_hook(lambda module, _: self._called(module)),
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
        if not func._schema.is_mutable and self._decomposed(func, args, kwargs) is not NotImplemented:
            self._write_whole(func, args, kwargs, out)
        else:
            self._saw(func, args, kwargs, out)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func.namespace in ("prim", "profiler"):  # no work of the step's own
            return func(*args, **kwargs)
        whole = self._decomposed(func, args, kwargs)
        if whole is not NotImplemented:
            self._write_whole(func, args, kwargs, whole)
        else:
            whole = func(*args, **kwargs)
            self._saw(func, args, kwargs, whole)
        return whole

    def _decomposed(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Result of a composite operator that reaches us whole (without autograd), its parts counted one by one."""
        if not _apart(func):
            return NotImplemented
        if not self._within:
            self._moved = 0
        self._within += 1
        try:
            with self:
                return func.decompose(*args, **kwargs)
        finally:
            self._within -= 1

    def _called(self, module: torch.nn.Module) -> None:
        if is_seldom():
            return
        own = type(module).__module__.startswith("torch.nn.")
        kind = "module" if own else "block"
        self.counts[self._phase(), kind] += 1
        self.counts[self._phase(), f"cold {kind}"] += self._cold
        self._cold = False

    def _paid(self, kind: str) -> None:
        if not is_seldom():
            self.counts[self._phase(), kind] += 1

    def _declare(self, phase: Phase | None) -> None:
        self._declared = phase

    def _step(self, optimizer: torch.optim.Optimizer) -> None:
        self._updating += 1
        self.counts["update", "cold update"] = int(self._ever_cold)
        self.counts["update", "update"] = 1  # code used once in a step is cold; that of further optimizers is not
        self.counts["update", "step"] += 1
        with_gradient = sum(p.grad is not None for group in optimizer.param_groups for p in group["params"])
        self.counts["update", "parameter"] += with_gradient

    def _stepped(self) -> None:
        self._updating -= 1

    def _phase(self) -> str:
        if self._updating or self._declared is Phase.UPDATE:
            return "update"
        return "backward" if torch._C._current_graph_task_id() != -1 else "forward"

    def _saw(self, func: Any, args: Any, kwargs: Any, out: Any) -> None:
        """Count one call."""
        operands = [t for value in (*args, *kwargs.values()) for t in tensors_in(value)]
        results = tensors_in(out)
        phase = self._phase()
        group = group_of(func, phase)
        flops = 0
        if (formula := flop_registry.get(func._overloadpacket)) is not None:
            flops = int(formula(*args, **kwargs, out_val=out))
        moved = _traffic(group, operands, results)
        dtype = _number_format(operands, results)
        self.calls[Call(group, phase, flops, moved, dtype)] += 1
        self.costs.append((group, dtype, moved, flops))
        self._moved += moved
        self._write(func, args, kwargs, out, moved, phase, group)

    def _write_whole(self, func: Any, args: Any, kwargs: Any, out: Any) -> None:
        phase = self._phase()
        self._write(func, args, kwargs, out, self._moved, phase, group_of(func, phase))

    def _write(self, func: Any, args: Any, kwargs: Any, out: Any, moved: int, phase: str, group: str) -> None:
        """Put one call on the tape, unless it is part of a composite operator that is there already."""
        if self._within:
            return
        if self.taped:
            self.tape.add(func, args, kwargs, out, phase, moved)
        view = group == "view"
        self.counts[phase, "view" if view else "optimizer" if phase == "update" else phase] += 1
        if moved >= WIDE:
            self._cold = self._ever_cold = True
            self.counts[phase, "cold backward"] += phase == "backward"


def _number_format(operands: list[torch.Tensor], results: list[torch.Tensor]) -> str:
    """The first floating one, else the first."""
    formats = [t.dtype for t in (*operands, *results)]
    first = next((d for d in formats if d.is_floating_point), formats[0] if formats else torch.get_default_dtype())
    return _name_of(first)


@functools.cache
def _name_of(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _traffic(group: str, operands: list[torch.Tensor], results: list[torch.Tensor]) -> int:
    """Bytes a call moves: every operand read and every result written once."""
    if group == "view":
        return 0
    sizes = [_moved(t) for t in operands]
    written = sum(_moved(t) for t in results)
    if group == "gather":  # only the rows asked for are read
        sizes = [min(size, written) for size in sizes]
    return sum(sizes) + written


def record(run: Callable[[], Any], *, warm: int = 1) -> Recorder:
    """Run a step ``warm`` times unrecorded (so that caches and optimizer state exist), then once recorded."""
    recorder = Recorder()
    with recorder:
        for _ in range(warm):
            run()
        recorder.reset()
        run()
    return recorder
