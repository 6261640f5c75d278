"""One table, the record as text in the row."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0001", None


def upgrade() -> None:
    op.create_table(
        "runs",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("key", sa.String(64), nullable=False, unique=True),
        sa.Column("task", sa.String(80), nullable=False, index=True),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("method", sa.String(80), nullable=False, index=True),
        sa.Column("seed", sa.Integer, nullable=False),
        sa.Column("state", sa.String(20), nullable=False, index=True),
        sa.Column("created", sa.String(40), nullable=False, index=True),
        sa.Column("accuracy", sa.Float),
        sa.Column("peak", sa.Integer),
        sa.Column("predicted", sa.Integer),
        sa.Column("record", sa.Text, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
    )
