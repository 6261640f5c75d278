"""Run a step without memory or arithmetic: floats have no data, integers and truth values are real.

Control flow of a training step depends on integers (padding masks, positions, step counters); those are
small, so they are computed for real and every question about them is answered honestly. So are the few
floats that follow from them and from constants alone, such as a mask of ones. All other floating-point
tensors have shapes only. A number read from one (a loss for the log) is taken as 1.0, which is recorded as
an assumption; a truth value is answered by trial (see ``answers``), anything else is refused in one sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from workbench.memory import sparse
from workbench.memory.answers import Answers, compared
from workbench.memory.dataless import dataless, forget, known, like
from workbench.memory.shapes import Layout, Maker, Shapes, layouts_in, refused, restrided
from workbench.memory.signature import key_of
from workbench.memory.step import tensors_in

_READ = torch.ops.aten._local_scalar_dense.default
_INDEXING = (
    torch.ops.aten.index.Tensor,
    torch.ops.aten.index_put.default,
    torch.ops.aten.index_put_.default,
    torch.ops.aten._index_put_impl_.default,
)
_RESIZING = (torch.ops.aten.resize_.default, torch.ops.aten.resize_as_.default)

#: Strides of every tensor an operator returns, or ``None`` where the fake kernel has them right.
Strides = list[list[int]] | None

#: Called as ``inside(func, args, kwargs, result)``; returns the bytes the operator needs inside itself and the
#: strides of its result, or ``None`` when it cannot tell.
InsideBytes = Callable[[Any, tuple[Any, ...], Mapping[str, Any], Any], tuple[int, Strides] | None]


#: What makes floats that are the same in every step; a mask is often made of them.
_CONSTANTS = frozenset(
    getattr(torch.ops.aten, name) for name in ("arange", "eye", "full", "linspace", "ones", "scalar_tensor", "zeros")
)
_DRAWS = (torch.ops.aten.rand.default, torch.ops.aten.rand.generator)
FEW = 2**20  #: floats that follow from constants and integers and are computed for real


def _exact(tensor: Tensor | Layout, most: int = FEW) -> bool:
    """Whether values of this kind are computed for real: integers, truth values and at most so many floats."""
    if not (tensor.dtype.is_floating_point or tensor.dtype.is_complex):
        return True
    return (tensor.numel() if isinstance(tensor, Tensor) else torch.Size(tensor.size).numel()) <= most


class _Kind:
    """What has to be known of an operator, found once."""

    def __init__(self, func: Any) -> None:
        views = torch.Tag.inplace_view in func.tags and func not in _RESIZING
        #: Rearranges sizes and strides and touches no number.
        self.view = func.is_view or views or func in sparse.STRUCTURAL
        self.indexing = func in _INDEXING
        self.aten = func.namespace == "aten"
        arguments = func._schema.arguments
        self.written = [i for i, a in enumerate(arguments) if a.alias_info is not None and a.alias_info.is_write]
        self.names = [a.name for a in arguments]

    def overwritten(self, args: Any, kwargs: Mapping[str, Any]) -> Iterator[Tensor]:
        for i in self.written:
            yield from tensors_in(args[i] if i < len(args) else kwargs.get(self.names[i]))


@dataclass(slots=True)
class _Seen:
    """What is known of one signature."""

    key: tuple[Any, ...]
    result: Any = None
    resized: Mapping[int, Layout] | None = None
    restrided: bool = False
    inside: int | None = None  #: bytes; ``None`` as long as nobody could tell


class FakeRunner:
    """Executes operators on a mixture of tensors without data and real integers."""

    def __init__(self, inside: InsideBytes | None = None, answers: Answers | None = None) -> None:
        self.inside = inside
        self.answers = answers or Answers()
        self.assumptions: dict[str, None] = {}
        self.shapes = Shapes()
        self._seen: dict[tuple[Any, ...], _Seen] = {}
        self._kinds: dict[int, _Kind] = {}

    def fake(self, tensor: Tensor) -> Tensor:
        """A CPU tensor without data of this one's shape, strides and dtype, not connected to it."""
        return like(tensor) if known(tensor) else tensor

    def __call__(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Any, int]:
        self.answers.last = None
        if func is _READ:
            return self._read(args[0]), 0
        kind = self._kinds.get(id(func))
        if kind is None:
            kind = self._kinds[id(func)] = _Kind(func)
        if kind.view:
            return func(*args, **kwargs), 0
        tensors = tensors_in((args, kwargs))
        numbers = all(map(known, tensors))
        if not numbers and kind.indexing and any(map(_is_mask, args[1])):
            return self._masked(func, args, kwargs)
        key = key_of(func, args, kwargs)
        seen = self._seen.get(key)
        if seen is None:
            seen = self._seen[key] = _Seen(key)
        if numbers and (tensors or self._makes_exact(seen, func, args, kwargs)):
            result = func(*args, **kwargs)
            if func in _DRAWS and not tensors:
                result.fill_(self.answers.draws())
            if not kind.aten or all(map(_exact, tensors_in(result))):
                return result, self._inside(seen, func, args, kwargs, result)
        elif any(t.layout is torch.sparse_coo for t in tensors):
            result = sparse.run(func, args, kwargs)
            return result, self._inside(seen, func, args, kwargs, result)
        return self._made(kind, seen, func, args, kwargs, tensors)

    def _masked(self, func: Any, args: Any, kwargs: Any) -> tuple[Any, int]:
        """An operator that takes masks: kernels turn them into positions first, which they hold to their end."""
        positions = _positions(args[1])
        given = {id(index) for index in args[1]}
        made = sum(index.nbytes for index in positions if index is not None and id(index) not in given)
        result, inside = self(func, (args[0], positions, *args[2:]), kwargs)
        return result, inside + made

    def _made(self, kind: _Kind, seen: _Seen, func: Any, args: Any, kwargs: Any, tensors: Any) -> tuple[Any, int]:
        """A result without data."""
        self._ask(seen, func, args, kwargs, tensors)
        if kind.written:
            for tensor in kind.overwritten(args, kwargs):
                if known(tensor):
                    forget(tensor)
        for place, layout in (seen.resized or {}).items():
            tensors[place].set_(dataless(layout.size, layout.stride, layout.dtype, layout.nbytes))
        result = Maker(tensors)(seen.result)
        if self.inside is None or seen.inside is not None:
            return result, seen.inside or 0
        inside = self._inside(seen, func, args, kwargs, result)
        return Maker(tensors)(seen.result) if seen.restrided else result, inside

    def _ask(self, seen: _Seen, func: Any, args: Any, kwargs: Any, tensors: list[Tensor]) -> None:
        if seen.resized is None:
            seen.result, seen.resized = self.shapes.found(seen.key, func, args, kwargs, tensors)
            seen.inside = None  # with real numbers nobody asked how the kernel lays results out

    def _inside(self, seen: _Seen, func: Any, args: Any, kwargs: Any, result: Any) -> int:
        """Bytes inside an operator; also learns how its kernel lays results out."""
        if seen.inside is not None or self.inside is None:
            return seen.inside or 0
        found = self.inside(func, args, kwargs, result)
        if found is None:
            return 0
        seen.inside, strides = found
        if strides is not None and seen.resized is not None:
            seen.result, seen.restrided = restrided(seen.result, strides), True
        return seen.inside

    def _makes_exact(self, seen: _Seen, func: Any, args: Any, kwargs: Any) -> bool:
        """Whether an operator without tensor arguments makes integers, constants or a single number."""
        self._ask(seen, func, args, kwargs, [])
        most = FEW if func.overloadpacket in _CONSTANTS else 1
        return all(_exact(layout, most) for layout in layouts_in(seen.result))

    def _read(self, tensor: Tensor) -> Any:
        """The number in a single-element tensor."""
        if known(tensor):
            return _READ(tensor)
        if tensor.dtype is torch.bool and compared():
            self.assumptions["what torch.testing compares (torch.jit.trace does) was taken to be equal"] = None
            return True
        if tensor.dtype is torch.bool:
            return self.answers.answer()
        if not tensor.is_floating_point():
            raise refused("reading an integer computed from floating-point data")
        self.assumptions["numbers read from floating-point tensors (losses, norms) were taken as 1.0"] = None
        return self.answers.read()


class Dry(TorchDispatchMode):
    """Gives operators to a runner and nothing else: no workspace, no log."""

    def __init__(self) -> None:
        super().__init__()
        self.run = FakeRunner()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self.run(func, args, kwargs or {})[0]


def _is_mask(index: Any) -> bool:
    return isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8) and known(index)


def _positions(indices: Any) -> list[Any]:
    """Truth-value masks as integer positions, whose number is known because masks are real."""
    found: list[Any] = []
    for index in indices:
        if _is_mask(index):
            found.extend(torch.nonzero(index, as_tuple=True))
        else:
            found.append(index)
    return found
