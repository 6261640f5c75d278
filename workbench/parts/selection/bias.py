"""Train additive terms and the output layer: BitFit (Ben Zaken et al., 2022)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from workbench.core.errors import Incompatible
from workbench.models.structure import head


@dataclass(frozen=True)
class Bias:
    """Every parameter called ``bias`` trains, and the head when it is fresh.

    Nonlinearities and norms still keep their inputs, so ``saved for backward`` shrinks far less than the
    number of trained parameters suggests.
    """

    def attach(self, model: nn.Module) -> nn.Module:
        biases = {id(p) for n, p in model.named_parameters() if n.rpartition(".")[2] == "bias"}
        if not biases:
            raise Incompatible("method", "bias", "no layer of this model has a bias")
        found = head(model)
        tied = {id(p) for m in model.modules() if isinstance(m, nn.Embedding) for p in m.parameters()}
        fresh = {id(p) for p in found[1].parameters()} - tied if found else set()
        for parameter in model.parameters():
            parameter.requires_grad_(id(parameter) in biases | fresh)
        return model
