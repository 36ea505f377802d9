"""The directory's first schema. What each table is for stands in ``directory/schema.py``."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

BIG = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Create all tables."""
    _create_volumes()
    _create_photos()
    _create_events()


def _create_volumes() -> None:
    op.create_table(
        "stores",
        sa.Column("store", sa.String(255), primary_key=True),
        sa.Column("url", sa.Text),
        sa.Column("free_bytes", BIG, nullable=False),
        sa.Column("capacity_bytes", BIG, nullable=False),
        sa.Column("seen_at_ms", BIG, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "volumes",
        sa.Column("volume", BIG, primary_key=True, autoincrement=False),
        sa.Column("next_sequence", BIG, nullable=False),
        sa.Column("writable", sa.Boolean, nullable=False),
        sa.Column("sealed", sa.Boolean, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("created_at_ms", BIG, nullable=False),
    )
    op.create_table(
        "placements",
        sa.Column("volume", BIG, primary_key=True, autoincrement=False),
        sa.Column("store", sa.String(255), primary_key=True),
        sa.Column("size_bytes", BIG, nullable=False),
        sa.Column("needles", BIG, nullable=False),
        sa.Column("failure", sa.Text),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "leases",
        sa.Column("holder", sa.String(255), primary_key=True),
        sa.Column("volume", BIG, nullable=False),
        sa.Column("leased_at_ms", BIG, nullable=False),
        sqlite_with_rowid=False,
    )


def _create_photos() -> None:
    op.create_table(
        "photos",
        sa.Column("photo", BIG, primary_key=True, autoincrement=False),
        sa.Column("status", sa.SmallInteger, nullable=False),
        sa.Column("alternate_key", sa.SmallInteger, nullable=False),
        sa.Column("cookie", BIG, nullable=False),
        sa.Column("size", BIG, nullable=False),
        sa.Column("sha256", sa.LargeBinary(32), nullable=False),
        sa.Column("media_type", sa.Text, nullable=False),
        sa.Column("width", sa.Integer, nullable=False),
        sa.Column("height", sa.Integer, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("created_at_ms", BIG, nullable=False),
        sa.Column("duplicate_of", BIG),
        sa.Column("is_first", sa.Boolean, nullable=False),
    )
    op.create_index("photos_by_status", "photos", ["status", "created_at_ms", "photo"])
    op.create_index("photos_by_media_type", "photos", ["status", "media_type", "created_at_ms", "photo"])
    op.create_index(
        "photos_by_digest", "photos", ["sha256", "status", "is_first", "created_at_ms", "photo"]
    )
    op.create_table(
        "counts",
        sa.Column("status", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("media_type", sa.Text, primary_key=True),
        sa.Column("day", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("photos", BIG, nullable=False),
        sa.Column("bytes", BIG, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "idempotency",
        sa.Column("key", sa.String(255), primary_key=True),
        sa.Column("photo", BIG, nullable=False),
        sa.Column("created_at_ms", BIG, nullable=False),
        sqlite_with_rowid=False,
    )


def _create_events() -> None:
    counters = op.create_table(
        "counters",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("value", BIG, nullable=False),
        sqlite_with_rowid=False,
    )
    op.bulk_insert(counters, [{"name": "event", "value": 0}])
    op.create_table(
        "events",
        sa.Column("position", BIG, primary_key=True, autoincrement=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("photo", BIG, nullable=False),
        sa.Column("at_ms", BIG, nullable=False),
        sa.Column("payload", sa.Text),
    )
    op.create_table(
        "consumers",
        sa.Column("name", sa.String(255), primary_key=True),
        sa.Column("position", BIG, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "parked",
        sa.Column("consumer", sa.String(255), primary_key=True),
        sa.Column("position", BIG, primary_key=True, autoincrement=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("times", sa.Integer, nullable=False),
        sa.Column("parked_at_ms", BIG, nullable=False),
        sa.Column("due", sa.Boolean, nullable=False),
        sqlite_with_rowid=False,
    )
