"""Every method at any budget, batch and length at once: exact polynomials read off a few traces, no torch to ask."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from workbench.case import LARGEST_BATCH, Case
from workbench.core.errors import BadInput, Incompatible, ResourceMissing
from workbench.core.profile import Tier
from workbench.core.units import format_size
from workbench.devices.roofline import bandwidth, rate, roofline
from workbench.plan.change import Change
from workbench.plan.device_need import DeviceNeed, device_need
from workbench.plan.fitting import shape_of, sizes_of
from workbench.plan.sizes import Sizes
from workbench.plan.verdict import Fits, Verdict, cost, timed_here, unanswered, verdict, with_changes
from workbench.plan.ways import Patience, micro_batches
from workbench.records.schema import Quantity
from workbench.tasks.base import Lengths

if TYPE_CHECKING:
    from workbench.devices.model import Device
    from workbench.plan.ahead import SecondProcess

#: Batches that a table answers, and the words for them.
BATCHES: Lengths = 1, LARGEST_BATCH, f"a whole number of 1 to {LARGEST_BATCH}"
#: Seconds that one table's search for changes of settings may take: the most, and the least where sizes took long.
PATIENCE, LEAST_PATIENCE = 20.0, 1.5
#: Seconds after which the answer over all methods is due: what finding sizes leaves of it goes to the search.
DUE = 26.0
_ORDER: tuple[Fits, ...] = ("fits", "fits if", "does not fit", "cannot", "not predicted", "does not apply")


@dataclass(frozen=True, repr=False)
class FitTable:
    """Answers for one task, model and device. ``methods`` maps a name to its sizes, ``refused`` one to its verdict.

    ``batch`` and ``length`` are the shape that every method was traced at; ``costs`` holds step times and energies
    there that are better than a roofline. ``limits`` are the lengths that task and model take, with the words for
    them, where a length can be asked for; ``needs`` what a device without torch needs. Serialisable;
    nothing here imports torch.
    """

    task: str
    model: str
    device: Device
    batch: int
    length: int
    methods: Mapping[str, Sizes]
    families: Mapping[str, str]
    refused: Mapping[str, Verdict]
    costs: Mapping[str, tuple[Quantity, Quantity]] = field(default_factory=dict)
    limits: Lengths | None = None
    needs: Mapping[str, DeviceNeed] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"<FitTable: {len(self.methods)} methods on {self.model}, {self.task}, {self.device.name}>"

    @property
    def batches(self) -> Lengths:
        """Least and most examples that can be asked for, and the words for them."""
        return BATCHES

    def at(self, budget: int, batch: int | None = None, length: int | None = None) -> list[Verdict]:
        """Every method under ``budget`` bytes, what fits first; absent arguments take the table's own.

        A method that a smaller batch alone would make fit says so, and so does one that would fit where no torch
        emulates its device; changes of settings are looked for by :func:`fit`.
        Raises ``BadInput`` for a batch or length that no case can have.
        """
        shape = self.batch if batch is None else batch, self.length if length is None else length
        for field_name, value, limits in zip(("batch", f"{self.task}.length"), shape, (BATCHES, self.limits)):
            whole = isinstance(value, int) and not isinstance(value, bool)
            if limits and not (whole and limits[0] <= value <= limits[1]):
                raise BadInput(field_name, value, limits[2])
        found = [self._verdict(name, sizes, budget, *shape) for name, sizes in self.methods.items()]
        return arranged([*found, *self.refused.values()])

    def _verdict(self, name: str, sizes: Sizes, budget: int, batch: int, length: int) -> Verdict:
        names = name, self.families[name]
        try:
            where, split = sizes.peak(batch, length)
        except Incompatible as error:
            return Verdict(*names, "not predicted", error.reason)
        found = verdict(names, where, split, budget, sizes.source(batch, length))
        time, energy = self._cost(name, sizes, batch, length)
        found = replace(found, step_time=time, step_energy=energy)
        need = self.needs.get(name) if length == self.length else None
        if need is not None:
            found = replace(found, need=need, note=need.sentence(budget))
        if found.fits == "fits":
            return found
        there = found.there if need and need.own <= budget else None
        changes = tuple(c for c in (there, _smaller(sizes, budget, batch, length)) if c is not None)
        return replace(found, fits="fits if", changes=changes) if changes else found

    def _cost(self, name: str, sizes: Sizes, batch: int, length: int) -> tuple[Quantity, Quantity]:
        if (batch, length) == (self.batch, self.length) and name in self.costs:
            return self.costs[name]
        try:
            line = roofline(sizes.counted(batch, length), self.device)
        except ResourceMissing as error:  # a device without speeds: the memory answer stands on its own
            absent = Quantity(None, "extrapolated", str(error))
            return absent, absent
        return line.time, line.energy

    def speeds(self) -> list[dict[str, Any]]:
        """What the work of a step is divided by on every known device, this table's own first.

        ``seconds`` of one operation by dtype, one byte by class of operators and one call; empty without speeds.
        """
        from workbench.devices.model import devices

        others = [d for d in devices() if d.name != self.device.name]
        sizes = [one for s in self.methods.values() for one in (s, s.below) if one is not None]
        return [_speeds(d, [one.by_class() for one in sizes]) for d in (self.device, *others)]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for a file; the device by name."""
        refused = {n: (v.family, v.fits, v.reason) for n, v in self.refused.items()}
        data = {f: getattr(self, f) for f in ("task", "model", "batch", "length", "limits")}
        data |= {"families": dict(self.families), "refused": refused, "device": self.device.name}
        data |= {"costs": {n: [vars(q) for q in pair] for n, pair in self.costs.items()}}
        data |= {"needs": {n: vars(need) for n, need in self.needs.items()}}
        return data | {"methods": {n: asdict(s) for n, s in self.methods.items()}}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> FitTable:
        from workbench.devices.model import get

        return cls(
            **{f: raw[f] for f in ("task", "model", "batch", "length", "families")},
            device=get(raw["device"]),
            methods={n: Sizes.from_dict(s) for n, s in raw["methods"].items()},
            refused={n: Verdict(n, *said) for n, said in raw["refused"].items()},
            limits=tuple(raw["limits"]) if raw["limits"] else None,
            costs={n: (Quantity(**a), Quantity(**b)) for n, (a, b) in raw["costs"].items()},
            needs={n: DeviceNeed(**need) for n, need in raw.get("needs", {}).items()},
        )


def _speeds(device: Device, work: Iterable[Mapping[str, Mapping[str, Any]]]) -> dict[str, Any]:
    """See :meth:`FitTable.speeds`."""
    names: dict[str, set[str]] = {}
    for groups in work:
        for group, quantities in groups.items():
            names.setdefault(group, set()).update(quantities)
    dtypes = {q for found in names.values() for q in found if q.startswith("flops ")}
    try:
        seconds = {q: 1 / rate(device, q.removeprefix("flops ")) for q in sorted(dtypes)}
        seconds |= {f"bytes {group}": 1 / bandwidth(device, group) for group in sorted(names)}
        seconds["calls"] = (device.overhead.value if device.overhead else 0.0) or 0.0
    except ResourceMissing:
        seconds = {}
    watts = device.active.value if device.active else None
    return {"name": device.name, "marks": device.marks, "seconds": seconds, "watts": watts, "free": device.budget}


class Verdicts(list["Verdict"]):
    """Verdicts on every method under ``budget`` bytes, with the ``table`` that answers other budgets and shapes."""

    def __init__(self, verdicts: Iterable[Verdict], table: FitTable, budget: int) -> None:
        super().__init__(verdicts)
        self.table, self.budget = table, budget

    @property
    def sentence(self) -> str:
        """How many methods fit."""
        table, fitting = self.table, sum(v.fits == "fits" for v in self)
        return (
            f"{fitting} of {len(self)} methods fit {format_size(self.budget)}: {table.task} on {table.model}, "
            f"{table.device.title}, batch {table.batch}{self.on_the_device}. Nothing was run."
        )

    @property
    def on_the_device(self) -> str:
        """What fits a device that runs the step without torch though its emulation here does not; empty for none."""
        there = [v.method for v in self if v.need and v.fits != "fits" and v.need.own <= self.budget]
        return f"; on the device itself, one example a step: {', '.join(there)}" if there else ""

    def __repr__(self) -> str:
        return "\n".join([self.sentence, *(f"  {v.method}: {v.fits}, {v.summary}" for v in self)])


def arranged(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """What fits first, then what could, each by its peak."""
    return sorted(verdicts, key=lambda v: (_ORDER.index(v.fits), v.peak or 0))


def _smaller(sizes: Sizes, budget: int, batch: int, length: int) -> Change | None:
    """The largest divisor of the batch that fits by the fitted sizes, accumulated to as many examples a step."""
    size = sizes.largest_batch(budget, length, batch)
    if size is None:
        return None
    times = sizes.times(size, batch)
    typed = f"--batch {size}" + (f" --accumulate {times}" if times > 1 else "")
    return Change(micro_batches(size, times), None, sizes.accumulated_peak(size, length, times), "fitted", typed)


def fit_table(
    cases: Sequence[Case],
    device: Device,
    *,
    tier: Tier | None = None,
    step_times: bool = False,
    progress: Callable[[str], None] | None = None,
) -> FitTable:
    """Sizes of every case's method around its own shape. Cached; while it is cold a second process helps.

    A method whose operators change with the shape is answered at its own shape alone. Step times are a roofline's.
    On a calibrated host ``step_times`` times every method's operators instead, once, which takes seconds each; a
    table compares like with like, so such times are shown when all methods have one.
    """
    from workbench.plan.ahead import second_process

    with second_process(tier) as second:
        return _table(cases, device, tier, step_times, progress, second)


def _table(
    cases: Sequence[Case],
    device: Device,
    tier: Tier | None,
    step_times: bool,
    progress: Callable[[str], None] | None,
    second: SecondProcess,
) -> FitTable:
    from workbench.predictions import step_time_known

    methods: dict[str, Sizes] = {}
    refused: dict[str, Verdict] = {}
    second.sizes(cases)
    for case in cases:
        if progress is not None:
            progress(case.method_name)
        try:
            methods[case.method_name] = sizes_of(case, tier)
        except Incompatible as error:
            names = case.method_name, case.method.card.family
            refused[case.method_name] = Verdict(*names, unanswered(error), error.reason)
    first = cases[0]
    families = {c.method_name: c.method.card.family for c in cases}
    served = [c for c in cases if c.method_name in methods]
    timed = timed_here(device) and (step_times or all(map(step_time_known, served)))
    costs = {c.method_name: cost(c, device) for c in served} if timed else {}
    needs = {c.method_name: need for c in served if (need := device_need(c)) is not None}
    names, limits = (first.task_name, first.model_name), first.task.lengths(first.spec)
    return FitTable(*names, device, *shape_of(first), methods, families, refused, costs, limits, needs)


def fit(
    cases: Sequence[Case],
    device: Device,
    budget: int,
    *,
    tier: Tier | None = None,
    step_times: bool = False,
    patience: float | None = None,
    progress: Callable[[str], None] | None = None,
) -> Verdicts:
    """Every case at its own shape; ``budget`` in bytes.

    Where a smaller batch is not enough, changes of settings are predicted, and then the smaller batches that were
    fitted are, for up to ``patience`` seconds in all; by default for what is left until the answer is due, ``DUE``
    seconds after it was asked for, but for ``LEAST_PATIENCE`` to ``PATIENCE`` seconds. What was predicted is kept: the
    same question goes on where the search stopped. ``step_times`` as in :func:`fit_table`.
    """
    from workbench.plan.ahead import second_process

    began = time.monotonic()
    with second_process(tier) as second:
        table = _table(cases, device, tier, step_times, progress, second)
        by_name = {c.method_name: c for c in cases}
        if patience is None:
            patience = min(PATIENCE, max(LEAST_PATIENCE, began + DUE - time.monotonic()))
        found, unsearched = _at_once(table.at(budget), by_name, budget, tier)
        order = sorted(unsearched, key=lambda one: bool(one.changes))  # first what has no way out yet
        second.ways_out([by_name[one.method] for one in order], budget, patience)
        shares = _Shares(patience, sum(not one.changes for one in order), len(order))
        whole = {one.method: with_changes(one, by_name[one.method], budget, tier, shares.next()) for one in order}
        found = [whole.get(one.method, one) for one in found]
    return Verdicts(arranged(found), table, budget)


class _Shares:
    """Patience in equal parts, so that the first search leaves the others some; what one has left the next one gets.

    The first ``urgent`` of ``count`` searches share all of it, the others what these leave. While any is left every
    search may begin one prediction, though one before it took too long: it is kept, and the next answer goes on.
    """

    def __init__(self, seconds: float, urgent: int, count: int) -> None:
        self._until = time.monotonic() + seconds
        self._urgent, self._count = urgent, count

    def next(self) -> Patience:
        left = max(0.0, self._until - time.monotonic())
        share = left / max(1, self._urgent or self._count)
        self._urgent, self._count = max(0, self._urgent - 1), self._count - 1
        return Patience(share)


def _at_once(
    found: Iterable[Verdict], cases: Mapping[str, Case], budget: int, tier: Tier | None
) -> tuple[list[Verdict], list[Verdict]]:
    """The verdicts with ways out that follow from what is kept, and those whose search must predict more."""
    searched, unsearched = [], []
    for one in found:
        if one.fits != "does not fit" and all(c.source != "fitted" for c in one.changes):
            searched.append(one)
            continue
        no_patience = Patience(0.0)
        whole = with_changes(one, cases[one.method], budget, tier, no_patience)
        if no_patience.ran_out:
            unsearched.append(one)
        searched.append(one if no_patience.ran_out else whole)
    return searched, unsearched
