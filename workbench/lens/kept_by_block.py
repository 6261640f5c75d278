"""What each inverted residual keeps for its backward pass: by torch, by a leaner framework, by MobileTL.

Measured on the block alone, on random numbers of the size it sees: storages that autograd saves, each once, without
weights and buffers. The leaner framework is torch with ReLU, whose gradient reads its result, which the next
convolution keeps anyway; every other nonlinearity of torch keeps a map of its own.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from workbench.core.errors import Incompatible
from workbench.models.efficientnet_lite import InvertedResidual
from workbench.models.structure import blocks
from workbench.nn.lean_frozen import freeze_norm
from workbench.parts.selection.shift_only_blocks import inner_norms
from workbench.parts.storage.gated_activations import GatedActivations

if TYPE_CHECKING:
    from workbench.case import Case


@dataclass(frozen=True)
class KeptByBlock:
    """Bytes for a batch: ``stock`` by torch, ``shared`` where activations share their result, ``lean`` by MobileTL."""

    block: str
    stock: int
    shared: int
    lean: int


def kept_by_block(case: Case) -> list[KeptByBlock]:
    """One row for each block of the case's model, in forward order, at the case's batch and length."""
    model = case.spec.build(case.task.classes(case.spec), weights=False, seed=0).train()
    found = [(name, block) for name, block in blocks(model) if isinstance(block, InvertedResidual)]
    if not found:
        raise Incompatible("model", case.model_name, "it has no inverted residual block")
    inputs = _inputs(model, [block for _, block in found], case)
    return [
        KeptByBlock(name, kept(block, x), kept(_shared(block), x), kept(_lean(block), x))
        for (name, block), x in zip(found, inputs)
    ]


def kept(block: nn.Module, x: Tensor) -> int:
    """Bytes that autograd saves in a forward pass on ``x``, each storage once, without the module's own tensors."""
    own = {t.untyped_storage()._cdata for t in _tensors(block)}
    sizes: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            sizes[storage._cdata] = storage.nbytes()
        return tensor.detach()  # an output given back as it is would hold its own graph, and nothing would end that

    with saved_tensors_hooks(note, lambda tensor: tensor):
        result = block(x.detach().requires_grad_())
    del result
    return sum(sizes.values())


def _tensors(module: nn.Module) -> Iterable[Tensor]:
    yield from module.parameters()
    yield from module.buffers()


def _inputs(model: nn.Module, found: list[InvertedResidual], case: Case) -> list[Tensor]:
    seen: list[Tensor] = []
    hook: Callable[..., None] = lambda module, inputs: seen.append(torch.randn_like(inputs[0]))  # noqa: E731
    handles = [block.register_forward_pre_hook(hook) for block in found]
    with torch.no_grad():
        model(**{n: t for n, t in case.example()[0].items() if n != "labels"})
    for handle in handles:
        handle.remove()
    return seen


def _shared(block: InvertedResidual) -> InvertedResidual:
    changed = copy.deepcopy(block)
    changed.activation = nn.ReLU()
    return changed


def _lean(block: InvertedResidual) -> InvertedResidual:
    changed = copy.deepcopy(block)
    for norm in inner_norms(changed):
        freeze_norm(norm)
    GatedActivations().encode(nn.Sequential(changed, nn.Identity()))
    return changed
