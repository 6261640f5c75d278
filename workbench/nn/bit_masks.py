"""Activations and dropout that keep one bit per element for the backward pass instead of a whole tensor.

The gradient of ReLU, ReLU6 and dropout is the incoming one where a bit is clear and zero where it is set: exact.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class Bits(NamedTuple):
    """Truth values, eight to a byte, in the memory order of the tensor they were made from."""

    packed: Tensor
    shape: tuple[int, ...]
    stride: tuple[int, ...]


def pack_bits(mask: Tensor) -> Bits:
    """Pack a dense truth-valued tensor of any shape into ceil(elements / 8) bytes."""
    flat = mask.as_strided((mask.numel(),), (1,)).view(torch.uint8)
    rest = -flat.numel() % 8
    if rest:
        flat = nn.functional.pad(flat, (0, rest))
    columns = flat.view(-1, 8)
    packed = columns[:, 0].clone()
    for place in range(1, 8):
        packed.bitwise_or_(columns[:, place] << place)
    return Bits(packed, tuple(mask.shape), tuple(mask.stride()))


def unpack_bits(bits: Bits) -> Tensor:
    """The truth values again, in their old layout."""
    columns = torch.empty((bits.packed.numel(), 8), dtype=torch.uint8, device=bits.packed.device)
    for place in range(8):
        torch.bitwise_and(bits.packed >> place, 1, out=columns[:, place])
    return columns.view(torch.bool).as_strided(bits.shape, bits.stride)


class _WithBits(torch.autograd.Function):
    """Backward passes the gradient times ``ctx.scale`` where the bits of ``blocked`` are not set."""

    @staticmethod
    def keep(ctx: Any, blocked: Tensor, scale: float) -> None:
        packed, ctx.size, ctx.strides = pack_bits(blocked)
        ctx.save_for_backward(packed)
        ctx.scale = scale

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, ...]:
        (packed,) = ctx.saved_tensors
        gradient = outer[0].masked_fill(unpack_bits(Bits(packed, ctx.size, ctx.strides)), 0)
        return gradient.mul_(ctx.scale) if ctx.scale != 1 else gradient, *[None] * (len(ctx.needs_input_grad) - 1)


class _Clamp(_WithBits):
    @staticmethod
    def forward(ctx: Any, x: Tensor, low: float, high: float) -> Tensor:
        x = _dense(x)
        blocked = x <= low
        if high != float("inf"):
            blocked.logical_or_(x >= high)
        _Clamp.keep(ctx, blocked, 1)
        del blocked
        return x.clamp(low, high)


class _Dropout(_WithBits):
    @staticmethod
    def forward(ctx: Any, x: Tensor, rate: float) -> Tensor:
        x = _dense(x)
        kept = torch.empty_like(x, dtype=torch.bool).bernoulli_(1 - rate)
        blocked = kept.logical_not_()
        _Dropout.keep(ctx, blocked, 1 / (1 - rate))
        return x.masked_fill(blocked, 0).mul_(ctx.scale)


def clamp_with_bits(x: Tensor, low: float, high: float) -> Tensor:
    """``x`` clamped to [low, high]; the gradient is zero at and outside the bounds, as for torch's ReLU and ReLU6."""
    if not (torch.is_grad_enabled() and x.requires_grad):
        return x.clamp(low, high)
    result: Tensor = _Clamp.apply(x, low, high)
    return result


def dropout_with_bits(x: Tensor, rate: float) -> Tensor:
    """Dropout in training; draws the same random numbers as torch's."""
    if not (torch.is_grad_enabled() and x.requires_grad):
        return nn.functional.dropout(x, rate)
    result: Tensor = _Dropout.apply(x, rate)
    return result


def _dense(x: Tensor) -> Tensor:
    return x if torch.ops.aten.is_non_overlapping_and_dense.default(x) else x.contiguous()


class BitReLU(nn.ReLU):
    """``max(x, 0)``."""

    def forward(self, x: Tensor) -> Tensor:
        return clamp_with_bits(x, 0.0, float("inf"))


class BitReLU6(nn.ReLU6):
    """``min(max(x, 0), 6)``."""

    def forward(self, x: Tensor) -> Tensor:
        return clamp_with_bits(x, 0.0, 6.0)


class BitDropout(nn.Dropout):
    """Zero elements with probability ``p`` in training; the identity outside it."""

    def forward(self, x: Tensor) -> Tensor:
        return dropout_with_bits(x, self.p) if self.training else x


def adopt(module: nn.Module) -> bool:
    """Give a module its one-bit counterpart's class if there is one and it would keep less; whether it did."""
    if getattr(module, "inplace", False):
        return False  # it keeps no input of its own already
    counterpart = {nn.ReLU: BitReLU, nn.ReLU6: BitReLU6, nn.Dropout: BitDropout}.get(type(module))
    if counterpart is None or (isinstance(module, nn.Dropout) and not 0 < module.p < 1):
        return False
    module.__class__ = counterpart
    return True
