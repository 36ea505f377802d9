"""One database for similarity, on SQLite or PostgreSQL, behind two methods: ``read`` and ``write``.

Work is a plain function of a SQLAlchemy ``Connection`` and runs inside one transaction. On SQLite it runs
on a thread of its own, so that a transaction costs one thread hop however many statements it has; on
PostgreSQL on the event loop, through SQLAlchemy's greenlets. A transaction is durable when ``write``
returns. One process owns the file; it knows no table.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from hayloft.errors import (
    FormatTooNew,
    InternalError,
    InvalidRequest,
    RoleUnavailable,
    ShuttingDown,
    StorageFull,
)

T = TypeVar("T")
Work = Callable[[Connection], T]

BUSY_SECONDS_MAX: Final = 30.0
"""How long SQLite waits for a lock that somebody outside Hayloft holds (a backup, a shell)."""

READER_THREADS: Final = 2
_MIGRATIONS: Final = Path(__file__).parent / "migrations"
_BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_CANTOPEN})


class Database(Protocol):
    """Where work on the tables is done."""

    async def read(self, work: Work[T]) -> T:
        """Run ``work`` on a consistent snapshot."""
        ...

    async def write(self, work: Work[T]) -> T:
        """Run ``work`` in a transaction of its own and commit it; nothing of it remains if it raises.

        Raises:
            StorageFull: the disk is full.
            RoleUnavailable: the database cannot be reached, or stays locked.
        """
        ...

    async def close(self) -> None:
        """Finish what is in flight, release connections."""
        ...


async def open_database(url: str) -> Database:
    """The database at ``sqlite:///PATH`` or ``postgresql://…``, brought to this version's schema.

    Raises:
        FormatTooNew: a newer Hayloft wrote it.
        InvalidRequest: the URL names another kind of database, or no file.
    """
    parsed = make_url(url)
    database: SqliteDatabase | PostgresDatabase
    if parsed.get_backend_name() == "sqlite" and parsed.database not in (None, "", ":memory:"):
        database = SqliteDatabase(parsed)
    elif parsed.get_backend_name() == "postgresql":
        database = PostgresDatabase(parsed.set(drivername="postgresql+asyncpg"))
    else:
        raise InvalidRequest("Similarity records live in an SQLite file or in PostgreSQL.")
    try:
        await database.write(upgrade)
    except BaseException:
        await database.close()
        raise
    return database


def upgrade(connection: Connection) -> None:
    """Bring the tables to the newest revision, inside the transaction that ``connection`` is in.

    Raises:
        FormatTooNew: the tables are at a revision that this version does not know.
    """
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = connection
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if unknown := set(context.get_current_heads()) - known:
        raise FormatTooNew(
            f"The similarity records are at revision {', '.join(unknown)}, a newer Hayloft's."
        )
    command.upgrade(config, "head")


VERSION_TABLE: Final = "similarity_version"
"""Alembic's own table; named so that one PostgreSQL database can hold several roles' tables."""


class SqliteDatabase:
    """A file: one thread writes, a few read. WAL with full synchronisation."""

    def __init__(self, url: URL) -> None:
        self._writer = _sqlite_engine(url, begin="BEGIN IMMEDIATE")
        self._reader = _sqlite_engine(url, begin="BEGIN")
        self._writer_thread = ThreadPoolExecutor(1, "similarity-write")
        self._reader_threads = ThreadPoolExecutor(READER_THREADS, "similarity-read")

    async def read(self, work: Work[T]) -> T:
        """Run ``work`` on a reader thread."""
        return await _submit(self._reader_threads, self._read_now, work)

    async def write(self, work: Work[T]) -> T:
        """Run ``work`` on the writer thread, one transaction after the other."""
        return await _submit(self._writer_thread, self._write_now, work)

    async def close(self) -> None:
        """Let both kinds of threads finish, then close their connections."""
        await asyncio.to_thread(self._close_now)

    def _read_now(self, work: Work[T]) -> T:
        with _translated(), self._reader.connect() as connection:
            return work(connection)

    def _write_now(self, work: Work[T]) -> T:
        with _translated(), self._writer.begin() as connection:
            return work(connection)

    def _close_now(self) -> None:
        self._reader_threads.shutdown()
        self._writer_thread.shutdown()
        self._reader.dispose()
        self._writer.dispose()


class PostgresDatabase:
    """A server; transactions run on the event loop."""

    def __init__(self, url: URL) -> None:
        self._engine = create_async_engine(url, pool_pre_ping=True)
        self._writing = asyncio.Lock()

    async def read(self, work: Work[T]) -> T:
        """Run ``work`` on a snapshot that does not move while it runs."""
        with _translated():
            async with self._engine.connect() as connection:
                repeatable = await connection.execution_options(isolation_level="REPEATABLE READ")
                return await repeatable.run_sync(work)

    async def write(self, work: Work[T]) -> T:
        """Run ``work``, one transaction after the other."""
        with _translated():
            async with self._writing, self._engine.begin() as connection:
                return await connection.run_sync(work)

    async def close(self) -> None:
        """Close the pool."""
        await self._engine.dispose()


async def _submit(threads: ThreadPoolExecutor, run: Callable[[Work[T]], T], work: Work[T]) -> T:
    try:
        future = asyncio.get_running_loop().run_in_executor(threads, run, work)
    except RuntimeError as closed:
        raise ShuttingDown from closed
    return await future


def _sqlite_engine(url: URL, *, begin: str) -> Engine:
    options = {"check_same_thread": False, "timeout": BUSY_SECONDS_MAX}
    engine = create_engine(url.set(drivername="sqlite"), connect_args=options)

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _record: Any) -> None:
        # Transactions start with our own BEGIN, so that reads are snapshots and DDL is transactional.
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")

    @event.listens_for(engine, "begin")
    def start(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


@contextmanager
def _translated() -> Iterator[None]:
    """Turn the drivers' errors into ours."""
    try:
        yield
    except DBAPIError as failure:
        code = getattr(failure.orig, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_FULL or getattr(failure.orig, "sqlstate", None) == "53100":
            raise StorageFull("The similarity database's disk is full.") from failure
        if code in _BUSY or failure.connection_invalidated:
            raise RoleUnavailable("The similarity database cannot be reached.") from failure
        raise InternalError(f"The similarity database failed: {failure.orig}.") from failure
    except OSError as failure:
        raise RoleUnavailable(f"The similarity database cannot be reached: {failure}.") from failure
