"""The angle of a step's estimate to the true gradient, by layer, while a run trains.

The true gradient costs a backward pass and its memory, which the method itself never needs. It is taken before the
step, beside the budget, and only where it is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from workbench.lens.layers import layer_names
from workbench.records.schema import ALL_LAYERS

if TYPE_CHECKING:
    from torch import Tensor, nn

    from workbench.case import Case
    from workbench.parts.base import TrainingStep


class EstimateAngles:
    """Called with each parameter just before its update, like ``LayerNorms``; :meth:`values` are cosines by layer.

    The true gradient is that of the mean loss of ``micro`` in evaluation mode, where estimates along noise are taken.
    Nothing of torch's is allocated while the step runs, so that the budget sees the step alone.
    """

    def __init__(self, case: Case, training: TrainingStep, micro: Sequence[Any]) -> None:
        names = layer_names(training.model)
        self._layers = {id(p): names[id(p)] for p in training.parameters if id(p) in names}
        self._true = _gradients(case, training, micro)
        self._sums: dict[str, list[float]] = {}

    def __call__(self, parameter: nn.Parameter) -> None:
        true = self._true.get(id(parameter))
        if parameter.grad is None or true is None:
            return
        estimate = _flat(parameter.grad)
        for name in (self._layers[id(parameter)], ALL_LAYERS):
            sums = self._sums.setdefault(name, [0.0, 0.0, 0.0])
            for i, (a, b) in enumerate(((estimate, true), (estimate, estimate), (true, true))):
                sums[i] += float(a.dot(b))

    def beside(self, other: Callable[[nn.Parameter], None]) -> Callable[[nn.Parameter], None]:
        """One observer that is both."""

        def told(parameter: nn.Parameter) -> None:
            other(parameter)
            self(parameter)

        return told

    def values(self) -> dict[str, float]:
        """Cosine of each layer and of all together; a layer whose estimate or gradient is zero has none."""
        return {n: dot / math.sqrt(own * true) for n, (dot, own, true) in self._sums.items() if own > 0 and true > 0}


def estimate_angles(case: Case, training: TrainingStep, micro: Sequence[Any]) -> EstimateAngles | None:
    """What compares the coming step's estimate; None where the gradient is no estimate along noise."""
    from workbench.parts.estimator.along_noise import AlongNoise

    return EstimateAngles(case, training, micro) if isinstance(training.parts.estimator, AlongNoise) else None


def _gradients(case: Case, training: TrainingStep, micro: Sequence[Any]) -> dict[int, Any]:
    """The true gradient of each trained parameter as float32 numbers of numpy."""
    model, random = training.model, torch.get_rng_state()
    modes = [module for module in model.modules() if module.training]
    for module in modes:
        module.training = False
    try:
        with torch.enable_grad():
            loss = torch.stack([case.task.loss(model, batch) for batch in micro]).mean()
            found = torch.autograd.grad(loss, training.parameters, allow_unused=True)
        return {id(p): _flat(g).copy() for p, g in zip(training.parameters, found) if g is not None}
    finally:
        for module in modes:
            module.training = True
        torch.set_rng_state(random)


def _flat(gradient: Tensor) -> Any:
    """The numbers where they lie when they are plain float32; else a copy."""
    gradient = gradient.detach()
    if gradient.dtype is torch.float32 and gradient.is_contiguous():
        return gradient.numpy().reshape(-1)
    return np.ascontiguousarray(gradient.float().numpy()).reshape(-1)
