"""The directory's changes against a model in plain Python: any history of them, in batches of any size.

The model is a dictionary of photos and a few loops; the directory keeps counts, oldest photos and an
event log up to date incrementally. After every batch, both must say the same.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection

from hayloft.database import parse_url
from hayloft.database.postgres import postgres_engine
from hayloft.database.sqlite import sqlite_engine
from hayloft.directory import listing, log, photos
from hayloft.directory.allocation import Activations, Allocation, Allocations
from hayloft.directory.commits import Commits
from hayloft.directory.counting import totals
from hayloft.directory.deletion import Deletions
from hayloft.directory.heartbeats import Heartbeat, register
from hayloft.directory.leases import LeaseRequest, WritePolicy, lease
from hayloft.directory.log import Read
from hayloft.directory.migrations import upgrade_on
from hayloft.directory.schema import Status
from hayloft.errors import Conflict, HayloftError, PhotoDeleted, PhotoNotFound
from hayloft.types import (
    AlternateKey,
    Committed,
    Cookie,
    EventKind,
    NewPhoto,
    PhotoId,
    PhotoQuery,
    PhotoStatus,
    Sequence,
    StoreHealth,
    StoreId,
    photo_id,
)

DAY_MS = 86_400_000
LEASED = 12
MEDIA_TYPES = ["image/jpeg", "image/png"]
POLICY = WritePolicy(writable_max=1)


class Clock:
    def now_ms(self) -> int:
        return 5 * DAY_MS

    def monotonic_seconds(self) -> float:
        return 0.0


@dataclass
class Photo:
    """A photo in the model."""

    status: PhotoStatus
    cookie: int
    size: int
    data: bytes
    media_type: str
    created_at_ms: int
    duplicate_of: PhotoId | None = None
    rank: tuple = ()  # decides who is the oldest: set when it becomes active


@dataclass
class Model:
    """What the directory must say."""

    leased: set[PhotoId]
    photos: dict[PhotoId, Photo] = field(default_factory=dict)
    keys: dict[str, PhotoId] = field(default_factory=dict)
    firsts: dict[bytes, PhotoId] = field(default_factory=dict)
    events: list[tuple[EventKind, PhotoId]] = field(default_factory=list)

    def commit(self, new: NewPhoto, data: bytes) -> Committed | type[HayloftError]:
        if new.idempotency_key in self.keys:
            first = self.keys[new.idempotency_key]
            known = self.photos[first]
            return Committed(
                photo=first,
                cookie=Cookie(known.cookie),
                duplicate_of=known.duplicate_of,
                repeated=first != new.photo,
            )
        known = self.photos.get(new.photo)
        if known is None and new.photo not in self.leased:
            return Conflict
        if known is not None and known.status is PhotoStatus.DELETED:
            return PhotoDeleted
        if known is not None and known.status is PhotoStatus.ACTIVE:
            if (known.cookie, known.data, known.size) != (new.cookie, data, new.size):
                return Conflict
            return Committed(photo=new.photo, cookie=new.cookie, duplicate_of=known.duplicate_of)
        if known is not None and known.cookie != new.cookie:
            return Conflict
        duplicate_of = self.firsts.get(data)
        self.photos[new.photo] = Photo(
            PhotoStatus.ACTIVE,
            new.cookie,
            new.size,
            data,
            new.media_type,
            new.created_at_ms,
            duplicate_of,
        )
        self.firsts.setdefault(data, new.photo)
        if new.idempotency_key:
            self.keys[new.idempotency_key] = new.photo
        self.events.append((EventKind.UPLOADED, new.photo))
        return Committed(photo=new.photo, cookie=new.cookie, duplicate_of=duplicate_of)

    def delete(self, photo: PhotoId) -> PhotoStatus | type[HayloftError]:
        known = self.photos.get(photo)
        if known is None:
            return PhotoNotFound
        before = known.status
        if before is not PhotoStatus.DELETED:
            known.status = PhotoStatus.DELETED
            self.events.append((EventKind.DELETED, photo))
            if self.firsts.get(known.data) == photo:
                self._promote(known.data)
        return before

    def _promote(self, data: bytes) -> None:
        del self.firsts[data]
        heirs = [
            (other.created_at_ms, number)
            for number, other in self.photos.items()
            if other.status is PhotoStatus.ACTIVE and other.data == data
        ]
        if heirs:
            self.firsts[data] = min(heirs)[1]

    def activate(self, photo: PhotoId) -> PhotoStatus | type[HayloftError]:
        known = self.photos.get(photo)
        if known is None:
            return PhotoNotFound
        if known.status is PhotoStatus.DELETED:
            return PhotoDeleted
        if known.status is PhotoStatus.ALLOC:
            known.status = PhotoStatus.ACTIVE
            self.events.append((EventKind.UPLOADED, photo))
        return known.status


numbers = st.integers(0, LEASED + 3)
commits = st.builds(
    lambda *values: ("commit", values),
    numbers,
    st.sampled_from([b"a", b"b", b"c"]),
    st.sampled_from([None, None, None, "k1", "k2"]),
    st.integers(0, 3 * DAY_MS),
    st.sampled_from(MEDIA_TYPES),
    st.integers(0, 1),
)
histories = st.lists(
    st.one_of(
        st.lists(commits, min_size=1, max_size=6).map(lambda batch: ("commit", batch)),
        st.lists(numbers, min_size=1, max_size=4).map(lambda batch: ("delete", batch)),
        st.lists(numbers, min_size=1, max_size=4).map(lambda batch: ("activate", batch)),
        st.integers(1, 3).map(lambda count: ("allocate", count)),
    ),
    max_size=12,
)


HEALTH = StoreHealth(store=StoreId("s"), volumes=(), free_bytes=1 << 40, capacity_bytes=1 << 40)


class Sqlite:
    """A database in a file."""

    def __init__(self, folder: Path) -> None:
        url = parse_url(f"sqlite:///{folder / 'directory.sqlite'}")
        self._engine = sqlite_engine(url, begin="BEGIN IMMEDIATE")

    def run(self, work: Callable[[Connection], None], *, commit: bool = False) -> None:
        with self._engine.connect() as connection:
            work(connection)
            (connection.commit if commit else connection.rollback)()

    def close(self) -> None:
        self._engine.dispose()


class Postgres:
    """A database on a server, on an event loop of its own."""

    def __init__(self, url: str) -> None:
        self._runner = asyncio.Runner()
        self._engine = postgres_engine(parse_url(url), idle_ms_max=0)

    def run(self, work: Callable[[Connection], None], *, commit: bool = False) -> None:
        async def run() -> None:
            async with self._engine.connect() as connection:
                await connection.run_sync(work)
                await (connection.commit if commit else connection.rollback)()

        self._runner.run(run())

    def close(self) -> None:
        self._runner.run(self._engine.dispose())
        self._runner.close()


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def database(request, tmp_path_factory):
    if request.param == "sqlite":
        opened = Sqlite(tmp_path_factory.mktemp("model"))
    else:
        opened = Postgres(request.getfixturevalue("postgres").empty_database())
    opened.run(upgrade_on, commit=True)
    opened.run(lambda c: register(c, Heartbeat(HEALTH, None, 0, 1 << 40)), commit=True)
    yield opened
    opened.close()


@settings(
    max_examples=40,
    deadline=None,
    phases=[Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)
@given(history=histories)
def test_any_history_of_changes(database, history):
    def live(connection: Connection) -> None:
        block = lease(connection, LeaseRequest("h", LEASED, 0), POLICY)
        run = Run(connection, block)
        for kind, batch in history:
            getattr(run, kind)(batch)
            run.compare_log()
        run.compare()

    database.run(live)


class Run:
    """The directory and its model, side by side."""

    def __init__(self, connection, block) -> None:
        self.connection = connection
        self.block = block
        self.model = Model({self.id(number) for number in range(LEASED)})
        self.allocated: list[PhotoId] = []
        clock = Clock()
        self._commit = Commits(clock)
        self._delete = Deletions(clock)
        self._activate = Activations(clock)
        self._allocate = Allocations(clock, POLICY, holder="a")

    def id(self, number: int) -> PhotoId:
        """A leased id, or beyond them an allocated one, or one that nobody ever got."""
        if number >= LEASED and number - LEASED < len(getattr(self, "allocated", [])):
            return self.allocated[number - LEASED]
        return photo_id(self.block.volume, Sequence(self.block.first + number + 1000 * (number >= LEASED)))

    def commit(self, batch) -> None:
        news = [self.new(*values) for _, values in batch]
        answers = self._commit(self.connection, [new for new, _ in news])
        for (new, data), answer in zip(news, answers, strict=True):
            expected = self.model.commit(new, data)
            assert (type(answer) if isinstance(answer, HayloftError) else answer) == expected

    def new(self, number, data, key, created_at_ms, media_type, cookie) -> tuple[NewPhoto, bytes]:
        photo = self.id(number)
        known = self.model.photos.get(photo)
        if known is not None and known.status is PhotoStatus.ALLOC and cookie:
            cookie = known.cookie
        new = NewPhoto(
            photo=photo,
            cookie=Cookie(cookie),
            size=len(data),
            sha256=sha256(data).digest(),
            media_type=media_type,
            width=1,
            height=1,
            created_at_ms=created_at_ms,
            idempotency_key=key,
        )
        return new, data

    def delete(self, batch) -> None:
        ids = [self.id(number) for number in batch]
        self._same_statuses(self._delete(self.connection, ids), map(self.model.delete, ids))

    def activate(self, batch) -> None:
        ids = [self.id(number) for number in batch]
        self._same_statuses(self._activate(self.connection, ids), map(self.model.activate, ids))

    def _same_statuses(self, answers, expected) -> None:
        told = [type(one) if isinstance(one, HayloftError) else one.status for one in answers]
        assert told == list(expected)

    def allocate(self, count: int) -> None:
        for record in self._allocate(self.connection, [Allocation(7, AlternateKey.ORIG)] * count):
            self.allocated.append(record.photo)
            self.model.photos[record.photo] = Photo(
                PhotoStatus.ALLOC, record.cookie, 7, b"", "", Clock().now_ms()
            )

    def compare(self) -> None:
        for status in (*PhotoStatus, None):
            for media_type in (None, *MEDIA_TYPES, ""):
                self._compare_listing(PhotoQuery(status=status, media_type=media_type))
        self._compare_listing(PhotoQuery(created_from_ms=DAY_MS // 2, created_until_ms=2 * DAY_MS + 5))
        self.compare_log()

    def compare_log(self) -> None:
        model, connection = self.model, self.connection
        digests = {data: sha256(data).digest() for data in (b"a", b"b", b"c")}
        known = photos.firsts(connection, list(digests.values()))
        assert known == {digests[data]: photo for data, photo in model.firsts.items() if data}
        events = log.read(connection, Read(0, 1000))
        base = events[0].position if events else 1
        assert [event.position for event in events] == list(range(base, base + len(events)))
        assert [(event.kind, event.photo) for event in events] == model.events

    def _compare_listing(self, query: PhotoQuery) -> None:
        start, end = query.created_from_ms, query.created_until_ms
        expected = [
            (photo.created_at_ms, number)
            for number, photo in self.model.photos.items()
            if query.status in (None, photo.status)
            and query.media_type in (None, photo.media_type)
            and (start is None or photo.created_at_ms >= start)
            and (end is None or photo.created_at_ms < end)
        ]
        page = listing.page(self.connection, replace(query, limit=1000))
        assert [(record.created_at_ms, record.photo) for record in page.photos] == sorted(expected)
        assert page.total == len(expected)
        if query.media_type is None and start is None and query.status is not None:
            total = totals(self.connection)[Status.of(query.status)]
            sizes = [self.model.photos[number].size for _, number in expected]
            assert (total.photos, total.bytes) == (len(expected), sum(sizes))
        assert Counter(record.status for record in page.photos).keys() <= set(PhotoStatus)
