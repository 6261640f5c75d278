"""What the tensors that a step holds are for: weights, gradients, optimizer state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.core.profile import Category
from workbench.memory.step import Step, own_tensors, storages_of

if TYPE_CHECKING:
    from workbench.memory.tracker import Tracker


def label_model(tracker: Tracker) -> None:
    """Weights: every parameter and buffer, and any tensor a module keeps beside them; gradients.

    A module that keeps something else says so in an attribute ``holds``.
    """
    for name, module in tracker.model.named_modules():
        own = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
        category = getattr(module, "holds", Category.WEIGHTS)
        for tensor in (*own_tensors(module), *own):
            for storage in storages_of(tensor):
                if not tracker.is_weight(storage):
                    tracker.label(tensor, category, name)
    label_gradients(tracker)


def label_gradients(tracker: Tracker) -> None:
    """Every ``.grad`` that is there."""
    for parameter in tracker.model.parameters():
        if parameter.grad is not None:
            tracker.label(parameter.grad, Category.GRADIENTS, tracker.where.owners.get(id(parameter), ""))


def label_optimizer(tracker: Tracker, step: Step) -> None:
    """What the optimizers of ``step`` keep, by the module of its parameter where there is one."""
    for optimizer in getattr(step, "optimizers", ()):
        for parameter, state in optimizer.state.items():
            tracker.label(state, Category.OPTIMIZER, tracker.where.owners.get(id(parameter), ""))
    for tensor in step.optimizer_state():
        tracker.label(tensor, Category.OPTIMIZER)
