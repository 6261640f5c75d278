"""Run a model as if noise had been added to its weights, without touching them.

Every torch call that is given a weight gets a perturbed copy of it instead, made just before the call and
dropped just after: a layer's weights at a time, still in cache when they are used. The weights are exact
afterwards because they were never changed, whatever their number format. An embedding perturbs only the rows it
looks up, and a large linear layer goes through its rows in blocks, so the copy never exceeds ``BLOCK`` bytes there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from workbench.engine.noise import Noise, numbered

BLOCK = 4 << 20  #: bytes of a perturbed copy above which a linear layer is computed in blocks of rows

#: Questions that values do not answer; their number makes it worth not perturbing for them.
_FACTS = {getattr(Tensor, name).__get__ for name in ("shape", "dtype", "device", "ndim", "requires_grad", "is_cuda")}
_FACTS |= {Tensor.size, Tensor.dim, Tensor.stride, Tensor.numel, Tensor.is_floating_point, Tensor.is_contiguous}


class Perturbed(TorchFunctionMode):
    """While entered, calls see ``weights[i]`` plus ``noise`` at place ``i``; for forwards without gradients."""

    def __init__(self, weights: Sequence[Tensor], noise: Noise) -> None:
        super().__init__()
        self._noise = noise
        self._weights = tuple(weights)  # alive as long as their identities are looked up
        self._numbers = {id(w): i for i, w in enumerate(self._weights)}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _FACTS:
            return func(*args, **kwargs)
        found: dict[int, Tensor] = {}
        self._find((args, kwargs.values()), found)
        if not found:
            return func(*args, **kwargs)
        if func is F.embedding and len(found) == 1 and _plain_lookup(*args, **kwargs):
            return self._embedding(*args, **kwargs)
        if func is F.linear and len(args) > 1 and args[1].nbytes > BLOCK and id(args[1]) in found:
            return self._linear(*args, **kwargs)
        copies = dict(zip(found, self._copies(list(found.values()))))
        return func(*_replaced(args, copies), **{k: _replaced(v, copies) for k, v in kwargs.items()})

    def _find(self, values: Any, found: dict[int, Tensor]) -> None:
        for value in values:
            if id(value) in self._numbers:
                found[id(value)] = value
            elif isinstance(value, list | tuple | type({}.values())):
                self._find(value, found)

    def _copies(self, weights: list[Tensor]) -> list[Tensor]:
        return self._noise.added_to(weights, numbered(self._numbers[id(w)] for w in weights))

    def _embedding(self, input: Tensor, weight: Tensor, *_: Any, **__: Any) -> Tensor:
        return self._noise.added_to_rows(weight, numbered([self._numbers[id(weight)]]), input)

    def _linear(self, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """``input @ (weight + noise).T + bias`` in blocks of output columns."""
        if bias is not None and id(bias) in self._numbers:
            (bias,) = self._copies([bias])
        number = self._numbers[id(weight)]
        rows, width = weight.shape
        result = input.new_empty((*input.shape[:-1], rows))
        flat, into = input.reshape(-1, width), result.view(-1, rows)
        count = -(-rows // -(-weight.nbytes // BLOCK))
        for first in range(0, rows, count):
            (block,) = self._noise.added_to([weight[first : first + count]], numbered([number], [first * width]))
            columns = into[:, first : first + count]
            if bias is None:
                torch.mm(flat, block.t(), out=columns)
            else:
                torch.addmm(bias[first : first + count], flat, block.t(), out=columns)
            del block
        return result


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
