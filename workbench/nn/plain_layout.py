"""A convolution that keeps the channels-first layout inside a channels-last net."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class PlainLayoutConvolution(nn.Conv2d):
    """Takes and gives channels-last tensors, convolves channels-first.

    For depthwise kernels larger than 3x3 the channels-last weight gradient on CPUs pads every group to 16x16
    channels: 256 times the weight's bytes as workspace (30 MB for 1152 channels of 5x5), more than the layout saves.
    """

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.contiguous()).contiguous(memory_format=torch.channels_last)


def adopt(layer: nn.Conv2d) -> bool:
    """Change a trained large depthwise convolution to this class in place; whether it was one."""
    trained = layer.weight.requires_grad and layer.groups == layer.in_channels > 1
    if type(layer) is not nn.Conv2d or not trained or max(layer.kernel_size) <= 3:
        return False
    # One input channel a group: torch takes either stride for contiguous, oneDNN does not.
    layer.weight.data = layer.weight.data.flatten().view(layer.weight.shape)
    layer.__class__ = PlainLayoutConvolution
    return True
