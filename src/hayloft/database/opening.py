"""What a database is to the roles, and which one a URL names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from sqlalchemy import Connection
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from hayloft.database.postgres import PostgresDatabase
from hayloft.database.sqlite import SqliteDatabase
from hayloft.errors import InvalidRequest

T = TypeVar("T")
Work = Callable[[Connection], T]
"""Runs in one transaction. It may be run again, in another one, when a connection breaks under it: what
counts is what its last run returns."""


class Database(Protocol):
    """Where work on the tables is done."""

    async def read(self, work: Work[T]) -> T:
        """Run ``work`` on a consistent snapshot.

        Raises:
            RoleUnavailable: the database cannot be reached.
        """
        ...

    async def write(self, work: Work[T]) -> T:
        """Run ``work`` in a transaction of its own and commit it; nothing of it remains if it raises.

        Raises:
            StorageFull: the database's disk is full.
            RoleUnavailable: the database cannot be reached, or stays locked.
        """
        ...

    async def close(self) -> None:
        """Finish what is in flight, release connections; again does nothing."""
        ...


def open_database(url: str, *, name: str) -> Database:
    """The database at a SQLAlchemy URL: ``sqlite:///PATH`` or ``postgresql://…``.

    ``name`` is whose it is: it stands in messages, and those who give the same one on one PostgreSQL server
    write one after the other.

    Raises:
        InvalidRequest: the URL names another kind of database, or no file.
    """
    parsed = parse_url(url)
    if parsed.get_backend_name() == "sqlite":
        return SqliteDatabase(parsed, name=name)
    return PostgresDatabase(parsed, name=name)


def parse_url(url: str) -> URL:
    """The URL with the driver that is used here.

    Raises:
        InvalidRequest: it is no URL, or names another kind of database, or no file.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise InvalidRequest("This is not the URL of a database.") from error
    backend = parsed.get_backend_name()
    if backend == "sqlite" and parsed.database and parsed.database != ":memory:":
        return parsed.set(drivername="sqlite")
    if backend == "postgresql":
        return parsed.set(drivername="postgresql+asyncpg")
    raise InvalidRequest(f"Records are kept in an SQLite file or in PostgreSQL, not in {backend}.")
