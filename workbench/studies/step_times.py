"""Step time three ways: predicted for this host, measured on it, extrapolated to another device."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.core.spelling import parsed_way
from workbench.records.schema import Quantity

if TYPE_CHECKING:
    from workbench.bench import Bench
    from workbench.case import Case


@dataclass(frozen=True)
class StepTime:
    """One way of tuning: seconds of a step here, both at the pace of the calibration, and on the bench's device."""

    way: str
    predicted: Quantity
    measured: Quantity
    elsewhere: Quantity

    @property
    def error(self) -> float:
        """Predicted less measured, as a share of measured."""
        return (self.predicted.value or 0.0) / (self.measured.value or 1.0) - 1


def step_times(bench: Bench, ways: Sequence[str], *, seconds: float = 1.0) -> list[StepTime]:
    """Each way predicted first, then measured for about ``seconds`` on inputs of the right shapes, without data.

    A busy machine slows both sides of the comparison: every step is timed beside a fixed piece of work (see
    :mod:`workbench.devices.pace`). Raises ``ResourceMissing`` before a calibration.
    """
    from workbench.plan.verdict import on_device
    from workbench.predictions import predicted_step_time

    found = []
    for way in dict.fromkeys(ways):
        method, settings = parsed_way(way)
        case = bench.case(method, **settings)
        predicted = predicted_step_time(case)
        found.append(StepTime(way, predicted, measured(case, seconds), on_device(case, bench.device)[0]))
    return found


def measured(case: Case, seconds: float) -> Quantity:
    """Seconds of a real step at the pace that the host had when it was calibrated."""
    from workbench.devices.pace import step_clock
    from workbench.devices.replay import in_units_of_pace
    from workbench.devices.step_time import calibrated_pace

    step, batch, clock = case.step(case.attached(weights=False)), case.example(), step_clock()
    step(batch)  # optimizer state is made by the first one

    def run() -> dict[str, float]:
        before = clock()
        step(batch)
        return {"step": clock() - before}

    units = [one["step"] for one in in_units_of_pace(run, seconds)]
    note = f"median of {len(units)} steps, at the pace of the calibration"
    return Quantity(statistics.median(units) * calibrated_pace(), "measured", note)
