"""Train the output layer only: no gradient enters the body, so nothing of it is saved."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from workbench.core.errors import Incompatible
from workbench.models.structure import head


@dataclass(frozen=True)
class Head:
    """The linear probe. Refuses models whose output layer is tied to the input embedding."""

    def attach(self, model: nn.Module) -> nn.Module:
        found = head(model)
        if found is None:
            raise Incompatible("method", "head", "the model has no recognisable output layer")
        name, module = found
        own = {id(p) for p in module.parameters()}
        elsewhere = {id(p) for n, m in model.named_modules() if isinstance(m, nn.Embedding) for p in m.parameters()}
        if own & elsewhere:
            raise Incompatible("method", "head", f"the output layer {name} shares its weight with the input embedding")
        for parameter in model.parameters():
            parameter.requires_grad_(id(parameter) in own)
        return model
