"""The run store: SQLAlchemy on SQLite, the one truth about what has been run. Never imports torch.

WAL with synchronous FULL: a killed process loses nothing that was acknowledged. A record that cannot be
read is reported and never hides the others.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, Float, Integer, String, Text, create_engine, event, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from workbench.core import paths
from workbench.core.errors import UnknownName
from workbench.records.grid import SETTLED
from workbench.records.schema import RunRecord


class Base(DeclarativeBase):
    pass


class RunRow(Base):
    """One run. ``key`` is the content hash of everything that decides its result."""

    __tablename__ = "runs"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    key: Mapped[str] = mapped_column(String(64), unique=True)
    task: Mapped[str] = mapped_column(String(80), index=True)
    model: Mapped[str] = mapped_column(String(200))
    method: Mapped[str] = mapped_column(String(80), index=True)
    seed: Mapped[int] = mapped_column(Integer)
    state: Mapped[str] = mapped_column(String(20), index=True)
    created: Mapped[str] = mapped_column(String(40), index=True)
    accuracy: Mapped[float | None] = mapped_column(Float)
    peak: Mapped[int | None] = mapped_column(Integer)
    predicted: Mapped[int | None] = mapped_column(Integer)
    record: Mapped[str] = mapped_column(Text)
    sha256: Mapped[str] = mapped_column(String(64))


@dataclass(frozen=True)
class Line:
    """One row of a listing; cheap, the full record stays on disk."""

    id: str
    task: str
    model: str
    method: str
    seed: int
    state: str
    created: str
    accuracy: float | None
    peak: int | None
    predicted: int | None


def content_key(parts: Mapping[str, Any]) -> str:
    """SHA-256 of the sorted JSON of everything that decides a run's result."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


class RunStore:
    """Open (and make, when absent) the store in ``folder``."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or paths.runs()
        self.file = self.folder / "runs.sqlite"
        self._engine: Engine | None = None

    def _open(self) -> Engine:
        if self._engine is None:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._engine = create_engine(f"sqlite:///{self.file}", connect_args={"timeout": 20})
            event.listen(self._engine, "connect", _durable)
            Base.metadata.create_all(self._engine)
        return self._engine

    def put(self, key: str, record: RunRecord) -> None:
        """Insert, or replace the run with the same content key; committed to disk on return."""
        text = json.dumps(record.to_dict())
        row = {
            "id": record.id,
            "key": key,
            "task": record.task,
            "model": record.model,
            "method": record.method,
            "seed": record.seed,
            "state": record.state.value,
            "created": record.created,
            "accuracy": record.accuracy,
            "peak": record.measured.peak if record.measured else None,
            "predicted": record.predicted.peak if record.predicted else None,
            "record": text,
            "sha256": hashlib.sha256(text.encode()).hexdigest(),
        }
        statement = insert(RunRow).values(row)
        with Session(self._open()) as session:
            session.execute(statement.on_conflict_do_update(index_elements=["key"], set_=row))
            session.commit()

    def finished(self, key: str) -> RunRecord | None:
        """The completed run with this content key, if there is one: an unchanged cell costs nothing."""
        if not self.file.exists():
            return None
        with Session(self._open()) as session:
            row = session.scalar(select(RunRow).where(RunRow.key == key))
            if row is None or row.state not in SETTLED:
                return None
            return _read(row)

    def latest(self, key: str) -> RunRecord | None:
        """The run with this content key however it ended, if there is one that can be read."""
        if not self.file.exists():
            return None
        with Session(self._open()) as session:
            row = session.scalar(select(RunRow).where(RunRow.key == key))
            return None if row is None else _read(row)

    def lines(self, limit: int | None = None) -> list[Line]:
        """Newest first; reads no record bodies."""
        if not self.file.exists():
            return []
        columns = [getattr(RunRow, name) for name in Line.__dataclass_fields__]
        with Session(self._open()) as session:
            rows = session.execute(select(*columns).order_by(RunRow.created.desc()).limit(limit))
            return [Line(*row) for row in rows]

    def get(self, run: str) -> RunRecord:
        """One record by id or unambiguous beginning of it; raises ``UnknownName``."""
        if not self.file.exists():
            raise UnknownName("run", run, [])
        with Session(self._open()) as session:
            rows = session.scalars(select(RunRow).where(RunRow.id.startswith(run, autoescape=True))).all()
            record = _read(rows[0]) if len(rows) == 1 else None
        if record is None:
            raise UnknownName("run", run, [line.id for line in self.lines(50)])
        return record

    def delete(self, run: str) -> None:
        record = self.get(run)
        with Session(self._open()) as session:
            row = session.get(RunRow, record.id)
            session.delete(row)
            session.commit()

    def records(self) -> Iterator[RunRecord]:
        """Every readable record, newest first."""
        if not self.file.exists():
            return
        with Session(self._open()) as session:
            for row in session.scalars(select(RunRow).order_by(RunRow.created.desc())):
                record = _read(row)
                if record is not None:
                    yield record

    def damaged(self) -> list[str]:
        """Ids of records whose stored bytes no longer match their hash or cannot be read."""
        if not self.file.exists():
            return []
        with Session(self._open()) as session:
            return [row.id for row in session.scalars(select(RunRow)) if _read(row) is None]


def _read(row: RunRow) -> RunRecord | None:
    if hashlib.sha256(row.record.encode()).hexdigest() != row.sha256:
        return None
    try:
        return RunRecord.from_dict(json.loads(row.record))
    except (KeyError, TypeError, ValueError):
        return None


def _durable(connection: Any, _: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()
