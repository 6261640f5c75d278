"""Records that hold a prediction and no more: what figures draw when nothing has been run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from workbench.core.errors import Incompatible, ResourceMissing
from workbench.core.spelling import parsed_way
from workbench.devices.roofline import roofline
from workbench.predictions import counted
from workbench.records.schema import Quantity, RunRecord, State

if TYPE_CHECKING:
    from workbench.bench import Bench
    from workbench.case import Case
    from workbench.devices.model import Device


def predicted(bench: Bench, ways: Sequence[str]) -> list[RunRecord]:
    """One record for each way of tuning (a method with settings, as in ``lora r=8``) on the bench's task and model.

    Every figure of a step's memory draws them; step time and energy are those on the bench's device. A method that
    does not serve the model gives a refused record with its reason. Raises what
    :class:`workbench.case.Case` raises for names and settings.
    """
    found = []
    for way in dict.fromkeys(ways):
        method, settings = parsed_way(way)
        case = bench.case(method, **settings)
        reason = case.refusal()
        found.append(
            RunRecord(
                id="",
                task=bench.task,
                model=bench.model,
                method=method,
                seed=0,
                state=State.PREDICTED if reason is None else State.REFUSED,
                config=case.config.model_dump(),
                family=case.method.card.family,
                reason=reason or "",
                device=bench.device.name,
                budget=bench.budget,
                batch=bench.batch,
                accumulate=case.accumulate,
                length=bench.length,
                profile=bench.profile.name,
                predicted=case.predict() if reason is None else None,
                **(_costs(case, bench.device) if reason is None else {}),
            )
        )
    return found


def _costs(case: Case, device: Device) -> dict[str, Quantity]:
    """Seconds and joules of a step on the device, extrapolated; what is not known is left out."""
    try:
        line = roofline(counted(case), device)
    except (ResourceMissing, Incompatible):
        return {}
    found = {"device_step_time": line.time, "device_step_energy": line.energy}
    return {name: quantity for name, quantity in found.items() if quantity.value is not None}
