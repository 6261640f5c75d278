"""Finds the sizes of a method: one trace of its own shape and of a few small ones, kept in the cache."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain, islice
from typing import TYPE_CHECKING

import numpy as np

from workbench.core.alone import alone
from workbench.core.errors import Incompatible
from workbench.core.profile import Category, MemoryProfile, Tier
from workbench.keys import COUNTING, Kind
from workbench.plan.sizes import CATEGORIES, Shape, Sizes, powers

if TYPE_CHECKING:
    from workbench.case import Case
    from workbench.memory.size_model import Curve, Names, SizeModel
    from workbench.predictions import Trace

#: Operator calls of one step in order: (class, dtype) and (bytes, operations) of each.
Calls = tuple[list[tuple[str, str]], np.ndarray]

#: Terms of whole classes of calls, where single calls cannot be told apart.
_FEW = ("1", "b t", "b t^2")

#: From this batch on torch gives convolutions to kernels that need workspace of their own, under it to others.
_SIDES = 16


def sizes_of(case: Case, tier: Tier | None = None) -> Sizes:
    """Sizes of ``case``, cached; its own shape is the one kept out, and is predicted exactly by the same trace.

    Takes the time of about two predictions. Raises ``Incompatible`` like a prediction.
    """
    from workbench.predictions import kept

    tier = case.tier(tier)
    return Sizes.from_dict(kept(case, _kind(tier), lambda: asdict(_fitted(case, tier))))


def sizes_known(case: Case, tier: Tier | None = None) -> bool:
    """Whether :func:`sizes_of` can answer without a trace."""
    from workbench.predictions import is_kept

    return case.refusal() is not None or is_kept(case, _kind(case.tier(tier)))


def _kind(tier: Tier) -> Kind:
    """What sizes are kept as in the cache."""
    return Kind("sizes on each side", (*COUNTING, "plan/fitting.py", "plan/sizes.py"), tier)


def shape_of(case: Case) -> Shape:
    """Batch and length of the case, the task's own length where it has none."""
    if case.spec.modality != "text":
        return case.batch, case.length or 1
    return case.batch, case.length or case.task.length(case.spec)


def predicted_step(case: Case, tier: Tier | None = None) -> MemoryProfile:
    """The prediction of a step of many micro-batches at the price of two.

    From the third micro-batch on a step only holds more inputs. Raises ``Incompatible`` like a prediction.
    """
    profile = case.predict(tier) if case.accumulate <= 2 else replace(case, accumulate=2).predict(tier)
    each = profile.by_category.get(Category.INPUTS, 0) // 2
    more = (case.accumulate - 2) * each if case.accumulate > 2 else 0
    if not more:
        return profile
    return replace(
        profile,
        peak=profile.peak + more,
        by_category={c: size + (more if c is Category.INPUTS else 0) for c, size in profile.by_category.items()},
        by_module={**profile.by_module, "(batch)": profile.by_module.get("(batch)", 0) + more},
        by_phase={},
        timeline=(),
        assumptions=(*profile.assumptions, f"traced with 2 of {case.accumulate} micro-batches"),
    )


def _small_shapes(length: int) -> list[Shape]:
    """Shapes of texts to fit to, the fewest first; two are enough for sizes of one term."""
    quarter, half, most = max(4, length // 4), max(5, length // 2), max(6, 3 * length // 4)
    return [(2, half), (3, quarter), (5, most), (4, quarter)]


@alone()
def _fitted(case: Case, tier: Tier) -> Sizes:
    """Trace the case and small shapes of it until every size is known and the case's own peak is met.

    Images vary the batch alone, to both sides of ``_SIDES``; where the operators differ, each side has a fit and a
    trace kept out of its own.
    """
    from workbench.predictions import traced_at

    reason = case.refusal()
    if reason is not None:
        raise Incompatible("method", case.method_name, reason)
    own, text = shape_of(case), case.spec.modality == "text"
    batch, length = own
    shapes = [s for s in _small_shapes(length) if s != own]
    if not text:
        low, high = ([(b, length) for b in tried if b != batch][:3] for tried in ((2, 3, 5, 7), (17, 19, 23, 29)))
        other = (_SIDES - 1 if batch >= _SIDES else _SIDES), length
        shapes = [other, *low, *high]
    others = [replace(case, batch=b, length=t if text else case.length) for b, t in shapes]
    found = _read([own, *shapes], traced_at(case, others, tier))
    first = next(found)
    if isinstance(first, Incompatible):
        raise first
    second = next(found)
    if text or isinstance(second, Incompatible) or second.names == first.names:
        sizes = _side(first, chain([second], found), text)
    else:
        under, over = sorted((first, second), key=lambda one: one.shape)
        below = _side(under, list(islice(found, len(low))), text)
        sizes = replace(_side(over, found, text), least=_SIDES, below=below)
    sizes = replace(sizes, longest=case.longest)
    return _accumulating(sizes, not case.config.drops_gradients and case.accumulate == 1)


def _accumulating(sizes: Sizes, can: bool) -> Sizes:
    return replace(sizes, accumulates=can, below=sizes.below and _accumulating(sizes.below, can))


@dataclass(frozen=True)
class _Read:
    """What is read off a trace before the next one takes its place."""

    shape: Shape
    curve: Curve
    calls: Calls
    profile: MemoryProfile

    @property
    def names(self) -> Names:
        return self.curve.names


def _read(shapes: Sequence[Shape], traces: Iterator[Trace]) -> Iterator[_Read | Incompatible]:
    """Each trace, or at last why there is no further one."""
    from workbench.memory.size_model import curve_of

    for shape in shapes:
        try:
            trace = next(traces)
        except Incompatible as error:
            yield error
            return
        yield _Read(shape, curve_of(trace.log), _calls(trace), trace.profile)


def _side(kept_out: _Read, others: Iterable[_Read | Incompatible], text: bool) -> Sizes:
    """The sizes that meet as many of the others as are needed, and ``kept_out`` without having seen it."""
    from workbench.memory.size_model import SizeModel

    found, why = {kept_out.shape: kept_out}, "nothing was fitted"
    for one in others:
        if isinstance(one, Incompatible):
            why = one.reason
            break
        if one.names != kept_out.names:
            why = "the operators of this step change with batch or length"
            break
        found[one.shape] = one
        if len(found) < 3:
            continue
        try:
            model = SizeModel.fit({shape: read.curve for shape, read in found.items()}, hold=kept_out.shape)
            model.at(*kept_out.shape)
        except Incompatible as error:
            why = error.reason.removesuffix("; predict this shape instead")
            continue
        return _sizes(model, {shape: read.calls for shape, read in found.items()}, text)
    return replace(_alone(kept_out), reason=why)


def _sizes(model: SizeModel, calls: Mapping[Shape, Calls], text: bool) -> Sizes:
    rows = _rows_that_can_peak(model.coefficients, [phase for _, _, phase in model.names])
    return Sizes(
        model.terms,
        tuple(model.names[i] for i in rows),
        np.round(model.coefficients[:, rows], 9).tolist(),
        tuple(bool(b) for b in model.bounds[rows]),
        model.terms,
        _work(calls, model.terms),
        model.held_out,
        text,
    )


def _alone(one: _Read) -> Sizes:
    """The one shape that was traced, as sizes without any fit."""
    profile, own = one.profile, one.shape
    row = profile.operator, profile.module, str(profile.phase)
    split = [[[float(profile.by_category.get(c, 0)) for c in CATEGORIES]]]
    work = _work({own: one.calls}, ("1",))
    return Sizes(("1",), (row,), split, (False,), ("1",), work, own, False, "nothing was fitted")


def _rows_that_can_peak(coefficients: np.ndarray, phases: Sequence[str]) -> list[int]:
    """Rows that can be the highest of their phase."""
    found = []
    for phase in dict.fromkeys(phases):
        own = [i for i, name in enumerate(phases) if name == phase]
        found += [own[i] for i in _not_beaten(coefficients[:, own])]
    return sorted(found)


def _not_beaten(coefficients: np.ndarray) -> list[int]:
    """Rows that no other row exceeds in every term; the others are never the highest, as every term is positive."""
    totals = np.round(coefficients.sum(axis=2), 6).T
    first = np.unique(totals, axis=0, return_index=True)[1]
    unique = totals[first]
    beaten = (unique[None] >= unique[:, None]).all(axis=2) & (unique[None] > unique[:, None]).any(axis=2)
    return sorted(int(i) for i in first[~beaten.any(axis=1)])


def _calls(trace: Trace) -> Calls:
    names = [(group, dtype) for group, dtype, _, _ in trace.recorder.costs]
    return names, np.array([cost[2:] for cost in trace.recorder.costs], dtype=np.int64).reshape(-1, 2)


def _work(calls: Mapping[Shape, Calls], terms: tuple[str, ...]) -> dict[str, list[float]]:
    """Coefficients of calls, bytes and operations of each class of operators, by ``terms``.

    Bytes and operations of one call are polynomials of few terms and found as sizes are; where there is none, or
    the calls of two shapes do not correspond, least squares by fewer terms serve: times are extrapolated anyway.
    """
    from workbench.memory.size_model import polynomials

    shapes, (first, *others) = list(calls), calls.values()
    if any(names != first[0] for names, _ in others):
        return _sums({shape: _work({shape: own}, ("1",)) for shape, own in calls.items()}, terms)
    values = np.stack([powers(terms, *s) for s in shapes])
    costs = np.stack([own.T for _, own in calls.values()])  # (shape, bytes or operations, call)
    distinct, where = np.unique(costs.reshape(len(shapes), -1), axis=1, return_inverse=True)
    solved, known = polynomials(distinct, values)
    solved[:, ~known] = _few(distinct[:, ~known], shapes, terms)
    moved, flops = solved[:, where.reshape(2, -1)].transpose(1, 2, 0)
    found: dict[str, np.ndarray] = {}
    once = np.eye(1, len(terms))[0]
    for (group, dtype), *parts in zip(first[0], moved, flops):
        for key, part in zip((f"{group}|bytes", f"{group}|flops {dtype}"), parts):
            found[key] = found.get(key, 0.0) + part
        found[f"{group}|calls"] = found.get(f"{group}|calls", 0.0) + once
    return {key: found[key].tolist() for key in sorted(found) if "flops" not in key or found[key].any()}


def _sums(works: Mapping[Shape, Mapping[str, list[float]]], terms: tuple[str, ...]) -> dict[str, list[float]]:
    """Coefficients of whole classes from their sums at each shape."""
    keys = sorted({key for work in works.values() for key in work})
    values = np.array([[work.get(k, [0.0])[0] for k in keys] for work in works.values()])
    return dict(zip(keys, _few(values, list(works), terms).T.tolist()))


def _few(costs: np.ndarray, shapes: list[Shape], terms: tuple[str, ...]) -> np.ndarray:
    """Least squares of ``costs`` (shape, anything) by the terms that matter most: (term, anything)."""
    chosen = [i for i, name in enumerate(terms) if name in _FEW or len(terms) < len(_FEW)]
    matrix = np.stack([powers(terms, *s) for s in shapes])[:, chosen]
    scale = matrix.max(axis=0)
    found = np.zeros((len(terms), costs.shape[1]))
    found[chosen] = np.linalg.lstsq(matrix / scale, costs, rcond=None)[0] / scale[:, None]
    return found
