"""Compute a language model's loss over a few tokens at a time, so that whole logits never exist."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from workbench.core.errors import Incompatible
from workbench.nn.chunked_loss import ChunkedLinear
from workbench.nn.narrow_weights import BFloat16Linear

#: Settings of configurations that change logits after the output layer; the value that changes nothing.
_AFTERWARDS = {"final_logit_softcapping": None, "logit_scale": None, "logits_scaling": 1.0}


@dataclass(frozen=True)
class ChunkedLoss:
    """``tokens`` logits rows at once; the gradient of the output weight lives from the forward pass on."""

    tokens: int

    def encode(self, model: nn.Module) -> nn.Module:
        found = getattr(model, "get_output_embeddings", lambda: None)()
        plain = type(found) is nn.Linear or (type(found) is BFloat16Linear and found.bias is None)
        if not plain:
            reason = "the model has no plain linear output layer over a vocabulary"
            raise Incompatible("chunked_loss", self.tokens, reason)
        configuration = getattr(model, "config", None)
        for name, neutral in _AFTERWARDS.items():
            if getattr(configuration, name, neutral) not in (None, neutral):
                raise Incompatible("chunked_loss", self.tokens, f"the model changes its logits afterwards ({name})")
        ChunkedLinear.adopt(found, self.tokens)
        return model
