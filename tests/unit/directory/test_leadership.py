"""Which directory is the primary: who begins, who takes over, and that there are never two that write."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from hayloft.database import Database, open_database
from hayloft.directory import leadership
from hayloft.directory.leadership import Leadership
from hayloft.directory.local import LocalDirectory
from hayloft.directory.migrations import upgrade
from hayloft.errors import NotPrimary, RoleUnavailable
from hayloft.types import StoreHealth, StoreId

A, B = "http://a:8001", "http://b:8001"
HEALTH = StoreHealth(store=StoreId("s"), volumes=(), free_bytes=1 << 40, capacity_bytes=1 << 40)
SHORT = 0.5
"""A term that ends while a test waits for it."""


@pytest.fixture(params=["sqlite", "postgres"])
async def url(request, tmp_path: Path, postgres_database) -> str:
    if request.param == "postgres":
        return await asyncio.to_thread(postgres_database)
    url = f"sqlite:///{tmp_path / 'directory.sqlite'}"
    await asyncio.to_thread(upgrade, url)
    return url


@pytest.fixture
async def databases(url) -> AsyncIterator[Callable[[], Database]]:
    async with AsyncExitStack() as stack:

        def make() -> Database:
            database = open_database(url, name="directory")
            stack.push_async_callback(database.close)
            return database

        yield make


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.02)


def stand_still(leadership: Leadership) -> None:
    """As a process does that is stopped: nothing of it goes on."""
    assert leadership._task is not None
    leadership._task.cancel()


async def test_the_first_begins_and_the_other_says_where_it_is(databases) -> None:
    async with Leadership(databases(), url=A + "/") as a, Leadership(databases(), url=B, first=False) as b:
        assert (a.primary, a.primary_url) == (True, A)
        assert (b.primary, b.primary_url) == (False, A)


async def test_one_that_is_not_to_be_first_leaves_the_start_to_the_others(databases) -> None:
    async with Leadership(databases(), url=B, first=False) as b:
        assert (b.primary, b.primary_url) == (False, "")
        async with Leadership(databases(), url=A) as a:
            assert a.primary


async def test_only_the_primary_writes(databases) -> None:
    async with Leadership(databases(), url=A) as a, Leadership(databases(), url=B, first=False) as b:
        await LocalDirectory(a.fenced).register(HEALTH)
        replica = LocalDirectory(b.fenced)
        with pytest.raises(NotPrimary) as refusal:
            await replica.register(HEALTH)
        assert refusal.value.details["primary_directory"] == A
        assert [store.store for store in await replica.stores()] == ["s"]


async def test_another_takes_over_when_the_primary_stands_still(databases) -> None:
    async with Leadership(databases(), url=A, term_seconds=SHORT) as a, Leadership(databases(), url=B) as b:
        directory = LocalDirectory(a.fenced)
        await directory.register(HEALTH)
        stand_still(a)
        await until(lambda: b.primary)
        assert not a.primary
        # It wakes up, with a write in hand, and does not know yet that its term is over.
        with pytest.raises(NotPrimary) as refusal:
            await directory.register(HEALTH)
        assert refusal.value.details["primary_directory"] == B
        await LocalDirectory(b.fenced).register(HEALTH)


async def test_one_that_finds_its_term_lost_says_so(databases) -> None:
    async with Leadership(databases(), url=A, term_seconds=SHORT) as a, Leadership(databases(), url=B) as b:
        stand_still(a)
        await until(lambda: b.primary)
        await a._step()
        assert (a.primary, a.primary_url) == (False, B)


async def test_a_term_that_ended_and_that_nobody_took_goes_on(databases) -> None:
    async with Leadership(databases(), url=A, term_seconds=SHORT) as a:
        stand_still(a)
        await until(lambda: not a.primary)
        # Nobody else has begun a term, so what it writes is in nobody's way.
        await LocalDirectory(a.fenced).register(HEALTH)
        await a._step()
        assert a.primary


async def test_a_primary_that_leaves_makes_room_at_once(databases) -> None:
    async with Leadership(databases(), url=A, term_seconds=3600) as a:
        assert a.primary
    async with Leadership(databases(), url=B, first=False) as b:
        assert b.primary


async def test_a_primary_that_died_and_is_started_again_goes_on_at_once(databases) -> None:
    async with Leadership(databases(), url=A, term_seconds=3600) as before:
        stand_still(before)
        async with Leadership(databases(), url=A) as again:
            assert again.primary
            with pytest.raises(NotPrimary):
                await LocalDirectory(before.fenced).register(HEALTH)
            await LocalDirectory(again.fenced).register(HEALTH)


async def test_work_for_the_primary_starts_and_ends_with_its_term(databases, monkeypatch) -> None:
    running = {A: 0, B: 0}
    begun: list[str] = []
    monkeypatch.setattr(leadership, "AGAIN_SECONDS", 0.01)

    async def work(url: str) -> None:
        begun.append(url)
        if len(begun) == 1:
            raise RuntimeError("nobody foresaw this")
        running[url] += 1
        try:
            await asyncio.sleep(3600)
        finally:
            running[url] -= 1

    async with Leadership(databases(), url=A, term_seconds=SHORT) as a, Leadership(databases(), url=B) as b:
        tasks = [asyncio.create_task(one.while_primary(lambda url=one.url: work(url))) for one in (a, b)]
        await until(lambda: running == {A: 1, B: 0})
        stand_still(a)
        await until(lambda: b.primary)
        await a._step()
        await until(lambda: running == {A: 0, B: 1})
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert running == {A: 0, B: 0}


class Away:
    """A database that can be switched off."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.away = False

    async def read(self, work):
        if self.away:
            raise RoleUnavailable
        return await self._database.read(work)

    async def write(self, work):
        if self.away:
            raise RoleUnavailable
        return await self._database.write(work)


async def test_a_primary_without_its_database_is_none_and_comes_back(databases) -> None:
    database = Away(databases())
    async with Leadership(database, url=A, term_seconds=SHORT, renewal_seconds=0.05) as a:
        database.away = True
        await until(lambda: not a.primary)
        database.away = False
        await until(lambda: a.primary)
