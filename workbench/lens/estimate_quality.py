"""How good a gradient estimate is: its angle to the true gradient by layer, and its error as probes grow."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from workbench.core.errors import BadInput, Incompatible
from workbench.lens.layers import layer_names
from workbench.records.schema import ALL_LAYERS
from workbench.tasks.base import Sizes

if TYPE_CHECKING:
    from torch import Tensor, nn

    from workbench.case import Case


@dataclass(frozen=True)
class Quality:
    """Of one layer's estimate with ``probes`` probes, measured over ``draws`` draws on one batch.

    ``cosine`` is the mean cosine of the angle to the true gradient; ``error`` the mean of |estimate - gradient|^2
    over |gradient|^2. ``expected_error`` is the theory for standard normal noise: (d |g|^2 + |g_layer|^2) / (q
    |g_layer|^2), with d the layer's ``elements`` and g the gradient of everything that is perturbed; for the whole
    it is (d + 1) / q.
    """

    layer: str
    elements: int
    probes: int
    draws: int
    cosine: float
    error: float
    expected_error: float


def estimate_quality(
    case: Case, probes: Sequence[int] = (1, 4, 16), draws: int = 8, *, sizes: Sizes | None = None, seed: int = 0
) -> list[Quality]:
    """Compare the case's estimate with backpropagation on its first training batch, in evaluation mode.

    Raises ``BadInput`` for no draws, ``Incompatible`` when the case takes its gradient by backpropagation or in parts.
    """
    from workbench.parts.estimator.along_noise import AlongNoise

    if draws < 1 or not probes or min(probes) < 1:
        raise BadInput("probes and draws", (list(probes), draws), "whole numbers of at least 1")
    sizes = sizes or Sizes(length=case.length)
    data = case.task.load(case.spec, sizes, seed)
    batch = next(case.task.batches(data, case.spec, case.batch, seed))
    found: list[Quality] = []
    for count in probes:
        asked = replace(case, settings={**case.settings, "probes": count})
        model = asked.attached(seed=seed).eval()
        step = asked.step(model)
        if not isinstance(step.parts.estimator, AlongNoise):
            raise Incompatible("gradient", case.method_name, "its gradient is not one slope along noise")
        loss = case.task.loss(model, batch)
        gradients = dict(zip(step.parameters, torch.autograd.grad(loss, step.parameters, allow_unused=True)))
        layers = layer_names(model)
        sums = _Sums(gradients, {p: layers[id(p)] for p in step.parameters})
        step.set_lr(0.0)
        step.observer = sums
        for draw in range(draws):
            step(batch, seed=draw)
            sums.close()
        found += sums.qualities(count)
    return found


class _Sums:
    """Observer of a step that adds up, by layer, products of estimate and gradient; nothing else is kept."""

    def __init__(self, gradients: Mapping[nn.Parameter, Tensor | None], layers: dict[nn.Parameter, str]) -> None:
        self._gradients, self._layers = gradients, layers
        self._names = [*dict.fromkeys(layers.values()), ALL_LAYERS]
        self._elements = dict.fromkeys(self._names, 0)
        self._own = dict.fromkeys(self._names, 0.0)
        for parameter, gradient in gradients.items():
            for name in (layers[parameter], ALL_LAYERS):
                self._elements[name] += parameter.numel()
                self._own[name] += 0.0 if gradient is None else float(gradient.double().pow(2).sum())
        self._cosines: dict[str, list[float]] = {name: [] for name in self._names}
        self._errors: dict[str, list[float]] = {name: [] for name in self._names}
        self._fresh()

    def _fresh(self) -> None:
        self._dot, self._square = dict.fromkeys(self._names, 0.0), dict.fromkeys(self._names, 0.0)

    def __call__(self, parameter: nn.Parameter) -> None:
        estimate, gradient = parameter.grad, self._gradients[parameter]
        if estimate is None:
            return
        flat = estimate.detach().double().flatten()
        dot = 0.0 if gradient is None else float(flat @ gradient.double().flatten())
        square = float(flat @ flat)
        for name in (self._layers[parameter], ALL_LAYERS):
            self._dot[name] += dot
            self._square[name] += square

    def close(self) -> None:
        """One draw is over."""
        for name in self._names:
            own, square = self._own[name], self._square[name]
            if own and square:
                self._cosines[name].append(self._dot[name] / math.sqrt(own * square))
                self._errors[name].append((square - 2 * self._dot[name] + own) / own)
        self._fresh()

    def qualities(self, probes: int) -> list[Quality]:
        """Of every layer that has a gradient."""
        made = []
        for name in self._names:
            if not self._cosines[name]:
                continue
            own, size, draws = self._own[name], self._elements[name], len(self._cosines[name])
            expected = (size * self._own[ALL_LAYERS] / own + 1) / probes
            cosine, error = (math.fsum(v[name]) / draws for v in (self._cosines, self._errors))
            made.append(Quality(name, size, probes, draws, cosine, error, expected))
        return made
