"""Gradient norms and updates by layer, taken at the moment a gradient is used, whoever estimated it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from workbench.core.names import plain
from workbench.models.structure import blocks

#: Numbers of one tensor that stand for all of it where an update is compared with the weights.
SAMPLE = 16_384


class LayerNorms:
    """Called with each parameter just before its update; adds up squared norms by layer.

    A layer is a block of the model where there are blocks, else the module that owns the parameter. A sample of each
    parameter's numbers is kept meanwhile, outside the memory that a budget counts, so that :meth:`updates` can say
    after the step how far the weights moved.
    """

    def __init__(self, names: dict[int, str]) -> None:
        self._names = names
        self._squares: dict[str, float] = {}
        self._before: list[tuple[str, nn.Parameter, Any]] = []

    def __call__(self, parameter: nn.Parameter) -> None:
        if parameter.grad is None:
            return
        name = self._names.get(id(parameter), "other")
        self._squares[name] = self._squares.get(name, 0.0) + _square(parameter.grad)
        sample = _sample(parameter)
        if sample is not None:
            self._before.append((name, parameter, sample))

    def values(self) -> dict[str, float]:
        """Gradient norm of each layer."""
        return {name: math.sqrt(square) for name, square in self._squares.items()}

    def updates(self) -> dict[str, float]:
        """Norm of each layer's update over the norm of its weights before it, on the samples; call after the step.

        A layer whose weights were all zero, such as the second half of a fresh adapter, has none.
        """
        moved: dict[str, list[float]] = {}
        for name, parameter, before in self._before:
            after = _sample(parameter)
            if after is None or after.size != before.size:  # a handle that holds numbers during its update only
                continue
            # Every sampled number stands for as many as its tensor has for each of them.
            weight = parameter.numel() / max(1, before.size)
            sums = moved.setdefault(name, [0.0, 0.0])
            sums[0] += weight * float(np.square(after - before).sum())
            sums[1] += weight * float(np.square(before).sum())
        return {name: math.sqrt(change / size) for name, (change, size) in moved.items() if size > 0}


def _sample(parameter: Tensor) -> Any:
    """Evenly spaced numbers of a tensor as float64, made by numpy; None for a type that holds no plain numbers."""
    data = parameter.detach()
    if data.dtype is torch.bfloat16:
        bits = data.view(torch.int16).numpy()
        return (_spread(bits).astype(np.int32) << 16).view(np.float32).astype(np.float64)
    if data.dtype not in (torch.float16, torch.float32, torch.float64) or data.device.type != "cpu":
        return None
    return _spread(data.numpy()).astype(np.float64)


def _spread(array: Any) -> Any:
    """Up to ``SAMPLE`` numbers at equal distances. The distance is odd, so that it does not run along a column."""
    flat = array.reshape(-1)
    step = max(1, math.ceil(flat.size / SAMPLE))
    return flat[:: step + (step > 1 and step % 2 == 0)]


def _square(gradient: Tensor) -> float:
    """Sum of squares, read where it lies: a torch temporary would count against the budget that is being kept."""
    if gradient.dtype is torch.float32 and gradient.is_contiguous():
        flat = gradient.detach().numpy().reshape(-1)
        return float(flat.dot(flat))
    return float(torch.linalg.vector_norm(gradient.detach().float())) ** 2


def layer_norms(model: nn.Module) -> LayerNorms:
    """An observer for ``TrainingStep.observer`` over this model's layers."""
    return LayerNorms(layer_names(model))


def layer_names(model: nn.Module) -> dict[int, str]:
    """Layer of each parameter by ``id``."""
    prefixes = [name for name, _ in blocks(model)]
    found = {}
    for name, parameter in model.named_parameters():
        block = next((p for p in prefixes if name.startswith(p + ".")), None)
        found[id(parameter)] = plain(block or name.rpartition(".")[0] or name)
    return found
