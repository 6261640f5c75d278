"""What every task does with its data before training: split it, refuse it when it is unusable, hash it."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from workbench.core.errors import BadInput
from workbench.core.seeds import derive

if TYPE_CHECKING:
    from numpy.typing import NDArray


def size_of(task: str, part: str, asked: int | None, default: int, available: int) -> int:
    """How many examples to take: what was asked for, else the default; refuses less than 1 and more than exist."""
    value = min(default, available) if asked is None else asked
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= available:
        raise BadInput(f"{task}.{part}", asked, f"1 to {available} examples, which is all there are")
    return value


def split(
    task: str, available: int, train: int | None, test: int | None, defaults: tuple[int, int], seed: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Disjoint seeded index arrays (train, test). The test part does not depend on how much is trained on."""
    import numpy as np

    if available < 2:
        raise BadInput("data", task, f"at least 2 examples, found {available}")
    tests = size_of(task, "test", test, min(defaults[1], max(1, available // 3)), available - 1)
    trains = size_of(task, "train", train, defaults[0], available - tests)
    order = np.random.default_rng(derive(seed, "split", task)).permutation(available)
    return order[tests : tests + trains], order[:tests]


def check_labels(task: str, labels: Iterable[int], where: str, *, single: bool = False) -> None:
    """Refuse data without examples, and training data with one class only."""
    counts = Counter(int(label) for label in labels)
    if not counts:
        raise BadInput("data", task, f"at least one {where} example; the data are empty")
    if len(counts) < 2 and not single:
        raise BadInput(
            "data",
            task,
            f"at least two classes among the {where} examples; all {counts.total()} carry label {next(iter(counts))}",
        )


def check_rows(task: str, found: int, expected: int, source: str) -> None:
    """Refuse a file that holds fewer rows than it should."""
    if found != expected:
        raise BadInput(
            "data", task, f"{expected} rows in {source}; it has {found}, so it is truncated or not the pinned file"
        )


def fingerprint(train: Sequence[Mapping[str, Any]], test: Sequence[Mapping[str, Any]]) -> str:
    """SHA-256 of the content of both parts, in order."""
    digest = hashlib.sha256()
    for part, examples in (("train", train), ("test", test)):
        digest.update(f"{part} {len(examples)}\n".encode())
        for example in examples:
            for name in sorted(example):
                value = example[name]
                if hasattr(value, "tobytes"):
                    digest.update(f"{name} {value.dtype} {value.shape} ".encode() + value.tobytes())
                else:
                    digest.update(f"{name} {value!r}\n".encode())
    return digest.hexdigest()
