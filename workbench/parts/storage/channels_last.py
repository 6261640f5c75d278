"""Lay convolution weights out channels-last: kernels then need no reordering copies of their inputs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from workbench.core.errors import Incompatible


@dataclass(frozen=True)
class ChannelsLast:
    """Same numbers up to summation order. Activations follow the layout of the weights by themselves."""

    def encode(self, model: nn.Module) -> nn.Module:
        if sum(isinstance(m, nn.Conv2d) for m in model.modules()) < 2:
            raise Incompatible("channels_last", True, "the model is not a stack of two-dimensional convolutions")
        return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]
