"""Keep weights in bfloat16: all of them with everything that follows, or the frozen ones alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from workbench.core.errors import Incompatible
from workbench.nn.narrow_weights import to_bfloat16


@dataclass(frozen=True)
class BFloat16:
    """The whole model computes in bfloat16: weights, activations, gradients and optimizer state are halved.

    Eight bits of precision: an update below 1/256 of its weight is lost. Logits come out as float32. Attention
    with dropout stays float32 inside, because torch's kernel for it on CPUs widens narrow inputs.
    """

    def encode(self, model: nn.Module) -> nn.Module:
        model = model.to(torch.bfloat16)
        original = model.forward

        def narrow(value: Any) -> Any:
            return value.bfloat16() if isinstance(value, Tensor) and value.dtype is torch.float32 else value

        def forward(*args: Any, **kwargs: Any) -> Any:
            result = original(*map(narrow, args), **{k: narrow(v) for k, v in kwargs.items()})
            if result.logits.ndim == 2:  # per class; a language model's loss widens its own, which are large
                result.logits = result.logits.float()
            return result

        model.forward = forward  # type: ignore[method-assign]
        return model


@dataclass(frozen=True)
class FrozenBFloat16:
    """Frozen linear, convolution and embedding weights in bfloat16; what trains stays float32."""

    def encode(self, model: nn.Module) -> nn.Module:
        if not sum([to_bfloat16(module) for module in model.modules()]):
            raise Incompatible("weights", "frozen-bf16", "no linear, convolution or embedding weight is frozen")
        return model
