"""Layers of a transformer with packed counterparts: each is turned into its own by changing its class.

What can be packed is static: the backward pass reads it whatever trains. Formats: SlimFit (Ardakani et al., 2023).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from workbench.nn.bit_masks import dropout_with_bits
from workbench.nn.lean_static import byte_linear, packed_attention, packed_gelu, pruned_layer_norm

PACKED = "pintpot_packed"  #: how transformers models name this attention


class PackedGELU(nn.Module):
    """GELU by erf; keeps half a byte per element."""

    def forward(self, x: Tensor) -> Tensor:
        return packed_gelu(x)


class PrunedLayerNorm(nn.LayerNorm):
    """A layer norm that keeps the share ``keep`` of its values, the largest, while its scale is frozen; else all."""

    keep: float

    def forward(self, x: Tensor) -> Tensor:
        if self.weight.requires_grad or not (torch.is_grad_enabled() and x.requires_grad):
            return super().forward(x)
        return pruned_layer_norm(x, self.weight, self.bias, self.eps, self.keep)


class ByteLinear(nn.Linear):
    """A linear layer that, while its weight trains, keeps its input in one byte per element."""

    def forward(self, x: Tensor) -> Tensor:
        if self.weight.requires_grad and torch.is_grad_enabled():
            return byte_linear(x, self.weight, self.bias)
        return super().forward(x)


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    **unused: Any,
) -> tuple[Tensor, None]:
    """Attention as transformers models call it. Dropout acts on the values, of which a bit each is kept.

    As for torch's fused attention a causal model leaves the mask out where it would hide nothing but what is to come.
    """
    tokens = query.shape[-2]
    if (
        attention_mask is None
        and tokens > 1
        and (getattr(module, "is_causal", True) if is_causal is None else is_causal)
    ):
        attention_mask = torch.ones(tokens, key.shape[-2], dtype=torch.bool, device=query.device).tril()
    if key.shape[1] < query.shape[1]:  # heads in groups share their keys and values
        key, value = (x.repeat_interleave(query.shape[1] // x.shape[1], 1) for x in (key, value))
    if dropout and module.training:
        value = dropout_with_bits(value, dropout)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    return packed_attention(query, key, value, attention_mask, scale).transpose(1, 2).contiguous(), None


def make_known() -> None:
    """Tell transformers of this attention; it takes masks as torch's fused one does."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(PACKED, attend)
    AttentionMaskInterface.register(PACKED, sdpa_mask)
