"""Sizes of one method at any batch and length, as polynomials. A plain value: asking it needs no torch."""

from __future__ import annotations

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
_GRADIENTS = CATEGORIES.index(Category.GRADIENTS)
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
    were fitted.
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

    @cached_property
    def _memory(self) -> np.ndarray:
        return np.array(self.memory, dtype=np.float64)

    def peak(self, batch: int, length: int) -> tuple[Row, dict[Category, int]]:
        """Where the peak of this shape is reached, and its bytes by category.

        Raises ``Incompatible`` naming ``shape`` where the fit cannot tell.
        """
        if (batch, length) != self.held_out:
            if self.reason:
                raise Incompatible("shape", (batch, length), f"{self.reason}; predict this shape instead")
            if length != self.held_out[1] and not self.lengths:
                raise Incompatible("shape", (batch, length), "only the batch was fitted; predict this length instead")
        live = np.rint(np.tensordot(powers(self.terms, batch, length), self._memory, axes=1))
        top = int(live.sum(axis=1).argmax())
        if self.bounds[top]:
            reason = f"inside bytes of {self.rows[top][0]} are known as an upper bound only; predict this shape instead"
            raise Incompatible("shape", (batch, length), reason)
        return self.rows[top], {c: int(v) for c, v in zip(CATEGORIES, live[top])}

    def by_phase(self, batch: int, length: int) -> dict[str, np.ndarray]:
        """The highest moment of each phase of this shape, in bytes by category; raises as :meth:`peak` does."""
        self.peak(batch, length)
        live = np.rint(np.tensordot(powers(self.terms, batch, length), self._memory, axes=1))
        highest: dict[str, np.ndarray] = {}
        for (_, _, phase), row in zip(self.rows, live):
            if phase not in highest or row.sum() > highest[phase].sum():
                highest[phase] = row
        return highest

    def largest_batch(self, budget: int, length: int, below: int, *, accumulated: bool = False) -> int | None:
        """The largest batch under ``below`` whose peak fits ``budget`` bytes; ``None`` where not even one does.

        ``accumulated`` counts all gradients as live throughout, which is near the truth for accumulated batches.
        """

        def peak(batch: int) -> int:
            live = np.tensordot(powers(self.terms, batch, length), self._memory, axes=1)
            if accumulated:
                live[:, _GRADIENTS] = live[:, _GRADIENTS].max()
            return int(live.sum(axis=1).max())

        self.peak(1, length)  # refuses where nothing was fitted
        if peak(1) > budget:
            return None
        low, high = 1, below
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if peak(middle) <= budget else (low, middle)
        return low

    def source(self, batch: int, length: int) -> str:
        """What an answer for this shape rests on."""
        if (batch, length) == self.held_out:
            return "predicted: traced at this shape"
        if batch == 1:
            return "fitted to batches of two and more; batch 1 skips some copies, so this may be a little high"
        return f"fitted: the trace kept out, batch {self.held_out[0]}, was met to the byte"

    def counted(self, batch: int, length: int) -> Work:
        """Work of one step at this shape."""
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
        return Sizes(**values)


def powers(terms: tuple[str, ...], batch: int, length: int) -> np.ndarray:
    return np.array([_POWERS[name](batch, length) for name in terms], dtype=np.float64)
