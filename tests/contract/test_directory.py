"""The directory's protocol: one suite over the directory itself, on SQLite, and over HTTP on a real socket:
to one directory, and to a primary and a replica on one PostgreSQL database.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import pytest

from hayloft.database import open_database
from hayloft.directory.client import DirectoryClient
from hayloft.directory.leadership import Leadership
from hayloft.directory.leases import WritePolicy
from hayloft.directory.local import LocalDirectory
from hayloft.directory.migrations import upgrade
from hayloft.directory.server import directory_application
from hayloft.errors import (
    Conflict,
    InvalidRequest,
    PhotoDeleted,
    PhotoNotFound,
    RoleUnavailable,
    StorageFull,
    VolumeNotFound,
)
from hayloft.events.local import LogEventSource
from hayloft.roles import Directory
from hayloft.types import (
    AlternateKey,
    EventKind,
    Lease,
    NewPhoto,
    PhotoId,
    PhotoQuery,
    PhotoStatus,
    Sequence,
    StoreHealth,
    StoreId,
    VolumeId,
    VolumeState,
    new_cookie,
    photo_id,
    sequence_of,
    volume_of,
)
from hayloft.wire.serving import AppServer, free_port

POLICY = WritePolicy(writable_max=2, volume_size_bytes_max=1000, free_bytes_min=10)
DAY_MS = 86_400_000


class Clock:
    """Time that stands still unless moved."""

    def __init__(self) -> None:
        self.ms = 20_000 * DAY_MS + 1000

    def now_ms(self) -> int:
        return self.ms

    def monotonic_seconds(self) -> float:
        return self.ms / 1000


@pytest.fixture
def clock() -> Clock:
    return Clock()


@dataclass(frozen=True)
class Place:
    """Where a test's directory is to be."""

    folder: Path
    clock: Clock
    postgres_database: Callable[[], str]
    """Makes a database that is up to date, and says its URL."""


@asynccontextmanager
async def local(place: Place) -> AsyncIterator[Directory]:
    url = f"sqlite:///{place.folder / 'directory.sqlite'}"
    await asyncio.to_thread(upgrade, url)
    directory = LocalDirectory.open(url, policy=POLICY, clock=place.clock)
    yield directory
    await directory.close()


@asynccontextmanager
async def over_http(place: Place) -> AsyncIterator[Directory]:
    async with local(place) as directory, AppServer(directory_application(directory)) as server:
        client = DirectoryClient(server.url)
        yield client
        await client.close()


@asynccontextmanager
async def primary_and_replica(place: Place) -> AsyncIterator[Directory]:
    """A client that asks the replica first: it reads there, and is sent to the primary to write."""
    url = await asyncio.to_thread(place.postgres_database)
    async with AsyncExitStack() as stack:
        urls = []
        for first in (True, False):
            port = free_port()
            database = open_database(url, name="directory")
            stack.push_async_callback(database.close)
            leadership = Leadership(database, url=f"http://127.0.0.1:{port}", first=first)
            directory = LocalDirectory(leadership.fenced, policy=POLICY, clock=place.clock)
            await stack.enter_async_context(leadership)
            app = directory_application(directory, mode=leadership)
            await stack.enter_async_context(AppServer(app, port=port))
            urls.append(leadership.url)
        client = DirectoryClient(urls[::-1])
        stack.push_async_callback(client.close)
        yield client


@pytest.fixture(params=[local, over_http, primary_and_replica])
async def directory(request, tmp_path: Path, clock: Clock, postgres_database) -> AsyncIterator[Directory]:
    async with request.param(Place(tmp_path, clock, postgres_database)) as directory:
        await directory.register(store("local"))
        yield directory


def store(name: str, *states: VolumeState, free_bytes: int = 1 << 40) -> StoreHealth:
    return StoreHealth(store=StoreId(name), volumes=states, free_bytes=free_bytes, capacity_bytes=1 << 41)


def state(volume: int, *, size_bytes: int = 0, sealed: bool = False) -> VolumeState:
    return VolumeState(volume=VolumeId(volume), needles=0, size_bytes=size_bytes, sealed=sealed)


def new(lease: Lease, number: int, data: bytes | None = None, **changes) -> NewPhoto:
    data = b"photo %d" % number if data is None else data
    photo = NewPhoto(
        photo=photo_id(lease.volume, Sequence(lease.first + number)),
        cookie=new_cookie(),
        size=len(data),
        sha256=sha256(data).digest(),
        media_type="image/jpeg",
        width=640,
        height=480,
        name="Größe 📷.jpg",
        created_at_ms=20_000 * DAY_MS + number,
    )
    return replace(photo, **changes)


@pytest.fixture
async def lease(directory: Directory) -> Lease:
    return await directory.lease(holder="writer", count=100)


# Leases ------------------------------------------------------------------------------------------


async def test_blocks_never_overlap(directory):
    leases = await asyncio.gather(*(directory.lease(holder=f"holder {n % 3}", count=7) for n in range(20)))
    ids = [photo_id(one.volume, Sequence(one.first + n)) for one in leases for n in range(one.count)]
    assert len(set(ids)) == 20 * 7


async def test_holders_get_different_volumes_while_there_are_enough(directory):
    first, second, again = [await directory.lease(holder=name, count=1) for name in ("a", "b", "a")]
    assert first.volume != second.volume
    assert again.volume == first.volume
    assert first.replicas == ("local",)


async def test_more_holders_than_volumes_share_them_evenly(directory):
    volumes = [(await directory.lease(holder=f"h{n}", count=1)).volume for n in range(6)]
    assert sorted(volumes.count(volume) for volume in set(volumes)) == [3, 3]


@pytest.mark.parametrize("count", [0, -1, 1 << 40])
async def test_a_lease_of_an_absurd_size_is_refused(directory, count):
    with pytest.raises(InvalidRequest):
        await directory.lease(holder="a", count=count)


async def test_a_sealed_volume_is_replaced_by_a_new_one(directory, lease):
    await directory.register(store("local", state(lease.volume, sealed=True)))
    following = await directory.lease(holder="writer", count=1)
    assert following.volume != lease.volume
    assert not (await directory.placement(lease.volume)).writable
    assert sum(placement.writable for placement in await directory.placements()) == POLICY.writable_max
    with pytest.raises(Conflict):
        await directory.set_writable(lease.volume, True)


async def test_a_full_volume_takes_no_more_writes(directory, lease):
    await directory.register(store("local", state(lease.volume, size_bytes=POLICY.volume_size_bytes_max)))
    assert (await directory.lease(holder="writer", count=1)).volume != lease.volume


async def test_a_volume_can_be_taken_out_and_put_back(directory, lease):
    await directory.set_writable(lease.volume, False)
    assert (await directory.lease(holder="writer", count=1)).volume != lease.volume
    await directory.set_writable(lease.volume, True)
    assert (await directory.placement(lease.volume)).writable


async def test_a_failed_replica_takes_its_volume_out(directory, lease):
    await directory.report_failure(lease.volume, StoreId("local"), "input/output error")
    assert not (await directory.placement(lease.volume)).writable
    assert (await directory.lease(holder="writer", count=1)).volume != lease.volume


async def test_unknown_volumes_are_not_found(directory):
    for call in (
        directory.placement(VolumeId(999)),
        directory.set_writable(VolumeId(999), True),
        directory.report_failure(VolumeId(999), StoreId("local"), "gone"),
    ):
        with pytest.raises(VolumeNotFound):
            await call


async def test_a_full_disk_gets_no_new_volume(directory):
    await directory.register(store("local", free_bytes=5))
    with pytest.raises(StorageFull):
        await directory.lease(holder="a", count=1)
    await directory.register(store("local"))
    assert (await directory.lease(holder="a", count=1)).count == 1


async def test_a_volume_on_a_full_disk_is_left_for_one_with_room(directory, lease):
    await directory.register(store("local", free_bytes=5))
    # With nothing else, the old volume is still the best there is: its store decides.
    assert (await directory.lease(holder="writer", count=1)).volume == lease.volume
    await directory.register(store("roomy"))
    assert (await directory.lease(holder="writer", count=1)).replicas == ("roomy",)


async def test_volumes_of_others_are_adopted_read_only_and_their_numbers_not_reused(directory):
    await directory.register(store("local", state(1), state(2_000_000)))
    assert not (await directory.placement(VolumeId(1))).writable
    with pytest.raises(Conflict):
        await directory.set_writable(VolumeId(1), True)
    volumes = {(await directory.lease(holder=name, count=1)).volume for name in "ab"}
    assert volumes == {2, 3}


async def test_replicas_lie_on_the_emptiest_distinct_stores(directory):
    for name, free in [("s1", 1 << 40), ("s2", 1 << 39), ("s3", 1 << 38), ("s4", 1 << 30)]:
        await directory.register(store(name, free_bytes=free))
    await directory.register(store("local", free_bytes=100))
    lease = await directory.lease(holder="a", count=1)
    assert set(lease.replicas) == {"s1", "s2", "s3"}


async def test_a_holder_gets_a_volume_without_the_stores_that_it_cannot_reach(directory):
    for name in ("s1", "s2"):
        await directory.register(store(name))
    whole = await directory.lease(holder="a", count=1)
    assert set(whole.replicas) == {"local", "s1", "s2"}
    without = await directory.lease(holder="a", count=1, avoid=[StoreId("s1")])
    assert set(without.replicas) == {"local", "s2"}
    # The volume is as good as before for those who reach all its stores.
    assert (await directory.placement(whole.volume)).writable
    everywhere = [StoreId(name) for name in ("local", "s1", "s2")]
    assert (await directory.lease(holder="a", count=1, avoid=everywhere)).count == 1


async def test_stores_are_known_by_their_heartbeats(directory, clock):
    await directory.register(store("s1"), url="http://s1:8101")
    await directory.register(store("s1", free_bytes=77))
    (known,) = [one for one in await directory.stores() if one.store == "s1"]
    assert (known.url, known.free_bytes, known.seen_at_ms) == ("http://s1:8101", 77, clock.ms)


# Replicas ----------------------------------------------------------------------------------------


async def failures(directory: Directory, volume: VolumeId) -> dict[str, str | None]:
    return {one.store: one.failure for one in await directory.replicas() if one.volume == volume}


async def is_writable(directory: Directory, volume: VolumeId) -> bool:
    return (await directory.placement(volume)).writable


@pytest.fixture
async def replicated(directory: Directory) -> Lease:
    """A volume on three stores."""
    for name in ("s1", "s2"):
        await directory.register(store(name))
    return await directory.lease(holder="a", count=100)


async def test_a_volume_opens_when_its_last_failing_replica_is_mended(directory, replicated):
    volume = replicated.volume
    for name in ("s1", "s2"):
        await directory.report_failure(volume, StoreId(name), f"{name} is broken")
    assert await failures(directory, volume) == {
        "local": None,
        "s1": "s1 is broken",
        "s2": "s2 is broken",
    }
    assert (await directory.placement(volume)).replicas == ("local", "s1", "s2")
    await directory.mend(volume, StoreId("s1"))
    assert not await is_writable(directory, volume)
    assert (await directory.placement(volume)).replicas[-1] == "s2"
    await directory.mend(volume, StoreId("s2"))
    assert await is_writable(directory, volume)
    await directory.mend(volume, StoreId("s2"))


async def test_mending_does_not_open_what_was_closed_by_hand(directory, replicated):
    volume = replicated.volume
    await directory.set_writable(volume, False)
    await directory.report_failure(volume, StoreId("s1"), "broken")
    await directory.mend(volume, StoreId("s1"))
    assert not await is_writable(directory, volume)
    await directory.set_writable(volume, True)
    assert await is_writable(directory, volume)


async def test_a_volume_closed_by_hand_after_a_failure_stays_closed(directory, replicated):
    volume = replicated.volume
    await directory.report_failure(volume, StoreId("s1"), "broken")
    await directory.set_writable(volume, False)
    await directory.mend(volume, StoreId("s1"))
    assert not await is_writable(directory, volume)


@pytest.mark.parametrize(
    "done", [{"sealed": True}, {"size_bytes": POLICY.volume_size_bytes_max}], ids=["sealed", "full"]
)
async def test_mending_does_not_open_what_is_done(directory, replicated, done):
    volume = replicated.volume
    await directory.report_failure(volume, StoreId("s1"), "broken")
    await directory.register(store("s2", state(volume, **done)))
    await directory.mend(volume, StoreId("s1"))
    assert not await is_writable(directory, volume)


async def test_opening_by_hand_forgets_failures(directory, replicated):
    await directory.report_failure(replicated.volume, StoreId("s1"), "broken")
    await directory.set_writable(replicated.volume, True)
    assert set((await failures(directory, replicated.volume)).values()) == {None}


async def test_replicas_that_are_not_there_cannot_be_mended_or_replaced(directory, lease):
    await directory.register(store("s1"))
    for call in (
        directory.mend(VolumeId(999), StoreId("local")),
        directory.mend(lease.volume, StoreId("s1")),
        directory.report_failure(lease.volume, StoreId("s1"), "gone"),
        directory.replace_replica(VolumeId(999), StoreId("local"), StoreId("s1")),
        directory.replace_replica(lease.volume, StoreId("s9"), StoreId("s1")),
        directory.volume_photos(VolumeId(999), limit=1),
    ):
        with pytest.raises(VolumeNotFound):
            await call
    for new in ("nobody", "local"):
        with pytest.raises(Conflict):
            await directory.replace_replica(lease.volume, StoreId("local"), StoreId(new))
    assert (await directory.placement(lease.volume)).replicas == ("local",)


async def test_a_replica_on_another_store_counts_once_it_is_mended(directory, lease):
    volume = lease.volume
    await directory.register(store("s1"))
    await directory.replace_replica(volume, None, StoreId("s1"))
    assert (await directory.placement(volume)).replicas == ("local", "s1")
    assert not await is_writable(directory, volume)
    await directory.register(store("s1", state(volume, size_bytes=10)))
    assert not await is_writable(directory, volume)
    await directory.mend(volume, StoreId("s1"))
    assert await is_writable(directory, volume)
    await directory.register(store("s2"))
    await directory.replace_replica(volume, StoreId("local"), StoreId("s2"))
    assert (await directory.placement(volume)).replicas == ("s1", "s2")
    # The old store comes back, with what it had: nobody knows how stale it is.
    await directory.register(store("local", state(volume, size_bytes=900)))
    assert (await directory.placement(volume)).replicas == ("s1", "s2")


async def test_a_volume_that_its_store_speaks_of_no_more_is_missing(directory, replicated):
    volume = replicated.volume
    await directory.register(store("s1", state(volume, size_bytes=10)))
    assert await is_writable(directory, volume)
    await directory.register(store("s1"))
    assert (await failures(directory, volume))["s1"] == "missing"
    assert not await is_writable(directory, volume)
    # An empty disk that appends have reached since holds the volume again, but not what was in it.
    await directory.register(store("s1", state(volume, size_bytes=5)))
    assert not await is_writable(directory, volume)
    await directory.mend(volume, StoreId("s1"))
    assert await is_writable(directory, volume)


async def test_a_volume_that_was_not_written_to_yet_is_not_missing(directory, replicated, clock):
    for _ in range(3):
        clock.ms += 60_000
        await directory.register(store("s1"))
    assert await is_writable(directory, replicated.volume)


async def test_a_volume_that_only_others_speak_of_is_missing_after_a_while(directory, replicated, clock):
    volume = replicated.volume
    await directory.register(store("s2", state(volume, size_bytes=10)))
    # On its way while the volume was being written to for the first time.
    await directory.register(store("s1"))
    assert await is_writable(directory, volume)
    await directory.register(store("s1", state(volume, size_bytes=10)))
    clock.ms += 60_000
    await directory.register(store("local"))
    assert await is_writable(directory, volume)
    clock.ms += 60_000
    await directory.register(store("local"))
    assert await failures(directory, volume) == {"local": "missing", "s1": None, "s2": None}


async def test_a_volume_that_cannot_be_opened_fails_and_comes_back(directory, replicated):
    volume = replicated.volume
    await directory.register(store("s1", state(volume, size_bytes=10)))
    unusable = replace(state(volume, sealed=True), corrupt=1)
    await directory.register(store("s1", unusable))
    assert (await failures(directory, volume))["s1"] is not None
    assert not await is_writable(directory, volume)
    await directory.register(store("s1", state(volume, size_bytes=10)))
    assert await is_writable(directory, volume)


async def test_reads_are_spread_over_replicas(directory, replicated):
    volumes = {replicated.volume} | {(await directory.lease(holder=n, count=1)).volume for n in "xyz"}
    firsts = {placement.replicas[0] for placement in await directory.placements()}
    assert len(firsts) == len(volumes) == POLICY.writable_max


async def test_replicas_are_spread_over_zones(directory):
    for name, zone, free in [("s1", "a", 40), ("s2", "a", 39), ("s3", "b", 30), ("s4", "b", 29)]:
        await directory.register(store(name, free_bytes=1 << free), zone=zone)
    await directory.register(store("local", free_bytes=1 << 20), zone="c")
    assert set((await directory.lease(holder="x", count=1)).replicas) == {"local", "s1", "s3"}
    await directory.register(store("s1", free_bytes=1 << 38))
    assert {known.store: known.zone for known in await directory.stores()}["s1"] == "a"


async def test_a_volumes_photos_page_by_page(directory, lease):
    other = await directory.lease(holder="other", count=5)
    assert other.volume != lease.volume
    for number in (0, 3, 1):
        await directory.commit(new(lease, number, data=b"x" * (number + 1)))
    await directory.commit(new(other, 0))
    await directory.delete(new(lease, 1).photo)
    first = await directory.volume_photos(lease.volume, limit=2)
    rest = await directory.volume_photos(lease.volume, after=sequence_of(first[-1].photo), limit=2)
    ids = [new(lease, number).photo for number in (0, 1, 3)]
    assert [entry.photo for entry in (*first, *rest)] == ids
    assert [entry.size for entry in (*first, *rest)] == [1, 2, 4]
    assert first[1].status is PhotoStatus.DELETED
    assert rest[0].status is PhotoStatus.ACTIVE
    assert (rest[0].alternate_key, rest[0].created_at_ms) == (AlternateKey.ORIG, 20_000 * DAY_MS + 3)
    assert await directory.volume_photos(lease.volume, after=sequence_of(ids[-1]), limit=2) == ()


# Commits -----------------------------------------------------------------------------------------


async def test_a_committed_photo_is_there_as_it_was_given(directory, lease):
    photo = new(lease, 0)
    committed = await directory.commit(photo)
    assert (committed.photo, committed.cookie) == (photo.photo, photo.cookie)
    assert (committed.duplicate_of, committed.repeated) == (None, False)
    record = await directory.photo(photo.photo)
    assert (record.status, record.replicas, record.sha256) == (
        PhotoStatus.ACTIVE,
        ("local",),
        photo.sha256,
    )
    for name in ("cookie", "size", "media_type", "width", "height", "name", "created_at_ms"):
        assert getattr(record, name) == getattr(photo, name)


async def test_the_same_commit_again_answers_the_same(directory, lease):
    await directory.commit(new(lease, 0, b"x"))
    photo = new(lease, 1, b"x", idempotency_key="once")
    first = await directory.commit(photo)
    assert first.duplicate_of == photo_id(lease.volume, lease.first)
    assert await directory.commit(photo) == first
    assert (await directory.statistics()).last_event == 2


async def test_an_id_with_other_contents_is_a_conflict(directory, lease):
    photo = new(lease, 0)
    await directory.commit(photo)
    for change in ({"cookie": new_cookie()}, {"size": 99}, {"sha256": bytes(32)}):
        with pytest.raises(Conflict):
            await directory.commit(replace(photo, **change))


async def test_an_id_that_was_never_leased_is_a_conflict(directory, lease):
    beyond = new(lease, 100)
    elsewhere = replace(beyond, photo=PhotoId(999 << 32))
    for photo in (beyond, elsewhere):
        with pytest.raises(Conflict):
            await directory.commit(photo)
    await directory.lease(holder="writer", count=1)
    assert (await directory.commit(beyond)).photo == beyond.photo


async def test_a_failing_commit_leaves_its_neighbours_alone(directory, lease):
    await directory.commit(new(lease, 0))
    answers = await asyncio.gather(
        *(directory.commit(new(lease, number)) for number in range(5)), return_exceptions=True
    )
    assert isinstance(answers[0], Conflict)
    assert [answer.photo for answer in answers[1:]] == [new(lease, n).photo for n in range(1, 5)]


@pytest.mark.parametrize(
    "change",
    [
        {"sha256": b"short"},
        {"name": "NUL \0"},
        {"idempotency_key": ""},
        {"idempotency_key": "k" * 256},
        {"size": -1},
        {"photo": PhotoId(1 << 53)},
    ],
)
async def test_what_cannot_be_stored_is_refused(directory, lease, change):
    with pytest.raises(InvalidRequest):
        await directory.commit(new(lease, 0, **change))


async def test_identical_uploads_name_the_first(directory, lease):
    first = await directory.commit(new(lease, 0, b"same"))
    later = await asyncio.gather(*(directory.commit(new(lease, n, b"same")) for n in range(1, 6)))
    assert first.duplicate_of is None
    assert {answer.duplicate_of for answer in later} == {first.photo}


async def test_identical_uploads_at_once_name_one_of_them(directory, lease):
    answers = await asyncio.gather(*(directory.commit(new(lease, n, b"same")) for n in range(8)))
    originals = [answer.photo for answer in answers if answer.duplicate_of is None]
    assert len(originals) == 1
    assert {answer.duplicate_of for answer in answers} == {None, originals[0]}


async def test_when_the_first_is_deleted_the_next_oldest_takes_over(directory, lease):
    for number in range(3):
        await directory.commit(new(lease, number, b"same"))
    await directory.delete(new(lease, 0).photo)
    answer = await directory.commit(new(lease, 3, b"same"))
    assert answer.duplicate_of == new(lease, 1).photo
    for number in range(1, 4):
        await directory.delete(new(lease, number).photo)
    assert (await directory.commit(new(lease, 4, b"same"))).duplicate_of is None


async def test_photos_without_a_digest_are_nobodys_duplicates(directory, lease):
    answers = [await directory.commit(new(lease, n, sha256=b"")) for n in range(2)]
    assert [answer.duplicate_of for answer in answers] == [None, None]


async def test_a_key_names_the_first_photo_for_ever(directory, lease):
    first = await directory.commit(new(lease, 0, idempotency_key="key"))
    again = await directory.commit(new(lease, 1, idempotency_key="key"))
    assert (again.photo, again.cookie, again.repeated) == (first.photo, first.cookie, True)
    with pytest.raises(PhotoNotFound):
        await directory.photo(new(lease, 1).photo)
    assert (await directory.commit(new(lease, 2, idempotency_key="other"))).repeated is False
    assert (await directory.statistics()).photos == 2


async def test_one_key_used_at_once_makes_one_photo(directory, lease):
    answers = await asyncio.gather(
        *(directory.commit(new(lease, n, idempotency_key="key")) for n in range(8))
    )
    assert len({answer.photo for answer in answers}) == 1
    assert sum(not answer.repeated for answer in answers) == 1
    assert (await directory.statistics()).photos == 1


async def test_known_digests(directory, lease):
    await directory.commit(new(lease, 0, b"a"))
    await directory.commit(new(lease, 1, b"a"))
    await directory.commit(new(lease, 2, b"b"))
    await directory.delete(new(lease, 2).photo)
    digests = [sha256(data).digest() for data in (b"a", b"b", b"c")]
    assert await directory.known(digests) == {digests[0]: new(lease, 0).photo}
    assert await directory.known([]) == {}
    with pytest.raises(InvalidRequest):
        await directory.known([b"short"])


# The paper's write path --------------------------------------------------------------------------


async def test_allocate_then_commit(directory, clock):
    record = await directory.allocate(size=123, alternate_key=AlternateKey.LARGE)
    assert (record.status, record.size, record.replicas) == (PhotoStatus.ALLOC, 123, ("local",))
    assert record.created_at_ms == clock.ms
    assert await directory.photo(record.photo) == record
    assert (await directory.events(after=0, limit=10)) == ()
    active = await directory.commit_allocated(record.photo)
    assert active == replace(record, status=PhotoStatus.ACTIVE)
    assert await directory.commit_allocated(record.photo) == active
    (event,) = await directory.events(after=0, limit=10)
    assert (event.kind, event.photo) == (EventKind.UPLOADED, record.photo)


async def test_allocated_ids_are_all_different(directory):
    records = await asyncio.gather(*(directory.allocate(size=1) for _ in range(20)))
    assert len({record.photo for record in records}) == 20
    assert len({record.cookie for record in records}) == 20


async def test_an_allocated_photo_may_be_committed_in_full(directory):
    record = await directory.allocate(size=5)
    full = new(
        Lease(volume=volume_of(record.photo), first=Sequence(0), count=1, replicas=()),
        0,
        photo=record.photo,
    )
    with pytest.raises(Conflict):
        await directory.commit(full)
    await directory.commit(replace(full, cookie=record.cookie))
    assert (await directory.photo(record.photo)).width == 640
    totals = await directory.photos(PhotoQuery(status=PhotoStatus.ALLOC))
    assert totals.total == 0


async def test_what_was_never_allocated_or_is_deleted_cannot_be_committed(directory):
    with pytest.raises(PhotoNotFound):
        await directory.commit_allocated(PhotoId(77))
    record = await directory.allocate(size=1)
    await directory.delete(record.photo)
    with pytest.raises(PhotoDeleted):
        await directory.commit_allocated(record.photo)


# Deletion ----------------------------------------------------------------------------------------


async def test_delete_says_who_was_first_and_is_repeatable(directory, lease):
    photo = new(lease, 0)
    await directory.commit(photo)
    answers = await asyncio.gather(*(directory.delete(photo.photo) for _ in range(4)))
    assert sorted(answer.status for answer in answers) == ["active", "deleted", "deleted", "deleted"]
    assert (await directory.photo(photo.photo)).status is PhotoStatus.DELETED
    kinds = [event.kind for event in await directory.events(after=0, limit=10)]
    assert kinds == [EventKind.UPLOADED, EventKind.DELETED]


async def test_a_deleted_photo_never_comes_back(directory, lease):
    photo = new(lease, 0)
    await directory.commit(photo)
    await directory.delete(photo.photo)
    with pytest.raises(PhotoDeleted):
        await directory.commit(photo)


async def test_unknown_photos_are_not_found(directory):
    for call in (directory.photo(PhotoId(1)), directory.delete(PhotoId(1))):
        with pytest.raises(PhotoNotFound):
            await call


# Listing -----------------------------------------------------------------------------------------


async def fill(directory: Directory, lease: Lease, count: int, **changes) -> list[PhotoId]:
    await asyncio.gather(*(directory.commit(new(lease, n, **changes)) for n in range(count)))
    return [new(lease, n).photo for n in range(count)]


async def pages(directory: Directory, query: PhotoQuery) -> tuple[list[PhotoId], set[int]]:
    found: list[PhotoId] = []
    totals = set()
    while True:
        page = await directory.photos(query)
        found += [record.photo for record in page.photos]
        totals.add(page.total)
        if page.next_cursor is None:
            return found, totals
        query = replace(query, cursor=page.next_cursor)


@pytest.mark.parametrize("limit", [1, 7, 23, 100])
@pytest.mark.parametrize("newest_first", [False, True])
async def test_pages_hold_every_photo_once_in_order(directory, lease, limit, newest_first):
    ids = await fill(directory, lease, 23)
    found, totals = await pages(directory, PhotoQuery(limit=limit, newest_first=newest_first))
    assert found == (ids[::-1] if newest_first else ids)
    assert totals == {23}


@pytest.mark.parametrize("status", [PhotoStatus.ACTIVE, None])
async def test_an_offset_jumps_into_the_listing(directory, lease, status):
    ids = await fill(directory, lease, 23)
    query = PhotoQuery(status=status, newest_first=True, offset=9, limit=5)
    page = await directory.photos(query)
    assert [record.photo for record in page.photos] == ids[::-1][9:14]
    assert page.total == 23
    onward = await directory.photos(replace(query, offset=2, cursor=page.next_cursor))
    assert [record.photo for record in onward.photos] == ids[::-1][16:21]
    assert (await directory.photos(replace(query, offset=99))).photos == ()
    with pytest.raises(InvalidRequest):
        await directory.photos(replace(query, offset=-1))


async def test_filters(directory, lease, clock):
    await fill(directory, lease, 10)
    await directory.commit(new(lease, 10, media_type="image/png"))
    await directory.commit(new(lease, 11, b"photo 3"))
    await directory.delete(new(lease, 4).photo)
    allocated = await directory.allocate(size=1)
    start = 20_000 * DAY_MS

    async def numbers(**filters) -> list[int]:
        found, totals = await pages(directory, PhotoQuery(limit=3, **filters))
        assert totals == {len(found)}
        return [photo - new(lease, 0).photo for photo in found]

    every = [0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11]
    assert await numbers() == every
    assert await numbers(status=PhotoStatus.DELETED) == [4]
    assert (await directory.photos(PhotoQuery(status=PhotoStatus.ALLOC))).photos == (allocated,)
    assert len(await numbers(status=None)) == 13
    assert await numbers(media_type="image/png") == [10]
    assert await numbers(media_type="image/nothing") == []
    assert await numbers(sha256=new(lease, 3).sha256) == [3, 11]
    assert await numbers(created_from_ms=start + 8) == [8, 9, 10, 11]
    assert await numbers(created_until_ms=start + 3) == [0, 1, 2]
    assert await numbers(created_from_ms=start + 2, created_until_ms=start + 6) == [2, 3, 5]
    assert await numbers(created_from_ms=start + 9, media_type="image/jpeg", newest_first=True) == [11, 9]
    assert await numbers(created_from_ms=start + 9, created_until_ms=start + 9) == []


async def test_time_filters_count_days_whole_and_in_part(directory, lease):
    """Twelve photos, five hours apart: every range must count what it lists."""
    times = [20_000 * DAY_MS + hour * 3_600_000 for hour in range(0, 60, 5)]
    for number, time in enumerate(times):
        await directory.commit(new(lease, number, created_at_ms=time))
    edges = [None, times[0], times[3], times[3] + 1, 20_001 * DAY_MS, 20_002 * DAY_MS, times[-1] + 1]
    for start in edges:
        for end in edges:
            page = await directory.photos(PhotoQuery(created_from_ms=start, created_until_ms=end))
            expected = [
                time for time in times if (start is None or time >= start) and (end is None or time < end)
            ]
            assert [record.created_at_ms for record in page.photos] == expected
            assert page.total == len(expected), (start, end)


async def test_a_listing_goes_on_while_photos_come_and_go(directory, lease):
    await fill(directory, lease, 10)
    first = await directory.photos(PhotoQuery(limit=4))
    await directory.delete(first.photos[-1].photo)
    await directory.commit(new(lease, 10))
    rest, totals = await pages(directory, PhotoQuery(limit=4, cursor=first.next_cursor))
    assert rest == [new(lease, n).photo for n in range(4, 11)]
    assert totals == {10}


@pytest.mark.parametrize("cursor", ["", "x", "AAAA", "ä", "A" * 23, "_" * 23])
async def test_a_cursor_of_somebody_elses_making_is_refused(directory, cursor):
    with pytest.raises(InvalidRequest):
        await directory.photos(PhotoQuery(cursor=cursor))


async def test_a_cursor_of_the_other_order_is_refused(directory, lease):
    await fill(directory, lease, 3)
    page = await directory.photos(PhotoQuery(limit=1))
    with pytest.raises(InvalidRequest):
        await directory.photos(PhotoQuery(limit=1, newest_first=True, cursor=page.next_cursor))


@pytest.mark.parametrize("limit", [0, 1001])
async def test_a_page_of_an_absurd_size_is_refused(directory, limit):
    with pytest.raises(InvalidRequest):
        await directory.photos(PhotoQuery(limit=limit))


async def test_statistics(directory, lease):
    await fill(directory, lease, 5)
    await directory.delete(new(lease, 0).photo)
    await directory.allocate(size=1000)
    totals = await directory.statistics()
    assert (totals.photos, totals.deleted, totals.bytes) == (4, 1, 4 * len(b"photo 0"))
    assert (totals.volumes, totals.writable_volumes, totals.last_event) == (2, 2, 6)
    assert type(totals.photos) is type(totals.bytes) is int


# The event log -----------------------------------------------------------------------------------


async def test_every_change_has_its_event_in_order_without_gaps(directory, lease, clock):
    await fill(directory, lease, 5)
    await directory.delete(new(lease, 2).photo)
    linked = await directory.append_event(EventKind.LINKED, new(lease, 0).photo, {"b": 7, "text": "é"})
    events = await directory.events(after=0, limit=100)
    assert [event.position for event in events] == [1, 2, 3, 4, 5, 6, 7]
    assert linked == 7
    uploaded, deleted, last = events[0], events[5], events[6]
    assert uploaded.kind is EventKind.UPLOADED
    assert uploaded.at_ms == clock.ms
    assert uploaded.payload["logical_volume"] == f"lv-{lease.volume}"
    assert uploaded.payload["replicas"] == ["local"]
    assert uploaded.payload["sha256"] == new(lease, 0).sha256.hex()
    assert (deleted.kind, deleted.photo) == (EventKind.DELETED, new(lease, 2).photo)
    assert (last.kind, last.payload) == (EventKind.LINKED, {"b": 7, "text": "é"})
    assert [event.position for event in await directory.events(after=2, limit=2)] == [3, 4]
    assert await directory.events(after=7, limit=10) == ()


async def test_a_reader_may_want_some_kinds_of_events_only(directory, lease):
    await fill(directory, lease, 3)
    photos = [event.photo for event in await directory.events(after=0, limit=10)]
    await directory.append_event(EventKind.LINKED, photos[0], {"links": []})
    await directory.delete(photos[1])
    for _ in range(2):
        await directory.append_event(EventKind.LINKED, photos[0], {"links": []})

    async def read(after: int, *kinds: EventKind, limit: int = 10) -> list[tuple[int, EventKind]]:
        found = await directory.events(after=after, limit=limit, kinds=kinds)
        return [(event.position, event.kind) for event in found]

    uploaded, deleted, linked = EventKind.UPLOADED, EventKind.DELETED, EventKind.LINKED
    # The last event of the log comes along, so that a reader knows how far it has got.
    assert await read(0, deleted) == [(5, deleted), (7, linked)]
    assert await read(0, uploaded, deleted, limit=4) == [
        (1, uploaded),
        (2, uploaded),
        (3, uploaded),
        (5, deleted),
    ]
    assert await read(0, uploaded, limit=2) == [(1, uploaded), (2, uploaded)]
    assert await read(5, deleted) == [(7, linked)]
    assert await read(6, linked) == [(7, linked)]
    assert await read(7, linked) == []


async def test_a_consumer_of_one_kind_gets_past_the_others(directory, lease):
    await fill(directory, lease, 3)
    source = LogEventSource(directory, consumer="c", kinds=[EventKind.DELETED])
    (marker,) = await source.next(limit=10)
    assert (marker.position, marker.kind) == (3, EventKind.UPLOADED)
    await source.acknowledge(marker)
    await source.close()
    assert await directory.position("c") == 3


async def test_a_reader_waits_for_the_next_event(directory, lease):
    waiting = asyncio.create_task(directory.events(after=0, limit=10, wait_seconds=20))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await directory.commit(new(lease, 0))
    (event,) = await waiting
    assert event.photo == new(lease, 0).photo
    assert await directory.events(after=1, limit=10, wait_seconds=0.01) == ()


async def test_consumers_positions_are_their_own_and_never_go_back(directory):
    assert await directory.position("one") == 0
    await directory.advance("one", 5)
    await directory.advance("one", 3)
    await directory.advance("two", 1)
    assert (await directory.position("one"), await directory.position("two")) == (5, 1)


@pytest.mark.parametrize("name", ["a b", "ä", "c" * 256])
async def test_a_consumers_name_is_plain(directory, name):
    with pytest.raises(InvalidRequest):
        await directory.advance(name, 1)


async def test_parked_events(directory, lease):
    await fill(directory, lease, 3)
    first, second, _ = await directory.events(after=0, limit=10)
    await directory.park("c", second, "it burns")
    await directory.park("c", first, "no idea")
    await directory.park("other", first, "not mine")
    parked = await directory.parked("c")
    assert [(one.event, one.reason, one.times) for one in parked] == [
        (first, "no idea", 1),
        (second, "it burns", 1),
    ]
    assert await directory.due("c", limit=10) == ()
    assert await directory.retry("c", second.position) == 1
    assert await directory.due("c", limit=10) == (second,)
    await directory.park("c", second, "still burns")
    assert await directory.due("c", limit=10) == ()
    assert (await directory.parked("c"))[1].times == 2
    assert await directory.retry("c") == 2
    await directory.unpark("c", second.position)
    await directory.unpark("c", second.position)
    assert await directory.due("c", limit=10) == (first,)
    assert len(await directory.parked("other")) == 1


async def test_a_consumer_reads_the_log_through_any_directory(directory, lease):
    await fill(directory, lease, 3)
    source = LogEventSource(directory, consumer="c")
    first, second, third = await source.next(limit=10)
    await source.acknowledge(first)
    await source.park(second, "it burns")
    await source.acknowledge(third)
    waiting = asyncio.create_task(source.next(limit=10))
    await directory.delete(first.photo)
    (deletion,) = await waiting
    assert (deletion.kind, deletion.photo) == (EventKind.DELETED, first.photo)
    await source.close()
    assert await directory.position("c") == third.position
    assert [one.event for one in await directory.parked("c")] == [second]


# Empty and closed --------------------------------------------------------------------------------


@pytest.mark.parametrize("opened", [local, over_http, primary_and_replica])
async def test_without_any_store_there_is_nothing_to_lease(opened, tmp_path, clock, postgres_database):
    async with opened(Place(tmp_path, clock, postgres_database)) as directory:
        with pytest.raises(RoleUnavailable):
            await directory.lease(holder="a", count=1)
        with pytest.raises(RoleUnavailable):
            await directory.allocate(size=1)
        assert (await directory.photos(PhotoQuery())).total == 0


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_two_directories_on_one_database_are_one(kind, tmp_path, clock, postgres_database):
    url = f"sqlite:///{tmp_path / 'directory.sqlite'}"
    if kind == "postgres":
        url = await asyncio.to_thread(postgres_database)
    await asyncio.to_thread(upgrade, url)
    one, other = (LocalDirectory.open(url, policy=POLICY, clock=clock) for _ in range(2))
    await one.register(store("local"))
    lease = await other.lease(holder="a", count=10)
    waiting = asyncio.create_task(one.events(after=0, limit=1, wait_seconds=20))
    first = await other.commit(new(lease, 0, b"x", idempotency_key="k"))
    assert (await waiting)[0].photo == first.photo
    assert (await one.commit(new(lease, 1, b"x"))).duplicate_of == first.photo
    assert (await one.commit(new(lease, 2, b"y", idempotency_key="k"))).repeated
    await one.delete(first.photo)
    with pytest.raises(PhotoDeleted):
        await other.commit(new(lease, 0, b"x"))
    await one.close()
    await other.close()
