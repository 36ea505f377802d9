"""Which of the directories on one database is the primary."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

BIG = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "leadership",
        sa.Column("office", sa.String(64), primary_key=True),
        sa.Column("term", BIG, nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("expires_at_ms", BIG, nullable=False),
        sqlite_with_rowid=False,
    )
