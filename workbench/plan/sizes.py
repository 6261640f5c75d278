"""Sizes of one method at any batch and length, as polynomials. A plain value: asking it needs no torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Any

import numpy as np

from workbench.core.errors import Incompatible
from workbench.core.profile import Category
from workbench.devices.work import GroupWork, Work

CATEGORIES = tuple(Category)
_GRADIENTS, _INPUTS = CATEGORIES.index(Category.GRADIENTS), CATEGORIES.index(Category.INPUTS)
#: Gradients of further micro-batches are added through temporaries that one batch alone does not show: up to 1.1 %
#: of the peak where it was compared with predictions, so that a fitted peak of accumulated batches is told this high.
ADDING = 1.02
Shape = tuple[int, int]
Row = tuple[str, str, str]  #: operator, module, phase

#: Terms by name; ``workbench.memory.size_model`` finds their coefficients. b is the batch, t the length.
_POWERS: Mapping[str, Callable[[int, int], int]] = {
    "1": lambda b, t: 1,
    "b t": lambda b, t: b * t,
    "b": lambda b, t: b,
    "t": lambda b, t: t,
    "b t^2": lambda b, t: b * t * t,
    "t^2": lambda b, t: t * t,
}


@dataclass(frozen=True)
class Sizes:
    """Peak and work of one method as polynomials of batch and length.

    ``rows`` are the moments that can be the highest of their phase at some shape, with ``memory`` as coefficients
    (term, row, category) in bytes; ``bounds`` marks rows that are an upper bound only. ``work`` maps
    "group|quantity" to coefficients of ``work_terms``. ``held_out`` is the shape of the trace kept out. ``reason``
    says why nothing could be fitted; then only ``held_out`` itself is answered. ``lengths`` says whether lengths
    were fitted, ``longest`` the most tokens where virtual ones take the other positions, and ``accumulates`` whether
    micro-batches can be accumulated. Where smaller batches run other operators,
    ``below`` are the sizes of those under ``least`` examples, each side fitted and checked on its own.
    """

    terms: tuple[str, ...]
    rows: tuple[Row, ...]
    memory: list[list[list[float]]]
    bounds: tuple[bool, ...]
    work_terms: tuple[str, ...]
    work: Mapping[str, list[float]]
    held_out: Shape
    lengths: bool
    reason: str = ""
    accumulates: bool = True
    least: int = 1
    below: Sizes | None = None
    longest: int | None = None

    def side(self, batch: int) -> Sizes:
        """The sizes that answer this batch."""
        return self.below if self.below is not None and batch < self.least else self

    @cached_property
    def _memory(self) -> np.ndarray:
        return np.array(self.memory, dtype=np.float64)

    def peak(self, batch: int, length: int) -> tuple[Row, dict[Category, int]]:
        """Where the peak of this shape is reached, and its bytes by category.

        Raises ``Incompatible`` naming ``shape`` where the fit cannot tell.
        """
        if self.side(batch) is not self:
            return self.side(batch).peak(batch, length)
        if reason := self._refuses(batch, length):
            raise Incompatible("shape", (batch, length), reason)
        live = np.rint(self._live(batch, length))
        top = int(live.sum(axis=1).argmax())
        if self.bounds[top]:
            reason = f"inside bytes of {self.rows[top][0]} are known as an upper bound only; predict this shape instead"
            raise Incompatible("shape", (batch, length), reason)
        return self.rows[top], {c: int(v) for c, v in zip(CATEGORIES, live[top])}

    def _refuses(self, batch: int, length: int) -> str:
        """Why this side of the sizes cannot answer a shape; empty where it can."""
        if (batch, length) == self.held_out:
            return ""
        if self.longest is not None and length > self.longest:
            return f"virtual tokens take positions as well, which leaves at most {self.longest} to an example"
        if self.reason:
            return f"{self.reason}; predict this shape instead"
        fitted = length == self.held_out[1] or self.lengths
        return "" if fitted else "only the batch was fitted; predict this length instead"

    def by_phase(self, batch: int, length: int) -> dict[str, np.ndarray]:
        """The highest moment of each phase of this shape, in bytes by category; raises as :meth:`peak` does."""
        self.peak(batch, length)
        side = self.side(batch)
        highest: dict[str, np.ndarray] = {}
        for (_, _, phase), row in zip(side.rows, np.rint(side._live(batch, length))):
            if phase not in highest or row.sum() > highest[phase].sum():
                highest[phase] = row
        return highest

    def _live(self, batch: int, length: int) -> np.ndarray:
        """Bytes of every row by category, (row, category)."""
        found: np.ndarray = np.tensordot(powers(self.terms, batch, length), self._memory, axes=1)
        return found

    def accumulated_peak(self, batch: int, length: int, times: int) -> int:
        """Bytes at the peak of a step of ``times`` micro-batches: a little above the truth, see ``ADDING``.

        From the second one on every gradient is live throughout, and all inputs are held.
        """
        live = np.rint(self.side(batch)._live(batch, length))
        if times > 1:
            live[:, _GRADIENTS] = live[:, _GRADIENTS].max()
            live[:, _INPUTS] += (times - 1) * live[:, _INPUTS].max()
        return int(np.rint(live.sum(axis=1).max() * (ADDING if times > 1 else 1)))

    @property
    def adding(self) -> float:
        """``ADDING``, or 0 where no micro-batches can be accumulated."""
        return ADDING if self.accumulates else 0.0

    def times(self, batch: int, examples: int) -> int:
        """How many micro-batches of ``batch`` are accumulated to make a step of ``examples``; 1 where none can be."""
        return -(-examples // batch) if self.accumulates else 1

    def largest_batch(self, budget: int, length: int, below: int) -> int | None:
        """The largest divisor of ``below`` that fits ``budget`` bytes when accumulated to ``below`` examples.

        ``None`` where not even a batch of one does, or nothing was fitted.
        """

        def fits(batch: int) -> bool:
            known = not self.side(batch)._refuses(batch, length)
            return known and self.accumulated_peak(batch, length, self.times(batch, below)) <= budget

        return next(filter(fits, divisors(below)), None)

    def source(self, batch: int, length: int) -> str:
        """What an answer for this shape rests on."""
        if self.side(batch) is not self:
            return self.side(batch).source(batch, length)
        if (batch, length) == self.held_out:
            return "predicted: traced at this shape"
        if batch == 1:
            return "fitted to batches of two and more; batch 1 skips some copies, so this may be a little high"
        return f"fitted: the trace kept out, batch {self.held_out[0]}, was met to the byte"

    def counted(self, batch: int, length: int) -> Work:
        """Work of one step at this shape."""
        if self.side(batch) is not self:
            return self.side(batch).counted(batch, length)
        at = powers(self.work_terms, batch, length)
        groups = {}
        for name, entries in groupby(self.work.items(), key=lambda item: item[0].partition("|")[0]):
            values = {k.partition("|")[2]: max(0, round(float(at @ np.array(v)))) for k, v in entries}
            flops = {q.removeprefix("flops "): v for q, v in values.items() if q.startswith("flops ")}
            groups[name] = GroupWork(values["calls"], values["bytes"], flops)
        return Work(groups)

    def by_class(self) -> dict[str, dict[str, list[float]]]:
        """For each class of operators the coefficients of its calls, its bytes and its operations by dtype.

        On a device the step takes the sum over classes of max(computing, moving) + calling, as in
        ``devices.roofline``.
        """
        found: dict[str, dict[str, list[float]]] = {}
        for name, values in self.work.items():
            group, _, quantity = name.partition("|")
            if any(values) and quantity:
                found.setdefault(group, {})[quantity] = [float(v) for v in values]
        return found

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Sizes:
        values: dict[str, Any] = {**raw, "rows": tuple(map(tuple, raw["rows"]))}
        values |= {name: tuple(raw[name]) for name in ("terms", "bounds", "work_terms", "held_out")}
        return Sizes(**values | {"below": Sizes.from_dict(raw["below"]) if raw["below"] else None})


def divisors(batch: int) -> list[int]:
    """Batches that make up a step of ``batch`` examples exactly, smaller ones only, the largest first."""
    small = [d for d in range(1, math.isqrt(batch) + 1) if batch % d == 0]
    return sorted({*small, *(batch // d for d in small)} - {batch}, reverse=True)


def powers(terms: tuple[str, ...], batch: int, length: int) -> np.ndarray:
    return np.array([_POWERS[name](batch, length) for name in terms], dtype=np.float64)
