"""Every method at any budget, batch and length at once: exact polynomials fitted to a few traces, no torch to ask."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.case import Case
from workbench.core.errors import Incompatible
from workbench.core.profile import Category, Tier
from workbench.core.units import format_size
from workbench.devices.roofline import roofline
from workbench.devices.work import GroupWork, Work
from workbench.records.schema import Quantity

if TYPE_CHECKING:
    from workbench.devices.model import Device
    from workbench.memory.size_model import SizeModel

CATEGORIES = tuple(Category)
Shape = tuple[int, int]


@dataclass(frozen=True)
class Sizes:
    """Peak and work of one method as polynomials of batch and length.

    ``rows`` are the moments that can be the peak of some shape: (operator, module, phase), with ``memory`` as
    coefficients (term, row, category) in bytes; ``work`` maps (group, quantity) to coefficients by term.
    ``error`` is the relative miss of the trace kept out, ``held_out``; above 0 nothing is interpolated.
    """

    terms: tuple[str, ...]
    rows: tuple[tuple[str, str, str], ...]
    memory: list[list[list[float]]]
    work: Mapping[str, list[float]]
    held_out: Shape
    error: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "_memory", np.array(self.memory, dtype=np.float64))

    def peak(self, batch: int, length: int) -> tuple[tuple[str, str, str], dict[Category, int]]:
        """Where the peak of this shape is reached, and its bytes by category."""
        memory: np.ndarray = self._memory  # type: ignore[attr-defined]
        live = np.rint(np.tensordot(self._powers(batch, length), memory, axes=1))
        top = int(live.sum(axis=1).argmax())
        return self.rows[top], {c: int(v) for c, v in zip(CATEGORIES, live[top])}

    def counted(self, batch: int, length: int) -> Work:
        """Work of one step at this shape."""
        powers = self._powers(batch, length)
        groups: dict[str, dict[str, Any]] = {}
        for key, coefficients in self.work.items():
            group, _, quantity = key.partition("|")
            groups.setdefault(group, {})[quantity] = round(float(powers @ np.array(coefficients)))
        return Work(
            {
                name: GroupWork(
                    values["calls"],
                    values["bytes"],
                    {q.removeprefix("flops "): v for q, v in values.items() if q.startswith("flops ")},
                )
                for name, values in groups.items()
            }
        )

    def _powers(self, batch: int, length: int) -> np.ndarray:
        from workbench.memory.size_model import TERMS

        known = dict(TERMS)
        return np.array([known[name](batch, length) for name in self.terms], dtype=np.float64)


@dataclass(frozen=True)
class Line:
    """One method at one shape. ``source`` says what the peak rests on; absent values are ``None`` with a reason."""

    method: str
    family: str
    fits: str
    reason: str
    source: str
    peak: int | None = None
    by_category: Mapping[Category, int] | None = None
    binding: str = ""
    layer: str = ""
    step_time: Quantity | None = None
    step_energy: Quantity | None = None


@dataclass(frozen=True)
class FitTable:
    """Answers for one task, model and device. ``methods`` maps a name to its sizes, or to why it has none.

    ``lengths`` says whether other lengths than the bench's own were fitted; ``refused`` maps methods without an
    answer to (verdict, reason). Serialisable; nothing here imports torch.
    """

    task: str
    model: str
    device: Device
    batch: int
    length: int
    lengths: bool
    methods: Mapping[str, Sizes]
    families: Mapping[str, str]
    refused: Mapping[str, tuple[str, str]]

    def at(self, budget: int, batch: int | None = None, length: int | None = None) -> list[Line]:
        """Every method under ``budget`` bytes, the smallest peak first; absent arguments take the table's own."""
        shape = batch or self.batch, length or self.length
        lines = [self._line(name, sizes, budget, *shape) for name, sizes in self.methods.items()]
        lines.sort(key=lambda line: (line.peak is None, line.peak or 0))
        return lines + [Line(n, self.families[n], *why, source="") for n, why in self.refused.items()]

    def _line(self, name: str, sizes: Sizes, budget: int, batch: int, length: int) -> Line:
        family = self.families[name]
        if sizes.error > 0 and (batch, length) != sizes.held_out:
            reason = f"its fitted sizes miss the trace kept out by {sizes.error:.2%}; predict this shape instead"
            return Line(name, family, "not predicted", reason, "")
        if length != self.length and not self.lengths:
            return Line(name, family, "not predicted", "only the batch was fitted; predict this length instead", "")
        (operator, module, phase), split = sizes.peak(batch, length)
        peak, top = sum(split.values()), max(split, key=lambda c: split[c])
        try:
            costs = roofline(sizes.counted(batch, length), self.device)
            time, energy = costs.time, costs.energy
        except Exception as error:  # a device without speeds: the memory answer stands on its own
            time = energy = Quantity(None, "extrapolated", str(error))
        where = f" in {module}" if module else ""
        reason = (
            f"peak {format_size(peak)} of {format_size(budget)}"
            if peak <= budget
            else f"{format_size(peak - budget)} over: {format_size(split[top])} of the peak is {top}, "
            f"reached in {phase} at {operator}{where}"
        )
        source = f"fitted: the trace kept out, batch {sizes.held_out[0]}, was met to the byte"
        fits = "fits" if peak <= budget else "does not fit"
        return Line(name, family, fits, reason, source, peak, split, str(top), module, time, energy)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for a file or a widget; the device by name."""
        data = {f: getattr(self, f) for f in ("task", "model", "batch", "length", "lengths")}
        data |= {"families": dict(self.families), "refused": {n: list(w) for n, w in self.refused.items()}}
        return data | {"device": self.device.name, "methods": {n: asdict(s) for n, s in self.methods.items()}}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> FitTable:
        from workbench.devices.model import get

        methods = {
            n: Sizes(
                tuple(s["terms"]),
                tuple(tuple(r) for r in s["rows"]),
                s["memory"],
                s["work"],
                tuple(s["held_out"]),
                s["error"],
            )
            for n, s in raw["methods"].items()
        }
        plain = {f: raw[f] for f in ("task", "model", "batch", "length", "lengths", "families")}
        refused = {n: tuple(w) for n, w in raw["refused"].items()}
        return cls(device=get(raw["device"]), methods=methods, refused=refused, **plain)  # type: ignore[arg-type]


def fit_table(
    cases: Iterable[Case],
    device: Device,
    *,
    tier: Tier = Tier.PROBE,
    progress: Callable[[str], None] | None = None,
) -> FitTable:
    """Fit every case's method around its own shape, which is the one kept out. Fitted sizes are cached.

    Takes about five traces a method. A method whose operators change with the shape is refused with the reason.
    """
    cases = list(cases)
    first = cases[0]
    length, shapes = _shapes(first)
    methods: dict[str, Sizes] = {}
    refused: dict[str, tuple[str, str]] = {}
    for case in cases:
        if progress is not None:
            progress(case.method_name)
        try:
            methods[case.method_name] = sizes_of(case, tier)
        except Incompatible as error:
            verdict = "does not apply" if error.field == "method" else "not predicted"
            refused[case.method_name] = verdict, error.reason
    families = {c.method_name: c.method.card.family for c in cases}
    many = len({t for _, t in shapes}) > 1
    return FitTable(first.task_name, first.model_name, device, first.batch, length, many, methods, families, refused)


def sizes_of(case: Case, tier: Tier = Tier.PROBE) -> Sizes:
    """Fitted sizes of one case's method, cached; raises ``Incompatible`` like a prediction, or when no fit exists."""
    from workbench.predictions import kept

    raw = kept(case, f"sizes {tier}", lambda: asdict(_fitted(case, tier)))
    rows = tuple(tuple(r) for r in raw["rows"])
    return Sizes(tuple(raw["terms"]), rows, raw["memory"], raw["work"], tuple(raw["held_out"]), raw["error"])  # type: ignore[arg-type]


def _shapes(case: Case) -> tuple[int, list[Shape]]:
    """The case's own length, and the small shapes to fit to: pixels are no polynomial, so images vary the batch."""
    if case.spec.modality != "text":
        return case.length or 1, [(2, case.length or 1), (3, case.length or 1)]
    length = case.length or int(next(iter(case.task.example_batch(case.spec, 1, None).values())).shape[-1])
    quarter, half, most = max(4, length // 4), max(5, length // 2), max(6, 3 * length // 4)
    return length, [(2, half), (4, half), (2, quarter), (4, quarter), (2, most)]


def _fitted(case: Case, tier: Tier) -> Sizes:
    from workbench.devices.work import work_of
    from workbench.memory.size_model import SizeModel, curve_of
    from workbench.predictions import traced

    reason = case.refusal()
    if reason is not None:
        raise Incompatible("method", case.method_name, reason)
    length, shapes = _shapes(case)
    curves, works = {}, {}
    for shape in (*shapes, (case.batch, length)):
        at = shape[1] if case.spec.modality == "text" else case.length
        trace = traced(replace(case, batch=shape[0], length=at), tier)
        curves[shape], works[shape] = curve_of(trace.log), work_of(trace.recorder)
    model = SizeModel.fit(curves, hold=(case.batch, length))
    rows = _rows_that_can_peak(model.coefficients)
    return Sizes(
        model.terms,
        tuple(model.names[i] for i in rows),
        np.round(model.coefficients[:, rows], 9).tolist(),
        _work_terms(works, model, (case.batch, length)),
        model.held_out,
        model.error,
    )


def _rows_that_can_peak(coefficients: np.ndarray) -> list[int]:
    """Rows that no other row exceeds in every term; the others are never the highest, as every term is positive."""
    totals = np.round(coefficients.sum(axis=2), 6).T
    unique = np.unique(totals, axis=0, return_index=True)[1]
    kept = [
        i
        for i in unique
        if not ((totals[unique] >= totals[i]).all(axis=1) & (totals[unique] > totals[i]).any(axis=1)).any()
    ]
    return sorted(int(i) for i in kept)


def _work_terms(works: Mapping[Shape, Work], model: SizeModel, hold: Shape) -> dict[str, list[float]]:
    """Coefficients of calls, bytes and operations of each group by least squares over all traces."""
    from workbench.memory.size_model import TERMS

    known = dict(TERMS)
    keys = sorted({key for work in works.values() for key in _quantities(work)})
    matrix = np.array([[known[t](*shape) for t in model.terms] for shape in works], dtype=np.float64)
    values = np.array([[_quantities(w).get(k, 0) for k in keys] for w in works.values()], dtype=np.float64)
    scale = matrix.max(axis=0)
    solved, *_ = np.linalg.lstsq(matrix / scale, values, rcond=None)
    return {key: (solved[:, i] / scale).tolist() for i, key in enumerate(keys)}


def _quantities(work: Work) -> dict[str, int]:
    found = {}
    for name, group in work.groups.items():
        found |= {f"{name}|calls": group.calls, f"{name}|bytes": group.bytes}
        found |= {f"{name}|flops {dtype}": flops for dtype, flops in group.flops.items()}
    return found
