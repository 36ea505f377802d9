"""The cache's pure parts: what goes first, which fills come too late, what a record proves."""

from __future__ import annotations

import random
from collections import OrderedDict

import pytest

from hayloft.cache.leases import Leases
from hayloft.cache.recency import Recency
from hayloft.cache.record import from_record, to_record
from hayloft.types import AlternateKey, Cookie, NewNeedle, PhotoId


def test_the_least_recently_used_goes_first() -> None:
    held: Recency[str, int] = Recency(bytes_max=100, items_max=3)
    for name in "abc":
        assert held.put(name, 0, 10, expires_at=10) == []
    held.use("a", now=0, expires_at=10)
    assert [key for key, _ in held.put("d", 0, 10, expires_at=10)] == ["b"]
    assert [key for key, _ in held.put("e", 0, 90, expires_at=10)] == ["c", "a"]
    assert held.size_bytes == 100


def test_a_value_larger_than_everything_displaces_nothing() -> None:
    held: Recency[str, int] = Recency(bytes_max=100, items_max=3)
    held.put("a", 0, 10, expires_at=10)
    assert [key for key, _ in held.put("b", 0, 101, expires_at=10)] == ["b"]
    assert "a" in held


def test_use_moves_the_end_and_looking_does_not() -> None:
    held: Recency[str, int] = Recency(bytes_max=100, items_max=3)
    held.put("a", 1, 10, expires_at=10)
    held.put("b", 2, 10, expires_at=10)
    assert held.peek("a", now=9) is not None
    assert held.use("b", now=9, expires_at=19) is not None
    assert held.peek("a", now=10) is None
    assert [gone.value for gone in held.expire(now=10)] == [1]
    assert held.peek("b", now=18) is not None
    assert held.size_bytes == 10


@pytest.mark.parametrize("seed", range(3))
def test_recency_keeps_its_caps_over_a_random_history(seed: int) -> None:
    choice = random.Random(seed)
    held: Recency[int, int] = Recency(bytes_max=1000, items_max=20)
    model: OrderedDict[int, int] = OrderedDict()
    for _ in range(5000):
        key, size = choice.randrange(40), choice.randrange(1, 200)
        match choice.randrange(3):
            case 0:
                held.put(key, 0, size, expires_at=1)
                model.pop(key, None)
                model[key] = size
                while sum(model.values()) > 1000 or len(model) > 20:
                    model.popitem(last=False)
            case 1:
                used = held.use(key, now=0, expires_at=1)
                assert (used is not None) == (key in model)
                if key in model:
                    model.move_to_end(key)
            case 2:
                assert (held.pop(key) is not None) == (model.pop(key, None) is not None)
        assert list(held) == list(model)
        assert held.size_bytes == sum(model.values())


def test_a_lease_is_void_for_what_was_deleted_after_it() -> None:
    leases = Leases()
    before = leases.give()
    leases.void(PhotoId(1))
    assert not leases.honours(before, PhotoId(1))
    assert leases.honours(before, PhotoId(2))
    assert leases.honours(leases.give(), PhotoId(1))


def test_leases_from_before_what_is_remembered_are_not_honoured() -> None:
    leases = Leases(deletions_max=2)
    old = leases.give()
    for photo in (1, 2, 3):
        leases.void(PhotoId(photo))
    assert not leases.honours(old, PhotoId(9))
    assert leases.honours(leases.give(), PhotoId(9))


@pytest.mark.parametrize("lease", ["", "x", "x.1", "é.²", "." * 1000])
def test_other_leases_are_not_honoured(lease: str) -> None:
    assert not Leases().honours(lease, PhotoId(1))
    assert not Leases().honours(Leases().give(), PhotoId(1))


def test_a_record_proves_its_bytes_and_its_place() -> None:
    photo, other = PhotoId(3 << 32 | 7), PhotoId(4 << 32 | 7)
    record = to_record(NewNeedle(photo=photo, cookie=Cookie(5), data=b"hay" * 50), salt=77)
    found = from_record(record, (photo, AlternateKey.ORIG), salt=77)
    assert found is not None
    assert bytes(found.data) == b"hay" * 50
    assert found.cookie == 5
    assert from_record(record, (other, AlternateKey.ORIG), salt=77) is None
    assert from_record(record, (photo, AlternateKey.THUMB), salt=77) is None
    assert from_record(record, (photo, AlternateKey.ORIG), salt=78) is None
    for position in range(len(record) - 8):
        damaged = bytearray(record)
        damaged[position] ^= 1
        assert from_record(bytes(damaged), (photo, AlternateKey.ORIG), salt=77) is None
