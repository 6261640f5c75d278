"""A convolution that keeps the channels-first layout inside a channels-last net."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class PlainLayoutConvolution(nn.Conv2d):
    """Takes and gives channels-last tensors; convolves channels-first where that needs less workspace.

    With kernels larger than 3x3, or pictures smaller than 3x3, the weight gradient of a channels-last depthwise
    convolution on CPUs pads every group to 16x16 channels: 256 times the weight's bytes (30 MB for 1152 channels
    of 5x5), more than the layout saves.
    """

    def forward(self, x: Tensor) -> Tensor:
        if max(self.kernel_size) <= 3 <= min(x.shape[-2:]):
            return super().forward(x)
        return super().forward(x.contiguous()).contiguous(memory_format=torch.channels_last)


def adopt(layer: nn.Conv2d) -> bool:
    """Change a trained depthwise convolution to this class in place; whether it was one."""
    if type(layer) is not nn.Conv2d or not layer.weight.requires_grad or layer.groups != layer.in_channels:
        return False
    # One input channel a group: torch takes either stride for contiguous, the kernels do not.
    layer.weight.data = layer.weight.data.flatten().view(layer.weight.shape)
    layer.__class__ = PlainLayoutConvolution
    return True
