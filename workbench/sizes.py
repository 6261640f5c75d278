"""Sizes of one method at any batch and length: exact polynomials from one trace of a few shapes, kept in the cache."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.core.errors import Incompatible
from workbench.core.profile import Category, Tier
from workbench.devices.work import GroupWork, Work

if TYPE_CHECKING:
    from workbench.case import Case
    from workbench.memory.size_model import Curve, SizeModel
    from workbench.predictions import Trace

CATEGORIES = tuple(Category)
_GRADIENTS = CATEGORIES.index(Category.GRADIENTS)
Shape = tuple[int, int]
Row = tuple[str, str, str]  #: operator, module, phase

#: Terms of memory by name; ``workbench.memory.size_model`` finds their coefficients. b is the batch, t the length.
_POWERS = {
    "1": lambda b, t: 1,
    "b t": lambda b, t: b * t,
    "b": lambda b, t: b,
    "t": lambda b, t: t,
    "b t^2": lambda b, t: b * t * t,
    "t^2": lambda b, t: t * t,
}
#: Terms of counted work, which is only ever extrapolated from: fewer than memory has.
_WORK_TERMS = ("1", "b t", "b t^2")


@dataclass(frozen=True)
class Sizes:
    """Peak and work of one method as polynomials of batch and length.

    ``rows`` are the moments that can be the peak of some shape, with ``memory`` as coefficients (term, row,
    category) in bytes; ``bounds`` marks rows that are an upper bound only. ``work`` maps "group|quantity" to
    coefficients of the first terms. ``held_out`` is the shape of the trace kept out. ``reason`` says why nothing
    could be fitted; then only ``held_out`` itself is answered. ``lengths`` says whether lengths were fitted.
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
        live = np.rint(np.tensordot(_powers(self.terms, batch, length), self._memory, axes=1))
        top = int(live.sum(axis=1).argmax())
        if self.bounds[top]:
            reason = f"inside bytes of {self.rows[top][0]} are known as an upper bound only; predict this shape instead"
            raise Incompatible("shape", (batch, length), reason)
        return self.rows[top], {c: int(v) for c, v in zip(CATEGORIES, live[top])}

    def largest_batch(self, budget: int, length: int, below: int, *, accumulated: bool = False) -> int | None:
        """The largest batch under ``below`` whose peak fits ``budget`` bytes; ``None`` where not even one does.

        ``accumulated`` counts all gradients as live throughout, which is near the truth for accumulated batches.
        """

        def peak(batch: int) -> int:
            live = np.tensordot(_powers(self.terms, batch, length), self._memory, axes=1)
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
        return f"fitted: the trace kept out, batch {self.held_out[0]}, was met to the byte"

    def counted(self, batch: int, length: int) -> Work:
        """Work of one step at this shape."""
        powers = _powers(self.work_terms, batch, length)
        groups = {}
        for name, entries in groupby(self.work.items(), key=lambda item: item[0].partition("|")[0]):
            values = {k.partition("|")[2]: max(0, round(float(powers @ np.array(v)))) for k, v in entries}
            flops = {q.removeprefix("flops "): v for q, v in values.items() if q.startswith("flops ")}
            groups[name] = GroupWork(values["calls"], values["bytes"], flops)
        return Work(groups)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Sizes:
        tuples = {n: tuple(raw[n]) for n in ("terms", "bounds", "work_terms", "held_out")}
        return cls(**{**raw, **tuples, "rows": tuple(tuple(r) for r in raw["rows"])})


def sizes_of(case: Case, tier: Tier | None = None) -> Sizes:
    """Sizes of ``case``, cached; its own shape is the one kept out, and is predicted exactly by the same trace.

    Takes the time of about two predictions. Raises ``Incompatible`` like a prediction.
    """
    from workbench.predictions import kept

    tier = case.tier(tier)
    return Sizes.from_dict(kept(case, f"sizes {tier}", lambda: asdict(_fitted(case, tier))))


def sizes_known(case: Case, tier: Tier | None = None) -> bool:
    """Whether :func:`sizes_of` can answer without a trace."""
    from workbench.predictions import is_kept

    return case.refusal() is not None or is_kept(case, f"sizes {case.tier(tier)}")


def shape_of(case: Case) -> Shape:
    """Batch and length of the case, the task's own length where it has none."""
    if case.spec.modality != "text":
        return case.batch, case.length or 1
    if case.length is not None:
        return case.batch, case.length
    return case.batch, int(next(iter(case.task.example_batch(case.spec, 1, None).values())).shape[-1])


def _small_shapes(case: Case) -> list[Shape]:
    """Shapes to fit to, the fewest first; two are enough for sizes of one term. Images vary the batch alone."""
    own, length = shape_of(case)
    if case.spec.modality != "text":
        shapes = [(b, length) for b in (2, 3, 5, 7)]
    else:
        quarter, half, most = max(4, length // 4), max(5, length // 2), max(6, 3 * length // 4)
        shapes = [(2, half), (3, quarter), (5, most), (4, quarter)]
    return [s for s in shapes if s != (own, length)]


def _fitted(case: Case, tier: Tier) -> Sizes:
    """Trace the case and small shapes of it until every size is known and the case's own peak is met."""
    from workbench.memory.size_model import SizeModel, curve_of
    from workbench.predictions import traced_at

    reason = case.refusal()
    if reason is not None:
        raise Incompatible("method", case.method_name, reason)
    own = shape_of(case)
    shapes = _small_shapes(case)
    text = case.spec.modality == "text"
    others = [replace(case, batch=b, length=t if text else case.length) for b, t in shapes]
    traces = traced_at(case, others, tier)
    first = next(traces)
    curves, works = {own: curve_of(first.log)}, {own: _quantities(first)}
    alone = _alone(first, own)
    why = ""
    for shape in shapes:
        try:
            trace = next(traces)
        except Incompatible as error:
            return replace(alone, reason=error.reason)
        curves[shape], works[shape] = curve_of(trace.log), _quantities(trace)
        if curves[shape].names != curves[own].names:
            return replace(alone, reason="the operators of this step change with batch or length")
        if len(curves) < 3:
            continue
        try:
            model = SizeModel.fit(curves, hold=own)
        except Incompatible as error:
            why = error.reason
            continue
        if model.usable:
            return _sizes(model, curves[own], works, text)
        why = f"the fitted sizes miss the trace kept out by {model.error:.2%}"
    return replace(alone, reason=why)


def _sizes(model: SizeModel, own: Curve, works: Mapping[Shape, Mapping[str, int]], text: bool) -> Sizes:
    rows = _rows_that_can_peak(model.coefficients)
    terms, work = _work(works, text)
    return Sizes(
        model.terms,
        tuple(model.names[i] for i in rows),
        np.round(model.coefficients[:, rows], 9).tolist(),
        tuple(bool(b) for b in model.bounds[rows]),
        terms,
        work,
        model.held_out,
        text,
    )


def _alone(trace: Trace, own: Shape) -> Sizes:
    """The one shape that was traced, as sizes without any fit."""
    profile = trace.profile
    row = profile.operator, profile.module, str(profile.phase)
    split = [[[float(profile.by_category.get(c, 0)) for c in CATEGORIES]]]
    work = {k: [float(v)] for k, v in _quantities(trace).items()}
    return Sizes(("1",), (row,), split, (False,), ("1",), work, own, False, "nothing was fitted")


def _rows_that_can_peak(coefficients: np.ndarray) -> list[int]:
    """Rows that no other row exceeds in every term; the others are never the highest, as every term is positive."""
    totals = np.round(coefficients.sum(axis=2), 6).T
    first = np.unique(totals, axis=0, return_index=True)[1]
    unique = totals[first]
    beaten = (unique[None] >= unique[:, None]).all(axis=2) & (unique[None] > unique[:, None]).any(axis=2)
    return sorted(int(i) for i in first[~beaten.any(axis=1)])


def _work(works: Mapping[Shape, Mapping[str, int]], text: bool) -> tuple[tuple[str, ...], dict[str, list[float]]]:
    """Coefficients of calls, bytes and operations of each group by least squares over all traces."""
    terms = _WORK_TERMS if text else ("1", "b")
    keys = sorted({key for work in works.values() for key in work})
    matrix = np.stack([_powers(terms, *shape) for shape in works])
    values = np.array([[work.get(k, 0) for k in keys] for work in works.values()], dtype=np.float64)
    scale = matrix.max(axis=0)
    solved, *_ = np.linalg.lstsq(matrix / scale, values, rcond=None)
    return terms, {key: (solved[:, i] / scale).tolist() for i, key in enumerate(keys)}


def _quantities(trace: Trace) -> dict[str, int]:
    """Counted work as flat numbers, "group|quantity"."""
    from workbench.devices.work import work_of

    found = {}
    for name, group in work_of(trace.recorder).groups.items():
        found |= {f"{name}|calls": group.calls, f"{name}|bytes": group.bytes}
        found |= {f"{name}|flops {dtype}": flops for dtype, flops in group.flops.items()}
    return found


def _powers(terms: tuple[str, ...], batch: int, length: int) -> np.ndarray:
    return np.array([_POWERS[name](batch, length) for name in terms], dtype=np.float64)
