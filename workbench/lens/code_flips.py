"""Whether noise on a float weight reaches its integers: codes that flip between two probes, and what slopes owe them.

A slope through a quantizer has two sources: codes that flip, and everything that moves without one flip (scales taken
from the weight's extremes, trained clips, tensors that are not quantized). Both are measured on the same noise.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from workbench.core.errors import BadInput, Incompatible
from workbench.core.seeds import derive
from workbench.engine.noise import Noise
from workbench.engine.perturbed import Perturbed
from workbench.nn.quantized_linear import FakeQuantizedLinear

if TYPE_CHECKING:
    from torch import Tensor, nn

    from workbench.parts.base import TrainingStep
    from workbench.tasks.base import Batch


@dataclass(frozen=True)
class Flips:
    """Measured over ``draws`` directions with ``eps``. ``flipped``: share of codes that differ between plus and minus.

    ``silent``: share of directions along which the two losses are equal to the last bit. ``size``: root mean square of
    the slope; ``size_held``: of the slope along the same noise with every code held at its value without noise;
    ``kinship``: cosine between the two lists of slopes (``None`` where one is all zeros).
    """

    eps: float
    draws: int
    codes: int
    flipped: float
    silent: float
    size: float
    size_held: float
    kinship: float | None


def layers(model: nn.Module) -> list[FakeQuantizedLinear]:
    """Layers with a float master weight behind their codes. Raises ``Incompatible`` where there is none."""
    found = [m for m in model.modules() if isinstance(m, FakeQuantizedLinear)]
    if not found:
        raise Incompatible("method", "model", "no weight of this model is quantized while it trains; attach zeroqat")
    return found


def all_codes(model: nn.Module) -> list[Tensor]:
    """The integers of every such layer, in order."""
    return [layer.codes() for layer in layers(model)]


def changed(before: Sequence[Tensor], after: Sequence[Tensor]) -> float:
    """Share of codes that differ."""
    return sum(int((a != b).sum()) for a, b in zip(before, after, strict=True)) / sum(a.numel() for a in before)


@contextmanager
def held(model: nn.Module) -> Iterator[None]:
    """Products use the codes of this moment while the context lasts, with scales that move as ever."""
    found = layers(model)
    for layer in found:
        layer.held = layer.codes()
    try:
        yield
    finally:
        for layer in found:
            del layer.held


@torch.no_grad()
def code_flips(step: TrainingStep, batch: Batch, eps: Sequence[float], draws: int = 8, *, seed: int = 0) -> list[Flips]:
    """One line for each perturbation; the model is asked in evaluation mode and its weights stay as they are."""
    if draws < 1 or not eps or min(eps) <= 0:
        raise BadInput("eps and draws", (list(eps), draws), "perturbations above 0 and at least one draw")
    model, training = step.model, step.model.training
    model.eval()
    perturbed, count = Perturbed(step.parameters), sum(c.numel() for c in all_codes(model))

    def two(direction: int, size: float) -> tuple[list[float], list[list[Tensor]]]:
        losses, integers = [], []
        for sign in (size, -size):
            with perturbed.by(Noise([derive(seed, "flips", direction)], [sign])):
                losses.append(float(step.loss_of(model, batch)))
                integers.append(all_codes(model))
        return losses, integers

    try:
        return [_flips(model, two, size, draws, count) for size in eps]
    finally:
        model.train(training)


def _flips(model: nn.Module, two: object, size: float, draws: int, count: int) -> Flips:
    assert callable(two)
    free, still, flipped, silent = [], [], 0.0, 0
    for direction in range(draws):
        (plus, minus), (first, second) = two(direction, size)
        free.append((plus - minus) / (2 * size))
        flipped += changed(first, second) / draws
        silent += plus == minus
        del first, second
        with held(model):
            (plus, minus), _ = two(direction, size)
        still.append((plus - minus) / (2 * size))
    lengths = math.sqrt(sum(s * s for s in free)), math.sqrt(sum(s * s for s in still))
    product = sum(a * b for a, b in zip(free, still))
    kinship = product / (lengths[0] * lengths[1]) if all(lengths) else None
    root = math.sqrt(draws)
    return Flips(size, draws, count, flipped, silent / draws, lengths[0] / root, lengths[1] / root, kinship)
