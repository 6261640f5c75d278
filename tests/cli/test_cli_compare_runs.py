"""Two stored runs beside each other on the command line."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "figures"))
import synthetic

from workbench.records.store import RunStore


@pytest.fixture
def stored(folders) -> list[str]:
    store = RunStore(folders.root / "runs")
    for record in (synthetic.run("lora", 0), synthetic.run("lora", 1)):
        store.put(record.id, record)
    return ["synthetic-lora-0", "synthetic-lora-1"]


def test_only_what_differs_is_listed_until_all_is_asked_for(pintpot, stored) -> None:
    outcome = pintpot("runs", "compare", *stored)
    assert outcome.code == 0 and "They differ in seed." in outcome.out
    assert "measured peak" not in outcome.out and "accuracy" in outcome.out
    assert "measured peak" in pintpot("runs", "compare", "--all", *stored).out


def test_json_holds_every_fact(pintpot, stored) -> None:
    rows = json.loads(pintpot("runs", "compare", "--json", *stored).out)
    seed = next(row for row in rows if row["fact"] == "seed")
    assert seed == {
        "section": "question", "fact": "seed", "lora, seed 0": "0", "lora, seed 1": "1", "differs": True,
    }  # fmt: skip


def test_one_run_and_an_unknown_run_are_refused_in_a_sentence(pintpot, stored) -> None:
    outcome = pintpot("runs", "compare", stored[0])
    assert outcome.code == 2 and "at least two runs" in outcome.err
    outcome = pintpot("runs", "compare", stored[0], "synthetic-lora-7")
    assert outcome.code == 2 and "synthetic-lora-1" in outcome.err
