"""Without a C++ compiler the tracker enforces budgets: in measurements, in sessions, and nothing stays patched."""

from __future__ import annotations

import pytest
from memory_cases import CASES, PlainStep
from test_patched import looks

from workbench.case import Case
from workbench.core.errors import BudgetExceeded
from workbench.core.schedule import Schedule
from workbench.memory import ledger
from workbench.memory.guard import guard
from workbench.memory.measure import measure
from workbench.records.schema import State
from workbench.session import Session, run
from workbench.tasks.base import Sizes


@pytest.fixture(autouse=True)
def without_a_ledger(monkeypatch):
    monkeypatch.setattr(ledger, "_library", lambda: "no C++ compiler was found")
    before = looks()
    yield
    assert looks() == before


@pytest.mark.parametrize("name", ["full sgd", "full adamw", "net adamw"])
def test_a_measurement_keeps_its_budget_to_the_byte(name):
    case = CASES[name]
    step, batch = case.make(case.build("cpu")), case.batch()
    peak = measure(step, batch).peak
    assert measure(step, batch, budget=peak).peak == peak
    with pytest.raises(BudgetExceeded) as refused:
        measure(step, batch, budget=peak - 1)
    assert refused.value.live + refused.value.asked == peak and refused.value.operator
    assert measure(step, batch, budget=peak).peak == peak


def _session(budget=None):
    case = Case("docstring-topic", "tiny-bert", "full", 4, 16)
    return Session(case, budget=budget, schedule=Schedule(steps=2), sizes=Sizes(train=16, test=4), patience=0)


def test_a_session_trains_within_its_budget_and_is_refused_below_it():
    free = _session()
    free.prepare()
    peak = max(step.peak for step in free.steps())
    held = _session(peak)
    held.prepare()
    assert [step.loss for step in held.steps()] and held.measured.peak == free.measured.peak == peak
    refused = _session(peak - 1)
    refused.prepare()
    with pytest.raises(BudgetExceeded):
        list(refused.steps())


def test_a_run_with_a_budget_ends_in_a_state():
    done = run(_session(), predict=False)
    peak = max(step.peak for step in done.steps)
    assert run(_session(peak), predict=False).state is State.DONE
    assert run(_session(peak - 1), predict=False).state is State.OVER_BUDGET


def test_a_step_that_breaks_under_a_budget_leaves_nothing_patched():
    def broken(model, batch):
        raise ZeroDivisionError("its own")

    case = CASES["full sgd"]
    model, batch = case.build("cpu"), case.batch()
    step, before = PlainStep(model, case.make(model).optimizers[0].__class__, broken), looks()
    for attempt in (lambda: measure(step, batch, budget=1 << 40), lambda: _guarded(step, batch)):
        with pytest.raises(ZeroDivisionError, match="its own"):
            attempt()
        assert looks() == before


def _guarded(step, batch):
    with guard(1 << 40, step, batch):
        measure(step, batch)
