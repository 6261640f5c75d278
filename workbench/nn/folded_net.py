"""The folded net in float32, or with fake quantization over float32: what the integer net is compared with.

Its layers have the integer net's names, so one update scheme addresses both. The fake one is the lazy variant of a
quantized graph: it computes with rounded numbers and keeps a float32 master copy of every weight.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, cross_entropy, pad, relu6
from transformers.modeling_outputs import ImageClassifierOutput


class FoldedLayer(nn.Conv2d):
    """A convolution with bias, its padding and its ReLU6; rounded to 8 bits where ``fake``."""

    def __init__(
        self, weight: Tensor, bias: Tensor, stride: tuple[int, int], padding: tuple[int, int, int, int], groups: int,
        clipped: bool, scale: Tensor, fake: bool,
    ) -> None:  # fmt: skip
        shape = weight.shape
        kernel = (shape[2], shape[3])
        super().__init__(shape[1] * groups, shape[0], kernel, stride, groups=groups, device="meta")
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias)
        self.sides, self.clipped, self.fake = padding, clipped, fake
        self.register_buffer("scale", scale.clone())

    scale: Tensor

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight
        if self.fake:
            own = weight.detach().abs().amax((1, 2, 3)).clamp(min=1e-8) / 127
            zeros = torch.zeros(own.shape, dtype=torch.int32, device=own.device)
            weight = torch.fake_quantize_per_channel_affine(weight, own, zeros, 0, -127, 127)
        left, right, top, bottom = self.sides
        symmetric = left == right and top == bottom
        x = x if symmetric else pad(x, self.sides)
        y = conv2d(x, weight, self.bias, self.stride, (top, left) if symmetric else 0, 1, self.groups)
        y = relu6(y) if self.clipped else y
        return rounded(y, self.scale, self.clipped) if self.fake else y


def rounded(x: Tensor, scale: Tensor, clipped: bool) -> Tensor:
    """``x`` at the 256 levels of its map; the gradient goes straight through inside the range."""
    zero = torch.full((1,), -128 if clipped else 0, dtype=torch.int32, device=x.device)
    return torch.fake_quantize_per_tensor_affine(x, scale, zero[0], -128, 127)


class FoldedSum(nn.Module):
    """A residual sum."""

    def __init__(self, scale: Tensor, fake: bool) -> None:
        super().__init__()
        self.fake = fake
        self.register_buffer("scale", scale.clone())

    scale: Tensor

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        z = x + y
        return rounded(z, self.scale, False) if self.fake else z


class FoldedNet(nn.Module):
    """The layers in forward order with the names of those each reads (the empty name is the input), and the head."""

    is_gradient_checkpointing = False

    def __init__(
        self, layers: Sequence[tuple[str, nn.Module, tuple[str, ...]]], classifier: nn.Linear, dropout: float,
        signal: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        self.layers = nn.ModuleDict({name: module for name, module, _ in layers})
        self.sources = {name: sources for name, _, sources in layers}
        self.readers = {source: name for name, _, sources in layers for source in sources}
        self.dropout, self.classifier, self.signal = nn.Dropout(dropout), classifier, signal

    @property
    def convolutions(self) -> list[tuple[str, FoldedLayer]]:
        return [(name, m) for name, m in self.layers.items() if isinstance(m, FoldedLayer)]

    def forward(self, pixel_values: Tensor, labels: Tensor | None = None, **unused: Any) -> ImageClassifierOutput:
        """Logits (batch, classes) from (batch, channels, ...)."""
        values = {"": pixel_values.unsqueeze(2) if self.signal else pixel_values}
        for name, layer in self.layers.items():
            made = layer(*(values[source] for source in self.sources[name]))
            for source in self.sources[name]:
                if self.readers[source] == name:
                    values.pop(source, None)
            values[name] = made
            del made
        logits = self.classifier(self.dropout(values.popitem()[1].mean((2, 3))))
        loss = None if labels is None else cross_entropy(logits, labels)
        return ImageClassifierOutput(loss=loss, logits=logits)
