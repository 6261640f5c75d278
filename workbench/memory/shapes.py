"""What an operator returns, without running it: torch's own fake kernels are asked once for each signature."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch._prims_common import suggest_memory_format
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensor,
    FakeTensorMode,
)

from workbench.core.errors import Incompatible
from workbench.memory.dataless import dataless, placed, span
from workbench.memory.step import tensors_in

#: Convolutions and the place of their input among the arguments.
_CONVOLUTIONS = {torch.ops.aten.convolution.default: 0, torch.ops.aten.convolution_backward.default: 1}


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


def without_generator(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Random numbers that nobody draws need no generator, and a real one does not fit them."""
    return {k: (None if isinstance(v, torch.Generator) else v) for k, v in kwargs.items()}


def refused(what: str) -> Incompatible:
    return Incompatible(
        "prediction", what, "control flow or shapes of this step depend on tensor values; measure it instead"
    )


@dataclass(frozen=True)
class Layout:
    """One tensor of a result. ``place`` is the input it is (``same``) or lies in; if negative, the new storage.

    ``offset`` counts elements from where that input begins, ``nbytes`` is the size of the storage.
    """

    place: int
    same: bool
    size: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int
    dtype: torch.dtype
    nbytes: int
    device: torch.device

    def restrided(self, stride: tuple[int, ...]) -> Layout:
        """As the real kernel was seen to lay it out."""
        if stride == self.stride:
            return self
        return replace(self, stride=stride, offset=0, nbytes=span(self.size, stride) * self.dtype.itemsize)


#: What operators were found to return, for all that this process predicts: cases differ in few of their operators.
_FOUND: dict[tuple[Any, ...], tuple[Any, dict[int, Layout]]] = {}
MOST = 1 << 15  #: results kept


class Shapes:
    """Results of operators by shapes: ``result`` has a ``Layout`` wherever the operator returns a tensor."""

    def __init__(self) -> None:
        self.mode = FakeTensorMode(allow_non_fake_inputs=True)

    def found(
        self, key: tuple[Any, ...], func: Any, args: Any, kwargs: Any, tensors: list[Tensor]
    ) -> tuple[Any, dict[int, Layout]]:
        """:meth:`of`, asked once a process. ``key`` is the call's, as :func:`~workbench.memory.signature.key_of`."""
        owner: dict[int, int] = {}
        shared = tuple(owner.setdefault(t.untyped_storage()._cdata, i) for i, t in enumerate(tensors))
        whole = func, key, shared, tuple(t.device for t in tensors), torch.get_default_dtype()
        made = _FOUND.get(whole)
        if made is None:
            made = self.of(func, args, kwargs, tensors)
            if not made[1]:  # a resized storage depends on how large it was
                if len(_FOUND) >= MOST:
                    _FOUND.clear()
                _FOUND[whole] = made
        return made

    def of(self, func: Any, args: Any, kwargs: Any, tensors: list[Tensor]) -> tuple[Any, dict[int, Layout]]:
        """The result, and the layouts of inputs that the operator resizes, by their place among ``tensors``."""
        bases: dict[int, torch.UntypedStorage] = {}
        fakes = {id(t): self._fake(t, bases) for t in tensors}
        before = {i: fakes[id(t)].shape for i, t in enumerate(tensors)} if func._schema.is_mutable else {}
        try:
            with self.mode:
                inputs = mapped((args, without_generator(kwargs)), lambda t: fakes[id(t)])
                result = _FAKES.get(func, func)(*inputs[0], **inputs[1])
        except (DataDependentOutputException, DynamicOutputShapeException) as error:
            raise refused(func.name()) from error
        if any(t.layout is not torch.strided for t in tensors_in(result)):
            raise refused(func.name())  # how many entries it has depends on the numbers
        if func in _CONVOLUTIONS:
            result = self._in_channels_last(inputs[0][_CONVOLUTIONS[func] :][:2], result)
        describe = _Described([fakes[id(t)] for t in tensors])
        resized = {i: describe(fakes[id(tensors[i])], True) for i, shape in before.items()
                   if fakes[id(tensors[i])].shape != shape}  # fmt: skip
        return mapped(result, describe), resized

    def _fake(self, tensor: Tensor, bases: dict[int, torch.UntypedStorage]) -> Tensor:
        """Its fake twin; those of tensors that share a storage share one as well."""
        storage = tensor.untyped_storage()
        base = bases.get(storage._cdata)
        if base is None:
            base = bases[storage._cdata] = torch.UntypedStorage(storage.nbytes(), device="meta")
        return FakeTensor(self.mode, placed(base, tensor), tensor.device)

    def _in_channels_last(self, operands: Any, result: Any) -> Any:
        """CPU kernels answer in channels-last if input or weight is so; the fake kernels overlook some cases."""
        source, weight = operands
        if source.ndim != 4 or torch.channels_last not in map(suggest_memory_format, (source, weight)):
            return result
        with self.mode:
            return mapped(result, lambda t: t.contiguous(memory_format=torch.channels_last) if t.ndim == 4 else t)


def _grouped(first: Tensor, second: Tensor, offsets: Tensor | None = None, *_: Any, **__: Any) -> Tensor:
    """A product of groups of rows, as mixtures of experts take it, by torch's own rule for its result.

    torch's fake kernel checks what its CUDA kernel can do before it comes to that rule: bfloat16 alone.
    """
    from torch._meta_registrations import _create_grouped_mm_output_tensor

    made: Tensor = _create_grouped_mm_output_tensor(first, second, offsets, None)
    return made


def _roomy(func: Any) -> Callable[..., Tensor]:
    """A kernel whose result begins as large as its input and is cut to size, which gives no memory back."""

    def made(source: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        result: Tensor = func(source, *args, **kwargs)
        room = result.new_empty(max(source.numel(), result.numel()))
        return room[: result.numel()].view(result.shape)

    return made


#: Fake kernels of ours, where torch's refuses what its CPU kernel takes, or makes less of it.
_FAKES: dict[Any, Callable[..., Any]] = {
    torch.ops.aten._grouped_mm.default: _grouped,
    **{func: _roomy(func) for func in (torch.ops.aten.col2im.default, torch.ops.aten.im2col.default)},
}


class _Described:
    """Turns fake tensors into layouts, storages among the inputs' recognised."""

    def __init__(self, inputs: list[Tensor]) -> None:
        self.inputs = {id(t): i for i, t in reversed(list(enumerate(inputs)))}
        self.places = {t.untyped_storage()._cdata: i for i, t in reversed(list(enumerate(inputs)))}
        self.offsets = [t.storage_offset() for t in inputs]
        self.kept: list[Tensor] = []  # so that no address is used twice

    def __call__(self, tensor: Tensor, new: bool = False) -> Layout:
        self.kept.append(tensor)
        storage = tensor.untyped_storage()
        place = self.places.setdefault(storage._cdata, -1 - len(self.places))
        same = not new and id(tensor) in self.inputs
        place = self.inputs[id(tensor)] if same else -1 - len(self.places) if new else place
        offset = tensor.storage_offset() - (self.offsets[place] if place >= 0 else 0)
        layout = tuple(tensor.shape), tensor.stride(), offset, tensor.dtype
        return Layout(place, same, *layout, storage.nbytes(), tensor.device)


class Maker:
    """Makes the tensors of one result from their layouts."""

    def __init__(self, tensors: list[Tensor]) -> None:
        self.tensors = tensors
        self.storages: dict[int, torch.UntypedStorage] = {}

    def __call__(self, value: Any) -> Any:
        if isinstance(value, Layout):
            return self._tensor(value)
        if isinstance(value, list | tuple):
            return type(value)(map(self, value))
        return value

    def _tensor(self, layout: Layout) -> Tensor:
        if layout.same:
            return self.tensors[layout.place]
        if layout.device.type != "cpu":
            return torch.empty_strided(layout.size, layout.stride, dtype=layout.dtype, device=layout.device)
        if layout.place >= 0:
            source = self.tensors[layout.place]
            place, start = source.untyped_storage(), source.storage_offset()
        elif layout.offset or layout.place in self.storages:
            place, start = self._storage(layout), 0
        else:
            made = dataless(layout.size, layout.stride, layout.dtype, layout.nbytes)
            self.storages[layout.place] = made.untyped_storage()
            return made
        return torch.empty(0, dtype=layout.dtype).set_(place, start + layout.offset, layout.size, layout.stride)

    def _storage(self, layout: Layout) -> torch.UntypedStorage:
        if layout.place not in self.storages:
            whole = dataless((layout.nbytes,), (1,), torch.uint8)
            self.storages[layout.place] = whole.untyped_storage()
        return self.storages[layout.place]


def layouts_in(value: Any) -> Iterator[Layout]:
    """Every layout in a described result."""
    if isinstance(value, Layout):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from layouts_in(item)


def restrided(value: Any, strides: list[list[int]]) -> Any:
    """A described result, laid out as the real kernel was seen to lay it out."""
    wanted = iter(strides)

    def lay_out(value: Any) -> Any:
        if isinstance(value, Layout):
            return value.restrided(tuple(next(wanted)))
        return type(value)(map(lay_out, value)) if isinstance(value, list | tuple) else value

    return lay_out(value)
