"""What photos' files say about them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

BIG = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "photo_details",
        sa.Column("photo", BIG, primary_key=True, autoincrement=False),
        sa.Column("details", sa.Text, nullable=False),
    )
