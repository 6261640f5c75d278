"""Keep tensors as they were loaded."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class AsLoaded:
    """The identity storage."""

    def encode(self, model: nn.Module) -> nn.Module:
        return model
