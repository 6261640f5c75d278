"""Layers whose frozen weight is kept as int8 and multiplied in float32, one layer's float copy at a time.

Unlike :mod:`workbench.nn.int8_weights` the input is not quantized: rounding it puts noise into the small differences
that a slope is made of.
"""

from __future__ import annotations

from torch import Tensor, nn

from workbench.nn.int8_weights import Int8Linear, quantized


class WeightOnlyInt8Linear(Int8Linear):
    """Integers at rest: a float copy of the weight lives while its layer is computed.

    Under autograd that copy is saved for the backward pass, since the gradient of the input needs it.
    """

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.packed * self.scale[:, None], self.bias)


def round_to_int8(layer: nn.Module) -> None:
    """Give a float32 weight the values that int8 would stand for; it stays float32 (fake quantization)."""
    packed, scale = quantized(layer.weight.detach())  # type: ignore[arg-type, operator]
    layer.weight.data = packed * scale[:, None]  # type: ignore[union-attr]
