"""Lay convolution weights out channels-last: kernels then need no reordering copies of their inputs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from workbench.core.errors import Incompatible
from workbench.nn.plain_layout import adopt


@dataclass(frozen=True)
class ChannelsLast:
    """Same numbers up to summation order. Activations follow the layout of the weights by themselves.

    Trained depthwise convolutions stay channels-first where their gradient then needs less workspace.
    """

    def encode(self, model: nn.Module) -> nn.Module:
        convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
        if len(convolutions) < 2:
            raise Incompatible("channels_last", True, "the model is not a stack of two-dimensional convolutions")
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        for layer in convolutions:
            adopt(layer)
        return model
