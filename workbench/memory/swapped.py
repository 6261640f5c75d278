"""A model whose tensors hold no data."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from workbench.memory.dataless import dataless, placed


def swap(model: nn.Module) -> nn.Module:
    """Replace every tensor a model holds (meta or real) by a CPU one without data, in place, keeping ties and views.

    Integer buffers that are real stay real. On meta their values are gone: position indices are counted
    again, counters start at zero, and any other one is unknown, so that control flow asking it is refused.
    """
    seen: dict[int, Tensor] = {}
    bases: dict[int, torch.UntypedStorage] = {}

    def swapped(name: str, tensor: Tensor) -> Tensor:
        if id(tensor) not in seen:
            new = _integers(name, tensor)
            if new is None:
                new = _in_base(tensor, bases)
            seen[id(tensor)] = _like_parameter(tensor, new)
        return seen[id(tensor)]

    originals = []  # keeps every old tensor alive, so that no identity is used twice
    for module in model.modules():
        for held in (module._parameters, module._buffers, module.__dict__):
            for name, value in list(held.items()):
                if isinstance(value, Tensor):
                    originals.append(value)
                    held[name] = swapped(name, value)
    return model


def _integers(name: str, tensor: Tensor) -> Tensor | None:
    if isinstance(tensor, nn.Parameter) or tensor.is_floating_point() or tensor.is_complex():
        return None
    if not tensor.is_meta:
        return tensor
    if name == "position_ids":
        return torch.arange(tensor.shape[-1], dtype=tensor.dtype).expand(tensor.shape)
    if name in ("num_batches_tracked", "token_type_ids"):
        return torch.zeros(tensor.shape, dtype=tensor.dtype)
    return None


def _in_base(tensor: Tensor, bases: dict[int, torch.UntypedStorage]) -> Tensor:
    storage = tensor.untyped_storage()
    base = bases.get(storage._cdata)
    if base is None:
        made = dataless((storage.nbytes(),), (1,), torch.uint8)
        base = bases[storage._cdata] = made.untyped_storage()
    return placed(base, tensor)


def _like_parameter(old: Tensor, new: Tensor) -> Tensor:
    """``new`` with the parameter class, attributes and gradient hooks of ``old``."""
    if isinstance(old, nn.Parameter):
        new = nn.Parameter(new, requires_grad=old.requires_grad)
        new.__dict__.update(old.__dict__)
        for hook in (getattr(old, "_post_accumulate_grad_hooks", None) or {}).values():
            new.register_post_accumulate_grad_hook(hook)
        for hook in (old._backward_hooks or {}).values():
            new.register_hook(hook)
    return new
