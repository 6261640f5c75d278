"""Every random state that Python code of a step may draw from, as tensors and plain values."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from workbench.memory import randomness


def random_states() -> tuple[dict[str, Tensor], dict[str, Any]]:
    """torch's, numpy's and Python's generators: their words as tensors, the rest as JSON."""
    kind, words, position, has_gauss, gauss = np.random.get_state()
    version, state, gauss_next = random.getstate()
    tensors = {
        "torch": torch.get_rng_state(),
        "numpy": torch.tensor(words.astype(np.int64)),
        "python": torch.tensor(state, dtype=torch.int64),
    }
    plain = {"numpy": [kind, position, has_gauss, gauss], "python": [version, gauss_next]}
    return tensors, plain


def set_random_states(tensors: Mapping[str, Tensor], plain: Mapping[str, Any]) -> None:
    """Put back what :func:`random_states` gave."""
    torch.set_rng_state(tensors["torch"].clone())
    kind, position, has_gauss, gauss = plain["numpy"]
    np.random.set_state((kind, tensors["numpy"].numpy().astype(np.uint32), position, has_gauss, gauss))
    version, gauss_next = plain["python"]
    random.setstate((version, tuple(tensors["python"].tolist()), gauss_next))


@contextmanager
def own_randomness(seed: int) -> Iterator[Callable[[], AbstractContextManager[None]]]:
    """All generators begin at ``seed`` (32 bits) inside; the caller's states are as before afterwards.

    What it gives is a context in which the caller's are back, for while it looks at a step: neither moves the other's.
    """
    callers = randomness.random_states()

    @contextmanager
    def lent() -> Iterator[None]:
        nonlocal callers
        own = randomness.random_states()
        randomness.set_random_states(callers)
        try:
            yield
        finally:
            callers = randomness.random_states()
            randomness.set_random_states(own)

    randomness.seed_all(seed)
    try:
        yield lent
    finally:
        randomness.set_random_states(callers)
