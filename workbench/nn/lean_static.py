"""Operations that keep packed copies of what the backward pass reads: GELU in 4 bits, attention in 8, pruned norms.

Forward passes are exact; gradients are approximate, by the formats of SlimFit (Ardakani et al., 2024).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import gelu, layer_norm, linear

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
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:  # type: ignore[override]
        (packed,) = ctx.saved_tensors
        x = unpack_fours(packed, ctx.size.numel()).to(grad.dtype).sub_(8).div_(2).view(ctx.size)
        return torch.ops.aten.gelu_backward(grad, x)


class _PackedAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float) -> Tensor:
        shares = (query @ key.mT).mul_(scale)
        if mask is None:
            shares = shares.softmax(-1)
        else:
            hidden = mask.logical_not() if mask.dtype == torch.bool else mask == float("-inf")
            shares = shares.masked_fill_(hidden, float("-inf")) if mask.dtype == torch.bool else shares.add_(mask)
            # A row that may look at nothing gives nothing, as torch's own attention has it, and not a division by zero.
            shares = shares.softmax(-1).masked_fill_(hidden.all(-1, keepdim=True), 0)
        ctx.save_for_backward(
            _fixed_point(query), _fixed_point(key), _fixed_point(value), (shares * 255).round_().to(torch.uint8)
        )
        ctx.scale, ctx.mask_shape = scale, mask.shape if ctx.needs_input_grad[3] and mask is not None else None
        return shares @ value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:  # type: ignore[override]
        query, key, value, shares = ctx.saved_tensors  # asked once: a recomputed block gives them once
        # One after another: each is wide only while it is read.
        shares = shares.to(grad.dtype).div_(255)
        dvalue = shares.mT @ grad
        inner = grad @ _wide(value, grad).mT
        inner.sub_((inner * shares).sum(-1, keepdim=True)).mul_(shares)
        del shares
        dmask = None if ctx.mask_shape is None else inner.clone().sum_to_size(ctx.mask_shape)
        inner.mul_(ctx.scale)
        dquery = inner @ _wide(key, grad)
        dkey = inner.mT @ _wide(query, grad)
        return dquery, dkey, dvalue, dmask, None


class _ByteLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(_fixed_point(x), weight)
        return linear(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:  # type: ignore[override]
        packed, weight = ctx.saved_tensors
        flat = grad.reshape(-1, grad.shape[-1])
        dx = grad @ weight if ctx.needs_input_grad[0] else None
        dweight = flat.mT @ _wide(packed, grad).reshape(-1, packed.shape[-1])
        return dx, dweight, flat.sum(0) if ctx.needs_input_grad[2] else None


class _PrunedLayerNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float, keep: float) -> Tensor:
        deviation = (x.var(-1, correction=0, keepdim=True) + eps).rsqrt()
        flat = ((x - x.mean(-1, keepdim=True)) * deviation).reshape(-1)
        places = flat.abs().topk(max(1, round(keep * flat.numel())), sorted=False).indices
        ctx.save_for_backward(flat[places], places.int(), deviation, weight)
        return layer_norm(x, weight.shape, weight, bias, eps)

    @staticmethod
    @once_differentiable
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


def _wide(packed: Tensor, like: Tensor) -> Tensor:
    return packed.to(like.dtype).div_(16)


def packed_gelu(x: Tensor) -> Tensor:
    """Exact GELU (by erf) of any shape; keeps half a byte per element."""
    result: Tensor = _PackedGELU.apply(x)
    return result


def packed_attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """``softmax(scale query key^T + mask) value`` on shapes (batch, heads, tokens, width).

    ``mask``, of a shape that broadcasts to (batch, heads, tokens, tokens), holds truth values (True: looked at) or
    numbers that are added, which may train. A row that may look at nothing gives zeros. Keeps one byte per element of
    the three inputs and of the softmax, which is the square of the tokens: torch's fused attention keeps no such
    square, and from some length on it keeps less.
    """
    if not query.shape[:-2] == key.shape[:-2] == value.shape[:-2]:
        raise BadInput("key", tuple(key.shape), f"as many heads as the query's {tuple(query.shape)}")
    result: Tensor = _PackedAttention.apply(query, key, value, mask, scale)
    return result


def byte_linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """``x weight^T + bias`` with a trained weight; keeps one byte per element of ``x``."""
    result: Tensor = _ByteLinear.apply(x, weight, bias)
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
