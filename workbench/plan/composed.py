"""Every candidate of a grid at once: what single changes do to a step, composed. Ranks thousands in milliseconds.

A change is seen once, alone: by what factor it alters each category of each phase, and the time of a micro-batch and
of the update. Several changes together are taken to multiply; where nothing was before, what a change brings is
added. That ranks and promises nothing: whoever asks puts in the true sizes of the points that look best.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from workbench.core.profile import Category, Phase

PHASES = tuple(str(phase) for phase in Phase)
CATEGORIES = tuple(Category)
_GRADIENTS = CATEGORIES.index(Category.GRADIENTS)
#: Values of an axis of whole numbers beyond which only the ends are seen and the rest is interpolated.
MANY = 3


@dataclass(frozen=True)
class Seen:
    """One micro-batch with one set of settings, at every batch of the grid.

    ``live`` is the highest moment of each phase in bytes, (batch, phase, category); ``micro`` and ``update`` are
    seconds, (batch,). What could not be sized is not a number.
    """

    live: np.ndarray
    micro: np.ndarray
    update: np.ndarray


def worth_seeing(values: Sequence[Any]) -> list[int]:
    """Places of the values of an axis that have to be seen: all, or the ends of a long row of whole numbers."""
    return [0, len(values) - 1] if _ordered(values) else list(range(len(values)))


def _ordered(values: Sequence[Any]) -> bool:
    whole = all(isinstance(v, int) and not isinstance(v, bool) for v in values)
    return whole and len(values) > MANY and list(values) in (sorted(values), sorted(values, reverse=True))


class Composed:
    """Memory and time of every candidate, (axis, ..., batch)."""

    def __init__(self, values: Sequence[Sequence[Any]], batches: int) -> None:
        self.values = [list(v) for v in values]
        shape = (*(len(v) for v in values), batches)
        self.live = np.full((*shape, len(PHASES), len(CATEGORIES)), np.nan)
        self.micro, self.update = np.full(shape, np.nan), np.full(shape, np.nan)

    def compose(self, base: Seen, single: Mapping[tuple[int, int], Seen]) -> None:
        """From the base point and what each single change, (axis, value), was seen to do."""
        live, added = base.live, np.zeros_like(base.live)
        micro, update = base.micro, base.update
        for axis, values in enumerate(self.values):
            seen = {v: base if v == 0 else single.get((axis, v)) for v in worth_seeing(values)}
            effects = _Effects.of(base, values, seen)
            place = [1] * len(self.values)
            place[axis] = len(values)
            live = live * effects.factors.reshape(*place, *base.live.shape)
            added = added + effects.added.reshape(*place, *base.live.shape)
            micro = micro * effects.micro.reshape(*place, -1)
            update = update * effects.update.reshape(*place, -1)
        self.live[:], self.micro[:], self.update[:] = live + added, micro, update

    def put(self, point: tuple[int, ...], seen: Seen | None) -> None:
        """The true figures of one point, by the places of its values; ``None`` where it cannot be sized."""
        self.live[point] = np.nan if seen is None else seen.live
        self.micro[point] = np.nan if seen is None else seen.micro
        self.update[point] = np.nan if seen is None else seen.update

    def peaks(self, steps: np.ndarray) -> np.ndarray:
        """Bytes at the peak of ``steps`` micro-batches; between them all gradients are taken to stay live."""
        live = self.live.copy()
        kept = live[..., _GRADIENTS].max(axis=-1, keepdims=True)
        live[..., _GRADIENTS] = np.where(steps[..., None] > 1, kept, live[..., _GRADIENTS])
        peaks: np.ndarray = live.sum(axis=-1).max(axis=-1)
        return peaks

    def seconds(self, steps: np.ndarray) -> np.ndarray:
        """Seconds of a step of ``steps`` micro-batches and one update."""
        seconds: np.ndarray = self.micro * steps + self.update
        return seconds


@dataclass(frozen=True)
class _Effects:
    """What each value of one axis does: factors and additions (value, batch, phase, category), factors of time."""

    factors: np.ndarray
    added: np.ndarray
    micro: np.ndarray
    update: np.ndarray

    @classmethod
    def of(cls, base: Seen, values: Sequence[Any], seen: Mapping[int, Seen | None]) -> _Effects:
        count = len(values)
        shapes = base.live.shape, base.live.shape, base.micro.shape, base.update.shape
        found = cls(*(np.full((count, *shape), np.nan) for shape in shapes))
        for v, one in seen.items():
            if one is not None:
                found.factors[v] = _ratio(one.live, base.live)
                found.added[v] = np.where(base.live > 0, 0.0, one.live)
                found.micro[v], found.update[v] = _ratio(one.micro, base.micro), _ratio(one.update, base.update)
        if len(seen) < count:
            for array in (found.factors, found.added, found.micro, found.update):
                for v in range(1, count - 1):
                    far = (values[v] - values[0]) / (values[-1] - values[0])
                    array[v] = (1 - far) * array[0] + far * array[-1]
        return found


def _ratio(after: np.ndarray, before: np.ndarray) -> np.ndarray:
    ratio: np.ndarray = np.divide(after, before, out=np.where(np.isnan(after), np.nan, 1.0), where=before > 0)
    return ratio
