"""Finds the sizes of a method: one trace of its own shape and of a few small ones, kept in the cache."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import numpy as np

from workbench.core.errors import Incompatible
from workbench.core.profile import Category, MemoryProfile, Tier
from workbench.plan.sizes import CATEGORIES, Shape, Sizes, powers

if TYPE_CHECKING:
    from workbench.case import Case
    from workbench.memory.size_model import SizeModel
    from workbench.predictions import Trace

#: Operator calls of one step in order: (class, dtype) and (bytes, operations) of each.
Calls = tuple[list[tuple[str, str]], np.ndarray]

#: Terms of whole classes of calls, where single calls cannot be told apart.
_FEW = ("1", "b t", "b t^2")


def sizes_of(case: Case, tier: Tier | None = None) -> Sizes:
    """Sizes of ``case``, cached; its own shape is the one kept out, and is predicted exactly by the same trace.

    Takes the time of about two predictions. Raises ``Incompatible`` like a prediction.
    """
    from workbench.predictions import kept

    tier = case.tier(tier)
    return Sizes.from_dict(kept(case, _name(tier), lambda: asdict(_fitted(case, tier))))


def sizes_known(case: Case, tier: Tier | None = None) -> bool:
    """Whether :func:`sizes_of` can answer without a trace."""
    from workbench.predictions import is_kept

    return case.refusal() is not None or is_kept(case, _name(case.tier(tier)))


def _name(tier: Tier) -> str:
    """What sizes are kept as in the cache."""
    return f"sizes by phase {tier}"


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
    curves, calls = {own: curve_of(first.log)}, {own: _calls(first)}
    alone = _alone(first, own)
    why = ""
    for shape in shapes:
        try:
            trace = next(traces)
        except Incompatible as error:
            return replace(alone, reason=error.reason)
        curves[shape], calls[shape] = curve_of(trace.log), _calls(trace)
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
            return _sizes(model, calls, text)
        why = f"the fitted sizes miss the trace kept out by {model.error:.2%}"
    return replace(alone, reason=why)


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


def _alone(trace: Trace, own: Shape) -> Sizes:
    """The one shape that was traced, as sizes without any fit."""
    profile = trace.profile
    row = profile.operator, profile.module, str(profile.phase)
    split = [[[float(profile.by_category.get(c, 0)) for c in CATEGORIES]]]
    work = _work({own: _calls(trace)}, ("1",))
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
