"""Records that hold a prediction and no more: what figures draw when nothing has been run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from workbench.core.spelling import parsed_way
from workbench.records.schema import RunRecord, State

if TYPE_CHECKING:
    from workbench.bench import Bench


def predicted(bench: Bench, ways: Sequence[str]) -> list[RunRecord]:
    """One record for each way of tuning (a method with settings, as in ``lora r=8``) on the bench's task and model.

    Every figure of a step's memory draws them. A method that does not serve the model gives a refused record with
    its reason. Raises what :class:`workbench.case.Case` raises for names and settings.
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
                length=bench.length,
                profile=bench.profile.name,
                predicted=case.predict() if reason is None else None,
            )
        )
    return found
