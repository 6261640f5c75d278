"""Several storages on one model, applied in order."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from workbench.parts.base import Storage


@dataclass(frozen=True)
class Stacked:
    """Each storage encodes what the one before it returned."""

    storages: tuple[Storage, ...]

    def encode(self, model: nn.Module) -> nn.Module:
        for storage in self.storages:
            model = storage.encode(model)
        return model
