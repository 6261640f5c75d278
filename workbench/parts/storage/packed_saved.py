"""Keep what autograd saves between forward and backward in bfloat16 or in int8 with a scale per row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from workbench.nn.saved_tensors import Format, SavedTensorPacker


@dataclass(frozen=True)
class PackedSaved:
    """Half (bf16) or a quarter (int8) of the saved float32 bytes. Gradients are approximate, the loss is exact."""

    form: Format

    def encode(self, model: nn.Module) -> nn.Module:
        original = model.forward

        def forward(*args: Any, **kwargs: Any) -> Any:
            if not torch.is_grad_enabled():
                return original(*args, **kwargs)
            inputs = (v for v in (*args, *kwargs.values()) if isinstance(v, Tensor))
            with SavedTensorPacker(self.form, (*model.parameters(), *model.buffers(), *inputs)):
                return original(*args, **kwargs)

        model.forward = forward  # type: ignore[method-assign]
        return model
