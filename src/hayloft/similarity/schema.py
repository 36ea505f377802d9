"""Similarity's own tables, in SQLAlchemy Core, the same for SQLite and PostgreSQL.

They are the truth; every index in memory or on disk is a projection of them and can be made again. Photos
with the same bytes are *twins*: the first one seen is their original and alone carries fingerprints and
links to other photos, the others a single ``duplicate`` link to it. Each pair of photos has at most one
link, the strongest that was found. A photo once forgotten stays here as a row without contents, so that
an event that comes late cannot bring it back. Times are milliseconds since the Unix epoch.

In PostgreSQL there is one table more, ``vectors`` (``pgvectors``): the embedders' fingerprints once
more, in a type that can be searched. It follows ``fingerprints`` in the same transactions.

A change here needs a revision in ``migrations/versions``; a test compares the two.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    false,
)

from hayloft.database.columns import BIG

metadata: Final = MetaData()


class State(IntEnum):
    """What became of a photo."""

    INDEXED = 0
    UNDECODABLE = 1
    """No image that can be decoded within the limits: recorded, linked by its bytes, never tried again."""
    FORGOTTEN = 2
    """Deleted. Nothing but the id is kept."""


photos: Final = Table(
    "seen_photos",
    metadata,
    Column("photo", BIG, primary_key=True, autoincrement=False),
    Column("state", SmallInteger, nullable=False),
    # The event that brought it: smaller is older. Ids do not tell, volumes fill side by side.
    Column("position", BIG, nullable=False),
    Column("sha256", LargeBinary(32)),
    # The twin that carries the fingerprints; null for a photo that is its own original.
    Column("original", BIG),
    # The smallest id of the photos that are the same as this one; null when it is alone.
    Column("group_id", BIG),
    Column("width", Integer, nullable=False, default=0),
    Column("height", Integer, nullable=False, default=0),
    Column("size_bytes", BIG, nullable=False, default=0),
    Column("sharpness", Float, nullable=False, default=0.0),
    Column("reason", Text, nullable=False, default=""),
    Column("seen_at_ms", BIG, nullable=False),
    Index("photos_sha256", "sha256", "original"),
    Index("photos_state", "state", "photo"),
    Index("photos_original", "original"),
    Index("photos_group", "group_id", "photo"),
)
"""Every photo that an event has told of."""

fingerprints: Final = Table(
    "fingerprints",
    metadata,
    # Numbers the fingerprints in the order they were recorded: an index on disk remembers how far it goes.
    Column("change", BIG, primary_key=True, autoincrement=True),
    Column("method", String(128), nullable=False),
    Column("photo", BIG, nullable=False),
    Column("quality", Float, nullable=False),
    Column("data", LargeBinary, nullable=False),
    Index("fingerprints_photo", "photo", "method", unique=True),
    Index("fingerprints_method", "method", "change"),
    sqlite_autoincrement=True,
)
"""What each method keeps of each original, embeddings included."""

removals: Final = Table(
    "removals",
    metadata,
    # Numbers the deletions, so that processes that share the database learn of each other's.
    Column("removal", BIG, primary_key=True, autoincrement=True),
    Column("photo", BIG, nullable=False),
    sqlite_autoincrement=True,
)
"""Photos that were deleted, in that order."""

links: Final = Table(
    "links",
    metadata,
    # Numbers the links in the order they were found; never used twice.
    Column("link", BIG, primary_key=True, autoincrement=True),
    Column("a", BIG, nullable=False),
    Column("b", BIG, nullable=False),
    Column("relation", String(16), nullable=False),
    Column("score", Float, nullable=False),
    Column("method", String(128), nullable=False),
    Column("evidence", JSON, nullable=False),
    Column("created_at_ms", BIG, nullable=False),
    # Whether the event log has been told.
    Column("announced", Boolean, nullable=False, server_default=false()),
    Index("links_pair", "a", "b", unique=True),
    Index("links_b", "b", "a"),
    Index("links_relation", "relation", "link"),
    Index("links_announced", "announced", "link"),
    sqlite_autoincrement=True,
)
"""Relations between photos, ``a`` < ``b``."""

verdicts: Final = Table(
    "verdicts",
    metadata,
    Column("a", BIG, primary_key=True, autoincrement=False),
    Column("b", BIG, primary_key=True, autoincrement=False),
    Column("verdict", String(16), nullable=False),
    Column("created_at_ms", BIG, nullable=False),
    Index("verdicts_b", "b", "a"),
)
"""What people said of pairs of photos, ``a`` < ``b``. No computation writes here."""
