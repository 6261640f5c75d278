"""A small 1-D convolutional classifier for windows of sensor samples."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from torch import Tensor, nn
from transformers.modeling_outputs import ImageClassifierOutput


class SensorBlock(nn.Module):
    """Convolution, batch norm, ReLU, halve the time axis."""

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(inputs, outputs, kernel, padding=kernel // 2)
        self.norm = nn.BatchNorm1d(outputs)
        self.activation = nn.ReLU()
        self.pool = nn.MaxPool1d(2)

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(self.activation(self.norm(self.conv(x))))


class SensorClassifier(nn.Module):
    """Blocks of ``widths`` channels, mean over time, linear head."""

    is_gradient_checkpointing = False

    def __init__(self, config: Mapping[str, Any], classes: int) -> None:
        super().__init__()
        widths = (config["channels"], *config["widths"])
        self.blocks = nn.ModuleList(SensorBlock(i, o, config["kernel"]) for i, o in pairwise(widths))
        self.classifier = nn.Linear(widths[-1], classes)

    def forward(self, pixel_values: Tensor, labels: Tensor | None = None, **unused: Any) -> ImageClassifierOutput:
        """Logits of shape (batch, classes) from windows of shape (batch, channels, samples)."""
        x = pixel_values
        for block in self.blocks:
            x = block(x)
        logits = self.classifier(x.mean(2))
        loss = None if labels is None else nn.functional.cross_entropy(logits, labels)
        return ImageClassifierOutput(loss=loss, logits=logits)
