"""Shared transactions: one request's failure, foreseen or not, is its own."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import text

from hayloft.database import open_database
from hayloft.directory.transactions import Transactions, one_by_one
from hayloft.errors import Conflict, InternalError, ShuttingDown, StorageFull


@pytest.fixture
async def database(tmp_path: Path):
    database = open_database(f"sqlite:///{tmp_path / 'numbers.sqlite'}", name="directory")
    await database.write(lambda c: c.execute(text("CREATE TABLE numbers (n INTEGER UNIQUE)")))
    yield database
    await database.close()


async def numbers(database) -> list[int]:
    return await database.read(
        lambda c: list(c.execute(text("SELECT n FROM numbers ORDER BY n")).scalars())
    )


def insert_all(connection, batch):
    connection.execute(text("INSERT INTO numbers VALUES (:n)"), [{"n": n} for n in batch])
    return [Conflict() if n < 0 else n for n in batch]


async def test_neighbours_of_a_surprise_are_committed(database):
    transactions = Transactions(database)
    await transactions.apply(insert_all, 3)
    answers = await asyncio.gather(
        *(transactions.apply(insert_all, n) for n in (1, 2, 3, 4)), return_exceptions=True
    )
    assert [type(answer) for answer in answers] == [int, int, InternalError, int]
    assert await numbers(database) == [1, 2, 3, 4]


async def test_a_lone_surprise_is_an_error_of_ours(database):
    transactions = Transactions(database)
    await transactions.apply(insert_all, 1)
    with pytest.raises(InternalError):
        await transactions.apply(insert_all, 1)


async def test_what_a_failed_request_wrote_is_undone_and_no_more(database):
    def insert_one(connection, n):
        connection.execute(text("INSERT INTO numbers VALUES (:n)"), {"n": n})
        if n % 2:
            raise Conflict
        return n

    change = one_by_one(insert_one)
    transactions = Transactions(database)
    answers = await asyncio.gather(
        *(transactions.apply(change, n) for n in range(6)), return_exceptions=True
    )
    assert [isinstance(answer, Conflict) for answer in answers] == [False, True] * 3
    assert await numbers(database) == [0, 2, 4]


async def test_different_changes_keep_their_order(database):
    def delete_one(connection, n):
        return connection.execute(text("DELETE FROM numbers WHERE n = :n"), {"n": n}).rowcount

    deletion = one_by_one(delete_one)
    transactions = Transactions(database)
    answers = await asyncio.gather(
        transactions.apply(insert_all, 1),
        transactions.apply(deletion, 1),
        transactions.apply(insert_all, 1),
        transactions.apply(deletion, 1),
        transactions.apply(deletion, 1),
    )
    assert answers == [1, 1, 1, 1, 0]


async def test_a_full_disk_is_told_and_passes(database, tmp_path):
    """SQLite's own page limit stands in for a full disk: the error is the same."""

    def limit(pages):
        return lambda c: c.exec_driver_sql(f"PRAGMA max_page_count={pages}").scalar()

    pages = await database.read(lambda c: c.exec_driver_sql("PRAGMA page_count").scalar())
    await database.write(lambda c: c.execute(text("CREATE TABLE blobs (b BLOB)")))
    await database.write(limit(pages + 5))

    def fill(connection, size):
        connection.execute(text("INSERT INTO blobs VALUES (:b)"), {"b": bytes(size)})
        return size

    transactions = Transactions(database)
    with pytest.raises(StorageFull):
        await transactions.apply(one_by_one(fill), 1 << 20)
    assert await transactions.apply(one_by_one(fill), 10) == 10


async def test_a_closed_database_says_so(tmp_path):
    database = open_database(f"sqlite:///{tmp_path / 'closed.sqlite'}", name="directory")
    await database.close()
    with pytest.raises(ShuttingDown):
        await database.read(lambda c: None)
