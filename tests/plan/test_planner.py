"""The planner: close to exhaustive search, and no step that it plans ever passes its budget when it is run."""

from __future__ import annotations

import itertools
import shlex
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from workbench.case import Case
from workbench.core.errors import BadInput, BudgetExceeded, Incompatible, Interrupted
from workbench.core.profile import Tier
from workbench.plan.composed import Composed, Seen
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
    least = replace(small, batch=1, accumulate=8).predict(Tier.FAKE).peak
    with pytest.raises(BudgetExceeded, match=r"most frugal candidate seen \(batch 1 accumulated 8 times\) needs"):
        plan(small, board, least - 1, grid={"batch": [8, 1]}, tier=Tier.FAKE)
    assert plan(small, board, least, grid={"batch": [8, 1]}, tier=Tier.FAKE).predicted.peak == least


def test_the_plan_keeps_the_examples_of_a_step_and_prints_its_command(small, board):
    budget = int(small.predict(Tier.FAKE).peak * 0.9)
    found = plan(small, board, budget, grid={"batch": [8, 4, 2]}, tier=Tier.FAKE)
    assert found.case.batch * found.case.accumulate == small.batch and found.case.batch < small.batch
    words = shlex.split(found.command)
    assert words[words.index("--batch") + 1] == str(found.case.batch)
    assert words[words.index("--accumulate") + 1] == str(found.case.accumulate)
    assert "memory" in found.binds


def test_the_budget_is_spelled_as_it_was_given(small, board):
    found = plan(small, board, 16 * 10**9, grid={"batch": [8]}, tier=Tier.FAKE)
    assert "--budget 16GB " in found.command and found.command.startswith("pintpot run ") and not found.why_untrained


def test_a_model_of_shapes_is_planned_with_the_command_that_predicts_it(board):
    """`pintpot run` would refuse it."""
    case = Case("tokens", "llama-2-7b", "lora", 1, 8)
    found = plan(case, board, 2**40, grid={"batch": [1]})
    assert found.command == "pintpot predict --task tokens --model llama-2-7b --method lora --batch 1 --length 8"
    assert "shapes only" in found.why_untrained and found.to_dict()["why_untrained"] == found.why_untrained


def test_sizes_rank_and_only_winners_are_predicted(small, board):
    told = []
    found = plan(small, board, 2**30, grid=GRID, tier=Tier.FAKE, observe=told.append)
    assert len(told) == 8 and found.candidates == found.sized == 24
    assert found.exhaustive and found.verified <= 1 + 3 * 3, "the winner, and candidates that need less"
    assert all(other.speed <= 1 and other.peak < found.predicted.peak for other in found.others)


def test_single_changes_rank_what_was_never_sized(small, board):
    told = []
    budget = int(small.predict(Tier.FAKE).peak * 0.5)
    found = plan(small, board, budget, grid=GRID, tier=Tier.FAKE, exhaustive_up_to=0, observe=told.append)
    assert len(told) < 8 and found.sized < found.candidates == 24 and not found.exhaustive
    assert found.predicted.peak <= budget


def test_thousands_of_candidates_are_ranked_at_once(small, board):
    values = [list(range(10)), [0, 1, 2], [False, True], list(range(20)), [False, True]]
    composed = Composed(values, 4)
    base = Seen(np.full((4, 3, 6), 100.0), np.full(4, 2.0), np.full(4, 1.0))
    half = Seen(base.live / 2, base.micro * 3, base.update)
    start = time.thread_time()
    composed.compose(base, {(axis, v): half for axis in range(5) for v in range(1, len(values[axis]))})
    peaks = composed.peaks(np.ones(composed.micro.shape))
    assert time.thread_time() - start < 0.5 and peaks.size == 9600
    assert peaks[0, 0, 0, 0, 0, 0] == 600 and peaks[-1, 0, 0, 0, 0, 0] == 300 and peaks[-1, 1, 0, 0, 0, 0] == 150
    assert peaks[0, 0, 0, 0, 0, 0] > peaks[4, 0, 0, 0, 0, 0] > peaks[-1, 0, 0, 0, 0, 0], "between the ends"
    assert composed.seconds(np.full(composed.micro.shape, 2.0))[0, 1, 0, 0, 0, 0] == 2 * 6 + 1


def test_what_is_added_where_nothing_was_is_kept():
    composed = Composed([[False, True], [False, True]], 1)
    base = Seen(np.zeros((1, 3, 6)), np.ones(1), np.ones(1))
    composed.compose(base, {(0, 1): Seen(np.full((1, 3, 6), 5.0), np.ones(1), np.ones(1))})
    assert composed.peaks(np.ones((2, 2, 1)))[1, 0, 0] == 30
    assert np.isnan(composed.peaks(np.ones((2, 2, 1)))[1, 1, 0]), "a change that was never seen is not guessed"


def test_a_stopped_search_answers_with_the_best_so_far(small, board):
    cancel = threading.Event()
    found = plan(small, board, 2**30, grid=GRID, tier=Tier.FAKE, observe=lambda _: cancel.set(), cancel=cancel)
    assert found.interrupted and not found.exhaustive and found.sized == 3
    assert "24 candidates: 3 sized" in found.searched and "stopped on request" in found.searched
    with pytest.raises(Interrupted, match="before a plan"):
        plan(small, board, 2**30, grid=GRID, tier=Tier.FAKE, cancel=cancel)


@pytest.mark.parametrize("method", ["full", "mezo", "lora"])
def test_micro_batches_from_the_third_on_only_add_inputs(method):
    case = Case("tokens", "tiny-bert", method, 2, 16, accumulate=5)
    assert predicted_step(case, Tier.FAKE).peak == case.predict(Tier.FAKE).peak
    assert sum(predicted_step(case, Tier.FAKE).by_category.values()) == case.predict(Tier.FAKE).peak


def test_default_levers_leave_the_result_as_it_is(small):
    grid = default_grid(small)
    assert grid["batch"] == [8, 4, 2, 1] and grid["recompute_first"] == [0, 1, 2, 3]
    assert not {"saved", "weights", "channels_last", "chunked_loss"} & set(grid)
    assert "saved" in default_grid(small, approximate=True)
    assert default_grid(replace(small, batch=14))["batch"] == [14, 7, 2, 1], "a step keeps its examples"
    checkpointing = Case("tokens", "tiny-bert", "checkpointing", 8, 16)
    assert "recompute_first" not in default_grid(checkpointing), "what the method is made of is left on"


def test_settings_of_the_method_are_chosen_where_they_are_asked_for(small, board):
    lora = replace(small, method_name="lora")
    grid = default_grid(lora, vary={"r": [64, 32, 16, 8, 4]})
    assert grid["r"][0] == lora.config.r == 8
    budget = replace(lora, settings={"r": 32}, batch=1, accumulate=8).predict(Tier.FAKE).peak
    found = plan(lora, board, budget, grid={"batch": [1], "r": [256, 128, 64, 32]}, tier=Tier.FAKE)
    assert found.case.settings["r"] == 32
    with pytest.raises(BadInput, match="rank_of"):
        default_grid(lora, vary={"rank_of": [1]})


def test_an_impossible_budget_is_answered_with_ways_out_or_none(small, board):
    grid = default_grid(small)
    held = 3 * sum(p.numel() * 4 for p in small.attached(device="meta", weights=False).parameters())
    with pytest.raises(BudgetExceeded, match="weights and optimizer state alone") as refused:
        plan(small, board, int(held * 0.95), grid=grid, tier=Tier.FAKE)
    assert refused.value.suggestions and "predicted" in refused.value.suggestions[0]
    assert "only when asked for, by --approximate" in str(refused.value)


def test_a_search_that_gives_up_does_not_say_that_nothing_fits(small, board):
    least = replace(small, batch=1, accumulate=8, settings={"recompute_first": 3}).predict(Tier.FAKE).peak
    grid = {"batch": [8, 1], "recompute_first": [0, 1, 2, 3], "saved": ["as-is", "int8"]}
    with pytest.raises(BudgetExceeded, match="nothing that was looked at in 0 s fits"):
        plan(small, board, least // 2 + least // 3, grid=grid, tier=Tier.FAKE, exhaustive_up_to=0, patience=0)


def test_a_device_without_speeds_is_ranked_by_another_and_says_so(small):
    from workbench.devices.model import get

    silent = replace(get("raspberry-pi-4"), name="silent", throughput={}, class_rates={})
    found = plan(small, silent, 2**30, grid={"batch": [8, 4], "recompute_first": [0, 3]}, tier=Tier.FAKE)
    assert found.case.batch == 8 and not found.case.settings, "nothing is recomputed for nothing"
    assert found.step_time.value is None and "ranked by those of laptop" in found.step_time.note


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
    assert [gain for _, gain in gained_per_example(records, small)["full"]] == [pytest.approx(0.4 / 80)]
    good = plan(small, board, 2**30, grid=grid, records=records, tier=Tier.FAKE)
    assert good.case.method_name == "full" and good.score.kind == "fitted"


def test_an_example_of_an_accumulated_step_is_one_example(small):
    """Twice the examples a step for the same gain: each was worth half."""
    gains = []
    for times in (1, 2):
        run = RunRecord(
            "id", "tokens", "tiny-bert", "full", 0, State.DONE, steps=(StepRecord(0, 1.0, 0.1),) * 10, batch=8,
            accumulate=times, score={"name": "accuracy", "value": 0.9, "lower_is_better": False},
            score_before={"value": 0.5},
        )  # fmt: skip
        gains += [gain for _, gain in gained_per_example([run], small)["full"]]
    assert gains == [pytest.approx(0.4 / 80), pytest.approx(0.4 / 160)]


def test_runs_with_the_nearest_settings_say_what_quality_a_setting_brings(small, board):
    def record(rank: int, gained: float) -> RunRecord:
        steps = tuple(StepRecord(i, 1.0, 0.1) for i in range(10))
        config = replace(small, method_name="lora", settings={"r": rank}).config.model_dump()
        return RunRecord(
            "id", "tokens", "tiny-bert", "lora", 0, State.DONE, config, steps=steps, batch=8,
            score={"name": "accuracy", "value": 0.5 + gained, "lower_is_better": False}, score_before={"value": 0.5},
        )  # fmt: skip

    lora = replace(small, method_name="lora")
    grid = {"batch": [8], "r": [2, 16, 64]}
    found = plan(lora, board, 2**30, grid=grid, records=[record(2, 0.01), record(16, 0.3)], tier=Tier.FAKE)
    assert found.case.config.r == 16, "sixteen gained most, and sixty-four is nearest to it and slower"


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
    accumulate=st.integers(1, 2),
    lever=st.sampled_from([{}, {"saved": "int8"}, {"recompute": 1}, {"update_in_backward": True}, {"bit_masks": True}]),
    arena=st.booleans(),
)
def test_no_run_ever_records_a_peak_above_its_budget(method, share, batch, accumulate, lever, arena):
    """Whatever happens to a run under the guard, what it recorded stays within the budget it was given."""
    from workbench.core.schedule import Schedule
    from workbench.session import Session, run
    from workbench.tasks.base import Sizes

    try:
        case = Case("docstring-topic", "tiny-bert", method, batch, 8, accumulate, lever)
        case.attached(device="meta", weights=False)
    except Incompatible:
        reject()
    reference = replace(case, method_name="full", settings={}, accumulate=1).predict().peak
    budget = int(reference * share)
    schedule, sizes = Schedule(steps=2), Sizes(train=16, test=4)
    record = run(Session(case, budget=budget, schedule=schedule, sizes=sizes, arena=arena, patience=0))
    assert record.state in (State.DONE, State.REFUSED, State.OVER_BUDGET)
    recorded = [s.peak for s in record.steps] + ([record.measured.peak] if record.measured else [])
    assert all(peak <= budget for peak in recorded)
    assert (record.state is State.DONE) == (len(record.steps) == 2)
    assert record.state is State.DONE or "budget" in record.reason


def test_a_method_that_cannot_serve_the_model_is_refused_with_its_reason(board):
    case = Case("tokens", "tiny-bert", "mobile-tl", 2, 16)
    with pytest.raises(Incompatible, match=r"mobile-tl.*inverted residual"):
        plan(case, board, 2**30, tier=Tier.FAKE)
