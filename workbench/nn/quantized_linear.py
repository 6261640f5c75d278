"""Linear layers with quantized weights and inputs: with a float master weight that trains, or packed and frozen.

Each is made from a torch layer in place, so that names stay. Weights have a grid for each output channel, inputs
one for each token, taken anew at every call.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from workbench.nn.affine_quantizer import codes, extremes, grid, levels, quantized, quantized_tokens, values
from workbench.nn.packed_codes import pack, unpack, widths

#: Clips and channel scales are stored in tenths: one rate and one perturbation for everything is then, for them, ten
#: times the perturbation, and at a rate of 1e-5 and a perturbation of 1e-3 the 1e-2 and 1e-3 of their own in ZeroQAT.
GAIN = 10.0
START = 3.0  #: the clip's logit at the start: bounds at 95 % of the extremes


@dataclass(frozen=True)
class Bits:
    """Widths of weights and activations, and how a weight's range is known.

    ``scales``: ``learned`` (extremes times a trained clip), ``moving`` (extremes of the weight as it is now), ``fixed``
    (extremes of the weight as it was loaded), or ``rounded`` (fixed, and the weight starts on the grid). ``transform``
    trains a factor for each input channel that the weight is multiplied and the input divided by.
    """

    weights: int
    activations: int
    scales: str = "learned"
    transform: bool = False


class FakeQuantizedLinear(nn.Linear):
    """A float weight that every product sees rounded to its grid.

    The weight appears in one torch call of a forward, so whoever swaps it for a perturbed copy makes one copy.
    """

    bits: Bits
    smooth: Tensor | None
    held: Tensor | None = None
    """Codes that are used whatever the weight says, to see what a loss owes to scales alone."""

    @classmethod
    def adopt(cls, layer: nn.Linear, bits: Bits) -> None:
        """Quantize a linear layer in place; parameters of its own train where the weight trains."""
        weight = layer.weight
        layer.__class__ = cls
        layer.bits = bits  # type: ignore[assignment]
        layer.register_buffer("smooth", weight.new_ones(layer.in_features) if bits.transform else None)
        if bits.transform:
            layer.channel_scale = nn.Parameter(weight.new_zeros(layer.in_features))
        if bits.scales == "learned":
            layer.clip_low = nn.Parameter(weight.new_zeros(layer.out_features))
            layer.clip_high = nn.Parameter(weight.new_zeros(layer.out_features))
        elif bits.scales != "moving":
            scale, zero = grid(*extremes(weight.detach()), bits.weights)
            layer.register_buffer("scale", scale)
            layer.register_buffer("zero", zero)
            if bits.scales == "rounded":
                weight.data = quantized(weight.detach(), scale, zero, bits.weights)

    def channels(self) -> Tensor | None:
        """What the input is divided by, (in_features,); ``None`` for one."""
        return self.smooth * (self.channel_scale * GAIN).exp() if self.bits.transform else self.smooth

    def placed(self, channels: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """The weight that is to be rounded, (out_features, in_features), its scale and its zero point."""
        weight = self.weight.view_as(self.weight) if channels is None else self.weight * channels
        if self.bits.scales in ("fixed", "rounded"):
            return weight, self.scale, self.zero  # type: ignore[return-value]
        low, high = extremes(weight.detach())
        if self.bits.scales == "learned":
            low = low * torch.sigmoid(self.clip_low * GAIN + START)
            high = high * torch.sigmoid(self.clip_high * GAIN + START)
        return weight, *grid(low, high, self.bits.weights)

    def codes(self) -> Tensor:
        """The integers of the weight, (out_features, in_features) of uint8 (int32 above 8 bits)."""
        with torch.no_grad():
            found = codes(*self.placed(self.channels()), self.bits.weights)
        return found.to(torch.uint8 if self.bits.weights <= 8 else torch.int32)

    def forward(self, x: Tensor) -> Tensor:
        channels = self.channels()
        x = quantized_tokens(x if channels is None else x / channels, self.bits.activations)
        weight, scale, zero = self.placed(channels)
        if self.held is not None:
            return nn.functional.linear(x, values(self.held.to(weight.dtype), scale, zero), self.bias)
        return nn.functional.linear(x, quantized(weight, scale, zero, self.bits.weights), self.bias)


class PackedLinear(nn.Linear):
    """A frozen weight of 2 to 8 bits, kept in that many bits, and a scale and zero point for each output channel.

    ``plane0``... are its bytes (see :mod:`workbench.nn.packed_codes`). One float copy lives during a call.
    """

    bits: Bits
    scale: Tensor
    zero: Tensor

    @classmethod
    def adopt(cls, layer: nn.Linear, bits: Bits) -> None:
        weight = layer.weight.detach()
        scale, zero = grid(*extremes(weight), bits.weights)
        planes = pack(codes(weight, scale, zero, bits.weights).to(torch.uint8), bits.weights)
        del layer.weight
        for index, plane in enumerate(planes):
            layer.register_buffer(f"plane{index}", plane)
        layer.register_buffer("scale", scale)
        layer.register_buffer("zero", zero)
        layer.bits = bits  # type: ignore[assignment]
        layer.__class__ = cls

    def codes(self) -> Tensor:
        """The integers, (out_features, in_features) of uint8."""
        planes: list[Any] = [getattr(self, f"plane{i}") for i in range(len(widths(self.bits.weights)))]
        return unpack(planes, self.bits.weights, self.in_features)

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        """The weight that the bytes stand for, (out_features, in_features), made anew at every call."""
        return self.codes().to(self.scale.dtype).sub_(self.zero[:, None]).mul_(self.scale[:, None])

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(quantized_tokens(x, self.bits.activations), self.weight, self.bias)


def packed_bytes(outputs: int, inputs: int, bits: int) -> int:
    """Bytes of a packed weight: its planes, and two float32 numbers for each output channel."""
    assert levels(bits) < 256, "codes of at most 8 bits are packed"
    return outputs * (sum(-(-inputs * width // 8) for width in widths(bits)) + 8)
