"""Threads that predict, probe, measure and train at once find what each finds alone, and Cancel is heard meanwhile."""

from __future__ import annotations

import gc
import threading
from contextlib import contextmanager

import pytest
import torch
from memory_cases import CASES, PlainStep
from test_patched import looks

from workbench.case import Case
from workbench.checkpoints.keeper import Checkpoints
from workbench.core.alone import alone
from workbench.core.schedule import Schedule
from workbench.memory import ledger
from workbench.memory.guard import guard
from workbench.memory.measure import measure
from workbench.memory.predict import predict
from workbench.memory.probe import Book, Probe
from workbench.records.schema import State
from workbench.session import Session, run
from workbench.tasks.base import Sizes

needs_ledger = pytest.mark.skipif(not ledger.available(), reason=ledger.reason() or "ledger")


@contextmanager
def beside(work):
    """``work`` over and over in another thread, from before the context begins until it ends."""
    begun, over, errors = threading.Event(), threading.Event(), []

    def keep_on():
        try:
            while not over.is_set():
                work()
                begun.set()
        except BaseException as error:
            errors.append(error)
            begun.set()

    thread = threading.Thread(target=keep_on)
    thread.start()
    begun.wait()
    try:
        yield
    finally:
        over.set()
        thread.join()
        assert not errors, errors


def _training():
    """A step of many small allocations, held to more than it needs."""
    model = torch.nn.Sequential(*[torch.nn.Linear(64, 64) for _ in range(8)])
    step = PlainStep(model, lambda p: torch.optim.SGD(p, lr=0.0), lambda m, b: m(b["x"]).square().mean())
    batch = {"x": torch.ones(256, 64)}

    def train():
        with guard(1 << 30, step, batch):
            step(batch)

    return train


def _workspace(folder, sizes):
    """What a probe finds of products of these sizes, none of them known to its book."""
    probe, found = Probe(Book(folder / f"{threading.get_ident()}-{len(sizes)}.jsonl")), []
    for size in sizes:
        a, b = torch.ones(size, 48), torch.ones(48, size)
        found.append(probe(torch.ops.aten.mm.default, (a, b), {}, torch.mm(a, b)))
    assert probe.executed == len(sizes)
    return found


@needs_ledger
def test_a_product_needs_as_much_while_another_thread_trains(tmp_path):
    sizes = range(100, 200)
    wanted = _workspace(tmp_path, sizes)
    with beside(_training()):
        assert _workspace(tmp_path, sizes) == wanted


@needs_ledger
def test_a_measured_step_is_the_same_while_another_thread_predicts():
    case = CASES["full adamw"]

    def predicting():
        predict(lambda: torch.nn.Linear(64, 64, device="meta"), _squared, lambda: {"x": torch.ones(256, 64)})

    step, batch = case.make(case.build("cpu")), case.batch()
    wanted = measure(step, batch)
    with beside(predicting):
        for _ in range(3):
            found = measure(step, batch, budget=wanted.peak)
            assert (found.peak, found.by_category, found.remarks) == (wanted.peak, wanted.by_category, ())


def _squared(model):
    return PlainStep(model, lambda p: torch.optim.SGD(p, lr=0.1), lambda m, b: m(b["x"]).square().mean())


def test_two_predictions_at_once_give_what_each_gives_alone_and_leave_nothing_patched():
    """Each waits in its step for the other, for as long as it can be expected to come in."""
    inside = [threading.Event(), threading.Event()]

    def found(size, own=None, other=None):
        def make(model):
            step = _squared(model)
            if own is not None:
                step.loss = lambda m, b: (own.set(), other.wait(0.5), m(b["x"]).square().mean())[-1]
            return step

        return predict(lambda: torch.nn.Linear(size, size, device="meta"), make, lambda: {"x": torch.ones(8, size)})

    before, alone_found, together = looks(), [found(16), found(32)], {}
    threads = [
        threading.Thread(target=lambda i=i, n=n: together.update({i: found(n, inside[i], inside[1 - i])}))
        for i, n in enumerate((16, 32))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert looks() == before
    assert [together[i].to_dict() for i in range(2)] == [one.to_dict() for one in alone_found]


def _session(**more):
    case = Case("docstring-topic", "tiny-bert", "full", 4, 16)
    return Session(case, schedule=Schedule(steps=6), sizes=Sizes(train=16, test=4), patience=0, **more)


def _trained(session):
    gc.collect()  # a model in garbage would be freed while a step is counted
    session.prepare()
    return [(step.loss, step.peak) for step in session.steps()]


@needs_ledger
def test_a_run_has_the_peaks_and_losses_it_has_alone_while_cells_predict(tmp_path, monkeypatch):
    monkeypatch.setenv("PINTPOT_CACHE", str(tmp_path))
    case, wanted = Case("tokens", "tiny-bert", "lora", 2, 9), _trained(_session())
    alone_found = case.predict(fresh=True)
    with beside(lambda: _same(case.predict(fresh=True), alone_found)):
        assert _trained(_session()) == wanted


def _same(found, wanted):
    assert (found.peak, found.by_category) == (wanted.peak, wanted.by_category)


@needs_ledger
def test_a_prediction_between_two_steps_waits_for_no_whole_run():
    steps, session = [], _session()
    session.prepare()
    for step in session.steps():
        steps.append(step)
        other = threading.Thread(target=lambda: predict(lambda: torch.nn.Linear(4, 4, device="meta"), _squared,
                                                        lambda: {"x": torch.ones(2, 4)}))  # fmt: skip
        other.start()
        other.join()
    assert len(steps) == 6


def _cancelled_while_another_has_the_turn(session, work):
    """What ``work`` gives once the session is cancelled, all while another thread is inside."""
    found = []
    thread = threading.Thread(target=lambda: found.append(work()))
    with alone():
        thread.start()
        session.cancel.set()
        thread.join()
    return found


def test_a_run_that_waits_for_its_turn_is_cancelled_before_it_has_it():
    session = _session()
    [record] = _cancelled_while_another_has_the_turn(session, lambda: run(session, predict=False))
    assert record.state is State.CANCELLED and not record.steps
    session = _session()
    session.prepare()
    assert _cancelled_while_another_has_the_turn(session, lambda: list(session.steps())) == [[]]


def test_a_run_that_is_cancelled_between_two_turns_keeps_its_steps_and_goes_on_from_them(tmp_path):
    wanted, first = _trained(_session()), _session(checkpoints=Checkpoints(tmp_path, "key", 100))
    first.prepare()
    steps = first.steps()
    done = [next(steps), next(steps)]
    assert _cancelled_while_another_has_the_turn(first, lambda: list(steps)) == [[]]
    again = _session(checkpoints=Checkpoints(tmp_path, "key", 100))
    assert _trained(again) == wanted and again.checkpoints.resumed == len(done)


@needs_ledger
def test_a_guarded_step_that_waits_is_cancelled_too():
    from workbench.core.stopping import Stopped
    from workbench.memory.interrupt import Interrupt

    train, session = _training(), _session()

    def work():
        with Interrupt(session.cancel) as interrupt, pytest.raises(Stopped), interrupt.anywhere():
            train()
        return "given up"

    assert _cancelled_while_another_has_the_turn(session, work) == ["given up"]
