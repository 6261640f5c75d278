"""The planner: close to exhaustive search, and no step that it plans ever passes its budget when it is run."""

from __future__ import annotations

import itertools
import shlex
import threading
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workbench.case import Case
from workbench.core.errors import BudgetExceeded, Interrupted
from workbench.core.profile import Tier
from workbench.plan.fitting import predicted_step
from workbench.plan.planner import default_grid, gained_per_example, plan
from workbench.plan.verdict import on_device
from workbench.records.schema import RunRecord, State, StepRecord

GRID = {"batch": [8, 4, 1], "recompute": [0, 1], "saved": ["as-is", "int8"], "optimizer": ["adamw", "sgd"]}


@pytest.fixture(scope="module")
def truth(small, board):
    """(peak, examples per second) of every candidate of the grid, each predicted in full."""
    found = []
    for batch, *values in itertools.product(*GRID.values()):
        given = dict(zip(list(GRID)[1:], values))
        case = replace(small, batch=batch, accumulate=small.batch // batch, settings=given)
        found.append((case.predict(Tier.FAKE).peak, small.batch / on_device(case, board)[0].value))
    return found


@pytest.mark.parametrize("share", [0.42, 0.5, 0.7, 1.0])
def test_within_a_tenth_of_exhaustive_search(small, board, truth, share):
    budget = int(small.predict(Tier.FAKE).peak * share)
    best = max(speed for peak, speed in truth if peak <= budget)
    whole = plan(small, board, budget, grid=GRID, tier=Tier.FAKE, exhaustive_up_to=1000)
    climbed = plan(small, board, budget, grid=GRID, tier=Tier.FAKE, exhaustive_up_to=0)
    assert whole.exhaustive and not climbed.exhaustive
    assert min(whole.throughput.value, climbed.throughput.value) >= 0.9 * best
    assert max(whole.predicted.peak, climbed.predicted.peak) <= budget


def test_what_does_not_fit_is_refused_with_the_smallest_peak(small, board):
    with pytest.raises(BudgetExceeded, match="most frugal"):
        plan(small, board, 10_000, grid={"batch": [8, 1]}, tier=Tier.FAKE)


def test_the_plan_keeps_the_examples_of_a_step_and_prints_its_command(small, board):
    budget = int(small.predict(Tier.FAKE).peak * 0.9)
    found = plan(small, board, budget, grid={"batch": [8, 4, 2]}, tier=Tier.FAKE)
    assert found.case.batch * found.case.accumulate == small.batch and found.case.batch < small.batch
    words = shlex.split(found.command)
    assert words[words.index("--batch") + 1] == str(found.case.batch)
    assert words[words.index("--accumulate") + 1] == str(found.case.accumulate)
    assert "memory" in found.binds


def test_sizes_rank_and_only_winners_are_predicted(small, board):
    told = []
    found = plan(small, board, 2**30, grid=GRID, tier=Tier.FAKE, observe=told.append)
    assert len(told) == 8 and found.candidates == found.sized == 24
    assert found.verified == 1 and found.exhaustive


def test_a_stopped_search_answers_with_the_best_so_far(small, board):
    cancel = threading.Event()
    found = plan(small, board, 2**30, grid=GRID, tier=Tier.FAKE, observe=lambda _: cancel.set(), cancel=cancel)
    assert found.interrupted and not found.exhaustive and found.sized == 3
    with pytest.raises(Interrupted, match="before a plan"):
        plan(small, board, 2**30, grid=GRID, tier=Tier.FAKE, cancel=cancel)


@pytest.mark.parametrize("method", ["full", "mezo", "lora"])
def test_micro_batches_from_the_third_on_only_add_inputs(method):
    case = Case("tokens", "tiny-bert", method, 2, 16, accumulate=5)
    assert predicted_step(case, Tier.FAKE).peak == case.predict(Tier.FAKE).peak
    assert sum(predicted_step(case, Tier.FAKE).by_category.values()) == case.predict(Tier.FAKE).peak


def test_default_levers_leave_the_result_as_it_is(small):
    grid = default_grid(small)
    assert grid["batch"] == [8, 4, 2, 1] and "recompute" in grid
    assert not {"saved", "weights", "channels_last", "chunked_loss"} & set(grid)
    assert "saved" in default_grid(small, approximate=True)


def test_recorded_quality_chooses_the_method(small, board):
    def record(method: str, gained: float) -> RunRecord:
        steps = tuple(StepRecord(i, 1.0, 0.1) for i in range(10))
        score = {"name": "accuracy", "value": 0.5 + gained, "lower_is_better": False}
        return RunRecord(
            "id", "tokens", "tiny-bert", method, 0, State.DONE, steps=steps, batch=8, score=score,
            score_before={"value": 0.5},
        )  # fmt: skip

    grid = {"batch": [8], "method": ["full", "head"]}
    fast = plan(small, board, 2**30, grid=grid, tier=Tier.FAKE)
    assert fast.case.method_name == "head" and fast.objective == "examples per second"
    records = [record("full", 0.4), record("head", 0.001)]
    assert gained_per_example(records, small)["full"] == pytest.approx(0.4 / 80)
    good = plan(small, board, 2**30, grid=grid, records=records, tier=Tier.FAKE)
    assert good.case.method_name == "full" and good.score.kind == "fitted"


@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(share=st.floats(0.4, 1.1), lever=st.sampled_from(["recompute", "update_in_backward"]))
def test_no_planned_step_passes_its_budget_when_run(small, board, share, lever):
    from workbench.memory.guard import guard

    budget = int(small.predict().peak * share)
    try:
        found = plan(
            small,
            board,
            budget,
            grid={"batch": [8, 2], lever: [False, True] if lever == "update_in_backward" else [0, 1]},
        )
    except BudgetExceeded:
        return
    step, batch = found.case.step(found.case.attached(weights=False)), found.case.example()
    for index in range(3):
        with guard(budget, step, batch) as guarded:
            step(batch, seed=index)
        assert guarded.peak <= budget


@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    method=st.sampled_from(["full", "head", "lora", "mezo", "shira"]),
    share=st.floats(0.5, 1.2),
    batch=st.integers(1, 6),
)
def test_no_run_ever_records_a_peak_above_its_budget(method, share, batch):
    """Whatever happens to a run under the guard, what it recorded stays within the budget it was given."""
    from workbench.session import Schedule, Session, run
    from workbench.tasks.base import Sizes

    case = Case("docstring-topic", "tiny-bert", method, batch, 8)
    reference = replace(case, method_name="full").predict().peak
    budget = int(reference * share)
    record = run(Session(case, budget=budget, schedule=Schedule(steps=2), sizes=Sizes(train=16, test=4)))
    assert record.state in (State.DONE, State.REFUSED, State.OVER_BUDGET)
    recorded = [s.peak for s in record.steps] + ([record.measured.peak] if record.measured else [])
    assert all(peak <= budget for peak in recorded)
    assert (record.state is State.DONE) == (len(record.steps) == 2)
    assert record.state is State.DONE or "budget" in record.reason
