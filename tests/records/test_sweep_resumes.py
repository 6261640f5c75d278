"""A finished cell costs nothing; a cancelled sweep stops within half a second and goes on where it stopped."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from workbench.ablate import Cell, Progress, combinations, sweep
from workbench.case import Case
from workbench.core.errors import BadInput, Interrupted
from workbench.core.schedule import Schedule
from workbench.records.schema import State
from workbench.records.store import RunStore
from workbench.tasks.base import Sizes

CASE = Case("tokens", "tiny-bert", "head", 4, 8)


def _cells(steps: int, seeds: int = 2) -> list[Cell]:
    return [Cell(CASE, s, None, Schedule(steps=steps), Sizes(16, 8)) for s in range(seeds)]


def test_a_finished_cell_costs_nothing(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    first = list(sweep(_cells(3), store=store))
    seen: list[Progress] = []
    second = list(sweep(_cells(3), store=store, observe=seen.append))
    assert second == first
    assert all(p.stored and p.step is None for p in seen)
    assert [r.state for r in first] == [State.DONE, State.DONE]
    assert all(len(r.steps) == 3 for r in first)


def test_another_seed_or_schedule_is_another_cell() -> None:
    keys = {cell.key() for cell in (*_cells(3), *_cells(4))}
    assert len(keys) == 4


def test_cancel_keeps_what_was_done_and_resumes(tmp_path: Path) -> None:
    store, cancel = RunStore(tmp_path), threading.Event()

    def observe(progress: Progress) -> None:
        if progress.step is not None and progress.done == 1 and progress.step.step == 5 and not cancel.is_set():
            cancel.set()

    with pytest.raises(Interrupted, match="resumes"):
        list(sweep(_cells(40), store=store, observe=observe, cancel=cancel))
    states = sorted(line.state for line in store.lines())
    assert states == [State.CANCELLED, State.DONE]
    partial = next(r for r in store.records() if r.state is State.CANCELLED)
    assert len(partial.steps) == 6, "no step is begun after the one that was under way"
    assert partial.measured is not None

    whole = list(sweep(_cells(40), store=store))
    assert [r.state for r in whole] == [State.DONE, State.DONE]
    # The interrupted cell was run again from its seed: the same losses, now to the end.
    assert [s.loss for s in whole[1].steps[:6]] == [s.loss for s in partial.steps]
    assert len(store.lines()) == 2


def test_cancel_is_heard_between_cells_that_end_without_a_step(tmp_path: Path) -> None:
    store, cancel = RunStore(tmp_path), threading.Event()
    cells = [replace(cell, budget=1) for cell in _cells(3)]
    with pytest.raises(Interrupted, match="stopped after 1 of 2"):
        list(sweep(cells, store=store, observe=lambda _: cancel.set(), cancel=cancel))
    assert len(store.lines()) == 1


def test_the_grid_names_what_it_cannot_use() -> None:
    found = list(combinations({"method": ["head", "full"], "seed": [0, 1, 2], "r": [4]}))
    assert len(found) == 6 and all(settings == {"r": 4} for _, _, _, settings in found)
    for seeds in ([], [-1], ["one"], [True]):
        with pytest.raises(BadInput, match="seeds"):
            list(combinations({"method": ["full"], "seed": seeds}))
    with pytest.raises(BadInput, match="rank"):
        Case("tokens", "tiny-bert", "lora", settings={"rank": 4})


def test_a_cell_that_another_process_finished_meanwhile_gives_that_record(tmp_path: Path) -> None:
    store, (cell,) = RunStore(tmp_path), _cells(3, seeds=1)
    (other,) = sweep([cell], store=RunStore(tmp_path / "elsewhere"))

    def meanwhile(progress: Progress) -> None:
        if progress.step is not None and progress.step.step == 1:
            RunStore(tmp_path).put(cell.key(), other)

    (record,) = sweep([cell], store=store, observe=meanwhile)
    assert record == other and [line.id for line in store.lines()] == [other.id]
