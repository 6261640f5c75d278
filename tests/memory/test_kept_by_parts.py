"""What the parts of a step keep between steps is predicted, measured and enforced; threads are refused."""

from __future__ import annotations

import copy
import threading
from collections import deque
from types import SimpleNamespace

import pytest
import torch
from memory_cases import PlainStep
from torch import nn

from workbench.core.errors import BudgetExceeded, Incompatible
from workbench.memory import ledger
from workbench.memory.guard import guard
from workbench.memory.measure import measure
from workbench.memory.predict import predict
from workbench.memory.step import kept_by_parts
from workbench.memory.threads import no_threads

needs_ledger = pytest.mark.skipif(not ledger.available(), reason=ledger.reason() or "ledger")
BATCH = {"x": torch.ones(8, 64)}


def build(device="cpu"):
    return nn.Linear(64, 64, device=device)


def step_of(model, **kept):
    made = PlainStep(model, lambda p: torch.optim.SGD(p), lambda m, b: m(b["x"]).square().mean())
    made.parts = SimpleNamespace(**kept)
    return made


KEPT = {
    "a tensor": lambda model: torch.ones(1 << 18, device=model.weight.device),
    "a copy of the model": copy.deepcopy,
    "a history": lambda model: deque([{"was": torch.ones(1 << 16, device=model.weight.device)}]),
    "an object of a user": lambda model: SimpleNamespace(inner=[torch.ones(1 << 16, device=model.weight.device)]),
}


@needs_ledger
@pytest.mark.parametrize("what", KEPT)
def test_what_was_kept_before_the_first_step_counts(what):
    bare = measure(step_of(build()), BATCH)
    model = build()
    kept = KEPT[what](model)
    size = sum(t.nbytes for t in kept_by_parts(step_of(model, kept=kept)))
    assert size >= 1 << 14
    measured = measure(step_of(model, kept=kept), BATCH)
    assert measured.peak == bare.peak + size

    def made(model):
        return step_of(model, kept=KEPT[what](model))

    predicted = predict(lambda: build("meta"), made, lambda: BATCH)
    assert (predicted.peak, predicted.by_category) == (measured.peak, measured.by_category)
    with pytest.raises(BudgetExceeded), guard(measured.peak - 1, step_of(model, kept=kept), BATCH):
        step_of(model, kept=kept)(BATCH)


class Growing(PlainStep):
    """Keeps a megabyte more after each step."""

    def __call__(self, batch):
        self.parts.history.append(torch.ones(1 << 18))
        return super().__call__(batch)


@needs_ledger
def test_a_step_that_keeps_ever_more_is_stopped_by_its_budget_and_said_to_grow():
    made = Growing(build(), lambda p: torch.optim.SGD(p), lambda m, b: m(b["x"]).square().mean())
    made.parts = SimpleNamespace(history=[])
    with pytest.raises(BudgetExceeded):
        for _ in range(8):
            with guard(5 << 20, made, BATCH):
                made(BATCH)
    assert sum(t.nbytes for t in made.parts.history) < 5 << 20
    made.parts.history.clear()
    assert measure(made, BATCH).remarks

    def again(model):
        step = Growing(model, lambda p: torch.optim.SGD(p), lambda m, b: m(b["x"]).square().mean())
        step.parts = SimpleNamespace(history=[])
        return step

    said = "the step keeps 1,048,576 bytes more than it found"
    assert any(said in remark for remark in predict(lambda: build("meta"), again, lambda: BATCH).remarks)


def test_a_step_that_starts_threads_is_refused_and_not_taken_for_small():
    class Beside(PlainStep):
        def __call__(self, batch):
            beside = threading.Thread(target=lambda: torch.ones(1 << 18))
            beside.start()
            beside.join()
            return super().__call__(batch)

    def made(model):
        return Beside(model, lambda p: torch.optim.SGD(p), lambda m, b: m(b["x"]).square().mean())

    start = threading.Thread.start
    with pytest.raises(Incompatible, match="threads of its own"):
        predict(lambda: build("meta"), made, lambda: BATCH)
    assert threading.Thread.start is start


def test_what_another_thread_starts_meanwhile_refuses_nothing():
    go, gone = threading.Event(), threading.Event()

    def starts_one_more():
        go.wait(60)
        threading.Thread(target=gone.set).start()

    threading.Thread(target=starts_one_more).start()
    with no_threads():
        go.set()
        assert gone.wait(60)


@needs_ledger
def test_growth_that_nothing_of_the_step_shows_is_said():
    elsewhere = []

    class Hoarding(PlainStep):
        def __call__(self, batch):
            elsewhere.append(torch.UntypedStorage(1 << 20))
            return super().__call__(batch)

    made = Hoarding(build(), lambda p: torch.optim.SGD(p), lambda m, b: m(b["x"]).square().mean())
    assert any("keeps 1,048,576 bytes more" in remark for remark in measure(made, BATCH).remarks)
