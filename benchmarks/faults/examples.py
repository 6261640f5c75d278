"""A finished record as small as a real one gets, for experiments that need many."""

from __future__ import annotations

from workbench.records.schema import Quantity, RunRecord, State, StepRecord

RECORD = RunRecord(
    id="first",
    task="tokens",
    model="tiny-bert",
    method="lora",
    seed=0,
    state=State.DONE,
    config={"r": 8},
    planned_steps=3,
    steps=tuple(StepRecord(i, 0.7 / (1 + i), 0.01, 1000 + i, 1e-3, {"encoder.0": 0.5}) for i in range(3)),
    step_time=Quantity(0.01, "measured", "median"),
    score={"name": "accuracy", "value": 0.75, "count": 4, "lower_is_better": False, "details": {}},
    created="2026-01-01T00:00:00+00:00",
)
