"""The live mapping of stores: new ones come, moved ones move, all stay while the directory is away."""

from __future__ import annotations

import asyncio

import pytest

from hayloft.assembly.fleet import Fleet
from hayloft.errors import RoleUnavailable
from hayloft.testing.memory import MemoryDirectory
from hayloft.types import KnownStore, StoreHealth, StoreId

A, B = StoreId("a"), StoreId("b")


class Client:
    """Stands for a store's client."""

    def __init__(self, name: StoreId, url: str) -> None:
        self.name, self.url, self.closed = name, url, False

    async def close(self) -> None:
        self.closed = True


class Away(MemoryDirectory):
    """A directory that can be away."""

    away = False
    asked = 0

    async def stores(self) -> tuple[KnownStore, ...]:
        self.asked += 1
        if self.away:
            raise RoleUnavailable
        return await super().stores()


async def register(directory: MemoryDirectory, name: StoreId, url: str | None) -> None:
    health = StoreHealth(store=name, volumes=(), free_bytes=1, capacity_bytes=2)
    await directory.register(health, url=url)


async def until(condition) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is waited for cannot tell
            await asyncio.sleep(0.01)


async def test_stores_come_and_move_and_their_old_clients_live_until_the_end():
    directory = Away()
    await register(directory, A, "http://a")
    async with Fleet(directory, Client, refresh_seconds=0.02) as fleet:
        assert {name: store.url for name, store in fleet.items()} == {A: "http://a"}
        first = fleet[A]
        await register(directory, B, "http://b")
        await until(lambda: B in fleet)
        await register(directory, A, "http://a2")
        await until(lambda: fleet[A].url == "http://a2")
        assert not first.closed
        clients = [first, *fleet.values()]
    assert all(client.closed for client in clients)


async def test_a_directory_that_is_away_changes_nothing():
    directory = Away()
    await register(directory, A, "http://a")
    async with Fleet(directory, Client, refresh_seconds=0.02) as fleet:
        directory.away = True
        asked = directory.asked
        await until(lambda: directory.asked > asked + 2)
        assert list(fleet) == [A]


async def test_it_begins_empty_while_the_directory_is_away_and_catches_up():
    directory = Away()
    directory.away = True
    async with Fleet(directory, Client, refresh_seconds=0.02) as fleet:
        assert len(fleet) == 0
        directory.away = False
        await register(directory, A, "http://a")
        await until(lambda: A in fleet)


async def test_an_unknown_name_is_asked_for_at_once():
    directory = Away()
    async with Fleet(directory, Client, refresh_seconds=3600) as fleet:
        await register(directory, A, "http://a")
        assert fleet.get(A) is None
        await until(lambda: A in dict(fleet))


async def test_a_store_without_an_address_cannot_be_reached_and_is_left_out():
    directory = Away()
    await register(directory, A, None)
    async with Fleet(directory, Client) as fleet:
        with pytest.raises(KeyError):
            fleet[A]
