"""Layers whose frozen weight is kept in int8 with one scale a row, multiplied as integers.

The input is quantized as well, anew at every call, with one scale a row: about 1 % of relative error a layer.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from workbench.nn.int8_kernel import kernel

LARGEST = 127


def quantized(weight: Tensor) -> tuple[Tensor, Tensor]:
    """``weight`` (rows, columns) as int8 of that shape and float32 scales (rows,); on meta only shapes."""
    scale = weight.abs().amax(1) / LARGEST
    return (weight / scale.clamp(min=1e-30)[:, None]).round_().to(torch.int8), scale


class _Product(torch.autograd.Function):
    """The product with the gradient of its input, both over the one int8 weight."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, scale: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(weight, scale)
        result: Tensor = kernel().linear(x, weight, scale, bias)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        weight, scale = ctx.saved_tensors
        return kernel().linear_backward(gradients[0], weight, scale), None, None, None


class Int8Linear(nn.Linear):
    """A linear layer with a frozen int8 weight: a quarter of the bytes, a third of the time where it is large.

    ``packed`` (out_features, in_features) int8 and ``scale`` (out_features,) float32 are the only weight kept:
    the gradient of the input is taken from the same bytes, with the output's gradient quantized by rows.
    """

    packed: Tensor
    scale: Tensor

    @classmethod
    def adopt(cls, layer: nn.Linear) -> None:
        """Quantize a frozen linear layer in place; names, bias and adapters around it stay."""
        packed, scale = quantized(layer.weight.detach())
        del layer.weight
        layer.register_buffer("packed", packed)
        layer.register_buffer("scale", scale)
        layer.__class__ = cls

    @property
    def weight(self) -> nn.Parameter:  # type: ignore[override]
        """The weight that the bytes stand for, (out_features, in_features), made anew at every call."""
        return nn.Parameter(self.packed * self.scale[:, None], requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        trained = self.bias is not None and self.bias.requires_grad
        bias = None if trained else self.bias
        if torch.is_grad_enabled() and x.requires_grad:
            result: Tensor = _Product.apply(x, self.packed, self.scale, bias)
        else:
            result = kernel().linear(x, self.packed, self.scale, bias)
        return result.add_(self.bias) if trained else result


class Int8Embedding(nn.Embedding):
    """A frozen table in int8 whose rows come out as float32."""

    packed: Tensor
    scale: Tensor

    @classmethod
    def adopt(cls, table: nn.Embedding) -> None:
        packed, scale = quantized(table.weight.detach())
        del table.weight
        table.register_buffer("packed", packed)
        table.register_buffer("scale", scale)
        table.__class__ = cls

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        return self.packed * self.scale[:, None]

    def forward(self, ids: Tensor) -> Tensor:
        rows = nn.functional.embedding(ids, self.packed)
        return rows.float().mul_(nn.functional.embedding(ids, self.scale[:, None]))
