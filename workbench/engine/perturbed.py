"""Run a model as if noise had been added to its weights, without touching them.

Every torch call that is given a weight gets a perturbed copy of it instead, made just before the call and
dropped just after: a layer's weights at a time, still in cache when they are used. The weights are exact
afterwards because they were never changed, whatever their number format. An embedding perturbs only the rows it
looks up; linear layers write their copies to one block of memory, a large one in several turns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from workbench.core.phase import paid
from workbench.engine.noise import Noise, numbered

BLOCK = 4 << 20  #: most bytes of a linear layer's copy; of a larger one that many rows are done at a time

#: Questions that values do not answer; their number makes it worth not perturbing for them.
_FACTS = {getattr(Tensor, name).__get__ for name in ("shape", "dtype", "device", "ndim", "requires_grad", "is_cuda")}
_FACTS |= {Tensor.size, Tensor.dim, Tensor.stride, Tensor.numel, Tensor.is_floating_point, Tensor.is_contiguous}


class Perturbed(TorchFunctionMode):
    """``with Perturbed(weights).by(noise): ...`` lets calls see ``weights[i]`` plus the noise at place ``i``.

    For forwards without gradients. The block of memory is kept from one forward to the next.
    """

    def __init__(self, weights: Sequence[Tensor]) -> None:
        super().__init__()
        self._block = torch.empty(0)
        self._weights = tuple(weights)  # alive as long as their identities are looked up
        self._numbers = {id(w): i for i, w in enumerate(self._weights)}

    def by(self, noise: Noise) -> Perturbed:
        self.noise = noise
        return self

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        paid("intercepted")
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
        copies = dict(zip(found, self._copies(list(found.values()))))
        return func(*_replaced(args, copies), **{k: _replaced(v, copies) for k, v in kwargs.items()})

    def _find(self, values: Any, found: dict[int, Tensor]) -> None:
        numbers = self._numbers
        for value in values:
            if id(value) in numbers:
                found[id(value)] = value
            elif isinstance(value, list | tuple):
                self._find(value, found)

    def _copies(self, weights: list[Tensor]) -> list[Tensor]:
        return self.noise.added_to(weights, numbered(self._numbers[id(w)] for w in weights))

    def _embedding(self, input: Tensor, weight: Tensor, *_: Any, **__: Any) -> Tensor:
        return self.noise.added_to_rows(weight, numbered([self._numbers[id(weight)]]), input)

    def _linear(self, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """``input @ (weight + noise).T + bias``; its result never shares memory with the copy, which is overwritten."""
        if bias is not None and id(bias) in self._numbers:
            (bias,) = self._copies([bias])
        rows, width = weight.shape
        count = -(-rows // -(-weight.nbytes // BLOCK))
        if count == rows:
            return F.linear(input, self._copied(weight, 0, rows), bias)
        result = input.new_empty((*input.shape[:-1], rows))
        flat, into = input.reshape(-1, width), result.view(-1, rows)
        for first in range(0, rows, count):
            last = min(first + count, rows)
            copied, columns = self._copied(weight, first, last).t(), into[:, first:last]
            if bias is None:
                torch.mm(flat, copied, out=columns)
            else:
                torch.addmm(bias[first:last], flat, copied, out=columns)
        return result

    def _copied(self, weight: Tensor, first: int, last: int) -> Tensor:
        """Perturbed rows ``first`` to ``last`` in the block of memory."""
        rows, width = weight[first:last], weight.shape[1]
        if self._block.dtype is not weight.dtype or self._block.numel() < rows.numel():
            self._block = weight.new_empty(rows.numel())
        copied = self._block[: rows.numel()].view(rows.shape)
        self.noise.write_to(copied, rows, numbered([self._numbers[id(weight)]], [first * width]))
        return copied


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
