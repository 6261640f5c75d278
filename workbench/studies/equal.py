"""Accuracy at equal cost: every way of tuning trains for as many steps as the same time, work or energy buys.

A *way* is a method with settings in one line, as in ``lora r=8`` or ``sparse-update executor=graph``. Equal memory
is the bench's budget, which holds in any case.
"""

from __future__ import annotations

import itertools
import statistics
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from workbench.ablate import Progress
from workbench.case import Case
from workbench.core.errors import BadInput, Incompatible, UnknownName
from workbench.core.spelling import parsed_way
from workbench.keys import Kind
from workbench.records.grid import GridPoint
from workbench.records.schema import Quantity, RunRecord

if TYPE_CHECKING:
    from workbench.bench import Bench

By = Literal["time", "flops", "energy"]
_MEASURED = Kind("measured step time", ("devices/pace.py", "studies/equal.py"))
UNITS = {"time": "s", "flops": "FLOP", "energy": "J"}

_WARM, _TIMED = 2, 5


@dataclass(frozen=True)
class Share:
    """What an amount buys of one way: ``price`` of a step in ``unit``, and the whole steps it comes to."""

    way: str
    case: Case
    price: Quantity
    steps: int
    unit: str

    def row(self) -> dict[str, Any]:
        """The share as a line of a table."""
        return {
            "way": self.way,
            "price of a step": self.price.value,
            "kind": self.price.kind,
            "steps bought": self.steps,
        }


def shares(bench: Bench, ways: Sequence[str], by: By, amount: float) -> list[Share]:
    """Steps of each way for ``amount`` seconds (on this host), operations, or joules (on the bench's device).

    Raises ``BadInput`` when the amount does not buy a single step of some way, ``Incompatible`` for a way that does
    not serve the model or has no price.
    """
    if by not in UNITS:
        raise UnknownName("by", by, UNITS)
    if not amount > 0:
        raise BadInput("amount", amount, f"a number above 0, in {UNITS[by]}")
    cases = {way: _case(bench, way) for way in dict.fromkeys(ways)}
    prices = _prices(bench, list(cases.values()), by)
    found = []
    for (way, case), price in zip(cases.items(), prices):
        if not price.value:
            raise Incompatible("by", by, f"one step of {way} has no price: {price.note}")
        steps = int(amount / price.value)
        if steps < 1:
            expected = f"at least {price.value:.3g} {UNITS[by]}, the price of one step of {way}"
            raise BadInput("amount", amount, expected)
        found.append(Share(way, case, price, steps, UNITS[by]))
    return found


def priced(bench: Bench, ways: Sequence[str], by: By) -> list[Quantity]:
    """Price of one step of each way; a quantity without a value says why there is none."""
    return _prices(bench, [_case(bench, way) for way in ways], by)


def equal(
    bench: Bench,
    ways: Sequence[str],
    by: By,
    amount: float,
    seeds: Sequence[int] = (0, 1, 2),
    *,
    reference: Sequence[str] = ("full",),
    observe: Callable[[Progress], None] | None = None,
    cancel: threading.Event | None = None,
) -> list[RunRecord]:
    """Train every way with every seed for what ``amount`` buys; records come from the store where they are there.

    Methods in ``reference`` run without the budget where they do not fit it.
    """
    records = []
    for share in shares(bench, ways, by, amount):
        affordable = replace(bench, schedule=replace(bench.schedule, steps=share.steps))
        method, settings = parsed_way(share.way)
        axes: dict[str, Sequence[Any]] = {
            "method": [method],
            "seed": list(seeds),
            **{k: [v] for k, v in settings.items()},
        }
        records += affordable.ablate(axes, observe=observe, cancel=cancel, reference=reference)
    return records


def equal_grid(
    bench: Bench,
    method: str,
    axes: Mapping[str, Sequence[Any]],
    by: By,
    amount: float,
    seeds: Sequence[int] = (0,),
    *,
    observe: Callable[[Progress], None] | None = None,
) -> list[GridPoint]:
    """Every combination of ``axes`` (settings of the method, each with one value or more), paid alike.

    An axis with a single value is not one of the grid that is shown.
    """
    for name, values in axes.items():
        if not values:
            raise BadInput(f"axes.{name}", list(values), "at least one value")
    places = [dict(zip(axes, chosen)) for chosen in itertools.product(*map(dict.fromkeys, axes.values()))]
    ways = [" ".join([method, *(f"{name}={value}" for name, value in place.items())]) for place in places]
    records = iter(equal(bench, ways, by, amount, seeds, observe=observe))
    shown = [name for name, values in axes.items() if len(values) > 1] or list(axes)
    return [GridPoint({n: place[n] for n in shown}, seed, next(records)) for place in places for seed in seeds]


def _case(bench: Bench, way: str) -> Case:
    method, settings = parsed_way(way)
    case = bench.case(method, **settings)
    reason = case.refusal()
    if reason is not None:
        raise Incompatible("way", way, reason)
    return case


def _prices(bench: Bench, cases: Sequence[Case], by: By) -> list[Quantity]:
    from workbench.plan.verdict import on_device
    from workbench.predictions import counted

    if by == "time":
        return _step_times(cases)
    if by == "flops":
        return [Quantity(float(counted(case).total_flops), "counted", "operations of one step") for case in cases]
    return [on_device(case, bench.device)[1] for case in cases]


def _step_times(cases: Sequence[Case]) -> list[Quantity]:
    """Measured seconds of a warm step of each. They are kept, so that a comparison that is resumed stays the same."""
    from workbench.predictions import kept

    measured: dict[int, float] = {}

    def make(index: int) -> dict[str, Any]:
        if not measured:
            measured.update(enumerate(_timed_in_turn(cases)))
        return {"seconds": measured[index]}

    found = [kept(case, _MEASURED, lambda i=i: make(i))["seconds"] for i, case in enumerate(cases)]  # type: ignore[misc]
    return [Quantity(seconds, "measured", f"median of {_TIMED} warm steps taken in turn") for seconds in found]


def _timed_in_turn(cases: Sequence[Case]) -> list[float]:
    """Median seconds of a step of each case: one step of each in every round, so that all see the same machine."""
    from workbench.devices.pace import step_clock

    clock = step_clock()
    steps = [(case.step(case.attached(weights=False)), case.example()) for case in cases]
    taken: list[list[float]] = [[] for _ in steps]
    for round_number in range(_WARM + _TIMED):
        for (step, batch), seconds in zip(steps, taken):
            before = clock()
            step(batch, seed=round_number)
            if round_number >= _WARM:
                seconds.append(clock() - before)
    return [statistics.median(seconds) for seconds in taken]
