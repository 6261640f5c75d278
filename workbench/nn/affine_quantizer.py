"""Uniform quantization with a scale and a zero point a row, differentiable by the straight-through rule.

A value x becomes the code clamp(round(x / scale) + zero, 0, 2^bits - 1) and stands for (code - zero) scale. Rows are
output channels of a weight or tokens of an activation. Ranges always hold zero, so zero is represented exactly.
The gradient of the scale is that of learned step sizes (Esser et al., 2020) with a zero point (Bhalgat et al., 2020).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

TINY = 1e-12  #: least scale, for rows of zeros


def levels(bits: int) -> int:
    """The largest code."""
    return int(2**bits - 1)


def extremes(x: Tensor) -> tuple[Tensor, Tensor]:
    """Least and largest value of each row of (..., columns), zero included; each (...,)."""
    low, high = torch.aminmax(x, dim=-1)
    return low.clamp_(max=0), high.clamp_(min=0)


def grid(low: Tensor, high: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Scale and zero point of ranges [low, high], each of their shape; rounding the zero point passes gradients on."""
    scale = ((high - low) / levels(bits)).clamp(min=TINY)
    exact = -low / scale
    return scale, exact + (exact.round() - exact).detach()


def codes(x: Tensor, scale: Tensor, zero: Tensor, bits: int) -> Tensor:
    """Integer codes of (..., columns), kept in the format of ``x``; scale and zero are (...,)."""
    found = x / scale.unsqueeze(-1)
    return found.round_().add_(zero.unsqueeze(-1)).clamp_(0, levels(bits))


def values(found: Tensor, scale: Tensor, zero: Tensor) -> Tensor:
    """What codes stand for; written over them."""
    return found.sub_(zero.unsqueeze(-1)).mul_(scale.unsqueeze(-1))


class _Rounded(torch.autograd.Function):
    """Quantize and dequantize; saves its input and recomputes the rest."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, zero: Tensor, bits: int) -> Tensor:
        ctx.save_for_backward(x, scale, zero)
        ctx.bits = bits
        return values(codes(x, scale, zero, bits), scale, zero)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        x, scale, zero = ctx.saved_tensors
        ratio = x / scale.unsqueeze(-1)
        shifted = ratio + zero.unsqueeze(-1)
        # Asked before rounding: what rounds to the last code from beyond moves with the bound.
        inside = (shifted >= 0) & (shifted <= levels(ctx.bits))
        shifted = ratio.round().add_(zero.unsqueeze(-1))
        for_x = gradient * inside
        for_scale = for_zero = None
        if ctx.needs_input_grad[1]:
            slope = shifted.clamp_(0, levels(ctx.bits)).sub_(zero.unsqueeze(-1)).sub_(ratio.mul_(inside))
            for_scale = (gradient * slope).sum(-1)
        if ctx.needs_input_grad[2]:
            for_zero = -(gradient * ~inside).sum(-1) * scale
        return for_x, for_scale, for_zero, None


class _RoundedTokens(torch.autograd.Function):
    """Like ``_Rounded`` with ranges taken from the values themselves, so that nothing is clipped or saved."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, bits: int) -> Tensor:
        return _of_rows(x, bits)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return gradients[0], None


def _of_rows(x: Tensor, bits: int) -> Tensor:
    scale, zero = grid(*extremes(x), bits)
    return values(codes(x, scale, zero, bits), scale, zero)


def quantized(x: Tensor, scale: Tensor, zero: Tensor, bits: int) -> Tensor:
    """``x`` (..., columns) rounded to the grid of each row, straight-through gradients where asked for."""
    if torch.is_grad_enabled() and (x.requires_grad or scale.requires_grad):
        result: Tensor = _Rounded.apply(x, scale, zero, bits)
        return result
    return values(codes(x, scale, zero, bits), scale, zero)


def quantized_tokens(x: Tensor, bits: int) -> Tensor:
    """``x`` (..., columns) rounded to the grid of each row's own range: dynamic quantization of activations."""
    if torch.is_grad_enabled() and x.requires_grad:
        result: Tensor = _RoundedTokens.apply(x, bits)
        return result
    return _of_rows(x, bits)
