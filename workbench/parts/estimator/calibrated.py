"""Bring the heads and channels that a first batch speaks for to the front, then backpropagate as ever.

How many train in each block is fixed before, so neither the parameters nor the bytes depend on what is found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from workbench.core.phase import in_phase, is_at_its_most, seldom
from workbench.core.profile import Phase
from workbench.memory.dataless import known
from workbench.models.sliced_adapter import Slices, order_of, put_in_order, slices_of
from workbench.parts.base import Step
from workbench.parts.estimator.backprop import Backprop


@dataclass(frozen=True)
class Calibrated:
    """``by`` is ``activation`` (norm of what a channel carries), ``product`` (that, times the norm of its weights) or
    ``gradient`` (norm of its weights' gradient); ``prefer`` is ``largest`` or ``smallest``.

    The batch of the first step decides. A prediction, which knows no values, goes through the same operators.
    """

    uses_backward: ClassVar[bool] = True

    by: str
    prefer: str = "largest"
    _done: list[bool] = field(default_factory=list, compare=False, repr=False)

    def prepare(self, model: nn.Module) -> None:
        """Nothing to change: the first step shows a batch."""

    def step(self, step: Step) -> Tensor:
        if is_at_its_most() or not self._done:
            with seldom(), torch.random.fork_rng(devices=[]):
                self._calibrate(step)
            if not is_at_its_most():  # a measured step is put back, with its order
                self._done.append(True)
        return Backprop().step(step)

    def _calibrate(self, step: Step) -> None:
        model = step.model
        scores: dict[str, Tensor] = {}
        with _watching(model, self.by, scores):
            if self.by == "gradient":
                with in_phase(Phase.FORWARD):
                    loss = next(step.losses())
                with in_phase(Phase.BACKWARD):
                    loss.backward()
                del loss
                for parameter in step.parameters:
                    parameter.grad = None
            else:
                with in_phase(Phase.FORWARD), torch.no_grad():
                    next(step.losses())
        for one in slices_of(model):
            self._bring_forward(model, one, scores.pop(one.structure.consumer))

    def _bring_forward(self, model: nn.Module, one: Slices, score: Tensor) -> None:
        structure = one.structure
        if self.by == "product":
            weight = model.get_submodule(structure.consumer).weight
            score = score * weight.detach().square().sum(0)  # type: ignore[operator]
        by_unit = score.view(structure.units, structure.width).sum(1)
        if not known(by_unit):
            put_in_order(model, one, list(range(structure.units)), here=list(range(structure.units)))
            return
        order = np.array(order_of(model, one))
        found = np.empty(structure.units)
        found[order] = by_unit.double().numpy()
        chosen = structure.best(found if self.prefer == "largest" else -found, one.count)
        put_in_order(model, one, structure.led_by(chosen))


@contextmanager
def _watching(model: nn.Module, by: str, scores: dict[str, Tensor]) -> Iterator[None]:
    """Collect one score for each column of each consumer while the context lasts."""
    handles = []
    for one in slices_of(model):
        name = one.structure.consumer
        hook: Callable[..., Any] = partial(_gradient if by == "gradient" else _activation, name, scores)
        handles.append(model.get_submodule(name).register_forward_hook(hook))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _activation(name: str, scores: dict[str, Tensor], _: nn.Module, inputs: tuple[Tensor], __: Tensor) -> None:
    x = inputs[0].detach()
    scores[name] = x.reshape(-1, x.shape[-1]).square().sum(0)


def _gradient(name: str, scores: dict[str, Tensor], _: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
    x = inputs[0].detach()

    def arrived(gradient: Tensor) -> None:
        whole = gradient.reshape(-1, gradient.shape[-1]).t().mm(x.reshape(-1, x.shape[-1]))
        scores[name] = whole.square_().sum(0)

    output.register_hook(arrived)
