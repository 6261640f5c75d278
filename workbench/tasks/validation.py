"""Training examples set aside to choose by, so that the test set is asked once, about what was chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from workbench.core.errors import BadInput, Incompatible
from workbench.core.seeds import derive
from workbench.tasks.base import TaskData
from workbench.tasks.content import fingerprint


def set_aside(data: TaskData, count: int, task: str) -> TaskData:
    """``data`` with ``count`` of its training examples in place of the test's; they are trained on no more.

    Where examples have groups (people, say), whole groups leave training, as test examples are of other groups too.
    Raises ``BadInput`` when nothing would be left to train on, ``Incompatible`` where training and test differ in kind.
    """
    import numpy as np

    if set(data.train[0]) != set(data.test[0]):
        raise Incompatible("validation", count, f"examples to train {task} on are not what it is scored on")
    drawn = np.random.default_rng(derive(data.seed, "validation", task))
    groups: Sequence[Any] = data.groups or range(len(data.train))
    left: set[Any] = set()
    order = drawn.permutation(len(data.train))
    aside: list[int] = []
    for name in dict.fromkeys(groups[int(i)] for i in order):
        if len(aside) >= count:
            break
        left.add(name)
        aside += [int(i) for i in order if groups[int(i)] == name] if data.groups else [int(name)]
    kept = [i for i in range(len(data.train)) if groups[i] not in left]
    if isinstance(count, bool) or count < 1 or len(aside) < count or not kept:
        raise BadInput(
            "validation", count, f"fewer than the {len(data.train)} training examples, some left to train on"
        )
    train, scored = [data.train[i] for i in kept], [data.train[i] for i in aside[:count]]
    whole = f" ({len(left)} of {len(set(groups))} groups)" if data.groups else ""
    return replace(
        data,
        train=train,
        test=scored,
        groups=tuple(groups[i] for i in kept) if data.groups else (),
        hash=fingerprint(train, scored),
        split=f"{data.split}; scored on {count} training examples set aside{whole}, the test set is not read",
    )
