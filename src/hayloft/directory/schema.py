"""The directory's tables, in SQLAlchemy Core, the same for SQLite and PostgreSQL.

The shape follows from three rules. Every read that a person or a program waits for is a probe or a range
of one index, at a million photos as at ten. Everything that must agree (a photo, its event, the counts)
changes in one transaction. Nothing is computed by scanning that can be kept up to date instead. There are
no foreign keys: rows are written by one process at a time and in one place each, and checking them would
cost every upload a probe. Times are milliseconds since the Unix epoch, sizes are bytes.

A change here needs a revision in ``migrations/versions``; a test compares the two.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from sqlalchemy import (
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
)

from hayloft.database.columns import BIG
from hayloft.types import PhotoStatus

metadata: Final = MetaData()


class Status(IntEnum):
    """A photo's status as it is stored: small, because two indexes begin with it."""

    ALLOC = 0
    ACTIVE = 1
    DELETED = 2

    @property
    def public(self) -> PhotoStatus:
        """The status as the rest of Hayloft knows it."""
        return PhotoStatus(self.name.lower())

    @classmethod
    def of(cls, status: PhotoStatus) -> Status:
        """The stored form of a status."""
        return cls[status.name]


stores: Final = Table(
    "stores",
    metadata,
    Column("store", String(255), primary_key=True),
    Column("url", Text),
    Column("free_bytes", BIG, nullable=False),
    Column("capacity_bytes", BIG, nullable=False),
    Column("seen_at_ms", BIG, nullable=False),
    Column("zone", String(255)),
    sqlite_with_rowid=False,
)
"""Stores that have ever sent a heartbeat. ``zone`` is what fails together: a rack, a room."""

volumes: Final = Table(
    "volumes",
    metadata,
    Column("volume", BIG, primary_key=True, autoincrement=False),
    # The high-water mark: every sequence number below it has been leased, none above it.
    Column("next_sequence", BIG, nullable=False),
    # Sealed is for good: a store said so.
    Column("sealed", Boolean, nullable=False),
    Column("created_at_ms", BIG, nullable=False),
    # Full is what a volume is between reaching its size and being sealed by its store.
    Column("full", Boolean, nullable=False),
    # Why somebody took it out of the writable set; null if nobody did.
    Column("withdrawn", Text),
)
"""Logical volumes. One takes writes if it is neither sealed nor full nor withdrawn, and no replica of it
has a failure: four facts that come and go for reasons of their own."""

placements: Final = Table(
    "placements",
    metadata,
    Column("volume", BIG, primary_key=True, autoincrement=False),
    Column("store", String(255), primary_key=True),
    Column("size_bytes", BIG, nullable=False),
    Column("needles", BIG, nullable=False),
    Column("failure", Text),
    Column("absent_at_ms", BIG),
    sqlite_with_rowid=False,
)
"""Physical volumes: which stores hold a logical volume, and what they last said of it. ``failure`` says
what is wrong with a replica until it is mended; ``absent_at_ms`` when its store first did not speak of it,
though others had something to say of theirs."""

leases: Final = Table(
    "leases",
    metadata,
    Column("holder", String(255), primary_key=True),
    Column("volume", BIG, nullable=False),
    Column("leased_at_ms", BIG, nullable=False),
    sqlite_with_rowid=False,
)
"""Each holder's latest lease, so that different holders get different volumes."""

photos: Final = Table(
    "photos",
    metadata,
    Column("photo", BIG, primary_key=True, autoincrement=False),
    Column("status", SmallInteger, nullable=False),
    Column("alternate_key", SmallInteger, nullable=False),
    # 64 bits, stored as a signed integer because neither database has an unsigned one.
    Column("cookie", BIG, nullable=False),
    Column("size", BIG, nullable=False),
    Column("sha256", LargeBinary(32), nullable=False),
    Column("media_type", Text, nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("name", Text, nullable=False),
    Column("created_at_ms", BIG, nullable=False),
    Column("duplicate_of", BIG),
    # The oldest active photo with its bytes: exactly one row for each digest that has an active photo.
    Column("is_first", Boolean, nullable=False),
    Index("photos_by_status", "status", "created_at_ms", "photo"),
    Index("photos_by_media_type", "status", "media_type", "created_at_ms", "photo"),
    Index("photos_by_digest", "sha256", "status", "is_first", "created_at_ms", "photo"),
)
"""Photos, from allocation on. A deleted photo keeps its row, so that its id says ``gone`` for ever."""

counts: Final = Table(
    "counts",
    metadata,
    Column("status", SmallInteger, primary_key=True, autoincrement=False),
    Column("media_type", Text, primary_key=True),
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("photos", BIG, nullable=False),
    Column("bytes", BIG, nullable=False),
    sqlite_with_rowid=False,
)
"""Photos by status, media type and day of creation (days since the Unix epoch), kept up to date in the
transactions that change photos, so that totals never count rows."""

idempotency: Final = Table(
    "idempotency",
    metadata,
    Column("key", String(255), primary_key=True),
    Column("photo", BIG, nullable=False),
    Column("created_at_ms", BIG, nullable=False),
    sqlite_with_rowid=False,
)
"""The photo that the first upload with each idempotency key made."""

counters: Final = Table(
    "counters",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", BIG, nullable=False),
    sqlite_with_rowid=False,
)
"""Numbers that only grow: ``event`` is the last position given out in the event log."""

events: Final = Table(
    "events",
    metadata,
    Column("position", BIG, primary_key=True, autoincrement=False),
    Column("kind", String(32), nullable=False),
    Column("photo", BIG, nullable=False),
    Column("at_ms", BIG, nullable=False),
    Column("payload", Text),
)
"""The event log (an outbox). ``payload`` is JSON, or null when the photo's row says everything."""

consumers: Final = Table(
    "consumers",
    metadata,
    Column("name", String(255), primary_key=True),
    Column("position", BIG, nullable=False),
    sqlite_with_rowid=False,
)
"""How far each consumer of the event log has got."""

parked: Final = Table(
    "parked",
    metadata,
    Column("consumer", String(255), primary_key=True),
    Column("position", BIG, primary_key=True, autoincrement=False),
    Column("reason", Text, nullable=False),
    Column("times", Integer, nullable=False),
    Column("parked_at_ms", BIG, nullable=False),
    Column("due", Boolean, nullable=False),
    sqlite_with_rowid=False,
)
"""Events that a consumer could not deal with; ``due`` ones are to be delivered once more."""

photo_details: Final = Table(
    "photo_details",
    metadata,
    Column("photo", BIG, primary_key=True, autoincrement=False),
    Column("details", Text, nullable=False),
)
"""What photos' files say about them, as JSON; a row goes with its photo."""

leadership: Final = Table(
    "leadership",
    metadata,
    Column("office", String(64), primary_key=True),
    Column("term", BIG, nullable=False),
    Column("url", Text, nullable=False),
    Column("expires_at_ms", BIG, nullable=False),
    sqlite_with_rowid=False,
)
"""One row: which directory is the primary, by its address. ``term`` grows with every change; the primary
puts ``expires_at_ms``, by the database's own clock, off as long as it lives."""

EVENT_COUNTER: Final = "event"
