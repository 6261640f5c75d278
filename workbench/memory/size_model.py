"""Instant answers: memory as an exact polynomial of batch and length, read off a few traces.

Every storage of a step has a size that is a polynomial of batch and length with very few terms (one, nearly
always), and the step performs the same operators whatever the sizes. So each size is found on its own, as the
fewest terms that meet every trace exactly; live bytes after each event are sums of them, and the peak is the
largest. More traces than terms are always asked for, and one further trace is kept out: where it is missed the
model refuses to interpolate. Inside bytes of an operator need not be a polynomial; where none is found the row
holds an upper bound and a shape whose peak it would be is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from workbench.core.errors import Incompatible
from workbench.core.profile import Category, Phase
from workbench.memory.events import EventLog, Kind, categories_of

Shape = tuple[int, int]
Names = tuple[tuple[str, str, str], ...]

#: Terms in the order in which they are tried; b is the batch, t the length.
TERMS: tuple[tuple[str, Callable[[int, int], int]], ...] = (
    ("1", lambda b, t: 1),
    ("b t", lambda b, t: b * t),
    ("b", lambda b, t: b),
    ("t", lambda b, t: t),
    ("b t^2", lambda b, t: b * t * t),
    ("t^2", lambda b, t: t * t),
)
BATCH_TERMS = ("1", "b")  #: what can be told where the length never changes
CATEGORIES = tuple(Category)
FRACTION = 8  #: coefficients are whole eighths of a byte: one bit for each element is the narrowest there is
_SIGNS = {Kind.ALLOCATED: 1, Kind.FREED: -1, Kind.INSIDE: 0}
_WORKSPACE = CATEGORIES.index(Category.WORKSPACE)


@dataclass(frozen=True)
class Curve:
    """Every change of live bytes in one step, in order; what was live before comes first, by category.

    ``names`` are (operator, module, phase); ``signs`` 1 for allocated, -1 for freed, 0 for inside; ``places`` the
    index of the category; ``bytes`` the sizes.
    """

    names: Names
    signs: tuple[int, ...]
    places: tuple[int, ...]
    bytes: np.ndarray  #: (event,)

    def live(self) -> np.ndarray:
        """Live bytes after each event, (event, category)."""
        return _running(self, self.bytes[None].astype(np.int64))[0]

    @property
    def peak(self) -> int:
        return int(self.live().sum(axis=1).max())


def curve_of(log: EventLog) -> Curve:
    """The curve of a logged step."""
    position = {c: i for i, c in enumerate(CATEGORIES)}
    inputs = sorted(i for i in log.baseline if log.allocations[i].category is Category.INPUTS)
    before = categories_of(log, log.baseline - set(inputs))
    places, sizes = list(range(len(CATEGORIES))), [before[c] for c in CATEGORIES]
    places += [position[Category.INPUTS]] * len(inputs)  # one by one: ids and labels differ in their terms
    sizes += [log.allocations[i].size for i in inputs]
    names, signs = [("", "", str(Phase.FORWARD))] * len(sizes), [1] * len(sizes)
    for event in log.events:
        inside = event.kind is Kind.INSIDE
        allocation = None if inside else log.allocations[event.storage]
        names.append((event.operator, event.module, str(event.phase)))
        signs.append(_SIGNS[event.kind])
        places.append(position[(allocation and allocation.category) or Category.WORKSPACE])
        sizes.append(allocation.size if allocation else event.storage)
    return Curve(tuple(names), tuple(signs), tuple(places), np.array(sizes, dtype=np.int64))


def _running(curve: Curve, sizes: np.ndarray) -> np.ndarray:
    """Sums of ``sizes`` (anything, event) in the order of the events: (anything, event, category)."""
    signs = np.array(curve.signs)
    changes = np.zeros((*sizes.shape, len(CATEGORIES)), dtype=sizes.dtype)
    changes[:, np.arange(len(signs)), np.array(curve.places)] = sizes * signs
    running = changes.cumsum(axis=1)
    running[:, :, _WORKSPACE] += sizes * (signs == 0)
    return running


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
    """Polynomial of live bytes after every event; ``error`` is the relative miss of the peak of the trace kept out.

    ``bounds`` marks the events whose inside bytes are only an upper bound.
    """

    names: Names
    terms: tuple[str, ...]
    coefficients: np.ndarray  #: (term, event, category)
    bounds: np.ndarray  #: (event,)
    held_out: Shape
    error: float

    @classmethod
    def fit(cls, curves: Mapping[Shape, Curve], *, hold: Shape | None = None) -> SizeModel:
        """Fit to all curves but ``hold`` (default: the last one given), keyed by (batch, length).

        Raises ``Incompatible`` when there are fewer than three curves, when shapes change which operators run, or
        when a storage's size is no polynomial that these curves can tell.
        """
        shapes = list(curves)
        if len(shapes) < 3:
            raise Incompatible("points", len(shapes), "a fit needs at least two traces and one to check it")
        hold = hold if hold is not None else shapes[-1]
        fitted = [s for s in shapes if s != hold]
        kept = curves[hold]
        if any((c.names, c.signs, c.places) != (kept.names, kept.signs, kept.places) for c in curves.values()):
            raise Incompatible("points", shapes, "the operators of this step change with batch or length")
        terms = _terms(fitted)
        solved, known = polynomials(np.stack([curves[s].bytes for s in fitted]), _values(terms, fitted))
        known &= (np.array(kept.signs) != 0) | (_values(terms, [hold])[0] @ solved == kept.bytes)
        lost = np.flatnonzero(~known & (np.array(kept.signs) != 0))
        if lost.size:
            operator = kept.names[lost[0]][0] or "what is held between steps"
            raise Incompatible("points", shapes, f"sizes in {operator} are no polynomial that these traces can tell")
        largest = "b" if terms == BATCH_TERMS else "b t"
        ratios = np.stack([curves[s].bytes / _values((largest,), [s])[0, 0] for s in shapes]).max(axis=0)
        solved[:, ~known] = 0
        solved[terms.index(largest), ~known] = ratios[~known]
        model = cls(kept.names, terms, _running(kept, solved), ~known, hold, 0.0)
        wrong = abs(int(model._rows(*hold).sum(axis=1).max()) - kept.peak) / kept.peak
        return cls(kept.names, terms, model.coefficients, ~known, hold, float(wrong))

    @property
    def usable(self) -> bool:
        return self.error == 0

    def at(self, batch: int, length: int = 1) -> Estimate:
        """Peak at a shape that need not have been traced; raises ``Incompatible`` when the fit misses."""
        if not self.usable:
            reason = f"the fitted sizes miss the trace kept out by {self.error:.2%}; predict this shape instead"
            raise Incompatible("shape", (batch, length), reason)
        rows = self._rows(batch, length)
        totals = rows.sum(axis=1)
        top = int(totals.argmax())
        operator, module, phase = self.names[top]
        if self.bounds[top]:
            reason = f"inside bytes of {operator} are known as an upper bound only; predict this shape instead"
            raise Incompatible("shape", (batch, length), reason)
        split = {c: int(v) for c, v in zip(CATEGORIES, rows[top])}
        return Estimate(int(totals[top]), operator, module, Phase(phase), split)

    def peak(self, batch: int, length: int = 1) -> int:
        """Peak bytes; see :meth:`at`."""
        return self.at(batch, length).peak

    def _rows(self, batch: int, length: int) -> np.ndarray:
        powers = _values(self.terms, [(batch, length)])[0]
        return np.rint(np.tensordot(powers, self.coefficients, axes=1)).astype(np.int64)


def _terms(shapes: list[Shape]) -> tuple[str, ...]:
    """Terms that can be told apart at all; images vary the batch alone."""
    return BATCH_TERMS if len({t for _, t in shapes}) == 1 else tuple(name for name, _ in TERMS)


def _values(terms: tuple[str, ...], shapes: list[Shape]) -> np.ndarray:
    """The terms at the shapes, (shape, term)."""
    known = dict(TERMS)
    return np.array([[known[name](b, t) for name in terms] for b, t in shapes], dtype=np.float64)


def polynomials(sizes: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The polynomial of fewest terms through each column of ``sizes`` (shape, event), and which ones were found.

    ``values`` is (shape, term), the result (term, event). Only polynomials with fewer terms than there are shapes
    count, so that each is checked by at least one of them.
    """
    found = np.zeros((values.shape[1], sizes.shape[1]))
    known = ~sizes.any(axis=0)
    for count in range(1, min(3, len(sizes) - 1, values.shape[1]) + 1):
        for chosen in combinations(range(values.shape[1]), count):
            missing = np.flatnonzero(~known)
            part = values[:, chosen]
            if not missing.size or np.linalg.matrix_rank(part / part.max(axis=0)) < count:
                continue
            solved = np.linalg.lstsq(part, sizes[:, missing].astype(np.float64), rcond=None)[0]
            solved = np.rint(solved * FRACTION) / FRACTION
            met = (part @ solved == sizes[:, missing]).all(axis=0) & (solved >= 0).all(axis=0)
            found[np.ix_(chosen, missing[met])] = solved[:, met]
            known[missing[met]] = True
    return found, known
