"""The store loses nothing it acknowledged, isolates what is damaged, and finds what was finished."""

from __future__ import annotations

import dataclasses
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy.exc import IntegrityError

from workbench.core.errors import UnknownName
from workbench.records.content import content_key
from workbench.records.schema import Quantity, RunRecord, State, StepRecord
from workbench.records.store import Health, RunStore

RECORD = RunRecord(
    id="260101-aaaaaaaa",
    task="tokens",
    model="tiny-bert",
    method="lora",
    seed=0,
    state=State.DONE,
    config={"r": 8},
    steps=(StepRecord(0, 0.7, 0.1, 1000, 1e-3, {"encoder.0": 0.5}),),
    step_time=Quantity(0.1, "measured", "median"),
    score={"name": "accuracy", "value": 0.75, "count": 4, "lower_is_better": False, "details": {}},
    created="2026-01-01T00:00:00+00:00",
)

WRITER = """
import sys
from pathlib import Path
from dataclasses import replace
sys.path.insert(0, {here!r})
from test_run_store import RECORD
from workbench.records.store import RunStore
store = RunStore(Path({folder!r}))
for number in range({start}, {start} + 10_000):
    store.put(f"key-{{number}}", replace(RECORD, id=f"run-{{number}}"))
    print(number, flush=True)
"""


def test_a_record_comes_back_equal(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    store.put("key", RECORD)
    assert store.get(RECORD.id) == RECORD
    assert store.get(RECORD.id[:8]) == RECORD
    assert store.finished("key") == RECORD
    assert [line.accuracy for line in store.lines()] == [0.75]


def test_one_cell_is_stored_once(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    store.put("key", dataclasses.replace(RECORD, state=State.CANCELLED))
    assert store.finished("key") is None
    store.put("key", dataclasses.replace(RECORD, id="260101-bbbbbbbb"))
    assert [line.id for line in store.lines()] == ["260101-bbbbbbbb"]
    assert store.finished("key") is not None


def test_looking_makes_no_store(tmp_path: Path) -> None:
    store = RunStore(tmp_path / "absent")
    assert store.lines() == [] and store.damaged() == [] and list(store.records()) == []
    assert store.finished("key") is None
    with pytest.raises(UnknownName):
        store.get("x")
    assert not (tmp_path / "absent").exists()


def test_an_ambiguous_beginning_is_refused(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    store.put("a", RECORD)
    store.put("b", dataclasses.replace(RECORD, id="260101-aaaaabbb"))
    with pytest.raises(UnknownName):
        store.get("260101-aaaaa")


def test_wildcards_in_a_name_are_plain_characters(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    store.put("a", RECORD)
    for pattern in ("%", "_" * len(RECORD.id)):
        with pytest.raises(UnknownName):
            store.get(pattern)


def test_a_damaged_record_is_named_and_hides_no_other(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    for name in ("good", "bad"):
        store.put(name, dataclasses.replace(RECORD, id=name))
    for file in ("runs.sqlite", "runs-copy.sqlite"):
        with sqlite3.connect(tmp_path / file) as connection:
            connection.execute("update bodies set record = x'00' where id = 'bad'")
    assert store.damaged() == ["bad"] and store.health().damaged == ("bad",)
    assert [r.id for r in store.records()] == ["good"]
    assert store.finished("bad") is None
    assert {line.id for line in store.lines()} == {"good", "bad"}
    # The cell may be run again, and then its new record takes the place of what cannot be read.
    assert store.put("bad", dataclasses.replace(RECORD, id="again"))
    assert store.damaged() == [] and {line.id for line in store.lines()} == {"good", "again"}


def test_what_one_file_cannot_answer_for_is_read_from_the_other_and_mended(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    for number in range(5):
        store.put(f"key-{number}", dataclasses.replace(RECORD, id=f"run-{number}"))
    before = store.lines(), list(store.records())
    with sqlite3.connect(tmp_path / "runs.sqlite") as connection:
        connection.execute("update lines set accuracy = 0.99 where id = 'run-1'")
        connection.execute("update bodies set record = x'00' where id = 'run-2'")
        connection.execute("delete from lines where id = 'run-3'")
    assert (store.lines(), list(store.records())) == before
    assert store.damaged() == [] and store.finished("key-3") is not None
    assert store.health().complaints == ("runs.sqlite: 3 runs are missing or damaged in it",)
    assert "made anew" in store.mend()[0]
    assert store.health() == Health(5, (), ()) and (store.lines(), list(store.records())) == before


def test_a_file_that_is_no_database_any_more_hides_nothing(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    store.put("key", RECORD)
    store._main.close()
    for ending in ("-wal", "-shm"):
        (tmp_path / f"runs.sqlite{ending}").unlink(missing_ok=True)
    (tmp_path / "runs.sqlite").write_bytes(b"something else entirely, and rather short")
    again = RunStore(tmp_path)
    assert [line.id for line in again.lines()] == [RECORD.id] and "from its copy" in again.notice
    assert again.get(RECORD.id) == RECORD
    assert again.put("more", dataclasses.replace(RECORD, id="more"))
    assert len(again.lines()) == 2 and "runs.sqlite" in again.health().complaints[0]
    assert again.mend() and len(RunStore(tmp_path).lines()) == 2
    assert (tmp_path / "runs.sqlite.damaged-1").exists()


def test_the_first_finished_record_of_a_cell_stands(tmp_path: Path) -> None:
    """A cell that two workers ran, because one was thought dead, counts once, and what was acknowledged stays."""
    store = RunStore(tmp_path)
    assert store.put("key", RECORD)
    assert not store.put("key", dataclasses.replace(RECORD, id="260101-bbbbbbbb"))
    assert [line.id for line in store.lines()] == [RECORD.id]
    with pytest.raises(IntegrityError):  # another cell under the same id would be lost, so it is an error
        store.put("other", RECORD)


def test_the_listing_is_in_the_order_of_arrival_whatever_the_clock_said(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    for name, when in (("first", "2027-01-01"), ("second", "2025-01-01"), ("third", "2026-01-01")):
        store.put(name, dataclasses.replace(RECORD, id=name, created=when))
    assert [line.id for line in store.lines()] == ["third", "second", "first"]
    assert [line.id for line in store.lines(2)] == ["third", "second"]


def test_killed_writers_lose_nothing_acknowledged(tmp_path: Path) -> None:
    """SIGKILL in the middle of writing, three times; every acknowledged run is there and whole."""
    acknowledged: set[str] = set()
    for turn in range(3):
        code = WRITER.format(here=str(Path(__file__).parent), folder=str(tmp_path), start=turn * 10_000)
        child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=os.environ)
        assert child.stdout is not None
        first = child.stdout.readline()
        time.sleep(0.2 + 0.05 * turn)
        child.send_signal(signal.SIGKILL)
        rest, _ = child.communicate(timeout=120)
        # The last line may be torn by the kill; a line with its end was acknowledged.
        acknowledged |= {line.strip() for line in (first + rest).splitlines(keepends=True) if line.endswith("\n")}
    store = RunStore(tmp_path)
    stored = {line.id.removeprefix("run-") for line in store.lines()}
    assert len(acknowledged) > 3
    assert acknowledged <= stored
    assert store.damaged() == []
    with sqlite3.connect(tmp_path / "runs.sqlite") as connection:
        assert connection.execute("pragma integrity_check").fetchone() == ("ok",)


def test_the_key_depends_on_content_not_on_order() -> None:
    assert content_key({"a": 1, "b": [2]}) == content_key({"b": [2], "a": 1})
    assert content_key({"a": 1}) != content_key({"a": 2})
