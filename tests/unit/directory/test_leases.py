"""Leases at the edges that a running directory rarely meets."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import update

from hayloft.database import parse_url
from hayloft.database.sqlite import sqlite_engine
from hayloft.directory.heartbeats import Heartbeat, register
from hayloft.directory.leases import HOLDER_FRESH_MS, LeaseRequest, WritePolicy, lease, refusal
from hayloft.directory.migrations import upgrade_on
from hayloft.directory.schema import volumes
from hayloft.errors import RoleUnavailable, StorageFull
from hayloft.limits import SEQUENCES_PER_VOLUME_MAX
from hayloft.types import StoreHealth, StoreId

POLICY = WritePolicy(writable_max=2)


@pytest.fixture
def connection(tmp_path: Path):
    engine = sqlite_engine(parse_url(f"sqlite:///{tmp_path / 'd.sqlite'}"), begin="BEGIN IMMEDIATE")
    with engine.begin() as connection:
        upgrade_on(connection)
        beat(connection, "s1", now_ms=0)
        yield connection
    engine.dispose()


def beat(connection, name: str, *, now_ms: int, free_bytes: int = 1 << 40) -> None:
    health = StoreHealth(store=StoreId(name), volumes=(), free_bytes=free_bytes, capacity_bytes=1 << 41)
    register(connection, Heartbeat(health, None, now_ms, POLICY.volume_size_bytes_max))


def take(
    connection,
    holder: str,
    *,
    number: int = 1,
    now_ms: int = 0,
    policy: WritePolicy = POLICY,
    avoid: frozenset[StoreId] = frozenset(),
):
    return lease(connection, LeaseRequest(holder, number, now_ms, avoid), policy)


def test_a_lease_ends_with_its_volume(connection):
    first = take(connection, "a")
    connection.execute(
        update(volumes)
        .where(volumes.c.volume == first.volume)
        .values(next_sequence=SEQUENCES_PER_VOLUME_MAX - 3)
    )
    last = take(connection, "a", number=10)
    assert (last.volume, last.first, last.count) == (first.volume, SEQUENCES_PER_VOLUME_MAX - 3, 3)
    following = take(connection, "a", number=10)
    assert following.volume != first.volume
    assert following.count == 10


def test_holders_that_are_long_gone_do_not_count(connection):
    mine = take(connection, "dead", now_ms=0)
    other = take(connection, "living", now_ms=HOLDER_FRESH_MS)
    assert other.volume != mine.volume
    late = HOLDER_FRESH_MS + 1
    assert take(connection, "new", now_ms=late).volume == mine.volume


def test_silent_stores_get_no_new_volumes(connection):
    policy = WritePolicy(writable_max=1, silence_ms_max=1000)
    beat(connection, "s2", now_ms=5000)
    assert take(connection, "a", now_ms=5500, policy=policy).replicas == ("s2",)
    # None of them is heard of any more, which is not to say that they are full.
    with pytest.raises(RoleUnavailable):
        take(connection, "a", now_ms=9000, policy=policy)
    beat(connection, "s1", now_ms=9000, free_bytes=1)
    with pytest.raises(StorageFull):
        take(connection, "a", now_ms=9000, policy=policy)


def test_volumes_on_silent_stores_take_no_writes_until_they_are_heard_of(connection):
    policy = WritePolicy(writable_max=1, silence_ms_max=1000)
    for name in ("s1", "s2", "s3"):
        beat(connection, name, now_ms=1000)
    whole = take(connection, "a", now_ms=1500, policy=policy)
    for name in ("s1", "s2"):
        beat(connection, name, now_ms=3000)
    without = take(connection, "a", now_ms=3500, policy=policy)
    assert set(without.replicas) == {"s1", "s2"}
    beat(connection, "s3", now_ms=3600)
    beat(connection, "s1", now_ms=5000)
    beat(connection, "s3", now_ms=5000)
    beat(connection, "s2", now_ms=5000)
    volumes_now = {take(connection, name, now_ms=5100, policy=policy).volume for name in "bc"}
    assert volumes_now == {whole.volume}


def test_volumes_with_fewer_replicas_are_left_once_more_can_be_had(connection):
    policy = WritePolicy(writable_max=1, silence_ms_max=1000)
    alone = take(connection, "a", policy=policy)
    assert alone.replicas == ("s1",)
    for name in ("s2", "s3"):
        beat(connection, name, now_ms=0)
    whole = take(connection, "a", policy=policy)
    assert set(whole.replicas) == {"s1", "s2", "s3"}
    # With two of them silent, what was made at first is as good as can be.
    beat(connection, "s1", now_ms=5000)
    assert take(connection, "a", now_ms=5500, policy=policy).volume == alone.volume
    for name in ("s1", "s2", "s3"):
        beat(connection, name, now_ms=6000)
    assert take(connection, "a", now_ms=6000, policy=policy).volume == whole.volume


def test_volumes_spread_over_stores_by_the_space_not_yet_promised(connection):
    size = POLICY.volume_size_bytes_max
    policy = WritePolicy(writable_max=4, replication=1)
    beat(connection, "s1", now_ms=0, free_bytes=10 * size)
    beat(connection, "s2", now_ms=0, free_bytes=10 * size - 1)
    stores = {take(connection, f"h{n}", policy=policy).replicas for n in range(4)}
    assert stores == {("s1",), ("s2",)}


@pytest.mark.parametrize(
    ("stores", "replication", "expected"), [(1, None, 1), (2, None, 2), (5, None, 3), (5, 2, 2)]
)
def test_replicas_are_three_or_as_many_as_there_are_stores(connection, stores, replication, expected):
    for number in range(stores):
        beat(connection, f"s{number + 1}", now_ms=0)
    leased = take(connection, "a", policy=WritePolicy(replication=replication))
    assert len(set(leased.replicas)) == expected


def test_nothing_is_written_below_the_replicas_that_are_wanted(connection):
    alone = take(connection, "a", policy=WritePolicy(writable_max=1))
    assert alone.replicas == ("s1",)
    policy = WritePolicy(writable_max=1, replicas_min=2, silence_ms_max=1000)
    # Neither in a volume that was made before, nor in a new one.
    with pytest.raises(
        RoleUnavailable, match="1 of 1 stores can be reached, and an upload needs 2"
    ) as refused:
        take(connection, "a", policy=policy)
    assert refused.value.retry_after_seconds
    assert refusal(connection, policy, 0) == refused.value.message
    beat(connection, "s2", now_ms=0)
    assert refusal(connection, policy, 0) == ""
    both = take(connection, "a", policy=policy)
    assert set(both.replicas) == {"s1", "s2"}
    # One that has fallen silent, and one that only this holder cannot reach, are as good as away.
    beat(connection, "s1", now_ms=5000)
    with pytest.raises(RoleUnavailable):
        take(connection, "a", now_ms=5000, policy=policy)
    assert refusal(connection, policy, 5000)
    beat(connection, "s2", now_ms=5000)
    assert take(connection, "a", now_ms=5000, policy=policy).volume == both.volume
    # A volume that the holder could not write to just now is all that is left: it never gets a lesser one.
    without = take(connection, "a", now_ms=5000, policy=policy, avoid=frozenset({StoreId("s2")}))
    assert without.volume == both.volume
    connection.execute(update(volumes).values(sealed=True))
    with pytest.raises(RoleUnavailable):
        take(connection, "a", now_ms=5000, policy=policy, avoid=frozenset({StoreId("s2")}))
    assert take(connection, "a", now_ms=5000, policy=policy).volume not in (alone.volume, both.volume)


def test_too_few_stores_with_room_are_told_from_too_few_that_answer(connection):
    policy = WritePolicy(writable_max=1, replicas_min=2)
    beat(connection, "s2", now_ms=0, free_bytes=1)
    with pytest.raises(StorageFull):
        take(connection, "a", policy=policy)
    assert "room" in refusal(connection, policy, 0)


@pytest.mark.parametrize(
    ("stores", "replication", "expected"),
    [(1, None, 1), (2, None, 1), (3, None, 2), (5, None, 2), (5, 1, 1), (5, 2, 2)],
)
def test_by_default_one_store_may_be_away_and_no_photo_lies_on_one_alone(
    connection, stores, replication, expected
):
    policy = WritePolicy(replication=replication, replicas_min=None, silence_ms_max=1000)
    for number in range(stores):
        beat(connection, f"s{number + 1}", now_ms=0)
    for reached in range(1, stores + 1):
        now_ms = 5000 * reached
        for number in range(reached):
            beat(connection, f"s{number + 1}", now_ms=now_ms)
        if reached >= expected:
            assert len(take(connection, "a", now_ms=now_ms, policy=policy).replicas) >= expected
        else:
            with pytest.raises(RoleUnavailable):
                take(connection, "a", now_ms=now_ms, policy=policy)
