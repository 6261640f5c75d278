"""Put a training step back as it was: weights, buffers, optimizer state, journal and random states."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from workbench.memory.randomness import random_states, set_random_states
from workbench.memory.step import Step


class Snapshot:
    """Context that copies what a step may change (beside the budget, on this host) and restores it after."""

    def __init__(self, step: Step) -> None:
        self._step = step
        self._values: list[tuple[Tensor, Tensor]] = []
        self._states: list[tuple[Any, dict[Any, Any]]] = []

    def __enter__(self) -> Snapshot:
        model = self._step.model
        held = [*model.parameters(), *model.buffers(), *self._step.optimizer_state()]
        self._random = random_states()
        self._journal = getattr(self._step, "journal", None)
        self._written = len(self._journal.updates) if self._journal is not None else 0
        self._values = [(t.detach(), t.detach().clone()) for t in held]
        for optimizer in getattr(self._step, "optimizers", ()):
            states = {key: dict(state) for key, state in optimizer.state.items()}
            self._states.append((optimizer, states))
        return self

    def __exit__(self, *_: object) -> None:
        with torch.no_grad():
            for tensor, value in self._values:
                tensor.copy_(value)
        for optimizer, states in self._states:
            optimizer.state.clear()
            optimizer.state.update(states)
        for parameter in self._step.model.parameters():
            parameter.grad = None
        if self._journal is not None:
            del self._journal.updates[self._written :]
        set_random_states(self._random)
        self._values, self._states = [], []
