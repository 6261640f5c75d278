"""Files of a database that are damaged: how one is told, and where it is kept."""

from __future__ import annotations

import sqlite3
from pathlib import Path


def damage_of(file: Path, wait: float = 20.0) -> str:
    """What SQLite's quick check finds wrong with a file; empty when nothing is, or when there is no file."""
    if not file.exists():
        return ""
    connection = sqlite3.connect(file, timeout=wait)
    try:
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        return "" if found == "ok" else str(found).splitlines()[-1]
    except sqlite3.OperationalError:  # in use or out of reach, which is no damage
        return ""
    except sqlite3.DatabaseError as error:
        return str(error)
    finally:
        connection.close()


def put_aside(file: Path) -> str:
    """Give a database's files a name under which they are kept but never used; that name. Nobody may have it open."""
    number = next(n for n in range(1, 10_000) if not file.with_name(f"{file.name}.damaged-{n}").exists())
    aside = file.with_name(f"{file.name}.damaged-{number}")
    for ending in ("", "-wal", "-shm"):
        if file.with_name(file.name + ending).exists():
            file.with_name(file.name + ending).replace(aside.with_name(aside.name + ending))
    return aside.name
