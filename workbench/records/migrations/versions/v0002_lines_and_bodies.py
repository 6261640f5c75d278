"""Lines with checksums in the order of arrival; bodies compressed and apart, so that a listing reads no record.

A record that was damaged before stays so, and is reported: its hash goes along as it was.
"""

import zlib

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0002", "0001"

_SEQUENCE = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_CHECKED = (
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


def upgrade() -> None:
    lines = op.create_table(
        "lines",
        sa.Column("sequence", _SEQUENCE, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(64), nullable=False, unique=True),
        sa.Column("key", sa.String(64), nullable=False, unique=True),
        sa.Column("task", sa.String(80), nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("method", sa.String(80), nullable=False),
        sa.Column("seed", sa.BigInteger, nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("created", sa.String(40), nullable=False),
        sa.Column("accuracy", sa.Float(53)),
        sa.Column("peak", sa.BigInteger),
        sa.Column("predicted", sa.BigInteger),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("checksum", sa.BigInteger, nullable=False),
    )
    bodies = op.create_table(
        "bodies",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("record", sa.LargeBinary, nullable=False),
    )
    connection = op.get_bind()
    old = sa.table("runs", *(sa.column(name) for name in (*_CHECKED, "record")))
    for key in connection.scalars(sa.select(old.c.key).order_by(old.c.created)).all():
        row = connection.execute(sa.select(old).where(old.c.key == key)).mappings().one()
        line = {name: row[name] for name in _CHECKED}
        line["checksum"] = zlib.crc32(repr(tuple(line.values())).encode())
        connection.execute(lines.insert().values(line))
        connection.execute(bodies.insert().values(id=row["id"], record=zlib.compress(row["record"].encode(), 1)))
    op.drop_table("runs")
