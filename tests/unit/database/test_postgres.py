"""PostgreSQL going away at every moment: what was answered took place, once; what was not, not at all."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from hayloft.database import parse_url
from hayloft.database.postgres import PostgresDatabase
from hayloft.errors import InternalError, RoleUnavailable, ShuttingDown


@pytest.fixture
async def url(postgres_database) -> str:
    return await asyncio.to_thread(postgres_database)


@pytest.fixture
async def database(url) -> AsyncIterator[PostgresDatabase]:
    opened = PostgresDatabase(parse_url(url), name="test")
    yield opened
    await opened.close()


class Insertion:
    """Adds a row; counts how often it was tried."""

    def __init__(self, name: str = "row") -> None:
        self.name = name
        self.runs = 0

    def __call__(self, connection: Connection) -> int:
        self.runs += 1
        connection.execute(text("INSERT INTO counters VALUES (:name, 7)"), {"name": self.name})
        return self.runs


def rows(connection: Connection) -> list[str]:
    found = connection.execute(text("SELECT name FROM counters WHERE name <> 'event' ORDER BY name"))
    return list(found.scalars())


def lose_once(monkeypatch, *, before: Callable[[AsyncConnection], object] | None) -> None:
    """The next commit's answer is lost; with ``before``, so is what it does on its way."""
    commit, lost = AsyncConnection.commit, []

    async def losing(connection: AsyncConnection) -> None:
        if lost:
            return await commit(connection)
        lost.append(connection)
        if before is None:
            await commit(connection)
        else:
            await connection.invalidate()
        raise ConnectionError("connection reset by peer")

    monkeypatch.setattr(AsyncConnection, "commit", losing)


async def test_a_commit_whose_answer_was_lost_is_not_done_twice(database, monkeypatch) -> None:
    lose_once(monkeypatch, before=None)
    insertion = Insertion()
    assert await database.write(insertion) == 1
    assert (insertion.runs, await database.read(rows)) == (1, ["row"])


async def test_a_commit_that_never_arrived_is_done_again(database, monkeypatch) -> None:
    lose_once(monkeypatch, before=AsyncConnection.invalidate)
    insertion = Insertion()
    assert await database.write(insertion) == 2
    assert (insertion.runs, await database.read(rows)) == (2, ["row"])


async def test_a_connection_that_breaks_in_the_middle_is_replaced(database) -> None:
    insertion = Insertion()

    def broken_once(connection: Connection) -> int:
        number = insertion(connection)
        if number == 1:
            # As an operator does, or a server that stops.
            connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
        return number

    assert await database.write(broken_once) == 2
    assert await database.read(rows) == ["row"]


async def test_a_failure_of_the_work_itself_is_not_repeated(database) -> None:
    insertion = Insertion("event")
    with pytest.raises(InternalError) as failure:
        await database.write(insertion)
    assert isinstance(failure.value.__cause__, IntegrityError)
    assert insertion.runs == 1
    assert await database.write(Insertion()) == 1


@pytest.mark.parametrize("mode", ["fast", "immediate"])
async def test_a_restart_is_sat_out(database, postgres, mode) -> None:
    await database.write(Insertion("before"))
    await asyncio.to_thread(postgres.stop, mode)
    writing = asyncio.create_task(database.write(Insertion("meanwhile")))
    reading = asyncio.create_task(database.read(rows))
    await asyncio.sleep(0.5)
    assert not writing.done()
    assert not reading.done()
    await asyncio.to_thread(postgres.run)
    await writing
    assert "before" in await reading
    assert await database.read(rows) == ["before", "meanwhile"]


async def test_a_server_that_stays_away_is_not_waited_for_by_all(database, postgres, monkeypatch) -> None:
    await database.write(Insertion("before"))
    await asyncio.to_thread(postgres.stop)
    try:
        monkeypatch.setattr("hayloft.database.postgres.AWAY_SECONDS_MAX", 0.3)
        with pytest.raises(RoleUnavailable):
            await database.write(Insertion())
        monkeypatch.setattr("hayloft.database.postgres.AWAY_SECONDS_MAX", 3600.0)
        for ask in (database.write, database.read):
            with pytest.raises(RoleUnavailable):
                await ask(rows)
    finally:
        await asyncio.to_thread(postgres.run)
    assert await database.read(rows) == ["before"]


async def test_one_that_stands_still_in_the_middle_is_cut_off(url, database) -> None:
    holding, waking, outcome = threading.Event(), threading.Event(), []

    def stand_still_once(connection: Connection) -> None:
        first = not outcome
        outcome.append("ran")
        connection.execute(text("INSERT INTO counters VALUES ('sleeper', 1)"))
        if first:
            holding.set()
            waking.wait(60)

    async def hold() -> None:
        other = PostgresDatabase(parse_url(url), name="test", idle_ms_max=300)
        await other.write(stand_still_once)
        await other.close()

    sleeper = threading.Thread(target=lambda: asyncio.run(hold()))
    sleeper.start()
    await asyncio.to_thread(holding.wait, 60)
    async with asyncio.timeout(60):
        await database.write(Insertion())
    assert await database.read(rows) == ["row"]
    waking.set()
    await asyncio.to_thread(sleeper.join, 60)
    assert (outcome, await database.read(rows)) == (["ran", "ran"], ["row", "sleeper"])


async def test_a_closed_database_says_so(database) -> None:
    await database.close()
    with pytest.raises(ShuttingDown):
        await database.read(rows)
