"""Run a step without memory or arithmetic: floats are fake, integers and truth values are real.

Control flow of a training step depends on integers (padding masks, positions, step counters); those are
small, so they are computed for real and every question about them is answered honestly. Floating-point
tensors have shapes only. A question about their values is either harmless (a loss read for the log) and
answered with 1.0, which is recorded as an assumption, or refused in one sentence.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch._prims_common import suggest_memory_format
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensor,
    FakeTensorMode,
)

from workbench.core.errors import Incompatible
from workbench.memory.signature import signature
from workbench.memory.step import storages_of, tensors_in

_CPU = torch.device("cpu")
_READ = torch.ops.aten._local_scalar_dense.default
_INDEXING = (
    torch.ops.aten.index.Tensor,
    torch.ops.aten.index_put.default,
    torch.ops.aten.index_put_.default,
    torch.ops.aten._index_put_impl_.default,
)

#: Convolutions and the place of their input among the arguments.
_CONVOLUTIONS = {torch.ops.aten.convolution.default: 0, torch.ops.aten.convolution_backward.default: 1}

#: Strides of every tensor an operator returns, or ``None`` where the fake kernel has them right.
Strides = list[list[int]] | None

#: Called as ``inside(func, args, kwargs, result)``; returns the bytes the operator needs inside itself.
InsideBytes = Callable[[Any, tuple[Any, ...], Mapping[str, Any], Any], tuple[int, Strides]]


#: Size, strides and dtype of what pure operators return, by signature; the same for every model, so kept for all.
_outputs: dict[str, tuple[Any, ...]] = {}


def _exact(tensor: Tensor) -> bool:
    """Whether values of this kind are computed for real: integers, truth values and single numbers."""
    return not (tensor.is_floating_point() or tensor.is_complex()) or tensor.numel() == 1


def mapped(value: Any, change: Callable[[Tensor], Any]) -> Any:
    """``value`` with ``change`` applied to every tensor in nested lists, tuples and dicts."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, list | tuple):
        items = [mapped(v, change) for v in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    if isinstance(value, Mapping):
        return {k: mapped(v, change) for k, v in value.items()}
    return value


class FakeRunner:
    """Executes operators on a mixture of fake floats and real integers."""

    def __init__(self, inside: InsideBytes | None = None) -> None:
        self.mode = FakeTensorMode(allow_non_fake_inputs=True)
        self.inside = inside
        self.assumptions: dict[str, None] = {}
        self._stale: dict[int, weakref.ref[Any]] = {}

    def fake(self, tensor: Tensor) -> Tensor:
        """A fake CPU tensor with this one's shape, strides and dtype, not connected to it."""
        if isinstance(tensor, FakeTensor):
            return tensor
        with self.mode:
            return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="cpu")

    def __call__(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Any, int]:
        tensors = list(tensors_in((args, kwargs)))
        fakes = any(isinstance(t, FakeTensor) for t in tensors)
        if func is _READ:
            return self._read(args[0]), 0
        if not fakes and (tensors or self._makes_exact(func, args, kwargs)):
            result = func(*args, **kwargs)
            if all(_exact(t) for t in tensors_in(result)) or not func._schema.name.startswith("aten::"):
                return result, self._inside(func, args, kwargs, result)[0]
        result = self._remembered(func, args, kwargs, tensors)
        inside, strides = self._inside(func, args, kwargs, result)
        return (result if strides is None else self._restrided(result, strides)), inside

    def _inside(self, func: Any, args: Any, kwargs: Any, result: Any) -> tuple[int, Strides]:
        return self.inside(func, args, kwargs, result) if self.inside is not None else (0, None)

    def _restrided(self, result: Any, strides: list[list[int]]) -> Any:
        """``result`` laid out as the real kernel was seen to lay it out."""
        wanted = iter(strides)

        def lay_out(tensor: Tensor) -> Tensor:
            stride = tuple(next(wanted))
            if stride == tensor.stride():
                return tensor
            with self.mode:
                return torch.empty_strided(tensor.shape, stride, dtype=tensor.dtype, device="cpu")

        return mapped(result, lay_out)

    def _makes_exact(self, func: Any, args: Any, kwargs: Any) -> bool:
        """Whether an operator without tensor arguments makes integers or a single number."""
        dtype = kwargs.get("dtype")
        if dtype is not None and not (dtype.is_floating_point or dtype.is_complex):
            return True
        with self.mode:
            made = func(*args, **_without_generator(kwargs))
        return all(_exact(t) for t in tensors_in(made))

    def _remembered(self, func: Any, args: Any, kwargs: Any, tensors: list[Tensor]) -> Any:
        """``_fake_call``, with the outputs of pure operators on fake tensors remembered by signature."""
        pure = not (func.is_view or func._schema.is_mutable) and func.namespace == "aten"
        if not pure or not tensors or not all(isinstance(t, FakeTensor) for t in tensors):
            return self._fake_call(func, args, kwargs, tensors)
        key = signature(func, args, kwargs)
        shapes = _outputs.get(key)
        if shapes is None:
            result = self._fake_call(func, args, kwargs, tensors)
            _outputs[key] = _fresh_shapes(result, tensors)
            return result
        if shapes == ():
            return self._fake_call(func, args, kwargs, tensors)
        made = [
            FakeTensor(self.mode, torch.empty_strided(size, stride, dtype=dtype, device="meta"), _CPU)
            for size, stride, dtype in shapes
        ]
        return made[0] if len(func._schema.returns) == 1 else tuple(made)

    def _fake_call(self, func: Any, args: Any, kwargs: Any, tensors: list[Tensor]) -> Any:
        kwargs = _without_generator(kwargs)
        if func in _INDEXING:
            args = (args[0], _positions(args[1]), *args[2:])
        fresh: dict[int, Tensor] = {}

        def substitute(tensor: Tensor) -> Tensor:
            if isinstance(tensor, FakeTensor):
                return tensor
            made = fresh.setdefault(id(tensor), self.fake(tensor))
            originals[id(made)] = tensor
            return made

        originals: dict[int, Tensor] = {}
        try:
            with self.mode:
                result = func(*mapped(args, substitute), **mapped(kwargs, substitute))
        except (DataDependentOutputException, DynamicOutputShapeException) as error:
            raise _refused(func.name()) from error
        if func in _CONVOLUTIONS:
            result = self._in_channels_last(func, args, result)
        if not originals:
            return result
        if func._schema.is_mutable:
            self._distrust(t for t in tensors if not isinstance(t, FakeTensor))
        return mapped(result, lambda t: originals.get(id(t), t))

    def _distrust(self, tensors: Iterable[Tensor]) -> None:
        """Their numbers were overwritten by something fake; forgotten with the storage, whose address is used again."""
        for tensor in tensors:
            storage = tensor.untyped_storage()
            key = storage._cdata
            self._stale[key] = weakref.ref(storage, lambda _, key=key: self._stale.pop(key, None))

    def _in_channels_last(self, func: Any, args: Any, result: Any) -> Any:
        """CPU kernels answer in channels-last if input or weight is so; the fake kernels overlook some cases."""
        source, weight = args[_CONVOLUTIONS[func] :][:2]
        if source.ndim != 4 or torch.channels_last not in map(suggest_memory_format, (source, weight)):
            return result
        with self.mode:
            return mapped(result, lambda t: t.contiguous(memory_format=torch.channels_last) if t.ndim == 4 else t)

    def _read(self, tensor: Tensor) -> Any:
        """The number in a single-element tensor."""
        known = not isinstance(tensor, FakeTensor) and tensor.untyped_storage()._cdata not in self._stale
        if known:
            return _READ(tensor)
        if not tensor.is_floating_point():
            raise _refused("reading an integer or a truth value computed from floating-point data")
        self.assumptions["numbers read from floating-point tensors (losses, norms) were taken as 1.0"] = None
        return 1.0


def _fresh_shapes(result: Any, inputs: list[Tensor]) -> tuple[Any, ...]:
    """Size, strides and dtype of each output; empty if any is no whole storage of its own."""
    outputs = list(result) if isinstance(result, tuple) else [result]
    if not all(isinstance(t, FakeTensor) and _is_whole(t) for t in outputs):
        return ()
    taken = [s._cdata for t in (*inputs, *outputs) for s in storages_of(t)]
    own = [s._cdata for t in outputs for s in storages_of(t)]
    if len(set(own)) < len(own) or any(taken.count(key) > 1 for key in own):
        return ()
    return tuple((tuple(t.shape), t.stride(), t.dtype) for t in outputs)


def _is_whole(tensor: Tensor) -> bool:
    if tensor.layout is not torch.strided:
        return False
    span = 1 + sum((n - 1) * stride for n, stride in zip(tensor.shape, tensor.stride())) if tensor.numel() else 0
    return tensor.untyped_storage().nbytes() == span * tensor.element_size()


def _refused(what: str) -> Incompatible:
    return Incompatible(
        "prediction", what, "control flow or shapes of this step depend on tensor values; measure it instead"
    )


def _without_generator(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Fake random numbers need no generator, and a real one does not fit them."""
    return {k: (None if isinstance(v, torch.Generator) else v) for k, v in kwargs.items()}


def _positions(indices: Any) -> list[Any]:
    """Truth-value masks as integer positions, whose number is known because masks are real."""
    found: list[Any] = []
    for index in indices:
        real = isinstance(index, Tensor) and not isinstance(index, FakeTensor)
        if real and index.dtype in (torch.bool, torch.uint8):
            found.extend(torch.nonzero(index, as_tuple=True))
        else:
            found.append(index)
    return found


# -- models --------------------------------------------------------------------------------------------


def swap(model: nn.Module, runner: FakeRunner) -> nn.Module:
    """Replace every tensor a model holds (meta or real) by a fake CPU one, in place, keeping ties and views.

    Integer buffers that are real stay real. On meta their values are gone: position indices are counted
    again, counters start at zero, and any other one is fake, so that control flow asking it is refused.
    """
    seen: dict[int, Tensor] = {}
    bases: dict[int, Tensor] = {}

    def swapped(name: str, tensor: Tensor) -> Tensor:
        if id(tensor) not in seen:
            new = _integers(name, tensor)
            if new is None:
                new = _view_of_base(tensor, bases, runner)
            seen[id(tensor)] = _like_parameter(tensor, new)
        return seen[id(tensor)]

    originals = []  # keeps every old tensor alive, so that no identity is used twice
    for module in model.modules():
        for held in (module._parameters, module._buffers, module.__dict__):
            for name, value in list(held.items()):
                if isinstance(value, Tensor) and not isinstance(value, FakeTensor):
                    originals.append(value)
                    held[name] = swapped(name, value)
    return model


def _integers(name: str, tensor: Tensor) -> Tensor | None:
    if isinstance(tensor, nn.Parameter) or tensor.is_floating_point() or tensor.is_complex():
        return None
    if not tensor.is_meta:
        return tensor
    if name == "position_ids":
        return torch.arange(tensor.shape[-1], dtype=tensor.dtype).expand(tensor.shape)
    if name in ("num_batches_tracked", "token_type_ids"):
        return torch.zeros(tensor.shape, dtype=tensor.dtype)
    return None


def _view_of_base(tensor: Tensor, bases: dict[int, Tensor], runner: FakeRunner) -> Tensor:
    storage = tensor.untyped_storage()
    with runner.mode:
        if storage._cdata not in bases:
            count = storage.nbytes() // tensor.element_size()
            bases[storage._cdata] = torch.empty(count, dtype=tensor.dtype, device="cpu")
        base = bases[storage._cdata]
        if base.dtype != tensor.dtype:
            base = base.view(tensor.dtype)
        return base.as_strided(tensor.shape, tensor.stride(), tensor.storage_offset())


def _like_parameter(old: Tensor, new: Tensor) -> Tensor:
    """``new`` with the parameter class, attributes and gradient hooks of ``old``."""
    if isinstance(old, nn.Parameter):
        new = nn.Parameter(new, requires_grad=old.requires_grad)
        new.__dict__.update(old.__dict__)
        for hook in (getattr(old, "_post_accumulate_grad_hooks", None) or {}).values():
            new.register_post_accumulate_grad_hook(hook)
        for hook in (old._backward_hooks or {}).values():
            new.register_hook(hook)
    return new


@contextmanager
def as_if_real() -> Iterator[None]:
    """Keep transformers from noticing fake tensors: it would build masks that a real step skips."""
    module = sys.modules.get("transformers.utils.import_utils")
    original = getattr(module, "is_fake_tensor", None)
    if module is None or original is None:
        yield
        return
    module.is_fake_tensor = lambda tensor: False  # type: ignore[attr-defined]
    try:
        yield
    finally:
        module.is_fake_tensor = original  # type: ignore[attr-defined]
