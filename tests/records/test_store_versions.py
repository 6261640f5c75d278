"""A store of an earlier version is brought up to the present one, with a copy of it as it was."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sqlite3
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine
from test_run_store import RECORD

from workbench.core.errors import BadInput, ResourceMissing
from workbench.figures.groups import group
from workbench.records.database import opened
from workbench.records.schema import RunRecord
from workbench.records.store import RunStore
from workbench.records.tables import SCHEMA, Base

#: As the first version made it, before versions were counted.
FIRST = """
CREATE TABLE runs (
 id VARCHAR(64) NOT NULL, "key" VARCHAR(64) NOT NULL, task VARCHAR(80) NOT NULL, model VARCHAR(200) NOT NULL,
 method VARCHAR(80) NOT NULL, seed INTEGER NOT NULL, state VARCHAR(20) NOT NULL, created VARCHAR(40) NOT NULL,
 accuracy FLOAT, peak INTEGER, predicted INTEGER, record TEXT NOT NULL, sha256 VARCHAR(64) NOT NULL,
 PRIMARY KEY (id), UNIQUE ("key"))
"""


def _first_version(folder: Path, count: int) -> None:
    with sqlite3.connect(folder / "runs.sqlite") as connection:
        connection.execute(FIRST)
        for number in range(count):
            raw = dataclasses.replace(RECORD, id=f"run-{number}", created=f"2026-01-{number + 1:02}").to_dict()
            for name in ("notes", "accumulate"):  # fields that the first version did not have
                raw.pop(name)
            raw["schema"] = 1
            text = json.dumps(raw)
            digest = hashlib.sha256(text.encode()).hexdigest()
            row = (
                raw["id"],
                f"key-{number}",
                "tokens",
                "tiny-bert",
                "lora",
                0,
                "done",
                raw["created"],
                0.75,
                None,
                None,
            )
            connection.execute(f"insert into runs values ({','.join('?' * 13)})", (*row, text, digest))
        connection.execute("update runs set record = replace(record, '0.75', '0.99') where id = 'run-2'")
    connection.close()


def test_runs_of_the_first_version_are_all_there_and_damage_stays_named(tmp_path: Path) -> None:
    _first_version(tmp_path, 4)
    store = RunStore(tmp_path)
    assert [line.id for line in store.lines()] == ["run-3", "run-2", "run-1", "run-0"]
    assert store.damaged() == ["run-2"] and store.finished("key-2") is None
    assert store.get("run-1") == dataclasses.replace(RECORD, id="run-1", created="2026-01-02", schema=1)
    assert store.put("new", dataclasses.replace(RECORD, id="new"))
    assert RunStore(tmp_path).lines(1)[0].id == "new"
    with sqlite3.connect(tmp_path / "runs.sqlite.version-0001") as kept:
        assert kept.execute("select count(*) from runs").fetchone() == (4,)


def test_records_from_before_accumulation_was_told_are_all_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tables are of this version; what lies in them was written by one whose records had no such field."""
    written = RunRecord.to_dict
    with monkeypatch.context() as before:
        before.setattr(
            RunRecord,
            "to_dict",
            lambda self: {n: v for n, v in written(self).items() if n != "accumulate"} | {"schema": 1},
        )
        old = RunStore(tmp_path)
        for number in range(3):
            assert old.put(f"key-{number}", dataclasses.replace(RECORD, id=f"run-{number}", seed=number, batch=8))
    store = RunStore(tmp_path)
    assert [line.id for line in store.lines()] == ["run-2", "run-1", "run-0"] and not store.damaged()
    assert store.finished("key-1") is not None, "a finished cell stays finished"
    assert store.put("key-3", dataclasses.replace(RECORD, id="run-3", seed=3, batch=8))
    assert store.put("key-4", dataclasses.replace(RECORD, id="run-4", seed=0, batch=8, accumulate=2))
    assert [(r.schema, r.accumulate, r.examples) for r in RunStore(tmp_path).records()] == [
        (2, 2, 16), (2, 1, 8), (1, 1, 8), (1, 1, 8), (1, 1, 8),
    ]  # fmt: skip
    assert [len(g.runs) for g in group(list(store.records()))] == [1, 4], "old runs stand with new ones of one batch"


def test_migrations_lead_to_the_tables_that_a_new_store_has(tmp_path: Path) -> None:
    _first_version(tmp_path, 0)
    old = opened(f"sqlite:///{tmp_path / 'runs.sqlite'}")
    new = opened(f"sqlite:///{tmp_path / 'new.sqlite'}")
    for engine in (old, new):
        with engine.connect() as connection:
            here = MigrationContext.configure(connection, opts={"version_table": "pintpot_version"})
            differences = compare_metadata(here, Base.metadata)
            assert differences == []
            assert connection.exec_driver_sql("select version_num from pintpot_version").scalar() == SCHEMA
            assert connection.exec_driver_sql("pragma synchronous").scalar() == 2
            assert connection.exec_driver_sql("pragma journal_mode").scalar() == "wal"


def test_a_store_of_a_newer_version_is_refused_untouched(tmp_path: Path) -> None:
    RunStore(tmp_path).put("key", RECORD)
    for file in ("runs.sqlite", "runs-copy.sqlite"):
        with create_engine(f"sqlite:///{tmp_path / file}").begin() as connection:
            connection.exec_driver_sql("update pintpot_version set version_num = '9999'")
    with pytest.raises(ResourceMissing, match="newer pintpot"):
        RunStore(tmp_path).lines()


def test_a_url_of_another_kind_is_refused() -> None:
    with pytest.raises(BadInput, match="postgresql"):
        opened("mysql://root@localhost/runs")
