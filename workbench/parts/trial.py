"""How much each tensor's next update is worth: one trial step, judged by a second gradient, and everything put back.

``I = -sum(dL/dw(after) * dw)``, where ``dw`` is what the optimizer would do and the gradient is taken after it
(GreenTrainer, Huang et al., 2023). The optimizer's scaling is in ``dw``, which is more than the gradient's size tells.

Both passes let go of each gradient as soon as it is there. What a trial needs beside an ordinary step is one copy of
the weights and, one tensor at a time, of their optimizer state; nothing of the optimizer's own state is written.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from workbench.core.phase import in_phase
from workbench.core.profile import Phase
from workbench.parts.base import Step


def importances(step: Step, tensors: Mapping[str, nn.Parameter], *, keep_new_state: bool = False) -> dict[str, Tensor]:
    """The importance of each tensor as a number in a tensor, by name, on the step's first batch.

    Weights, buffers, random state and optimizer state are afterwards what they were, to the bit. ``keep_new_state``
    leaves the state of tensors that had none: what the optimizer holds once everything has trained.
    """
    observer, step.observer = step.observer, None
    buffers = [(b, b.detach().clone()) for b in step.model.buffers()]
    before: dict[int, Tensor] = {}
    found: dict[int, Tensor] = {}

    def move(parameter: Tensor) -> None:
        before[id(parameter)] = parameter.detach().clone()
        with in_phase(Phase.UPDATE), _undisturbed(step, parameter, keep_new_state):  # type: ignore[arg-type]
            step.update_one(parameter)  # type: ignore[arg-type]

    def judge(parameter: Tensor) -> None:
        moved = parameter.detach() - before[id(parameter)]
        found[id(parameter)] = -(moved.mul_(parameter.grad)).sum()  # type: ignore[arg-type]
        parameter.grad = None

    try:
        _backward(step, tensors, move)
        _backward(step, tensors, judge)
    finally:
        step.observer = observer
        with torch.no_grad():
            for parameter in tensors.values():
                parameter.grad = None
                if id(parameter) in before:
                    parameter.copy_(before[id(parameter)])
            for buffer, value in buffers:
                buffer.copy_(value)
    return {name: found[id(p)] for name, p in tensors.items() if id(p) in found}


def _backward(step: Step, tensors: Mapping[str, nn.Parameter], arrived: Callable[[Tensor], None]) -> None:
    """A forward and a backward pass on the first batch; ``arrived`` is called with each tensor that has a gradient.

    Both passes draw the same noise, so that the second sees nothing new but the update.
    """

    def without_graph(parameter: Tensor) -> None:
        with torch.no_grad():
            arrived(parameter)

    hooks = [p.register_post_accumulate_grad_hook(without_graph) for p in tensors.values()]
    try:
        with torch.random.fork_rng(devices=[]):
            with in_phase(Phase.FORWARD):
                loss = next(step.losses())
            with in_phase(Phase.BACKWARD):
                loss.backward()
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def _undisturbed(step: Step, parameter: nn.Parameter, keep_new_state: bool) -> Iterator[None]:
    """The optimizer works on a copy of this tensor's state, which is thrown away."""
    states = step.optimizer_of(parameter).state
    known = parameter in states
    if known:
        own = states[parameter]
        # tensors are cloned: deepcopy takes memory from an allocator that no budget reaches
        states[parameter] = copy.deepcopy(own, {id(t): t.clone() for t in own.values() if isinstance(t, Tensor)})
    try:
        yield
    finally:
        if known:
            states[parameter] = own
        elif not keep_new_state:
            states.pop(parameter, None)
