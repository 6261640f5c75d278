"""The random states that Python code of a step may draw from: torch's, numpy's and Python's own."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch


def random_states() -> tuple[Any, ...]:
    """As they are now, without a byte of torch's memory: a guard keeps them while it counts."""
    return torch.default_generator.clone_state(), np.random.get_state(), random.getstate()


def set_random_states(states: tuple[Any, ...]) -> None:
    """Put back what :func:`random_states` gave."""
    torch.set_rng_state(states[0].get_state())
    np.random.set_state(states[1])
    random.setstate(states[2])


def same_states(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    """Whether nothing was drawn between the two."""
    (torch_one, numpy_one, python_one), (torch_other, numpy_other, python_other) = one, other
    same = python_one == python_other and all(map(np.array_equal, numpy_one, numpy_other))
    return same and torch.equal(torch_one.get_state(), torch_other.get_state())


def seed_all(seed: int) -> None:
    """Begin all three at ``seed`` (32 bits)."""
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)
