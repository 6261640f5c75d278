"""Layers whose frozen weight is kept in fewer bits than they compute with: bfloat16, or NF4 by bitsandbytes.

Each is made from a torch layer in place, so that names, trained parameters and adapters around it stay. Weights
are widened (or multiplied narrow) inside the call; what enters and leaves keeps its dtype.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from workbench.nn.bitsandbytes_library import bitsandbytes

BLOCK = 64  #: weights that share one scale in NF4


class BFloat16Linear(nn.Linear):
    """A linear layer with a frozen bfloat16 weight; the product is taken in bfloat16."""

    def forward(self, x: Tensor) -> Tensor:
        result = nn.functional.linear(x.bfloat16(), self.weight).to(x.dtype)
        return result if self.bias is None else result.add_(self.bias)


class BFloat16Convolution(nn.Conv2d):
    """A convolution with a frozen bfloat16 weight, taken in bfloat16."""

    def forward(self, x: Tensor) -> Tensor:
        result = self._conv_forward(x.bfloat16(), self.weight, None).to(x.dtype)
        return result if self.bias is None else result.add_(self.bias[:, None, None])


class BFloat16Embedding(nn.Embedding):
    """A frozen table in bfloat16 whose rows come out as float32."""

    def forward(self, ids: Tensor) -> Tensor:
        return super().forward(ids).float()


_NARROW: dict[type[nn.Module], type[nn.Module]] = {
    nn.Linear: BFloat16Linear,
    nn.Conv2d: BFloat16Convolution,
    nn.Embedding: BFloat16Embedding,
}


def to_bfloat16(module: nn.Module) -> bool:
    """Keep this layer's weight in bfloat16 if it is a frozen float32 one of a known class; whether it is."""
    narrow = _NARROW.get(type(module))
    weight: Any = getattr(module, "weight", None)
    if narrow is None or weight is None or weight.requires_grad or weight.dtype is torch.float16:
        return False
    if weight.dtype is torch.float32:
        weight.data = weight.data.bfloat16()  # the same parameter object, so that ties stay
    module.__class__ = narrow
    return True


class NF4Linear(nn.Linear):
    """A linear layer whose frozen weight is 4-bit NormalFloat (Dettmers et al., 2023), with bitsandbytes' kernels.

    ``packed`` holds two weights a byte, ``scales`` one float32 per ``BLOCK`` weights: 4.5 bits a weight.
    """

    packed: Tensor
    scales: Tensor
    _dtype: torch.dtype

    @classmethod
    def adopt(cls, layer: nn.Linear) -> None:
        """Quantise a frozen linear layer in place; on meta only shapes change."""
        bitsandbytes()
        weight = layer.weight.detach()
        packed, scales = torch.ops.bitsandbytes.quantize_4bit(weight.contiguous(), BLOCK, "nf4", torch.uint8)
        del layer.weight
        layer.register_buffer("packed", packed)
        layer.register_buffer("scales", scales)
        layer._dtype = weight.dtype  # type: ignore[assignment]
        layer.__class__ = cls

    def state(self) -> Any:
        """bitsandbytes' description of the packed weight."""
        shape = torch.Size((self.out_features, self.in_features))
        return bitsandbytes().functional.QuantState(
            self.scales, shape=shape, blocksize=BLOCK, quant_type="nf4", dtype=self._dtype
        )

    @property
    def weight(self) -> nn.Parameter:  # type: ignore[override]
        """The weight that the packed bits stand for, (out_features, in_features), made anew at every call.

        Adapters that compute with the weight ask for it; those that only call the layer never do.
        """
        return nn.Parameter(bitsandbytes().functional.dequantize_4bit(self.packed, self.state()), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        # The bias is added here: the library's own gradient for it is made for two-dimensional inputs only.
        result: Tensor = bitsandbytes().matmul_4bit(x, self.packed, self.state())
        return result if self.bias is None else result.add_(self.bias)
