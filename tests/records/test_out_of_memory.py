"""A machine with less memory than the budget allows ends a run as a recorded result, and it can be had again."""

import threading
from dataclasses import replace

import pytest
import torch

import workbench as wb
from workbench.ablate import settle
from workbench.records.schema import FINISHED, State
from workbench.records.store import RunStore
from workbench.session import Session
from workbench.tasks.base import tasks

TOO_MUCH = 2**49  #: bytes: within the budget of these runs, beyond any machine


@pytest.fixture
def bench(tmp_path):
    bench = wb.open(task="digits", model="tiny-cnn", budget="1024 TiB", profile="quick", train=60, test=20, steps=3)
    return replace(bench, store=RunStore(tmp_path))


def test_in_the_middle_of_training(bench, monkeypatch) -> None:
    digits, begun = tasks.get("digits"), []
    loss = digits.loss

    def greedy(self, model, batch):
        if begun:
            torch.empty(TOO_MUCH, dtype=torch.uint8)
        return loss(self, model, batch)

    monkeypatch.setattr(digits, "loss", greedy)
    cell = bench.cell(bench.case("head"), 0)
    record, _ = settle(cell, bench.store, threading.Event(), lambda step, session: begun.append(step))
    assert record.state is State.OUT_OF_MEMORY and record.state not in FINISHED
    assert "no memory left for 512 TiB more" in record.reason
    assert len(record.steps) == 1, "what was done is kept"
    begun.clear()
    again, stored = settle(cell, bench.store, threading.Event(), lambda step, session: None)
    assert again.state is State.DONE and not stored


def test_while_the_model_is_built(bench, monkeypatch) -> None:
    monkeypatch.setattr(Session, "prepare", lambda self: torch.empty(TOO_MUCH, dtype=torch.uint8))
    assert bench.run("head").state is State.OUT_OF_MEMORY
