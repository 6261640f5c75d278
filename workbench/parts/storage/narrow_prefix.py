"""Keep the frozen prefix (what lies below the first trained block) in int8 or bfloat16.

No gradient passes through the prefix, so nothing of it has to be exact enough to differentiate, and it is made
deterministic: evaluation mode, without dropout, with the running statistics of its batch norms. That is a change
of the method it is put on, and on purpose: the prefix is a fixed function of the example.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from workbench.core.errors import Incompatible
from workbench.models.structure import Prefix, prefix
from workbench.nn.deterministic import run_in_bfloat16, stay_evaluating
from workbench.nn.int8_kernel import missing
from workbench.nn.int8_weights import Int8Embedding
from workbench.parts.storage.frozen_int8 import to_int8


def settled_prefix(model: nn.Module, lever: str, value: str) -> Prefix:
    """The frozen prefix, put into evaluation mode for good. Raises ``Incompatible`` where there is none.

    Whether a gradient would have to pass it all the same (toward virtual tokens) is seen when it is first run.
    """
    found = prefix(model)
    if found is None:
        raise Incompatible(lever, value, "nothing is frozen below the first block that trains")
    for module in found.modules:
        stay_evaluating(module)
    _refuse_gradients(found.blocks[-1], lever, value)
    return found


def _refuse_gradients(block: nn.Module, lever: str, value: str) -> None:
    original = block.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        if isinstance(result, torch.Tensor) and result.requires_grad:
            raise Incompatible(lever, value, "something below the first trained block trains as well")
        return result

    block.forward = forward  # type: ignore[method-assign]


@dataclass(frozen=True)
class PrefixInt8:
    """Linear layers and embedding tables of the prefix in int8, multiplied as integers (see ``Int8Linear``)."""

    def encode(self, model: nn.Module) -> nn.Module:
        if missing():
            raise Incompatible("weights", "prefix-int8", missing())
        found = settled_prefix(model, "weights", "prefix-int8")
        inside = [m for module in found.modules for m in module.modules()]
        if not to_int8(model, inside):
            raise Incompatible("weights", "prefix-int8", "the frozen blocks have no float32 linear layer")
        for table in inside:
            if type(table) is nn.Embedding and not _shared(table, model):
                Int8Embedding.adopt(table)
        return model


@dataclass(frozen=True)
class PrefixBFloat16:
    """The whole prefix computes in bfloat16; what it hands to the first trained block is float32."""

    def encode(self, model: nn.Module) -> nn.Module:
        if not torch.cpu._is_avx512_bf16_supported():
            reason = (
                "this processor has no bfloat16 instructions (AVX512-BF16), without which it is slower than float32"
            )
            raise Incompatible("weights", "prefix-bf16", reason)
        found = settled_prefix(model, "weights", "prefix-bf16")
        for module in found.modules:
            if not _shared(module, model):  # a table that is also the output layer's weight stays as it is
                run_in_bfloat16(module, widen=module is found.blocks[-1])
        return model


def _shared(module: nn.Module, model: nn.Module) -> bool:
    """Whether a parameter of ``module`` is also one of a module outside it."""
    own, inside = {id(p) for p in module.parameters()}, set(module.modules())
    return any(id(p) in own for m in model.modules() if m not in inside for p in m.parameters(recurse=False))
