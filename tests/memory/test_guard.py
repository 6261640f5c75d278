"""The budget is enforced to the byte, the refusal is explained, and training goes on after it."""

from __future__ import annotations

import gc
import random
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from memory_cases import CASES, InBackwardStep, PlainStep

from workbench.core.collection import uncollected
from workbench.core.errors import BudgetExceeded
from workbench.memory import ledger
from workbench.memory.guard import guard
from workbench.memory.measure import measure
from workbench.memory.predict import trace

needs_ledger = pytest.mark.skipif(not ledger.available(), reason=ledger.reason() or "ledger")
GUARDED = ("full sgd", "full adamw", "lora", "checkpointing", "update in backward", "zeroth order", "net adamw")


@pytest.fixture(autouse=True)
def quick_collections():
    """Each refusal collects garbage: not among what imports and other tests hold, where it takes half a second."""
    gc.freeze()
    yield
    gc.unfreeze()


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


class Narrowing(torch.nn.Module):
    """Its first weight is the largest by far, so that the last gradient of a backward pass asks for most."""

    def __init__(self):
        super().__init__()
        self.wide, self.narrow, self.last = torch.nn.Linear(4096, 8), torch.nn.Linear(8, 8), torch.nn.Linear(8, 2)

    def forward(self, x):
        return self.last(self.narrow(self.wide(x)))


@needs_ledger
@pytest.mark.parametrize("inside", [True, False])
def test_a_refused_step_says_what_it_had_changed(inside):
    model = Narrowing()
    kind = InBackwardStep if inside else PlainStep
    step = kind(model, lambda p: torch.optim.SGD(p, lr=1e-5), lambda m, b: m(b["x"]).square().mean())
    batch = {"x": torch.ones(2, 4096)}  # what diverges is equal to nothing
    peak = measure(step, batch).peak
    before = [p.detach().clone() for p in model.parameters()]
    with pytest.raises(BudgetExceeded) as refused, guard(peak - 1, step, batch):
        step(batch)
    changed = sum(not torch.equal(a, b) for a, b in zip(before, model.parameters()))
    assert bool(changed) == inside
    said = f"{changed} of 6 trained tensors had been updated before the step was refused"
    assert (said in str(refused.value)) == inside and refused.value.note.startswith(said) == inside
    with guard(peak, step, batch):
        step(batch)


@needs_ledger
def test_running_statistics_that_moved_are_said_too():
    case = CASES["net adamw"]
    step, batch = case.make(case.build("cpu")), case.batch()
    peak = measure(step, batch).peak
    said = "buffers, such as running statistics, had moved"
    with pytest.raises(BudgetExceeded, match=said), guard(peak - 1, step, batch):
        step(batch)


@needs_ledger
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("lever", [{"executor": "graph"}, {"update_in_backward": True}])
def test_a_case_that_is_refused_after_updates_says_how_many(lever, optimizer):
    from workbench.case import Case

    case = Case("tokens", "tiny-bert", "full", 1, 4, settings={**lever, "optimizer": optimizer})
    step, batch = case.step(case.attached(weights=False)), case.example()
    peak = measure(step, batch).peak
    before = [p.detach().clone() for p in step.model.parameters()]
    with pytest.raises(BudgetExceeded) as refused, guard(peak - 1, step, batch):
        step(batch)
    changed = sum(not torch.equal(a, b) for a, b in zip(before, step.model.parameters()))
    assert changed, "the largest gradient, that of the embedding, comes last"
    assert f"{changed} of {len(before)} trained tensors had been updated" in str(refused.value)


@needs_ledger
def test_measure_enforces_a_budget():
    case = CASES["full sgd"]
    step, batch = case.make(case.build("cpu")), case.batch()
    peak = measure(step, batch).peak
    assert measure(step, batch, budget=peak).peak == peak
    with pytest.raises(BudgetExceeded):
        measure(step, batch, budget=peak - 1)


@needs_ledger
def test_a_peak_at_an_operator_with_a_number_is_a_budget_that_measure_keeps():
    model = torch.nn.Linear(4, 1)
    step = PlainStep(
        model, lambda p: torch.optim.SGD(p, lr=0.1), lambda m, b: m.weight.sum() * (b["x"] * 0.5).sum()
    )  # watched, the 0.5 is a tensor twice
    batch = {"x": torch.ones(64, 64)}
    profile = measure(step, batch)
    assert profile.operator == "mul.Tensor"
    assert measure(step, batch, budget=profile.peak).peak == profile.peak
    with pytest.raises(BudgetExceeded) as refused:
        measure(step, batch, budget=profile.peak - 1)
    assert refused.value.operator == "mul.Tensor"


@needs_ledger
def test_garbage_from_before_hides_no_byte_of_a_measured_step():
    batch = {"x": torch.ones(256, 16)}

    def made():  # the highest moment is the second step's, in backward beside the optimizer state of the first
        return PlainStep(torch.nn.Linear(16, 16), torch.optim.Adam, lambda m, b: m(b["x"]).square().mean())

    peak, step = measure(made(), batch).peak, made()
    with uncollected():
        garbage: list[Any] = [torch.ones(1 << 10)]
        garbage.append(garbage)
        del garbage
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


class Swallowing(PlainStep):
    """Takes a refusal of a megabyte for a reason to do without."""

    def __call__(self, batch):
        try:
            torch.zeros(1 << 18).add_(1)
        except RuntimeError:
            self.without = True
        return super().__call__(batch)


class Beside(PlainStep):
    """A thread of its own asks for a megabyte, and dies of the refusal."""

    def __call__(self, batch):
        thread = threading.Thread(target=lambda: torch.zeros(1 << 18).add_(1))
        thread.start()
        thread.join()
        return super().__call__(batch)


class Sometimes(PlainStep):
    """A megabyte more in the steps that chance, drawn by ``draw``, says; none of them says so beforehand."""

    draw: Callable[[], float]

    def __call__(self, batch):
        if self.draw() < 0.5:
            torch.zeros(1 << 18).add_(1)
        return super().__call__(batch)


def _small(kind):
    model = torch.nn.Linear(16, 16)
    step = kind(model, lambda p: torch.optim.SGD(p, lr=0.1), lambda m, b: m(b["x"]).square().mean())
    return step, {"x": torch.ones(4, 16)}


@needs_ledger
@pytest.mark.parametrize(("kind", "where"), [(Swallowing, ""), (Beside, "a thread that the step started")])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_refusal_that_the_step_swallows_is_one_all_the_same(kind, where):
    step, batch = _small(kind)
    with pytest.raises(BudgetExceeded) as refused, guard(1 << 19, step, batch):
        step(batch)
    assert (refused.value.operator, refused.value.module, refused.value.asked) == ("zeros", where, 1 << 20)
    step, batch = _small(kind)
    with pytest.raises(BudgetExceeded) as refused:
        measure(step, batch, budget=1 << 19)
    assert refused.value.operator == "zeros"


@needs_ledger
@pytest.mark.parametrize("draw", [random.random, np.random.rand, lambda: float(torch.rand(()))])
def test_a_step_that_chance_decides_is_explained_from_the_numbers_it_drew(draw):
    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)
    step, batch = _small(Sometimes)
    step.draw = draw
    for _ in range(6):
        with pytest.raises(BudgetExceeded) as refused:
            for _ in range(30):
                with guard(1 << 19, step, batch):
                    step(batch)
        assert refused.value.operator == "zeros"
        with pytest.raises(BudgetExceeded) as refused:
            for _ in range(10):
                measure(step, batch, budget=1 << 19)
        assert refused.value.operator == "zeros"


@needs_ledger
def test_what_only_happens_once_names_the_line_that_asked():
    asked = []

    class Once(torch.nn.Linear):
        def forward(self, x):
            if not asked:
                asked.append(1)
                torch.UntypedStorage(1 << 20)
            return super().forward(x)

    model = torch.nn.Sequential(Once(16, 16))
    step = PlainStep(model, lambda p: torch.optim.SGD(p, lr=0.1), lambda m, b: m(b["x"]).square().mean())
    batch = {"x": torch.ones(4, 16)}
    said = r"forward at line \d+ of test_guard.py in 0 asks"
    with pytest.raises(BudgetExceeded, match=said), guard(1 << 19, step, batch):
        step(batch)


def test_a_budget_below_what_is_held_says_what_that_is():
    case = CASES["full sgd"]
    step, batch = case.make(case.build("cpu")), case.batch()
    said = r"\(5 bytes\) is passed before the step begins: .*weights .* held already"
    with pytest.raises(BudgetExceeded, match=said), guard(5, step, batch):
        step(batch)
