"""Train every parameter: full fine-tuning, the reference for accuracy and the ceiling for memory."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class All:
    """Every floating-point parameter trains; saved activations, gradients and optimizer state are all at their most."""

    def attach(self, model: nn.Module) -> nn.Module:
        for parameter in model.parameters():
            parameter.requires_grad_(parameter.is_floating_point())
        return model
