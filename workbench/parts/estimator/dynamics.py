"""Backpropagation to the layers that moved most, chosen anew each step (SlimFit, Ardakani et al., 2023).

A layer is a tensor of more than one dimension or a layer norm's scale; everything else always trains. How far a layer
moved is the mean of ``|w - w'| / |w'|`` over its weights that were not zero, refreshed only when it trains; what never
trained counts as having moved more than anything else, in an order of chance.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from workbench.core.phase import in_phase, is_at_its_most, seldom
from workbench.core.profile import Phase
from workbench.core.seeds import derive
from workbench.parts.base import Step
from workbench.parts.estimator.backprop import Backprop
from workbench.parts.estimator.worst_sets import worst_sets

UNSEEN = 1e9  #: from here on a distance says that the layer has never trained
PIECE = 2**16  #: elements compared at once, so that a distance needs no further copy of the weight
SCORES = "training_dynamics"  #: the buffer of distances: state of the model, so that checkpoints and snapshots hold it


@dataclass(frozen=True)
class Dynamics:
    """Freezes the share ``frozen`` of the layers, rounded down, those that moved least; ``select`` may be ``dynamics``,
    ``random`` (as many, drawn each step) or ``last`` (the last ones, always the same).

    ``only_chosen`` false computes every gradient and drops the others before the update: a lazy way that saves nothing.

    A step at its most is one for each of a few sets that need most, see
    :mod:`workbench.parts.estimator.worst_sets`, with optimizer state for all.
    """

    uses_backward: ClassVar[bool] = True

    frozen: float = 0.95
    select: str = "dynamics"
    only_chosen: bool = True

    def prepare(self, model: nn.Module) -> None:
        found = layers(model)
        start = UNSEEN * (1 + torch.rand(len(found), dtype=torch.float64))
        model.register_buffer(SCORES, start, persistent=False)

    def step(self, step: Step) -> Tensor:
        names = layers(step.model)
        count = len(names) - math.floor(self.frozen * len(names) + 1e-9)
        if not is_at_its_most():
            return self._train(step, names, self._chosen(step, names, count))
        self._give_state(step, names)
        if self.select == "last":
            return self._train(step, names, names[len(names) - count :])
        *others, last = worst_sets(step, names, count) if self.only_chosen else [names]
        for chosen in others:
            with seldom(), torch.random.fork_rng(devices=[]):
                self._train(step, names, chosen)
        return self._train(step, names, last)

    def _chosen(self, step: Step, names: Sequence[str], count: int) -> list[str]:
        if self.select == "last":
            return list(names[len(names) - count :])
        if self.select == "random":
            order = np.random.default_rng(derive(step.seed, "frozen")).permutation(len(names))
        else:
            order = np.argsort(-distances(step.model), kind="stable")
        return [names[i] for i in sorted(order[:count])]

    def _train(self, step: Step, names: Sequence[str], chosen: Sequence[str]) -> Tensor:
        trained = set(chosen)
        held_still = set(names) - trained
        watched = Watched(step, names, held_still)
        if not self.only_chosen:
            return Backprop().step(watched)
        with _frozen(step.model, held_still):
            return Backprop().step(watched)

    def _give_state(self, step: Step, names: Sequence[str]) -> None:
        """Optimizer state for every layer, as after the steps in which each has trained once."""
        tensors = dict(step.model.named_parameters())
        for name in names:
            parameter = tensors[name]
            if parameter not in step.optimizer_of(parameter).state:
                with seldom(), in_phase(Phase.UPDATE):
                    parameter.grad = parameter.detach().clone()
                    observer, step.observer = step.observer, None
                    step.update_one(parameter)
                    step.observer = observer

    def watched(self, model: nn.Module) -> dict[str, float]:
        """The distance of each layer that has trained, for the record of a step."""
        return {n: float(d) for n, d in zip(layers(model), distances(model)) if d < UNSEEN}


class Watched:
    """The step as it is, except that an update leaves out what is frozen and notes how far each layer moved."""

    def __init__(self, step: Step, names: Sequence[str], held_still: set[str]) -> None:
        self._step = step
        self._names = names
        self._held_still = held_still

    def __getattr__(self, name: str) -> Any:
        return getattr(self._step, name)

    def update(self) -> None:
        places = {name: i for i, name in enumerate(self._names)}
        scores: Tensor = getattr(self._step.model, SCORES)
        with torch.no_grad():
            for name, parameter in self._step.model.named_parameters():
                if name in self._held_still:
                    parameter.grad = None
                elif parameter.grad is not None:
                    before = parameter.detach().clone(memory_format=torch.contiguous_format) if name in places else None
                    self._step.update_one(parameter)
                    if before is not None:
                        moved = relative_distance(parameter, before)
                        if not is_at_its_most():
                            scores[places[name]] = moved


def relative_distance(now: Tensor, before: Tensor) -> Tensor:
    """The mean of ``|now - before| / |before|`` where ``before`` is not zero; destroys ``before``."""
    total = torch.zeros((), dtype=torch.float64)
    count = torch.zeros((), dtype=torch.int64)
    for new, old in zip(now.detach().reshape(-1).split(PIECE), before.view(-1).split(PIECE)):
        # What was zero has infinity below it, and counts for nothing.
        count += old.count_nonzero()
        below = old.masked_fill(old == 0, float("inf"))
        total += old.sub_(new).div_(below).abs_().sum(dtype=torch.float64)
    return total / count.clamp(min=1)


def layers(model: nn.Module) -> list[str]:
    """Names of the tensors that may be frozen, in the model's order."""
    scales = {id(m.weight) for m in model.modules() if isinstance(m, nn.LayerNorm) and m.weight is not None}
    return [n for n, p in model.named_parameters() if p.is_floating_point() and (p.dim() > 1 or id(p) in scales)]


def distances(model: nn.Module) -> np.ndarray:
    """How far each layer moved when it last trained, in the order of :func:`layers`."""
    found: np.ndarray = getattr(model, SCORES).numpy(force=True)
    return found


@contextmanager
def _frozen(model: nn.Module, names: set[str]) -> Iterator[None]:
    """These tensors take no gradient while the context lasts; autograd then keeps nothing for them."""
    held = [p for n, p in model.named_parameters() if n in names]
    try:
        for parameter in held:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in held:
            parameter.requires_grad_(True)
