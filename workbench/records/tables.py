"""The two tables of a run store: short lines for listings, and the whole records they stand for.

Every line carries a checksum of itself and the hash of its record, so that no flipped bit passes for a result.
``SCHEMA`` names the newest version; older stores are brought up to it when they are opened.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from dataclasses import replace
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Float, Integer, LargeBinary, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from workbench.core.redaction import redacted
from workbench.records.schema import RunRecord

SCHEMA = "0002"

#: SQLite numbers rows by itself only in columns of this type.
_SEQUENCE = BigInteger().with_variant(Integer, "sqlite")


class Base(DeclarativeBase):
    pass


class LineRow(Base):
    """One run, in the order of arrival. ``key`` is the content hash of everything that decides its result."""

    __tablename__ = "lines"

    sequence: Mapped[int] = mapped_column(_SEQUENCE, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(64), unique=True)
    key: Mapped[str] = mapped_column(String(64), unique=True)
    task: Mapped[str] = mapped_column(String(80))
    model: Mapped[str] = mapped_column(String(200))
    method: Mapped[str] = mapped_column(String(80))
    seed: Mapped[int] = mapped_column(BigInteger)
    state: Mapped[str] = mapped_column(String(20))
    created: Mapped[str] = mapped_column(String(40))
    accuracy: Mapped[float | None] = mapped_column(Float(53))
    peak: Mapped[int | None] = mapped_column(BigInteger)
    predicted: Mapped[int | None] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))
    checksum: Mapped[int] = mapped_column(BigInteger)


class BodyRow(Base):
    """The record of a line: compressed JSON."""

    __tablename__ = "bodies"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    record: Mapped[bytes] = mapped_column(LargeBinary)


class Line(NamedTuple):
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


#: Columns of a line that its checksum is of, in order.
CHECKED = (
    "id",
    "key",
    "task",
    "model",
    "method",
    "seed",
    "state",
    "created",
    "accuracy",
    "peak",
    "predicted",
    "sha256",
)


def checksum(values: tuple[Any, ...]) -> int:
    """Of the values of ``CHECKED``, as they come out of the store."""
    return zlib.crc32(repr(values).encode())


def rows_of(key: str, record: RunRecord) -> tuple[dict[str, Any], dict[str, Any]]:
    """A record as a line and a body."""
    # Errors of libraries and folders of models are texts of others; what they say of this machine stays here.
    record = replace(record, reason=redacted(record.reason), model=redacted(record.model))
    text = json.dumps(record.to_dict()).encode()
    line: dict[str, Any] = {
        "id": record.id,
        "key": key,
        "task": record.task,
        "model": record.model,
        "method": record.method,
        "seed": record.seed,
        "state": record.state.value,
        "created": record.created,
        "accuracy": None if record.accuracy is None else float(record.accuracy),
        "peak": record.measured.peak if record.measured else None,
        "predicted": record.predicted.peak if record.predicted else None,
        "sha256": hashlib.sha256(text).hexdigest(),
    }
    line["checksum"] = checksum(tuple(line[name] for name in CHECKED))
    return line, {"id": record.id, "record": zlib.compress(text, 1)}


def record_of(body: bytes, sha256: str) -> RunRecord | None:
    """The record in a body; ``None`` when it is not the one that was stored."""
    try:
        text = zlib.decompress(body)
        if hashlib.sha256(text).hexdigest() != sha256:
            return None
        return RunRecord.from_dict(json.loads(text))
    except (zlib.error, KeyError, TypeError, ValueError):
        return None
