"""Whether two replicas hold the same: digests, and listings of what they hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from hayloft.store.local import LocalStore
from hayloft.types import AlternateKey, Cookie, NewNeedle, Scrutiny, StoreId
from replica_samples import SETTINGS, VOLUME, Replicas, damage, fill, key, needle


async def test_replicas_with_the_same_needles_have_the_same_digest(replicas: Replicas) -> None:
    await fill(replicas.one, 1, 2, 3, 20_000)
    await fill(replicas.other, 3, 20_000, 1, 2)
    assert await replicas.one.digest(VOLUME) == await replicas.other.digest(VOLUME)
    for store in (replicas.one, replicas.other):
        await store.delete(key(2).photo)
    digests = [await store.digest(VOLUME) for store in (replicas.one, replicas.other)]
    assert digests[0] == digests[1]
    assert (digests[0].needles, digests[0].deleted, digests[0].damaged) == (3, 1, 0)
    assert [each.first for each in digests[0].ranges] == [0, 16_384]


@pytest.mark.parametrize(
    "change", ["another byte", "another cookie", "another name", "one more", "one deleted", "one rendition"]
)
async def test_every_difference_shows(replicas: Replicas, change: str) -> None:
    await fill(replicas.one, 1, 2, 20_000)
    await fill(replicas.other, 1, 20_000)
    changed = needle(2)
    match change:
        case "another byte":
            changed = needle(2, bytes([changed.data[0] ^ 1]) + changed.data[1:])
        case "another cookie":
            changed = NewNeedle(
                photo=changed.photo, cookie=Cookie(7), data=changed.data, metadata=changed.metadata
            )
        case "another name":
            changed = NewNeedle(photo=changed.photo, cookie=changed.cookie, data=changed.data)
        case "one more":
            await replicas.other.append(VOLUME, needle(3))
        case "one rendition":
            await replicas.other.append(VOLUME, needle(1, b"thumb", AlternateKey.THUMB))
    await replicas.other.append(VOLUME, changed)
    if change == "one deleted":
        await replicas.other.delete(key(1).photo)
    one, other = await replicas.one.digest(VOLUME), await replicas.other.digest(VOLUME)
    assert one.digest != other.digest
    assert [a.digest == b.digest for a, b in zip(one.ranges, other.ranges, strict=True)] == [False, True]


async def test_by_the_index_alone_sizes_stand_for_contents(replicas: Replicas) -> None:
    await replicas.one.append(VOLUME, needle(1, b"this"))
    await replicas.other.append(VOLUME, needle(1, b"that"))
    for scrutiny, same in ((Scrutiny.INDEX, True), (Scrutiny.KNOWN, False), (Scrutiny.MEDIUM, False)):
        digests = [await each.digest(VOLUME, scrutiny=scrutiny) for each in (replicas.one, replicas.other)]
        assert (digests[0].digest == digests[1].digest) == same
    await replicas.other.delete(key(1).photo)
    digests = [
        await each.digest(VOLUME, scrutiny=Scrutiny.INDEX) for each in (replicas.one, replicas.other)
    ]
    assert digests[0].digest != digests[1].digest


async def test_a_digest_follows_what_happens(replicas: Replicas) -> None:
    await fill(replicas.one, 1)
    before = await replicas.one.digest(VOLUME)
    await fill(replicas.one, 2)
    between = await replicas.one.digest(VOLUME)
    await replicas.one.delete(key(2).photo)
    after = await replicas.one.digest(VOLUME)
    assert len({before.digest, between.digest, after.digest}) == 3


async def test_listing_goes_on_where_it_stopped(replicas: Replicas) -> None:
    await fill(replicas.one, 9, 1, 3, 20_000)
    await replicas.one.append(VOLUME, needle(3, b"thumb", AlternateKey.THUMB))
    await replicas.one.delete(key(9).photo)
    found, after = [], None
    while page := await replicas.one.needles(VOLUME, after=after, limit=2):
        found += page
        after = page[-1].key
    assert [entry.key for entry in found] == [
        key(1),
        key(3),
        key(3, AlternateKey.THUMB),
        key(9),
        key(20_000),
    ]
    assert [entry.deleted for entry in found] == [False, False, False, True, False]
    assert all((entry.checksum is None) == entry.deleted for entry in found)
    assert found[3].size == 0 < found[0].size
    assert not any(entry.damaged for entry in found)


@pytest.mark.parametrize("scrutiny", Scrutiny)
async def test_listing_looks_as_closely_as_asked(replicas: Replicas, scrutiny: Scrutiny) -> None:
    await fill(replicas.one, 1, 2)
    page = await replicas.one.needles(VOLUME, limit=10, scrutiny=scrutiny)
    assert [entry.checksum is None for entry in page] == [scrutiny is Scrutiny.INDEX] * 2


async def test_what_was_read_once_is_remembered_until_the_medium_is_asked(
    stores: tuple[LocalStore, LocalStore], tmp_path: Path
) -> None:
    one, _other = stores
    await fill(one, 1, 2)
    assert (await one.digest(VOLUME)).damaged == 0
    damage(tmp_path / "a" / "lv-5.log", (await one.stat(key(2).photo)).offset + 100)
    assert (await one.digest(VOLUME)).damaged == 0
    listed = await one.needles(VOLUME, limit=9, scrutiny=Scrutiny.MEDIUM)
    assert [entry.damaged for entry in listed] == [False, True]
    assert (await one.digest(VOLUME)).damaged == 1


async def test_a_digest_outlives_compaction_and_reopening(
    stores: tuple[LocalStore, LocalStore], tmp_path: Path
) -> None:
    one, _other = stores
    await fill(one, *range(1, 20))
    for sequence in range(1, 20, 3):
        await one.delete(key(sequence).photo)
    before = await one.digest(VOLUME)
    await one.compact(VOLUME)
    assert await one.digest(VOLUME) == before
    await one.close()
    reopened = LocalStore(tmp_path / "a", store=StoreId("a"), settings=SETTINGS)
    assert await reopened.digest(VOLUME) == before
    await reopened.rebuild_index(VOLUME)
    assert await reopened.digest(VOLUME) == before
    await reopened.close()
