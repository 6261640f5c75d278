"""Train the last k blocks and the head; backward stops below the first trained block."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from workbench.core.errors import BadInput
from workbench.models.structure import blocks, head


@dataclass(frozen=True)
class LastBlocks:
    """The deepest ``count`` blocks, every layer after them, and the head (unless tied to the embedding)."""

    count: int

    def attach(self, model: nn.Module) -> nn.Module:
        found = blocks(model)
        if not 0 <= self.count <= len(found):
            raise BadInput("last-blocks.blocks", self.count, f"a whole number from 0 to {len(found)} for this model")
        chosen = [module for _, module in found[len(found) - self.count :]]
        output = head(model)
        chosen += [output[1]] if output else []
        embeddings = {id(p) for m in model.modules() if isinstance(m, nn.Embedding) for p in m.parameters()}
        wanted = {id(p) for module in chosen for p in module.parameters()} | self._after(model, found)
        for parameter in model.parameters():
            parameter.requires_grad_(id(parameter) in wanted - embeddings)
        return model

    @staticmethod
    def _after(model: nn.Module, found: list[tuple[str, nn.Module]]) -> set[int]:
        """Parameters defined after the last block (a final norm, a last convolution)."""
        if not found:
            return set()
        last = found[-1][0] + "."
        names = [n for n, _ in model.named_parameters()]
        inside = [i for i, n in enumerate(names) if n.startswith(last)]
        if not inside:
            return set()
        return {id(p) for i, (_, p) in enumerate(model.named_parameters()) if i > inside[-1]}
