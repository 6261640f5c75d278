"""An error while a result is scored ends the run and not the sweep, and takes nothing away from what was trained."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import workbench as wb
from workbench.ablate import Cell, settle
from workbench.bench import Bench
from workbench.checkpoints.keeper import Checkpoints
from workbench.core.errors import Interrupted, ResourceMissing
from workbench.records.schema import FINISHED, RunRecord, State, StepRecord
from workbench.records.store import RunStore
from workbench.session import Session, run
from workbench.tasks.base import tasks

STEPS = 3
SCORED = f"this was after all {STEPS} steps, before the result was scored"


def _no_memory() -> None:
    torch.empty(2**49, dtype=torch.uint8)


def _no_number() -> None:
    raise ValueError("Input contains NaN.")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    opened = wb.open(
        task="digits", model="tiny-cnn", budget="1024 TiB", profile="quick", train=60, test=20, steps=STEPS
    )
    return replace(opened, store=RunStore(tmp_path))


@pytest.fixture
def breaking(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """``breaking(BREAK, times=1)``: the next so many scorings of digits break; gives the list of those that began."""

    def arrange(broken: Callable[[], None], times: int = 1) -> list[str]:
        digits, begun = tasks.get("digits"), list[str]()
        score = digits.score

        def scoring(self: Any, *given: Any, **more: Any) -> Any:
            begun.append("scored")
            if len(begun) <= times:
                broken()
            return score(self, *given, **more)

        monkeypatch.setattr(digits, "score", scoring)
        return begun

    return arrange


def _settled(cell: Cell, store: RunStore, steps: list[StepRecord] | None = None) -> RunRecord:
    seen = steps if steps is not None else []
    return settle(cell, store, threading.Event(), lambda step, session: seen.append(step))[0]


@pytest.mark.parametrize(
    ("broken", "state", "reason"),
    [
        (_no_memory, State.OUT_OF_MEMORY, "no memory left for 512 TiB more"),
        (_no_number, State.FAILED, "ValueError: Input contains NaN."),
    ],
)
def test_what_was_trained_is_recorded_and_the_run_can_be_had_again(
    bench: Bench, breaking: Callable[..., list[str]], broken: Callable[[], None], state: State, reason: str
) -> None:
    breaking(broken)
    record = bench.run("head")
    assert record.state is state and state not in FINISHED
    assert reason in record.reason and record.reason.endswith(SCORED)
    assert len(record.steps) == record.planned_steps == STEPS and all(s.peak for s in record.steps)
    assert record.measured is not None and record.adapter_bytes and record.trainable and record.data["hash"]
    assert not record.score and record.accuracy is None
    assert bench.store.get(record.id) == record
    again = bench.run("head")
    assert again.state is State.DONE and [s.loss for s in again.steps] == [s.loss for s in record.steps]
    assert [line.id for line in bench.store.lines()] == [again.id], "the result takes the place of the broken run"


def test_a_sweep_goes_on_after_it(bench: Bench, breaking: Callable[..., list[str]]) -> None:
    breaking(_no_memory)
    records = bench.ablate({"method": ["head"], "seed": [0, 1]})
    assert [r.state for r in records] == [State.OUT_OF_MEMORY, State.DONE]
    assert len(bench.store.lines()) == 2


def test_with_checkpoints_the_finished_training_is_scored_and_not_trained_again(
    bench: Bench, breaking: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workbench.parts.base import TrainingStep

    cell = replace(bench.cell(bench.case("head"), 0), checkpoint_every=100)
    whole = _settled(cell, RunStore(tmp_path / "whole"))
    breaking(_no_memory)
    first = _settled(cell, bench.store)
    assert first.state is State.OUT_OF_MEMORY
    trained: list[int] = []
    step = TrainingStep.__call__
    monkeypatch.setattr(
        TrainingStep, "__call__", lambda self, *given, **more: trained.append(1) or step(self, *given, **more)
    )
    again = _settled(cell, bench.store)
    assert again.state is State.DONE and not trained
    assert again.score == whole.score and again.steps == first.steps
    assert again.notes[0] == f"resumed after step {STEPS}"
    assert not list((bench.store.folder / "checkpoints").glob("*")), "its result is in the store"


def test_where_the_disk_is_full_as_well_the_record_says_so(
    bench: Bench, breaking: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise ResourceMissing("no room for the checkpoint of step 3")

    breaking(_no_memory)
    monkeypatch.setattr(Checkpoints, "save", full)
    record = _settled(replace(bench.cell(bench.case("head"), 0), checkpoint_every=100), bench.store)
    assert record.state is State.OUT_OF_MEMORY and len(record.steps) == STEPS
    assert "what was trained could not be kept: no room for the checkpoint of step 3" in record.notes


def test_what_the_user_can_mend_is_raised_with_the_training_kept(
    bench: Bench, breaking: Callable[..., list[str]]
) -> None:
    def missing() -> None:
        raise ResourceMissing("digits is not in the cache; run: pintpot assets pull digits")

    cell = replace(bench.cell(bench.case("head"), 0), checkpoint_every=100)
    breaking(missing)
    with pytest.raises(ResourceMissing, match="pull"):
        _settled(cell, bench.store)
    assert _settled(cell, bench.store).notes[0] == f"resumed after step {STEPS}"


def test_scoring_before_training_breaks_a_run_before_its_first_step(
    bench: Bench, breaking: Callable[..., list[str]]
) -> None:
    breaking(_no_memory)
    cell = bench.cell(bench.case("head"), 0)

    def session() -> Session:
        return replace(cell.session(threading.Event()), evaluate_before=True)

    record = run(session())
    assert record.state is State.OUT_OF_MEMORY and record.reason.endswith("this was before its first step")
    assert not record.steps and record.adapter_bytes and record.planned_steps == STEPS
    again = run(session())
    assert again.state is State.DONE and again.score_before["count"] == again.score["count"]


def test_cancel_is_heard_while_the_untrained_model_is_scored(bench: Bench, breaking: Callable[..., list[str]]) -> None:
    cancel = threading.Event()
    breaking(cancel.set)
    session = replace(bench.cell(bench.case("head"), 0).session(cancel), evaluate_before=True)
    record = run(session)
    assert record.state is State.CANCELLED and not record.steps


def test_a_held_out_task_that_breaks_leaves_the_score_and_is_asked_again(
    bench: Bench, breaking: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from workbench.probes import held_out as probe

    asked: list[int] = []
    held_out = probe.held_out

    def asking(*given: Any) -> dict[str, Any]:
        asked.append(1)
        if len(asked) == 1:
            _no_memory()
        return held_out(*given)

    monkeypatch.setattr(probe, "held_out", asking)
    cell = replace(bench.cell(bench.case("head"), 0), checkpoint_every=100, held_out="pixels")
    first = _settled(cell, bench.store)
    assert first.state is State.OUT_OF_MEMORY and first.score and not first.held_out
    again = _settled(cell, bench.store)
    assert again.state is State.DONE and again.held_out["task"] == "pixels" and again.score == first.score
    assert again.notes[0] == f"resumed after step {STEPS}"


def test_a_cancel_while_the_held_out_task_is_asked_stops_the_sweep_with_the_training_kept(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workbench.memory import ledger
    from workbench.probes import held_out as probe

    if not ledger.available():
        pytest.skip(f"no ledger: {ledger.reason()}")
    cancel, held_out = threading.Event(), probe.held_out

    def asking(*given: Any) -> dict[str, Any]:
        cancel.set()
        return held_out(*given)

    monkeypatch.setattr(probe, "held_out", asking)
    forgetful = replace(bench, held_out="pixels")
    with pytest.raises(Interrupted, match=f"this one after step {STEPS}"):
        forgetful.run("head", checkpoint_every=100, cancel=cancel)
    monkeypatch.setattr(probe, "held_out", held_out)
    assert forgetful.run("head", checkpoint_every=100).notes[0] == f"resumed after step {STEPS}"


def test_an_adapter_that_was_asked_for_is_written_though_it_could_not_be_scored(
    bench: Bench, breaking: Callable[..., list[str]], tmp_path: Path
) -> None:
    from workbench.adapters import read
    from workbench.studies.adapted import train

    breaking(_no_memory)
    record = train(bench, "lora", export=tmp_path / "adapter")
    assert record.state is State.OUT_OF_MEMORY
    assert read(tmp_path / "adapter").method == "lora"
