"""A run that is cancelled in the middle of something keeps its whole steps and goes on to the same bits."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch
from test_resumes_to_the_same_bits import RUNS, STEPS, _bits, _session, _trained

from workbench.memory import interrupt as interrupts
from workbench.memory import ledger
from workbench.records.schema import State, StepRecord
from workbench.session import Session, run

pytestmark = pytest.mark.skipif(not ledger.available(), reason=f"no ledger: {ledger.reason()}")


def _cancelled_in(session: Session, step: int, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Train, and cancel while that step enters the last module that is trained."""
    monkeypatch.setattr(interrupts, "PAUSE", 0.001)
    session.prepare()
    trained = [m for m in session.model.modules() if any(p.requires_grad for p in m.parameters(recurse=False))]
    losses, module = list[float](), trained[-1]

    def entered(*_: object) -> None:
        if len(losses) == step and not session.cancel.is_set():
            session.cancel.set()
            watchers = [t for t in threading.enumerate() if t.name == "watch-for-cancel"]
            for watcher in watchers:
                watcher.join(30)  # it ends once it has called; the step is where it was

    module.register_forward_pre_hook(entered)
    for done in session.steps():
        losses.append(done.loss)
    return losses


@pytest.mark.parametrize("name", [n for n in RUNS if n != "captured graph"])  # which enters no module
def test_a_run_cancelled_in_a_step_goes_on_to_the_same_bits(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = _session(name)
    losses = _trained(whole)
    first = _session(name, tmp_path / "kept", 100)
    done = _cancelled_in(first, 5, monkeypatch)
    gives_up = getattr(first.training.parts.estimator, "gives_up", False)
    assert done == losses[: 5 if gives_up else 6]
    again = _session(name, tmp_path / "kept", 100)
    assert _trained(again) == losses
    assert again.checkpoints.resumed == len(done) and _bits(again) == _bits(whole)


@pytest.mark.parametrize("name", ["AdamW", "AdamW on a net with norms"])
def test_a_result_that_is_being_scored_is_given_up_and_scored_later(name: str, tmp_path: Path) -> None:
    whole = run(_session(name), predict=False)
    first = _session(name, tmp_path / "kept", 100)

    def last(step: StepRecord) -> None:
        if step.step == STEPS - 1:
            first.cancel.set()

    record = run(first, predict=False, on_step=last)
    assert record.state is State.CANCELLED and len(record.steps) == STEPS and not record.score
    assert record.reason == f"cancelled after all {STEPS} steps, before the result was scored"
    again = run(_session(name, tmp_path / "kept", 100), predict=False)
    assert again.state is State.DONE and again.score == whole.score
    assert again.notes[0] == f"resumed after step {STEPS}"


def test_a_prediction_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    session, seen = _session("AdamW"), list[str]()
    name = type(session.case).predict

    def asked(case: object, *args: object, **settings: object) -> object:
        session.cancel.set()
        seen.append("asked")
        return name(case, *args, **{**settings, "fresh": True})  # type: ignore[arg-type]

    monkeypatch.setattr(type(session.case), "predict", asked)
    record = run(session)
    assert seen and record.state is State.CANCELLED and record.reason == "cancelled before its first step"
    assert record.predicted is None and not record.steps
    assert torch.ones(4).sum() == 4


def test_what_is_measured_before_the_first_step_is_given_up_and_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupts, "PAUSE", 0.001)
    session = _session("AdamW on a net with norms")
    session.prepare()
    before = _bits(session)
    module = [m for m in session.model.modules() if not list(m.children())][-1]
    module.register_forward_pre_hook(lambda *_: session.cancel.set())
    assert list(session.steps()) == [] and session.measured is None
    assert _bits(session) == before and not session.training.optimizers[0].state


def test_no_watcher_outlives_its_run() -> None:
    run(_session("SGD"), predict=False)
    assert [t for t in threading.enumerate() if t.name == "watch-for-cancel"] == []
