"""Every random state that Python code of a step may draw from, as tensors and plain values."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor


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
def own_randomness(seed: int) -> Iterator[None]:
    """All generators begin at ``seed`` (32 bits) inside; the caller's states are as before afterwards."""
    before = random_states()
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)
    try:
        yield
    finally:
        set_random_states(*before)
