"""Gradient norms by layer, taken at the moment a gradient is used, whoever estimated it."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from workbench.core.names import plain
from workbench.models.structure import blocks


class LayerNorms:
    """Called with each parameter just before its update; adds up squared norms by layer.

    A layer is a block of the model where there are blocks, else the module that owns the parameter.
    """

    def __init__(self, names: dict[int, str]) -> None:
        self._names = names
        self._squares: dict[str, float] = {}

    def __call__(self, parameter: nn.Parameter) -> None:
        if parameter.grad is None:
            return
        name = self._names.get(id(parameter), "other")
        self._squares[name] = self._squares.get(name, 0.0) + _square(parameter.grad)

    def values(self) -> dict[str, float]:
        return {name: math.sqrt(square) for name, square in self._squares.items()}


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
