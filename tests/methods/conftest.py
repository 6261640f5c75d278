"""Plain training steps on tiny models, for the property that makes each method what it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from workbench.testing import Subject


@pytest.fixture
def gradients() -> Callable[[Subject], dict[str, Any]]:
    """``gradients(subject)``: the gradient of each trained tensor in one step, as the update sees it."""

    def taken(subject: Subject) -> dict[str, Any]:
        import torch

        model = subject.attached()
        step = subject.case.step(model)
        names = {id(p): n for n, p in model.named_parameters()}
        found: dict[str, Any] = {}
        step.observer = lambda p: found.__setitem__(names[id(p)], p.grad.detach().clone())
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(5)
            step(subject.examples(), seed=3)
        return found

    return taken
