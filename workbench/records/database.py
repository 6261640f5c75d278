"""Opening the database of a store: durable settings, and the newest version of the tables.

Each version is a migration for Alembic beside this file. A new store is made at once in the newest form, which a test
holds equal to the one that the migrations lead to.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock
from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.exc import ArgumentError

from workbench.core.errors import BadInput, ResourceMissing
from workbench.records.tables import SCHEMA, Base

VERSIONS = ("0001", SCHEMA)
WAIT = 20  #: seconds that a writer waits for another one
_MIGRATIONS = Path(__file__).parent / "migrations"
#: Of our own name: in a server's database Optuna keeps its version in Alembic's usual table.
_VERSION = "pintpot_version"
_ADVISORY = 0x70696E74  #: number of the lock that servers hold while they make or change the tables


class Unreadable(Exception):
    """The database itself is damaged, so that what it says is not to be believed; the text says how."""


def opened(url: str) -> Engine:
    """An engine on ``url`` (``sqlite:///FILE`` or ``postgresql+psycopg://...``) whose tables are of the newest version.

    Raises ``ResourceMissing`` without the server's driver and ``Unreadable`` for a version that is not known here.
    """
    if url.startswith("sqlite:///"):
        file = Path(url.removeprefix("sqlite:///"))
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        engine = create_engine(url, connect_args={"timeout": WAIT})
        event.listen(engine, "connect", durable)
    elif url.startswith("postgresql"):
        engine = _server(url)
    else:
        raise _no_store(url)
    if _version(engine) != SCHEMA:
        _bring_up(engine)
    return engine


def durable(connection: Any, _: Any) -> None:
    """What is committed is on disk: a write-ahead log, flushed at every commit."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    if cursor.fetchone()[0] != "wal":
        raise ResourceMissing("the run store's folder cannot hold a write-ahead log; set PINTPOT_RUNS to a local disk")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()


def _no_store(url: str) -> BadInput:
    """Of the URL only its kind is repeated: the rest may hold a password."""
    expected = "sqlite:///FILE or postgresql+psycopg://USER:PASSWORD@HOST:PORT/DATABASE"
    return BadInput("PINTPOT_STORE", f"{url.split(':')[0]}:...", expected)


def _server(url: str) -> Engine:
    try:
        return create_engine(url, pool_pre_ping=True)
    except (ArgumentError, ValueError):  # no URL, no port, or no driver of that name
        raise _no_store(url) from None
    except ImportError:
        raise ResourceMissing("a PostgreSQL store needs its driver; run: pip install 'pintpot[postgres]'") from None


def _version(engine: Engine) -> str | None:
    """The version of the tables; ``None`` for a database without any, or made before they were counted."""
    with engine.connect() as connection:
        if not inspect(connection).has_table(_VERSION):
            return None
        found: str | None = connection.execute(text(f"select version_num from {_VERSION}")).scalar()
        return found


def _bring_up(engine: Engine) -> None:
    with alone(engine) as connection:
        tables = set(inspect(connection).get_table_names())
        version = connection.execute(text(f"select version_num from {_VERSION}")).scalar() if _VERSION in tables else ""
        if version == SCHEMA:  # another process was quicker
            return
        if version and version not in VERSIONS:
            raise Unreadable(f"a newer pintpot made it (version {version}); this one knows {SCHEMA}")
        if version or "runs" in tables:
            _backup(engine, version or VERSIONS[0])
            _migrate(connection, version or VERSIONS[0])
            return
        # A process that was killed here before may have left some of it.
        Base.metadata.create_all(connection)
        connection.execute(
            text(f"create table if not exists {_VERSION} (version_num varchar(32) not null primary key)")
        )
        connection.execute(text(f"insert into {_VERSION} values ('{SCHEMA}')"))


@contextmanager
def alone(engine: Engine) -> Iterator[Connection]:
    """A transaction while no other process makes or changes tables in that database."""
    if engine.dialect.name == "sqlite":
        with FileLock(f"{engine.url.database}.lock"), engine.begin() as connection:
            yield connection
        return
    with engine.begin() as connection:
        connection.execute(text(f"select pg_advisory_xact_lock({_ADVISORY})"))
        yield connection


def _migrate(connection: Connection, version: str) -> None:
    import logging

    from alembic import command
    from alembic.config import Config

    logging.getLogger("alembic").setLevel(logging.WARNING)
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes.update(connection=connection, version_table=_VERSION)
    if version == VERSIONS[0]:
        command.stamp(config, version)
    command.upgrade(config, SCHEMA)


def _backup(engine: Engine, version: str) -> None:
    """Before tables change, the file as it was stays beside it."""
    if engine.dialect.name != "sqlite" or engine.url.database is None:
        return
    kept = Path(f"{engine.url.database}.version-{version}")
    if not kept.exists():
        with sqlite3.connect(engine.url.database) as source, sqlite3.connect(kept) as target:
            source.backup(target)
        kept.chmod(0o600)
