"""The race leaves no trace, drops what computes something else, and is remembered; ``auto`` follows it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from workbench import races
from workbench.case import Case
from workbench.core.errors import Incompatible
from workbench.engine.limits import TooSlow, within
from workbench.engine.race import race
from workbench.memory.measure import measure
from workbench.parts.base import TrainingStep
from workbench.parts.estimator.captured import Captured


def case_of(executor: str, model: str = "tiny-cnn", method: str = "full") -> Case:
    task = "pixels" if model == "tiny-cnn" else "tokens"
    return Case(task, model, method, 4, 16 if task == "tokens" else None, settings={"executor": executor})


def runs_of(step: TrainingStep, batches: list, **estimators: object) -> dict:
    def run(estimator: object):
        def once() -> torch.Tensor:
            step.parts = replace(step.parts, estimator=estimator)
            return step(batches, seed=0)

        return once

    return {name: run(one) for name, one in {"eager": step.parts.estimator, **estimators}.items()}


class Twisted(Captured):
    """A graph whose first gradient is a thousandth too large."""

    def step(self, step):
        true, done = step.update_from, []

        def twisted(parameter, gradient):
            done.append(true(parameter, gradient * 1.001 if not done else gradient))

        step.update_from = twisted
        try:
            return super().step(step)
        finally:
            del step.update_from


def test_a_race_leaves_no_trace_and_drops_what_differs() -> None:
    case = case_of("eager")
    step, batches = case.step(case.attached(weights=False)), case.example()
    step(batches)
    held = [*step.model.parameters(), *step.model.buffers(), *step.optimizer_state()]
    before, noise = [t.detach().clone() for t in held], torch.get_rng_state()
    result = race(step, runs_of(step, batches, graph=Captured(), twisted=Twisted()), rounds=2)
    assert all(torch.equal(a, b) for a, b in zip(before, held))
    assert torch.equal(noise, torch.get_rng_state())
    assert all(p.grad is None for p in step.parameters)
    assert step.observer is None
    assert result.winner in ("eager", "graph")
    assert "gradient" in result.out["twisted"]
    assert set(result.seconds) == {"eager", "graph"}


def test_what_fails_is_out_and_eager_stays() -> None:
    case = case_of("eager")
    step, batches = case.step(case.attached(weights=False)), case.example()

    def broken() -> torch.Tensor:
        raise RuntimeError("no kernel")

    result = race(step, {**runs_of(step, batches), "broken": broken}, rounds=1)
    assert result.winner == "eager"
    assert result.out == {"broken": "RuntimeError: no kernel"}


def test_a_result_is_kept_and_auto_follows_it(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PINTPOT_CACHE", str(tmp_path))
    case = case_of("auto", "tiny-bert", "last-blocks")
    assert races.stored(case) is None
    assert "not raced yet" in case.predict().assumptions[-1]
    result = races.raced(case, executors=("eager", "graph"))
    again = case_of("auto", "tiny-bert", "last-blocks")
    assert races.stored(again) == result
    assert again.attached_config.executor == result.winner
    assert not any("raced" in one for one in again.predict().assumptions)
    assert again.predict().peak == measure(again.step(again.attached(weights=False)), again.example()).peak
    assert races.raced(case_of("auto", "tiny-bert", "mezo")).winner == "eager"


def test_refusals() -> None:
    with pytest.raises(Incompatible, match="in a way of its own"):
        case_of("graph", "tiny-bert", "mezo").attached()
    clash = Case("tokens", "tiny-bert", "full", 2, 8, settings={"executor": "graph", "recompute": 1})
    with pytest.raises(Incompatible, match="dropout anew"):
        clash.attached()
    with pytest.raises(Incompatible, match="not known beforehand"):
        case_of("inductor").predict()


def test_time_limit() -> None:
    with pytest.raises(TooSlow, match=r"counting took longer than 0.2 s"), within(0.2, "counting"):
        while True:
            pass
    with within(5, "nothing"):
        pass


@pytest.mark.slow
def test_compiled_step_equals_eager() -> None:
    """Dropout included; its bytes are measured, never predicted."""
    eager, compiled = (
        case.step(case.attached(weights=False)) for case in (case_of(e, "tiny-bert") for e in ("eager", "inductor"))
    )
    batches = case_of("eager", "tiny-bert").example()
    for index in range(3):
        losses = []
        for step in (eager, compiled):
            torch.manual_seed(index)
            losses.append(float(step(batches)))
        assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert [note for note in compiled.parts.estimator.notes if note.startswith("compiled in")]
    small = [{name: tensor[:3] for name, tensor in batch.items()} for batch in batches]
    compiled(small)
    kinds = {type(run).__name__ for run in compiled.parts.estimator._captured.values()}
    assert kinds == {"InductorExecutor", "GraphExecutor"}
    measured = measure(compiled, batches)
    assert measured.peak == sum(measured.by_category.values())
