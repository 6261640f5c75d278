"""Train the last k blocks and the head; backward stops below the first trained block."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from workbench.models.structure import upper


@dataclass(frozen=True)
class LastBlocks:
    """The deepest ``count`` blocks, every layer after them, and the head (unless tied to the embedding)."""

    count: int

    def attach(self, model: nn.Module) -> nn.Module:
        wanted = upper(model, self.count, "last-blocks.blocks")
        for parameter in model.parameters():
            parameter.requires_grad_(id(parameter) in wanted)
        return model
