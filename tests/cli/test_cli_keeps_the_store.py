"""`pintpot doctor` finds what is damaged, mends it from the copy and exports it; `pintpot runs` lists on."""

from __future__ import annotations

import csv
import dataclasses
import json
import sqlite3
from pathlib import Path

import pytest

from workbench.core.errors import BadInput
from workbench.records.export import export
from workbench.records.schema import RunRecord, State
from workbench.records.store import RunStore

RUN = RunRecord(
    "run-0", "tokens", "tiny-bert", "lora", 0, State.DONE, {"r": 8}, created="2026-01-01T00:00:00+00:00",
    score={"name": "accuracy", "value": 0.75, "count": 4, "lower_is_better": False, "details": {}},
)  # fmt: skip


@pytest.fixture
def store(folders) -> RunStore:
    made = RunStore()
    for number in range(3):
        made.put(f"key-{number}", dataclasses.replace(RUN, id=f"run-{number}", seed=number))
    return made


def test_a_damaged_file_is_named_listed_from_its_copy_and_mended(store: RunStore, pintpot) -> None:
    with sqlite3.connect(store.file) as connection:
        connection.execute("update lines set accuracy = 1 where id = 'run-1'")
    listed = pintpot("runs", "--json")
    assert listed.code == 0
    assert [(run["id"], run["accuracy"]) for run in json.loads(listed.out)] == [
        ("run-2", 0.75), ("run-1", 0.75), ("run-0", 0.75),
    ]  # fmt: skip
    found = {f["what"]: f for f in json.loads(pintpot("doctor", "--json").out)}["runs"]
    assert found["level"] == "problem" and "all 3 runs are there" in found["text"] and "--mend" in found["text"]
    assert "made anew" in pintpot("doctor", "--mend").out
    assert "nothing to mend" in pintpot("doctor", "--mend").out
    found = {f["what"]: f for f in json.loads(pintpot("doctor", "--json").out)}["runs"]
    assert (found["level"], found["text"]) == ("ok", "3 runs")


def test_what_no_file_holds_any_more_is_named_and_the_store_begins_anew(store: RunStore, pintpot) -> None:
    files = [store.file, store.folder / "runs-copy.sqlite"]
    for file in files:
        with sqlite3.connect(file) as connection:
            connection.execute("update bodies set record = x'00' where id = 'run-1'")
    assert "no longer listed: run-1" in pintpot("doctor", "--mend").out
    for file in (*store.folder.glob("runs*.sqlite*"), store.folder / "sweeps.sqlite"):
        file.write_bytes(b"no database" * 1000)
    found = {f["what"]: f for f in json.loads(pintpot("doctor", "--json").out)}
    assert "--mend" in found["runs"]["text"] and found["sweeps"]["level"] == "warning"
    said = pintpot("doctor", "--mend").out
    assert "no run could be read" in said and "sweeps.sqlite is kept as" in said
    assert pintpot("runs", "--json").code == 0 and RunStore().put("key-9", RUN)


def test_runs_are_exported_whole_and_nothing_is_overwritten(store: RunStore, tmp_path: Path) -> None:
    assert export(store, tmp_path / "all.json") == export(store, tmp_path / "all.csv") == 3
    records = [RunRecord.from_dict(raw) for raw in json.loads((tmp_path / "all.json").read_text())]
    assert records == list(store.records())
    with (tmp_path / "all.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["id"], row["score"], row["setting r"], row["accumulate"]) for row in rows] == [
        (f"run-{n}", "0.75", "8", "1") for n in (2, 1, 0)
    ]
    for name in ("all.json", "all.xml"):
        with pytest.raises(BadInput, match="export"):
            export(store, tmp_path / name)
    assert sorted(f.name for f in tmp_path.glob("all*")) == ["all.csv", "all.json"]
