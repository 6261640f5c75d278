"""One database that holds runs. It answers what it can read and says when it cannot; see ``store`` for two of them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, NamedTuple, cast

from sqlalchemy import Connection, Engine, Table, and_, delete, func, or_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DatabaseError, OperationalError

from workbench.core.errors import ResourceMissing
from workbench.records.database import Unreadable, opened
from workbench.records.schema import FINISHED
from workbench.records.tables import CHECKED, BodyRow, Line, LineRow, checksum

_LINES, _BODIES = cast(Table, LineRow.__table__), cast(Table, BodyRow.__table__)
_CHECKED = tuple(_LINES.c[name] for name in CHECKED)


_QUERY = select(_LINES.c.sequence, *_CHECKED, _LINES.c.checksum)


class Kept(NamedTuple):
    """A line as it lies in a database: ``values`` in the order of ``CHECKED``. ``sound`` when its checksum holds."""

    sequence: int
    values: tuple[Any, ...]
    checksum: int
    sound: bool

    @property
    def id(self) -> str:
        return str(self.values[0])

    @property
    def key(self) -> str:
        return str(self.values[1])

    @property
    def finished(self) -> bool:
        return self.values[6] in FINISHED

    @property
    def line(self) -> Line:
        """As a listing shows it: without key and hash."""
        return Line(self.values[0], *self.values[2:11])

    def row(self) -> dict[str, Any]:
        return {**dict(zip(CHECKED, self.values, strict=True)), "checksum": self.checksum}


class Shelf:
    """Runs in the database at ``url``, opened (and made, when absent) at the first question."""

    def __init__(self, url: str) -> None:
        self.url = url

    @cached_property
    def engine(self) -> Engine:
        return opened(self.url)

    def close(self) -> None:
        """Let go of the files."""
        if "engine" in self.__dict__:
            self.engine.dispose()
            del self.__dict__["engine"]

    def put(self, line: dict[str, Any], body: dict[str, Any], instead: str = "") -> bool:
        """Keep a run unless one of its key is finished already; whether it was kept. On disk on return.

        A run of the key that is not finished is replaced, and so is the one with the id ``instead``, and the same run
        of which more is known now.
        """
        same = _LINES.c.id.in_([line["id"], instead])
        replaced = and_(_LINES.c.key == line["key"], or_(_LINES.c.state.not_in(FINISHED), same))
        their_bodies = _BODIES.c.id.in_(select(_LINES.c.id).where(replaced))
        with _told(), self.engine.begin() as connection:
            insertion = _inserting(self.engine, _LINES).on_conflict_do_nothing(index_elements=["key"])
            # A writing statement first: a transaction that began by reading could not wait for another writer.
            connection.execute(delete(_BODIES).where(their_bodies))
            connection.execute(delete(_LINES).where(replaced))
            if connection.scalar(insertion.values(line).returning(_LINES.c.sequence)) is None:
                return False
            # A body without a line may lie there where the line was lost to damage.
            instead_of = _inserting(self.engine, _BODIES).values(body)
            connection.execute(instead_of.on_conflict_do_update(index_elements=["id"], set_=body))
        return True

    def total(self) -> tuple[int, int]:
        """How many lines, and the sum of their checksums: equal for two shelves with the same runs."""
        with _told(), self.engine.connect() as connection:
            count, total = connection.execute(select(func.count(), func.sum(_LINES.c.checksum))).one()
        return int(count), int(total or 0)

    def lines(self, limit: int | None = None) -> list[Kept]:
        """Newest first."""
        return self._kept(_QUERY.order_by(_LINES.c.sequence.desc()).limit(limit))

    def beginning(self, run: str) -> list[Kept]:
        """Lines whose id begins so."""
        return self._kept(_QUERY.where(_LINES.c.id.startswith(run, autoescape=True)))

    def of_key(self, key: str) -> Kept | None:
        return next(iter(self._kept(_QUERY.where(_LINES.c.key == key))), None)

    def _kept(self, query: Any) -> list[Kept]:
        with _told(), self.engine.connect() as connection:
            try:
                rows = connection.execute(query).all()
            except OperationalError as error:
                if "decode" not in str(error.orig):
                    raise
                # Text that is no text any more is damage in one row, which its checksum tells; the others are read.
                rows = _read_leniently(connection, query)
            return [Kept(row[0], row[1:-1], row[-1], checksum(row[1:-1]) == row[-1]) for row in rows]

    def states(self) -> Iterator[tuple[str, str]]:
        """Key and state of every run."""
        with _told(), self.engine.connect() as connection:
            yield from (tuple(row) for row in connection.execute(select(_LINES.c.key, _LINES.c.state)))

    def body(self, run: str) -> bytes | None:
        with _told(), self.engine.connect() as connection:
            found = connection.scalar(select(_BODIES.c.record).where(_BODIES.c.id == run))
            return found if isinstance(found, bytes) else None

    def delete(self, run: str) -> None:
        with _told(), self.engine.begin() as connection:
            connection.execute(delete(_LINES).where(_LINES.c.id == run))
            connection.execute(delete(_BODIES).where(_BODIES.c.id == run))

    def complaint(self) -> str:
        """What the database's own check finds wrong; empty when nothing is."""
        try:
            with _told(), self.engine.connect() as connection:
                if self.engine.dialect.name != "sqlite":
                    return ""
                found = [row[0] for row in connection.exec_driver_sql("PRAGMA integrity_check(5)")]
                return "" if found == ["ok"] else str(found[0]).splitlines()[-1]
        except Unreadable as error:
            return str(error)


def _read_leniently(connection: Connection, query: Any) -> Sequence[Any]:
    raw: Any = connection.connection.dbapi_connection
    raw.text_factory = lambda text: text.decode(errors="replace")
    try:
        return connection.execute(query).all()
    finally:
        raw.text_factory = str


def _inserting(engine: Engine, table: Table) -> Any:
    return (postgresql if engine.dialect.name == "postgresql" else sqlite).insert(table)


#: What SQLite says when the disk has no room.
_FULL = ("database or disk is full", "disk i/o error", "no space left", "file too large", "readonly database")
_TAKEN = "unique constraint failed: lines.id"


@contextmanager
def _told() -> Iterator[None]:
    """A database's errors as ours: no room or a lock that stays is ``ResourceMissing``, damage is ``Unreadable``.

    As what we ask is always the same, SQLite refuses it only when the file is not what it was.
    """
    try:
        yield
    except (DatabaseError, TypeError, ValueError) as error:
        original = getattr(error, "orig", error)
        words = str(original).splitlines()[0]
        small = words.lower()
        if any(word in small for word in _FULL):
            raise ResourceMissing(f"no room for the run store ({words}); what was stored is intact") from None
        if "locked" in small:
            raise ResourceMissing("another process has kept the run store locked for 20 s; run again") from None
        if "connect" in small:
            raise ResourceMissing("the database server that PINTPOT_STORE names cannot be reached") from None
        if isinstance(original, sqlite3.Error | TypeError | ValueError) and _TAKEN not in small:
            raise Unreadable(words) from None
        raise
