"""Seeds and scales are the whole of a zeroth-order run: replayed, they give its weights bit for bit."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
import torch

from workbench.core.errors import BadInput
from workbench.engine.journal import Journal
from workbench.testing import Subject


@pytest.mark.parametrize(
    ("settings", "dtype"),
    [({}, torch.float32), ({"probes": 3, "noise": "sign"}, torch.float32), ({}, torch.bfloat16)],
)
def test_replay_gives_the_bits_of_the_run_from_twelve_bytes_a_term(settings: dict, dtype: torch.dtype) -> None:
    subject = Subject("mezo", "tiny-bert", {**settings, "lr": 1e-3})
    model, fresh = (subject.attached().to(dtype) for _ in range(2))
    step = subject.case.step(model)
    step.journal = Journal(settings.get("noise", "gaussian"))
    for seed in range(8):
        step.set_lr(1e-3 / (1 + seed))
        step(subject.examples(), seed=seed)
    data = step.journal.to_bytes()
    assert len(data) == 16 + 8 * 12 * settings.get("probes", 1)
    weights = [p for p in fresh.parameters() if p.requires_grad]
    assert not all(map(torch.equal, weights, step.parameters))
    with torch.no_grad():
        Journal.from_bytes(data).replay(weights)
    assert all(map(torch.equal, weights, step.parameters))


def test_another_process_replays_the_same_bits() -> None:
    code = """
import hashlib, sys, torch
from workbench.engine.journal import Journal
weights = [torch.linspace(-1, 1, 5000), torch.ones(17).bfloat16()]
torch.set_num_threads(2)
Journal.from_bytes(bytes.fromhex(sys.argv[1])).replay(weights)
print(hashlib.sha256(b"".join(w.view(torch.uint8).numpy().tobytes() for w in weights)).hexdigest())
"""
    journal = Journal()
    for seed in range(5):
        journal.write([seed, 2**32 - 1 - seed], [1e-3 * seed, -0.1])
    command = [sys.executable, "-c", code, journal.to_bytes().hex()]
    answers = {subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(2)}
    assert len(answers) == 1


def test_a_loss_that_is_not_finite_changes_no_weight() -> None:
    subject = Subject("mezo", "tiny-bert")
    model = subject.attached()
    step = subject.case.step(model)
    step.journal = Journal()
    step(subject.examples(), seed=0)
    before = [p.detach().clone() for p in step.parameters]
    step.loss_of = lambda model, batch: subject.case.task.loss(model, batch) * float("nan")
    assert math.isnan(float(step(subject.examples(), seed=1)))
    assert all(map(torch.equal, before, step.parameters))
    assert len(step.journal.updates) == 1


def test_bad_journals_are_refused() -> None:
    journal = Journal()
    journal.write([1, 2], [0.1, 0.2])
    with pytest.raises(BadInput, match="as in the first update"):
        journal.write([1], [0.1])
    with pytest.raises(BadInput, match="32 bits"):
        journal.write([1, 2**32], [0.1, 0.1])
    with pytest.raises(BadInput, match="cut short"):
        Journal.from_bytes(journal.to_bytes()[:-1])
    for data in (b"", b"something that is no journal at all"):
        with pytest.raises(BadInput, match="a journal"):
            Journal.from_bytes(data)
    assert Journal.from_bytes(Journal("sign").to_bytes()) == Journal("sign")
