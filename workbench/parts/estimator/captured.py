"""Backpropagation through one captured graph of forward, backward and updates (after PockEngine, Zhu et al., 2023)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from workbench.core.errors import Incompatible
from workbench.core.phase import in_phase
from workbench.core.profile import Phase
from workbench.engine.capture import LossOf, NotCaptured, capture
from workbench.engine.executor import GraphExecutor, Sink
from workbench.engine.inductor import COMPILE_LIMIT, InductorExecutor
from workbench.engine.prune import prune
from workbench.engine.schedule import schedule
from workbench.engine.simplify import simplify
from workbench.memory.dataless import known
from workbench.nn.prefix_cache import PrefixCache
from workbench.parts.base import Step
from workbench.parts.estimator.backprop import Backprop

#: Name under which a batch carries what its frozen prefix gives.
BOUNDARY = "pintpot_boundary"

#: Batch shapes captured for one model; a step of yet another shape runs eagerly.
MOST_SHAPES = 8

Shape = tuple[object, ...]
Run = Callable[[Mapping[str, Tensor], Sink], Tensor]


@dataclass(frozen=True)
class Captured:
    """Each batch shape is captured once; what cannot be captured runs eagerly, and ``notes`` say why.

    ``executor`` is ``graph``, or ``inductor`` to compile the first shape; other shapes then run as graphs.
    """

    uses_backward: ClassVar[bool] = True

    executor: str = "graph"
    compile_limit: float = COMPILE_LIMIT
    notes: list[str] = field(default_factory=list, compare=False)
    _captured: dict[Shape, Run | None] = field(default_factory=dict, compare=False, repr=False)

    def prepare(self, model: nn.Module) -> None:
        """Nothing to change: the graph is captured at the first step, whose batch shows the shapes."""

    def step(self, step: Step) -> Tensor:
        total = torch.zeros(())
        batches = [_from_the_boundary(step, batch) for batch in step.batches]
        runs = [self._for(step, batch) for batch in batches]
        if None in runs:
            return Backprop().step(step)
        for index, (run, batch) in enumerate(zip(runs, batches)):
            sink = step.update_from if len(runs) == 1 else _accumulating(step, last=index == len(runs) - 1)
            total = total + run(batch, sink)  # type: ignore[misc]
        return total

    def _for(self, step: Step, batch: Mapping[str, Tensor]) -> Run | None:
        """The executor for batches like this one; ``None`` when such steps run eagerly."""
        key = shape_of(step, batch)
        if key not in self._captured:
            if len(self._captured) >= MOST_SHAPES:
                return None
            self._captured[key] = self._made(step, batch)
        return self._captured[key]

    def _made(self, step: Step, batch: Mapping[str, Tensor]) -> Run | None:
        divisor, loss_of = len(step.batches), _loss_of(step)
        try:
            if self.executor == "inductor" and not self._captured:
                _refuse_prediction(step)
                compiled = InductorExecutor(step.model, loss_of, batch, divisor=divisor, limit=self.compile_limit)
                self.notes.append(f"compiled in {compiled.seconds:.1f} s")
                return compiled
            joint = simplify(prune(capture(step.model, loss_of, batch, divisor=divisor)))
            return GraphExecutor(schedule(joint), step.model)
        except NotCaptured as error:
            self.notes.append(f"eager: {error}")
            return None


def _cache(step: Step) -> PrefixCache | None:
    return next((m for m in step.model.modules() if isinstance(m, PrefixCache)), None)


def _from_the_boundary(step: Step, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """The batch, with what a cached prefix gives for it: looking that up depends on values, so no graph can hold it."""
    cache = _cache(step)
    if cache is None:
        return batch
    with in_phase(Phase.FORWARD):
        return {**batch, BOUNDARY: cache.output_of(lambda: step.loss_of(step.model, batch))}


def _loss_of(step: Step) -> LossOf:
    """The loss as a function of such a batch."""
    cache, loss_of = _cache(step), step.loss_of
    if cache is None:
        return loss_of

    def from_the_boundary(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        inputs = dict(batch)
        with cache.answering(inputs.pop(BOUNDARY)):
            return loss_of(model, inputs)

    return from_the_boundary


def _refuse_prediction(step: Step) -> None:
    if not all(map(known, step.model.parameters())):
        raise Incompatible(
            "prediction",
            "executor=inductor",
            "what compiled code allocates is not known beforehand; measure it instead",
        )


def shape_of(step: Step, batch: Mapping[str, Tensor]) -> Shape:
    """What a captured graph takes for granted: shapes, micro-batches, the loss, tensors, what trains, in which mode.

    Numbers that modules hold as plain attributes (a dropout rate, an adapter's scaling) are in the graph as they
    were; no step of ours changes one.
    """
    tensors = tuple((name, tuple(t.shape), t.stride(), t.dtype) for name, t in batch.items())
    trained = tuple((id(p), p.requires_grad) for p in step.model.parameters())
    modes = tuple(module.training for module in step.model.modules())
    return id(step.model), step.loss_of, len(step.batches), modes, trained, tensors


def _accumulating(step: Step, *, last: bool) -> Sink:
    """Add each gradient to those of earlier micro-batches; the last one updates."""

    def sink(parameter: nn.Parameter, gradient: Tensor) -> None:
        if parameter.grad is not None:
            gradient = parameter.grad.add_(gradient)
        if last:
            parameter.grad = None
            step.update_from(parameter, gradient)
        else:
            parameter.grad = gradient

    return sink
