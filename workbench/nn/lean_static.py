"""Operations that keep packed copies of what the backward pass reads: GELU in 4 bits, softmax in 8, pruned norms.

Forward passes are exact; gradients are approximate, by the formats of SlimFit (Ardakani et al., 2024).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import gelu, layer_norm

from workbench.core.errors import BadInput


def pack_fours(codes: Tensor) -> Tensor:
    """Integers 0 to 15, flat, two to a byte: ceil(elements / 2) bytes."""
    if codes.numel() % 2:
        codes = torch.nn.functional.pad(codes, (0, 1))
    pairs = codes.view(-1, 2)
    return pairs[:, 0] | (pairs[:, 1] << 4)


def unpack_fours(packed: Tensor, count: int) -> Tensor:
    """The first ``count`` integers again."""
    return torch.stack((packed & 15, packed >> 4), 1).view(-1)[:count]


class _PackedGELU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        # Half steps from -4 to 3.5: sign, two integer bits, one of fraction.
        codes = (x * 2).round_().clamp_(-8, 7).add_(8).to(torch.uint8)
        ctx.save_for_backward(pack_fours(codes.reshape(-1)))
        ctx.size = x.shape
        return gelu(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:  # type: ignore[override]
        (packed,) = ctx.saved_tensors
        x = unpack_fours(packed, ctx.size.numel()).to(grad.dtype).sub_(8).div_(2).view(ctx.size)
        return torch.ops.aten.gelu_backward(grad, x)


class _PackedSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = x.softmax(-1)
        ctx.save_for_backward((y * 255).round_().to(torch.uint8))
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:  # type: ignore[override]
        (kept,) = ctx.saved_tensors
        y = kept.to(grad.dtype).div_(255)
        return y * (grad - (grad * y).sum(-1, keepdim=True))


class _PackedProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, left: Tensor, right: Tensor) -> Tensor:
        ctx.save_for_backward(_fixed_point(left), _fixed_point(right))
        return left @ right

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:  # type: ignore[override]
        left, right = (kept.to(grad.dtype).div_(16) for kept in ctx.saved_tensors)
        return grad @ right.mT, left.mT @ grad


class _PrunedLayerNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float, keep: float) -> Tensor:
        deviation = (x.var(-1, correction=0, keepdim=True) + eps).rsqrt()
        flat = ((x - x.mean(-1, keepdim=True)) * deviation).reshape(-1)
        places = flat.abs().topk(max(1, round(keep * flat.numel())), sorted=False).indices
        ctx.save_for_backward(flat[places], places.int(), deviation, weight)
        return layer_norm(x, weight.shape, weight, bias, eps)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:  # type: ignore[override]
        values, places, deviation, weight = ctx.saved_tensors
        normal = grad.new_zeros(grad.numel())
        normal[places.long()] = values
        normal = normal.view(grad.shape)
        inner = grad * weight
        dx = inner - inner.mean(-1, keepdim=True) - normal * (inner * normal).mean(-1, keepdim=True)
        dbias = grad.reshape(-1, grad.shape[-1]).sum(0) if ctx.needs_input_grad[2] else None
        return dx * deviation, None, dbias, None, None


def _fixed_point(x: Tensor) -> Tensor:
    """Sign, three integer and four fraction bits: sixteenths from -8 to 7.94."""
    return (x * 16).round_().clamp_(-128, 127).to(torch.int8)


def packed_gelu(x: Tensor) -> Tensor:
    """Exact GELU (by erf) of any shape; keeps half a byte per element."""
    result: Tensor = _PackedGELU.apply(x)
    return result


def packed_softmax(x: Tensor) -> Tensor:
    """Softmax over the last axis; keeps one byte per element."""
    result: Tensor = _PackedSoftmax.apply(x)
    return result


def packed_product(left: Tensor, right: Tensor) -> Tensor:
    """``left @ right`` of equal batch shapes; keeps one byte per element of each."""
    if left.shape[:-2] != right.shape[:-2]:
        raise BadInput("right", tuple(right.shape), f"a tensor with the batch shape {tuple(left.shape[:-2])}")
    result: Tensor = _PackedProduct.apply(left, right)
    return result


def pruned_layer_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-5, keep: float = 0.1) -> Tensor:
    """Layer norm over the last axis with a frozen scale; keeps the ``keep`` largest normalised values.

    Each costs its own bytes and four for its place. With ``keep=1`` the gradient is exact.
    """
    if not 0 < keep <= 1:
        raise BadInput("keep", keep, "a share above 0 and at most 1")
    if weight.requires_grad:
        raise BadInput("weight", "trained", "a scale with requires_grad=False: its gradient reads every value")
    result: Tensor = _PrunedLayerNorm.apply(x, weight, bias, eps, keep)
    return result
