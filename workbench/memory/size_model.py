"""Instant answers: memory as an exact polynomial of batch and length, fitted to a few traces.

Every tensor of a step has a size that is a polynomial of batch and length, and the step performs the same
operators whatever the sizes. So live bytes after each event are a polynomial too, and the peak is the
largest of them. One trace is kept out of the fit; where it is missed the model refuses to interpolate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from workbench.core.errors import Incompatible
from workbench.core.profile import Category, Phase
from workbench.memory.events import EventLog, Kind, categories_of

Shape = tuple[int, int]
Names = tuple[tuple[str, str, str], ...]

#: Terms in the order in which they are added as points allow; b is the batch, t the length.
TERMS: tuple[tuple[str, Callable[[int, int], int]], ...] = (
    ("1", lambda b, t: 1),
    ("b t", lambda b, t: b * t),
    ("b", lambda b, t: b),
    ("t", lambda b, t: t),
    ("b t^2", lambda b, t: b * t * t),
    ("t^2", lambda b, t: t * t),
)
CATEGORIES = tuple(Category)


@dataclass(frozen=True)
class Curve:
    """Live bytes of one step after each event: ``names`` (operator, module, phase), ``bytes`` (event, category)."""

    names: Names
    bytes: np.ndarray

    @property
    def peak(self) -> int:
        return int(self.bytes.sum(axis=1).max())


def curve_of(log: EventLog) -> Curve:
    """The curve of a logged step."""
    position = {c: i for i, c in enumerate(CATEGORIES)}
    running = np.array([categories_of(log, log.baseline)[c] for c in CATEGORIES], dtype=np.int64)
    rows, names = [], []
    for event in log.events:
        if event.kind is Kind.INSIDE:
            row = running.copy()
            row[position[Category.WORKSPACE]] += event.storage
        else:
            allocation = log.allocations[event.storage]
            sign = 1 if event.kind is Kind.ALLOCATED else -1
            running[position[allocation.category or Category.WORKSPACE]] += sign * allocation.size
            row = running.copy()
        if event.kind is not Kind.FREED:
            rows.append(row)
            names.append((event.operator, event.module, str(event.phase)))
    return Curve(tuple(names), np.array(rows, dtype=np.int64))


@dataclass(frozen=True)
class Estimate:
    """Peak of one shape in bytes, where it is reached and what it is made of."""

    peak: int
    operator: str
    module: str
    phase: Phase
    by_category: Mapping[Category, int]


@dataclass(frozen=True)
class SizeModel:
    """Polynomial of every event; ``error`` is the relative error of the peak of the trace kept out."""

    names: Names
    terms: tuple[str, ...]
    coefficients: np.ndarray  #: (term, event, category)
    held_out: Shape
    error: float
    tolerance: float

    @classmethod
    def fit(cls, curves: Mapping[Shape, Curve], *, hold: Shape | None = None, tolerance: float = 0.0) -> SizeModel:
        """Fit to all curves but ``hold`` (default: the last one given), keyed by (batch, length).

        Uses as many terms as the remaining shapes determine. Raises ``Incompatible`` when there are fewer
        than three curves or when shapes change which operators run.
        """
        shapes = list(curves)
        if len(shapes) < 3:
            raise Incompatible("points", len(shapes), "a fit needs at least two traces and one to check it")
        hold = hold if hold is not None else shapes[-1]
        fitted = [s for s in shapes if s != hold]
        names = curves[hold].names
        if any(curves[s].names != names for s in fitted):
            raise Incompatible("points", shapes, "the operators of this step change with batch or length")
        terms, matrix = _terms(fitted)
        values = np.stack([curves[s].bytes for s in fitted]).astype(np.float64)
        flat = values.reshape(len(fitted), -1)
        solved, *_ = np.linalg.lstsq(matrix, flat, rcond=None)
        coefficients = solved.reshape(len(terms), *values.shape[1:])
        model = cls(names, terms, coefficients, hold, 0.0, tolerance)
        wrong = abs(model._rows(*hold).sum(axis=1).max() - curves[hold].peak) / curves[hold].peak
        return cls(names, terms, coefficients, hold, float(wrong), tolerance)

    @property
    def usable(self) -> bool:
        return self.error <= self.tolerance

    def at(self, batch: int, length: int = 1) -> Estimate:
        """Peak at a shape that need not have been traced; raises ``Incompatible`` when the fit misses."""
        if not self.usable:
            reason = f"the fitted sizes miss the trace kept out by {self.error:.2%}; predict this shape instead"
            raise Incompatible("shape", (batch, length), reason)
        rows = self._rows(batch, length)
        totals = rows.sum(axis=1)
        top = int(totals.argmax())
        operator, module, phase = self.names[top]
        split = {c: int(v) for c, v in zip(CATEGORIES, rows[top])}
        return Estimate(int(totals[top]), operator, module, Phase(phase), split)

    def peak(self, batch: int, length: int = 1) -> int:
        """Peak bytes; see :meth:`at`."""
        return self.at(batch, length).peak

    def _rows(self, batch: int, length: int) -> np.ndarray:
        known = dict(TERMS)
        powers = np.array([known[name](batch, length) for name in self.terms], dtype=np.float64)
        return np.rint(np.tensordot(powers, self.coefficients, axes=1)).astype(np.int64)


def _terms(shapes: list[Shape]) -> tuple[tuple[str, ...], np.ndarray]:
    """Terms that these shapes can tell apart, and their values at the shapes (shape, term)."""
    chosen: list[str] = []
    columns: list[list[int]] = []
    for name, value in TERMS:
        column = [value(b, t) for b, t in shapes]
        trial = np.array([*columns, column], dtype=np.float64).T
        if trial.shape[1] <= len(shapes) and np.linalg.matrix_rank(trial / trial.max(axis=0)) == trial.shape[1]:
            chosen.append(name)
            columns.append(column)
    return tuple(chosen), np.array(columns, dtype=np.float64).T
