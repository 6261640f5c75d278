"""Modules that stay in evaluation mode while the model around them trains, and run in bfloat16 if told to."""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def stay_evaluating(module: nn.Module) -> None:
    """No dropout, and batch norms use their running statistics and leave them alone, whatever ``train()`` says."""
    module.train = MethodType(_evaluate, module)  # type: ignore[method-assign]
    module.eval()


def _evaluate(module: nn.Module, mode: bool = True) -> nn.Module:
    return nn.Module.train(module, False)


def keep_statistics(model: nn.Module) -> None:
    """Batch norms whose scale does not train use their running statistics and leave them alone, in training too.

    The frozen layers around were made for these statistics; a batch's own are others, and change with every batch.
    """
    for module in model.modules():
        if not (isinstance(module, _BatchNorm) and module.track_running_stats) or module.weight is None:
            continue
        if not module.weight.requires_grad:
            module.track_running_stats = False  # nobody moves them any more
            stay_evaluating(module)


def run_in_bfloat16(module: nn.Module, *, widen: bool) -> None:
    """Keep the module's float32 tensors in bfloat16 and feed it bfloat16; ``widen`` gives float32 back.

    A module that takes no floats (an embedding of ids) always answers in float32: masks and rotations that a model
    makes in the dtype of its embeddings also serve the blocks that train.
    """
    for held in module.modules():
        for tensor in (*held._parameters.values(), *held._buffers.values()):
            if tensor is not None and tensor.dtype is torch.float32:
                tensor.data = tensor.data.bfloat16()  # the same object, so that ties stay
    original = module.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        floats = any(map(_is_float, (*args, *kwargs.values())))
        result = original(*_narrow(args), **_narrow(kwargs))
        return _changed(result, torch.bfloat16, torch.float32) if widen or not floats else result

    module.forward = forward  # type: ignore[method-assign]


def _is_float(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def _narrow(value: Any) -> Any:
    return _changed(value, torch.float32, torch.bfloat16)


def _changed(value: Any, old: torch.dtype, new: torch.dtype) -> Any:
    """``value`` with every tensor of dtype ``old``, in nested tuples, lists and dicts too, as ``new``."""
    if isinstance(value, Tensor):
        return value.to(new) if value.dtype is old else value
    if type(value) in (tuple, list):
        return type(value)(_changed(v, old, new) for v in value)
    if type(value) is dict:
        return {k: _changed(v, old, new) for k, v in value.items()}
    return value
