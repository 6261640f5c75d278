"""Run a model as if noise had been added to its weights, without touching them.

Every torch call that is given a weight gets a perturbed copy of it instead, made just before the call and
dropped just after: a layer's weights at a time, still in cache when they are used. The weights are exact
afterwards because they were never changed, whatever their number format. An embedding perturbs only the rows it
looks up; linear layers write their copies to one block of memory, a large one in several turns. Biases and scales
of norms are so small that their copies are made together, once a forward.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import register_flop_formula

from workbench.core.operators import brought_by
from workbench.core.phase import paid
from workbench.engine.noise import Noise, numbered

BLOCK = 4 << 20  #: most bytes of a linear layer's copy; of a larger one that many rows are done at a time
SMALL = 4096  #: elements of a vector up to which its copy is made with the others', before the forward

#: Questions that values do not answer; their number makes it worth not perturbing for them.
_FACTS = {getattr(Tensor, name).__get__ for name in ("shape", "dtype", "device", "ndim", "requires_grad", "is_cuda")}
_FACTS |= {Tensor.size, Tensor.dim, Tensor.stride, Tensor.numel, Tensor.is_floating_point, Tensor.is_contiguous}


class Perturbed(TorchFunctionMode):
    """``with Perturbed(weights).by(noise): ...`` lets calls see ``weights[i]`` plus the noise at place ``i``.

    For forwards without gradients. The block of memory is kept from one forward to the next. Plain parameters take
    another class meanwhile, so that only calls that are given one are looked at; a mode, which sees every call, serves
    where the weights are of a class of their own (fake ones).
    """

    small = SMALL

    def __init__(self, weights: Sequence[Tensor]) -> None:
        super().__init__()
        self._block = torch.empty(0)
        self._weights = tuple(weights)  # alive as long as their identities are looked up
        self._numbers = {id(w): i for i, w in enumerate(self._weights)}
        self._places = numbered(range(len(self._weights)))
        self._little = [w for w in self._weights if w.ndim < 2 and w.numel() <= self.small]
        self._ready: dict[int, Tensor] = {}
        self._watched = self._weights if all(type(w) is nn.Parameter for w in self._weights) else ()

    def by(self, noise: Noise) -> Self:
        self.noise = noise
        return self

    def __enter__(self) -> Self:
        self._ready = dict(zip(map(id, self._little), self._copies(self._little))) if self._little else {}
        if not self._watched:
            super().__enter__()
            return self
        _active.append(self)
        for weight in self._watched:
            weight.__class__ = _Watched
        return self

    def __exit__(self, *error: Any) -> None:
        self._ready = {}
        if not self._watched:
            super().__exit__(*error)
            return
        for weight in self._watched:
            weight.__class__ = nn.Parameter
        _active.remove(self)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _FACTS:
            return func(*args, **kwargs)
        found: dict[int, Tensor] = {}
        self._find((*args, *kwargs.values()) if kwargs else args, found)
        if not found:
            return func(*args, **kwargs)
        paid("perturbed")
        if func is F.embedding and len(found) == 1 and _plain_lookup(*args, **kwargs):
            return self._embedding(*args, **kwargs)
        if func is F.linear and len(args) > 1 and id(args[1]) in found and args[1].is_contiguous():
            return self._linear(*args, **kwargs)
        copies = self._copied_once(found)
        return func(*_replaced(args, copies), **{k: _replaced(v, copies) for k, v in kwargs.items()})

    def _find(self, values: Any, found: dict[int, Tensor]) -> None:
        numbers = self._numbers
        for value in values:
            if id(value) in numbers:
                found[id(value)] = value
            elif isinstance(value, list | tuple):
                self._find(value, found)

    def _copied_once(self, found: Mapping[int, Tensor]) -> dict[int, Tensor]:
        """Copies by identity: those that are ready, the others made now."""
        missing = [w for i, w in found.items() if i not in self._ready]
        made = dict(zip(map(id, missing), self._copies(missing))) if missing else {}
        return {i: made[i] if i in made else self._ready[i] for i in found}

    def _copies(self, weights: list[Tensor]) -> list[Tensor]:
        return self.noise.added_to(weights, numbered(self._numbers[id(w)] for w in weights))

    def _embedding(self, input: Tensor, weight: Tensor, *_: Any, **__: Any) -> Tensor:
        return self.noise.added_to_rows(weight, numbered([self._numbers[id(weight)]]), input)

    def _linear(self, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """``input @ (weight + noise).T + bias``; its result never shares memory with the copy, which is overwritten."""
        if bias is not None and id(bias) in self._numbers:
            bias = self._copied_once({id(bias): bias})[id(bias)]
        rows, width = weight.shape
        count = -(-rows // -(-weight.nbytes // BLOCK))
        if count == rows:
            return F.linear(input, self._copied(weight), bias)
        block, place, noise = self._block_of(weight, count * width), self._place(weight), self.noise
        terms = noise.seeds, noise.scales, noise.kind
        result: Tensor = torch.ops.pintpot.linear_with_noise(input, weight, bias, block, place, *terms)
        return result

    def _copied(self, weight: Tensor) -> Tensor:
        """The perturbed weight in the block of memory."""
        copied = self._block_of(weight, weight.numel()).view(weight.shape)
        self.noise.write_to(copied, weight, self._place(weight))
        return copied

    def _block_of(self, weight: Tensor, count: int) -> Tensor:
        """The first ``count`` elements of the block of memory."""
        if self._block.dtype is not weight.dtype or self._block.numel() < count:
            self._block = weight.new_empty(count)
        return self._block[:count]

    def _place(self, weight: Tensor) -> Tensor:
        number = self._numbers[id(weight)]
        return self._places[number : number + 1]


# One operator for all the turns of a large layer: a model of 70 billion weights takes some 130,000 turns a step, and
# each would be dispatched, tracked and, where the step is predicted, made up one by one.
torch.library.define(
    "pintpot::linear_with_noise",
    "(Tensor input, Tensor weight, Tensor? bias, Tensor(a!) block, Tensor place, Tensor seeds, Tensor scales, str kind)"
    " -> Tensor",
)
brought_by(__name__, "pintpot::linear_with_noise")


@torch.library.impl("pintpot::linear_with_noise", "cpu")
def _linear_with_noise(
    input: Tensor, weight: Tensor, bias: Tensor | None, block: Tensor, place: Tensor, *terms: Any
) -> Tensor:
    """As many rows of the weight at a time as ``block`` holds are copied to it and multiplied."""
    rows, width = weight.shape
    number, start = place[0].tolist()
    count = block.numel() // width
    result = input.new_empty((*input.shape[:-1], rows))
    flat, into = input.reshape(-1, width), result.view(-1, rows)
    for first in range(0, rows, count):
        last = min(first + count, rows)
        copied, columns = block[: (last - first) * width].view(last - first, width), into[:, first:last]
        at = numbered([number], [start + first * width])
        torch.ops.pintpot.write_with_noise_(copied, weight[first:last], at, *terms)
        if bias is None:
            torch.mm(flat, copied.t(), out=columns)
        else:
            torch.addmm(bias[first:last], flat, copied.t(), out=columns)
    return result


@torch.library.register_fake("pintpot::linear_with_noise")
def _(input: Tensor, weight: Tensor, bias: Tensor | None, block: Tensor, place: Tensor, *terms: Any) -> Tensor:
    return input.new_empty((*input.shape[:-1], weight.shape[0]))


@register_flop_formula(torch.ops.pintpot.linear_with_noise)
def _(input: tuple[int, ...], weight: tuple[int, ...], *_: Any, **__: Any) -> int:
    """Those of the product; shapes in, operations out."""
    return 2 * math.prod(input) * weight[0]


_active: list[Perturbed] = []  #: entered and not yet left, of this process's one training


class _Watched(nn.Parameter):
    """A weight in whose place calls are given a copy."""

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        with torch._C.DisableTorchFunctionSubclass():
            return _active[-1].__torch_function__(func, types, args, kwargs)


def _plain_lookup(
    input: Tensor, weight: Tensor, padding_idx: int | None = None, max_norm: float | None = None, *_: Any, **__: Any
) -> bool:
    """Whether a lookup only reads rows (``max_norm`` would also rescale them)."""
    return max_norm is None and weight.is_contiguous() and input.dtype in (torch.int64, torch.int32)


def _replaced(value: Any, copies: Mapping[int, Tensor]) -> Any:
    if id(value) in copies:
        return copies[id(value)]
    if isinstance(value, list | tuple):
        made = [_replaced(v, copies) for v in value]
        return type(value)(*made) if hasattr(value, "_fields") else type(value)(made)
    return value
