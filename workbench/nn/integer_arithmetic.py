"""Convolutions in integers, forward and backward: int8 in, int32 sums, fixed-point rescaling.

Maps are int8 of shape (batch, height, width, channels). A CPU emulates here what a microcontroller does with its
multiply-accumulate instructions: every product and sum is an integer one (torch's int8 matrix product, or int16
products added up in int32), so results are those of any other exact integer machine, bit for bit. What real numbers
the integers stand for is the caller's affair, except in :class:`Gradient`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

LOW, HIGH = -128, 127
FRACTION = 15  #: bits behind the point of a ratio between 0 and 1


class Geometry(NamedTuple):
    """Of one convolution: ``padding`` is (left, right, top, bottom)."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int]

    def outputs(self, height: int, width: int) -> tuple[int, int]:
        left, right, top, bottom = self.padding
        rows = (height + top + bottom - self.kernel[0]) // self.stride[0] + 1
        return rows, (width + left + right - self.kernel[1]) // self.stride[1] + 1


class Gradient(NamedTuple):
    """The gradient for the real values of a map: ``values`` (int8) times ``scale`` (float32, one number)."""

    values: Tensor
    scale: Tensor


def fixed_point(factor: Tensor) -> tuple[Tensor, Tensor]:
    """``factor`` (positive) as int32 ``multiplier`` in [2^30, 2^31) and ``shift``: factor = multiplier / 2^shift."""
    mantissa, exponent = torch.frexp(factor.double())
    multiplier = (mantissa * 2**31).round().clamp(max=2**31 - 1).to(torch.int32)
    return multiplier, (31 - exponent).to(torch.int32)


def rescaled(sums: Tensor, multiplier: Tensor, shift: Tensor) -> Tensor:
    """``sums`` (int32) times multiplier / 2^shift, rounded half up, as int64; in place on a copy."""
    wide = sums.to(torch.int64)
    half = torch.ones_like(shift, dtype=torch.int64).bitwise_left_shift_(shift - 1)
    return wide.mul_(multiplier).add_(half).bitwise_right_shift_(shift)


# -- pointwise: a matrix product ------------------------------------------------------------------------


def pointwise(x: Tensor, weight: Tensor, zero: int) -> Tensor:
    """Sums of (x - zero) times ``weight`` (outputs, channels) as int32 of shape (batch, height, width, outputs)."""
    sums = torch._int_mm(x.reshape(-1, x.shape[-1]), weight.t())
    if zero:
        sums.sub_(weight.sum(1, dtype=torch.int32).mul_(zero))
    return sums.view(*x.shape[:-1], weight.shape[0])


def pointwise_input(gradient: Tensor, weight: Tensor) -> Tensor:
    """What ``gradient`` (int8, outputs last) sums up to at the input, int32."""
    sums = torch._int_mm(gradient.reshape(-1, gradient.shape[-1]), weight)
    return sums.view(*gradient.shape[:-1], weight.shape[1])


def pointwise_weight(gradient: Tensor, x: Tensor, zero: int) -> Tensor:
    """Gradient of the weight over the channels of ``x``, int32 (outputs, channels)."""
    flat = gradient.reshape(-1, gradient.shape[-1])
    sums = torch._int_mm(flat.t(), x.reshape(-1, x.shape[-1]))
    if zero:
        sums.sub_(flat.sum(0, dtype=torch.int32).mul_(zero)[:, None])
    return sums


# -- dense kernels: patches, then a matrix product --------------------------------------------------------


def patches(x: Tensor, geometry: Geometry, zero: int) -> Tensor:
    """Patches of a padded map as one pointwise input: (batch, rows, columns, channels * kernel)."""
    left, right, top, bottom = geometry.padding
    padded = pad(x, (0, 0, left, right, top, bottom), value=zero)
    found = padded.unfold(1, geometry.kernel[0], geometry.stride[0]).unfold(2, geometry.kernel[1], geometry.stride[1])
    return found.reshape(*found.shape[:3], -1)


# -- depthwise: one product of maps for each place of the kernel ----------------------------------------


def _centred(x: Tensor, geometry: Geometry, zero: int) -> Tensor:
    """The padded map less its zero point, in int16: with an 8-bit factor no product leaves int16."""
    left, right, top, bottom = geometry.padding
    return pad(x.to(torch.int16).sub_(zero), (0, 0, left, right, top, bottom))


def _window(x: Tensor, geometry: Geometry, place: int, rows: int, columns: int) -> Tensor:
    """The part of a padded map that the kernel's ``place`` meets."""
    i, j = divmod(place, geometry.kernel[1])
    down, across = geometry.stride
    return x[:, i : i + down * (rows - 1) + 1 : down, j : j + across * (columns - 1) + 1 : across]


def depthwise(x: Tensor, weight: Tensor, geometry: Geometry, zero: int) -> Tensor:
    """Sums of (x - zero) times ``weight`` (places of the kernel, channels), int32."""
    rows, columns = geometry.outputs(x.shape[1], x.shape[2])
    centred, wide = _centred(x, geometry, zero), weight.to(torch.int16)
    sums = torch.zeros((x.shape[0], rows, columns, x.shape[3]), dtype=torch.int32, device=x.device)
    for place in range(weight.shape[0]):
        sums.add_(_window(centred, geometry, place, rows, columns) * wide[place])
    return sums


def depthwise_input(gradient: Tensor, weight: Tensor, geometry: Geometry, height: int, width: int) -> Tensor:
    """What ``gradient`` sums up to at the unpadded input, int32."""
    left, right, top, bottom = geometry.padding
    batch, rows, columns, channels = gradient.shape
    shape = (batch, height + top + bottom, width + left + right, channels)
    sums = torch.zeros(shape, dtype=torch.int32, device=gradient.device)
    narrow, wide = gradient.to(torch.int16), weight.to(torch.int16)
    for place in range(weight.shape[0]):
        _window(sums, geometry, place, rows, columns).add_(narrow * wide[place])
    return sums[:, top : top + height, left : left + width]


def depthwise_weight(gradient: Tensor, x: Tensor, geometry: Geometry, zero: int) -> Tensor:
    """Gradient of the weight, int32 (places of the kernel, channels)."""
    _, rows, columns, channels = gradient.shape
    centred, narrow = _centred(x, geometry, zero), gradient.to(torch.int16)
    places = geometry.kernel[0] * geometry.kernel[1]
    sums = torch.empty((places, channels), dtype=torch.int32, device=x.device)
    for place in range(places):
        product = _window(centred, geometry, place, rows, columns) * narrow
        sums[place].copy_(product.sum((0, 1, 2), dtype=torch.int32))
    return sums


# -- gradients kept at 8 bits -----------------------------------------------------------------------------


def narrowed(sums: Tensor, scale: Tensor) -> Gradient:
    """``sums`` (int32, each standing for ``scale``) as 8 bits: the largest becomes 127, the others round half up.

    The quotient floor((254 s + m) / 2m) is taken in float64: below 2^8 it is either whole or at least 2^-33 away from
    the next whole number, so rounding the division cannot reach that one, and the result is the integer division's.
    """
    largest = sums.abs().amax().clamp_(min=1).double()
    values = sums.double().mul_(2 * HIGH).add_(largest).div_(2 * largest).floor_().to(torch.int8)
    return Gradient(values, scale * largest.float() / HIGH)


def weighted(values: Tensor, ratio: Tensor) -> Tensor:
    """``values`` times ``ratio`` (int32 with :data:`FRACTION` bits behind the point, at most 1), rounded half up."""
    wide = values.to(torch.int64).mul_(ratio).add_(1 << (FRACTION - 1))
    return wide.bitwise_right_shift_(FRACTION).to(values.dtype)


def ratios(scale: Tensor) -> tuple[Tensor, Tensor]:
    """``scale`` as int32 shares of its largest entry for :func:`weighted`, and that entry."""
    largest = scale.amax()
    return (scale / largest * 2**FRACTION).round().to(torch.int32), largest


def added(one: Gradient, other: Gradient) -> Gradient:
    """The sum of two gradients of one map."""
    shares, largest = ratios(torch.stack((one.scale, other.scale)))
    sums = one.values.to(torch.int32).mul_(shares[0])
    return narrowed(sums.add_(other.values.to(torch.int32).mul_(shares[1])), largest / 2**FRACTION)


def unblocked(values: Tensor, blocked: Tensor) -> Tensor:
    """``values`` (int8) with zeros where ``blocked`` (truth values of the same shape, overwritten)."""
    return blocked.view(torch.int8).sub_(1).bitwise_and_(values)


def first(values: Tensor) -> Gradient:
    """A float gradient at 8 bits: where the head, which is float, hands over to the integer graph."""
    scale = values.abs().amax().clamp_(min=1e-30) / HIGH
    return Gradient((values / scale).round_().to(torch.int8), scale)
