"""Layers of a really quantized net: int8 weights, int32 biases, and no float copy of either anywhere.

After "On-Device Training Under 256KB Memory" (Lin et al., 2022). A weight is ``scale_w[o] * weight[o]``, a map
``scale * (values - zero)``, a bias ``scale_w[o] * scale_in * bias[o]``. The forward pass is

    y = clamp(round((conv(x - zero_in, weight) + bias) * scale_in scale_w / scale_out) + zero_out, -128, 127)

with the factor as a fixed-point integer. The backward pass goes straight through the rounding; what was clamped is
remembered as one bit an element, and only where something further down trains.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from workbench.nn import integer_arithmetic as integer
from workbench.nn.bit_masks import Bits, pack_bits, unpack_bits
from workbench.nn.integer_arithmetic import Geometry, Gradient

Kind = Literal["pointwise", "depthwise", "dense"]
ADD_FRACTION = 20  #: bits behind the point of the two factors of a residual sum


class Levels(NamedTuple):
    """What the 256 values of a map stand for: ``scale * (value - zero)``; ``scale`` is one float32 number."""

    scale: Tensor
    zero: int


@dataclass
class Saved:
    """What one layer keeps for its backward pass: its input (or a slice of its channels), and one bit an output."""

    x: Tensor | None
    blocked: Bits
    height: int
    width: int


@dataclass
class WeightGradients:
    """Integer gradients of one layer. Times ``scale`` (float32, one number) they are those of the real weight and bias,
    the bias's as it stands, the weight's over the real input: ``scale * scale_in``."""

    weight: Tensor | None
    bias: Tensor | None
    scale: Tensor


def _clamped(wide: Tensor, keep: bool) -> tuple[Tensor, Bits | None]:
    """``wide`` as int8, and one bit where that changed it."""
    blocked = pack_bits((wide < integer.LOW).logical_or_(wide > integer.HIGH)) if keep else None
    return wide.clamp_(integer.LOW, integer.HIGH).to(torch.int8), blocked


_WIDEST = 2.0**24  #: largest bias in steps, and steps of a sum to one of the result


class IntegerConv(nn.Module):
    """One convolution with what follows it (ReLU6 is a clamp that ``levels_out`` makes by itself).

    ``weight`` is int8: (outputs, channels) for pointwise ones, (places of the kernel, channels) for depthwise ones,
    (outputs, channels * places) for dense ones, which stand only at the input. ``bias`` is int32 (outputs,).
    ``channels`` are the input channels whose weights train, ``None`` where all or none do. ``whole``: all gradients
    are computed whatever trains, as a simulator does that masks them afterwards.
    """

    def __init__(
        self, kind: Kind, weight: Tensor, bias: Tensor, geometry: Geometry, levels_in: Levels, levels_out: Levels
    ) -> None:
        """Quantize a real folded ``weight`` (outputs, channels per group, height, width) and ``bias`` (outputs,)."""
        super().__init__()
        self.kind, self.geometry = kind, geometry
        self.zero_in, self.zero_out = levels_in.zero, levels_out.zero
        scale = weight.abs().amax((1, 2, 3)) / integer.HIGH
        # of a channel whose weights are all but zero the bias is what counts: it must fit, and its rescaling too
        least = torch.maximum(bias.abs() / levels_in.scale, levels_out.scale / levels_in.scale) / _WIDEST
        scale = torch.maximum(scale, least)
        whole = (weight / scale[:, None, None, None]).round().to(torch.int8)
        whole = whole.flatten(1).t().contiguous() if kind == "depthwise" else whole.flatten(1)
        multiplier, shift = integer.fixed_point(levels_in.scale * scale / levels_out.scale)
        self.register_buffer("weight", whole)
        self.register_buffer("bias", (bias / (levels_in.scale * scale)).round().to(torch.int32))
        self.register_buffer("scale_w", scale)
        self.register_buffer("scale_in", levels_in.scale.clone())
        self.register_buffer("multiplier", multiplier)
        self.register_buffer("shift", shift.to(torch.int8))
        self.trains_bias = self.trains_weight = self.whole = False
        self.channels: Tensor | None = None

    weight_handle: nn.Parameter
    bias_handle: nn.Parameter
    weight: Tensor
    bias: Tensor
    scale_w: Tensor
    scale_in: Tensor
    multiplier: Tensor
    shift: Tensor

    @property
    def on_path(self) -> bool:
        """Whether a gradient is wanted here."""
        return self.trains_bias or self.trains_weight or self.whole

    @property
    def kept_channels(self) -> Tensor | None:
        """Channels of the input that the backward pass keeps, where not all of them."""
        return None if self.whole else self.channels

    @property
    def inputs(self) -> int:
        """Input channels."""
        places = self.geometry.kernel[0] * self.geometry.kernel[1]
        return self.weight.shape[1] // (places if self.kind == "dense" else 1)

    @property
    def outputs(self) -> int:
        return self.bias.shape[0]

    def forward(self, x: Tensor, keep: bool = False) -> tuple[Tensor, Saved | None]:
        """int8 map to int8 map, and what the backward pass needs if it is to come this way."""
        sums = self._sums(x).add_(self.bias)
        wide = integer.rescaled(sums, self.multiplier, self.shift.to(torch.int64)).add_(self.zero_out)
        del sums
        y, blocked = _clamped(wide, keep)
        if blocked is None:
            return y, None
        kept = None
        if self.trains_weight or self.whole:
            kept = x if self.kept_channels is None else x.index_select(3, self.kept_channels)
        return y, Saved(kept, blocked, x.shape[1], x.shape[2])

    def _sums(self, x: Tensor) -> Tensor:
        if self.kind == "pointwise":
            return integer.pointwise(x, self.weight, self.zero_in)
        if self.kind == "depthwise":
            return integer.depthwise(x, self.weight, self.geometry, self.zero_in)
        return integer.pointwise(integer.patches(x, self.geometry, self.zero_in), self.weight, self.zero_in)

    def backward(self, gradient: Gradient, saved: Saved, further: bool) -> tuple[WeightGradients, Gradient | None]:
        """Integer gradients of what trains here, and the gradient of the input where it goes ``further`` down."""
        values = integer.unblocked(gradient.values, unpack_bits(saved.blocked))
        weight = None
        if saved.x is not None:
            weight = self._weight_sums(values, saved.x)
        bias = values.sum((0, 1, 2), dtype=torch.int32) if self.trains_bias or self.whole else None
        found = WeightGradients(weight, bias, gradient.scale)
        return found, self._input(values, gradient.scale, saved) if further else None

    def _weight_sums(self, values: Tensor, x: Tensor) -> Tensor:
        if self.kind == "depthwise":
            if self.kept_channels is not None:
                values = values.index_select(3, self.kept_channels)
            return integer.depthwise_weight(values, x, self.geometry, self.zero_in)
        if self.kind == "dense":
            x = integer.patches(x, self.geometry, self.zero_in)
        return integer.pointwise_weight(values, x, self.zero_in)

    def _input(self, values: Tensor, scale: Tensor, saved: Saved) -> Gradient:
        shares, largest = integer.ratios(self.scale_w)
        if self.kind == "depthwise":
            sums = integer.depthwise_input(values, self.weight, self.geometry, saved.height, saved.width)
            sums = integer.weighted(sums, shares)
        else:
            # A sum over outputs cannot take their scales out, so they go into the gradient first.
            sums = integer.pointwise_input(integer.weighted(values, shares), self.weight)
        return integer.narrowed(sums, scale * largest)

    # -- what trains ---------------------------------------------------------------------------------------

    def columns(self) -> Tensor | None:
        """Columns of ``weight`` that train, where not all of them do."""
        if self.channels is None or self.kind != "dense":
            return self.channels
        places = self.geometry.kernel[0] * self.geometry.kernel[1]
        within = torch.arange(places, device=self.channels.device)
        return (self.channels[:, None] * places + within).flatten()

    def strongest(self, count: int) -> Tensor:
        """The ``count`` input channels of largest weight norm, in order."""
        real = self.weight.float() * (self.scale_w if self.kind == "depthwise" else self.scale_w[:, None])
        norms = real.square().sum(0).view(self.inputs, -1).sum(1)
        return norms.topk(count).indices.sort().values

    def real_weight_scale(self, columns: Tensor | None) -> Tensor:
        """``scale_w`` in the shape that goes over ``weight`` (or over its ``columns``)."""
        if self.kind != "depthwise":
            return self.scale_w[:, None]
        return self.scale_w if columns is None else self.scale_w[columns]

    def extra_repr(self) -> str:
        return f"{self.kind}, {self.inputs} to {self.outputs}, kernel {self.geometry.kernel}, int8"


class IntegerAdd(nn.Module):
    """The sum of two maps of other scales: both are rescaled, rounded once."""

    def __init__(self, one: Levels, other: Levels, out: Levels) -> None:
        super().__init__()
        self.zeros, self.zero_out = (one.zero, other.zero), out.zero
        factors = torch.stack((one.scale / out.scale, other.scale / out.scale))
        self.register_buffer("factors", (factors * 2**ADD_FRACTION).round().to(torch.int32))

    factors: Tensor

    def forward(self, x: Tensor, y: Tensor, keep: bool = False) -> tuple[Tensor, Saved | None]:
        sums = x.to(torch.int64).sub_(self.zeros[0]).mul_(self.factors[0])
        sums.add_(y.to(torch.int64).sub_(self.zeros[1]).mul_(self.factors[1]))
        wide = sums.add_(1 << (ADD_FRACTION - 1)).bitwise_right_shift_(ADD_FRACTION).add_(self.zero_out)
        z, blocked = _clamped(wide, keep)
        return z, None if blocked is None else Saved(None, blocked, x.shape[1], x.shape[2])

    def backward(self, gradient: Gradient, saved: Saved) -> Gradient:
        """The gradient of both inputs, which is one for both."""
        return Gradient(integer.unblocked(gradient.values, unpack_bits(saved.blocked)), gradient.scale)
