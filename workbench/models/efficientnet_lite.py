"""EfficientNet-Lite: inverted residuals with ReLU6 (or hard-swish) and without squeeze-and-excitation.

Architecture: Tan and Le, "EfficientNet", 2019, in the Lite variant (stem and head keep their width, no
squeeze-and-excitation, ReLU6). Stochastic depth is left out, so that every step does the same work.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import ImageClassifierOutput

from workbench.core.errors import BadInput

# The released weights carry momentum 0.01. In a fine-tune of a few hundred steps the running statistics then
# lag behind the weights and evaluation suffers although training does not (79 % against 85 % seen); 0.1 follows.
NORM_MOMENTUM = 0.1
NORM_EPSILON = 1e-3


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=NORM_EPSILON, momentum=NORM_MOMENTUM)


def _same_padding(kernel: int, stride: int, signal: bool) -> tuple[nn.Module, Any]:
    """Explicit padding module and the convolution's own padding for TensorFlow's SAME on even sizes.

    A strided convolution then pads one more at the end than at the start, which a convolution cannot do itself.
    """
    if stride == 1:
        return nn.Identity(), _extent(kernel // 2, signal, 0)
    total = kernel - stride
    before = total // 2
    rows = (0, 0) if signal else (before, total - before)
    return nn.ZeroPad2d((before, total - before, *rows)), 0


def _extent(along: int, signal: bool, across: int = 1) -> Any:
    """One number for pictures; for signals, which are maps of height 1, a pair."""
    return (across, along) if signal else along


ACTIVATIONS: Mapping[str, type[nn.Module]] = {"relu6": nn.ReLU6, "hard-swish": nn.Hardswish}


class InvertedResidual(nn.Module):
    """Expand 1x1, depthwise k x k, project 1x1; a skip where shape allows."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        expansion: int,
        kernel: int,
        stride: int,
        signal: bool = False,
        activation: str = "relu6",
    ) -> None:
        super().__init__()
        inner = inputs * expansion
        self.skip = stride == 1 and inputs == outputs
        if expansion != 1:
            self.expand_conv: nn.Module | None = nn.Conv2d(inputs, inner, 1, bias=False)
            self.expand_norm = _norm(inner)
        else:
            self.expand_conv = None
        self.pad, padding = _same_padding(kernel, stride, signal)
        self.depthwise_conv = nn.Conv2d(
            inner, inner, _extent(kernel, signal), _extent(stride, signal), padding, groups=inner, bias=False
        )
        self.depthwise_norm = _norm(inner)
        self.project_conv = nn.Conv2d(inner, outputs, 1, bias=False)
        self.project_norm = _norm(outputs)
        self.activation = ACTIVATIONS[activation]()

    def forward(self, x: Tensor) -> Tensor:
        y = x
        if self.expand_conv is not None:
            y = self.activation(self.expand_norm(self.expand_conv(y)))
        y = self.activation(self.depthwise_norm(self.depthwise_conv(self.pad(y))))
        y = self.project_norm(self.project_conv(y))
        return x + y if self.skip else y


class EfficientNetLite(nn.Module):
    """The whole net from plain data: ``stem``, ``stem_stride``, ``stages``, ``head``, ``dropout``, ``activation``.

    A stage is (expansion, kernel, stride of its first block, output channels, repeats). Sides of the picture
    must stay even at every strided stage. With ``signal`` inputs are (batch, channels, samples) and kernels run
    along the samples.
    """

    is_gradient_checkpointing = False

    def __init__(self, config: Mapping[str, Any], classes: int, channels: int = 3) -> None:
        super().__init__()
        width = config["stem"]
        self.signal = signal = bool(config.get("signal", False))
        activation = config.get("activation", "relu6")
        if activation not in ACTIVATIONS:
            raise BadInput("activation", activation, " or ".join(ACTIVATIONS))
        self.stem_pad, padding = _same_padding(3, config["stem_stride"], signal)
        strides = _extent(config["stem_stride"], signal)
        self.stem_conv = nn.Conv2d(channels, width, _extent(3, signal), strides, padding, bias=False)
        self.stem_norm = _norm(width)
        self.blocks = nn.ModuleList()
        for expansion, kernel, stride, outputs, repeats in config["stages"]:
            for index in range(repeats):
                step = stride if index == 0 else 1
                self.blocks.append(InvertedResidual(width, outputs, expansion, kernel, step, signal, activation))
                width = outputs
        self.head_conv = nn.Conv2d(width, config["head"], 1, bias=False)
        self.head_norm = _norm(config["head"])
        self.activation = ACTIVATIONS[activation]()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(config["dropout"])
        self.classifier = nn.Linear(config["head"], classes)

    def forward(self, pixel_values: Tensor, labels: Tensor | None = None, **unused: Any) -> ImageClassifierOutput:
        """Logits of shape (batch, classes) from pictures of shape (batch, channels, height, width)."""
        x = pixel_values.unsqueeze(2) if self.signal else pixel_values
        x = self.activation(self.stem_norm(self.stem_conv(self.stem_pad(x))))
        for block in self.blocks:
            x = block(x)
        x = self.pool(self.activation(self.head_norm(self.head_conv(x)))).flatten(1)
        logits = self.classifier(self.dropout(x))
        loss = None if labels is None else nn.functional.cross_entropy(logits, labels)
        return ImageClassifierOutput(loss=loss, logits=logits)


_TOP = {
    "_conv_stem": "stem_conv",
    "_bn0": "stem_norm",
    "_conv_head": "head_conv",
    "_bn1": "head_norm",
    "_fc": "classifier",
}
_BLOCK = {
    "_expand_conv": "expand_conv",
    "_bn0": "expand_norm",
    "_depthwise_conv": "depthwise_conv",
    "_bn1": "depthwise_norm",
    "_project_conv": "project_conv",
    "_bn2": "project_norm",
}


def from_released_names(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The released state dict under this module's names; one that has them already stays as it is."""
    if "stem_conv.weight" in state:
        return dict(state)
    renamed = {}
    for key, value in state.items():
        parts = key.split(".")
        if parts[0] == "_blocks":
            parts[0], parts[2] = "blocks", _BLOCK[parts[2]]
        else:
            parts[0] = _TOP[parts[0]]
        renamed[".".join(parts)] = value
    return renamed
