"""The budget is enforced to the byte, the refusal is explained, and training goes on after it."""

from __future__ import annotations

import gc

import pytest
import torch
from memory_cases import CASES

from workbench.core.errors import BudgetExceeded
from workbench.memory import ledger
from workbench.memory.guard import guard
from workbench.memory.measure import measure
from workbench.memory.predict import trace

needs_ledger = pytest.mark.skipif(not ledger.available(), reason=ledger.reason() or "ledger")
GUARDED = ("full sgd", "full adamw", "lora", "checkpointing", "update in backward", "zeroth order", "net adamw")


@needs_ledger
@pytest.mark.parametrize("name", GUARDED)
def test_peak_passes_and_one_byte_less_is_refused(name):
    case = CASES[name]
    step, batch = case.make(case.build("cpu")), case.batch()
    profile = measure(step, batch)
    with guard(profile.peak, step, batch) as held:
        step(batch)
    assert held.peak == profile.peak
    with pytest.raises(BudgetExceeded) as refused, guard(profile.peak - 1, step, batch):
        step(batch)
    error = refused.value
    assert error.live + error.asked == profile.peak
    assert error.operator == profile.operator
    assert error.module == profile.module
    assert sum(error.ledger.values()) == error.live
    assert all(p.grad is None for p in step.model.parameters())
    with guard(profile.peak, step, batch) as held:
        step(batch)
    assert held.peak == profile.peak


@needs_ledger
def test_prediction_log_names_the_category():
    case = CASES["full sgd"]
    step, batch = case.make(case.build("cpu")), case.batch()
    peak = measure(step, batch).peak
    _, log = trace(lambda: case.build("meta"), case.make, case.batch)
    with pytest.raises(BudgetExceeded) as refused, guard(peak - 1, step, batch, log=log):
        step(batch)
    assert refused.value.category == "gradients"


@needs_ledger
def test_refusal_releases_everything_and_keeps_weights():
    case = CASES["full adamw"]
    step, batch = case.make(case.build("cpu")), case.batch()
    peak = measure(step, batch).peak
    before = [p.detach().clone() for p in step.model.parameters()]
    gc.collect()
    with ledger.counting() as count:
        with pytest.raises(BudgetExceeded), guard(peak // 2 + peak // 8, step, batch):
            step(batch)
        assert count.live == 0
    assert all(torch.equal(a, b) for a, b in zip(before, step.model.parameters()))


@needs_ledger
def test_measure_enforces_a_budget():
    case = CASES["full sgd"]
    step, batch = case.make(case.build("cpu")), case.batch()
    peak = measure(step, batch).peak
    assert measure(step, batch, budget=peak).peak == peak
    with pytest.raises(BudgetExceeded):
        measure(step, batch, budget=peak - 1)


def test_guard_without_ledger_raises_too(monkeypatch):
    monkeypatch.setattr(ledger, "_library", lambda: "no C++ compiler was found")
    case = CASES["full sgd"]
    step, batch = case.make(case.build("cpu")), case.batch()
    peak = measure(step, batch).peak
    with guard(peak, step, batch):
        step(batch)
    with pytest.raises(BudgetExceeded) as refused, guard(peak - 1, step, batch):
        step(batch)
    assert refused.value.live + refused.value.asked == peak
    with guard(peak, step, batch):
        step(batch)
