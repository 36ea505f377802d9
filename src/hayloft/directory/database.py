"""One database for the directory, on SQLite or PostgreSQL, behind two methods: ``read`` and ``write``.

Work is a plain function of a SQLAlchemy ``Connection`` and runs inside one transaction; it is the same
function for both databases. On SQLite it runs on a thread of its own, so a transaction costs one thread
hop however many statements it has (an asynchronous driver costs one for each). On PostgreSQL it runs on
the event loop, through SQLAlchemy's greenlets.

``write`` guarantees: the transaction is durable when it returns; write transactions of all processes
follow one another, so what one reads no other changes before it commits, and whatever it numbers
appears in that order. SQLite is in WAL mode with full synchronisation: readers never wait for writers.
It knows no table.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from hayloft import errors
from hayloft.errors import HayloftError

T = TypeVar("T")
Work = Callable[[Connection], T]

BUSY_SECONDS_MAX: Final = 30.0
"""How long SQLite waits for a lock that somebody outside Hayloft holds (a backup, a shell)."""

READER_THREADS: Final = 2
"""Reads of one process that run at the same time; each has a connection of its own."""

CACHE_KIB: Final = 4096
"""SQLite's private page cache for each connection: small, because the kernel's cache is shared."""

CHECKPOINT_PAGES: Final = 4000
"""Pages in SQLite's log before they are moved into the database (16 MB). The busiest pages are written
to the log by every transaction and moved once; four times the default saves a tenth of a commit's CPU
time."""

WRITE_LOCK_KEY: Final = 0x4861_796C
"""PostgreSQL's advisory lock that write transactions take ("Hayl")."""


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
        """Finish what is in flight, release connections."""
        ...


def open_database(url: str) -> Database:
    """The database at a SQLAlchemy URL: ``sqlite:///PATH`` or ``postgresql+asyncpg://…``.

    Raises:
        InvalidRequest: the URL names another kind of database, or no file.
    """
    parsed = parse_url(url)
    if parsed.get_backend_name() == "sqlite":
        return SqliteDatabase(parsed)
    return PostgresDatabase(parsed)


def parse_url(url: str) -> URL:
    """The URL with the driver that is used here.

    Raises:
        InvalidRequest: it is no URL, or names another kind of database, or no file.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise errors.InvalidRequest("This is not the URL of a database.") from error
    backend = parsed.get_backend_name()
    if backend == "sqlite" and parsed.database and parsed.database != ":memory:":
        return parsed.set(drivername="sqlite")
    if backend == "postgresql":
        return parsed.set(drivername="postgresql+asyncpg")
    raise errors.InvalidRequest(f"A directory lives in an SQLite file or in PostgreSQL, not in {backend}.")


class SqliteDatabase:
    """A file: one thread writes, a few read."""

    def __init__(self, url: URL) -> None:
        self._writer = sqlite_engine(url, begin="BEGIN IMMEDIATE")
        self._reader = sqlite_engine(url, begin="BEGIN", read_only=True)
        self._lock = WriteLock(lock_path(url))
        self._writer_thread = ThreadPoolExecutor(1, "directory-write")
        self._reader_threads = ThreadPoolExecutor(READER_THREADS, "directory-read")
        # Kept open: taking it from the pool for every transaction costs as much as two statements.
        self._writing: Connection | None = None
        self._closed = False

    async def read(self, work: Work[T]) -> T:
        """Run ``work`` on a reader thread."""
        return await self._run(self._reader_threads, self._read_now, work)

    async def write(self, work: Work[T]) -> T:
        """Run ``work`` on the writer thread, one transaction after the other."""
        return await self._run(self._writer_thread, self._write_now, work)

    async def close(self) -> None:
        """Let both kinds of threads finish, then close their connections; again does nothing."""
        if not self._closed:
            self._closed = True
            await asyncio.to_thread(self._close_now)

    async def _run(self, threads: ThreadPoolExecutor, run: Callable[[Work[T]], T], work: Work[T]) -> T:
        try:
            future = asyncio.get_running_loop().run_in_executor(threads, run, work)
        except RuntimeError as closed:
            raise errors.ShuttingDown from closed
        return await future

    def _read_now(self, work: Work[T]) -> T:
        with _translated(), self._reader.connect() as connection:
            return work(connection)

    def _write_now(self, work: Work[T]) -> T:
        with _translated(), self._lock:
            if self._writing is None:
                self._writing = self._writer.connect()
            with self._writing.begin():
                return work(self._writing)

    def _close_now(self) -> None:
        self._reader_threads.shutdown()
        self._writer_thread.shutdown()
        if self._writing is not None:
            self._writing.close()
        self._reader.dispose()
        self._writer.dispose()
        self._lock.close()


class PostgresDatabase:
    """A server: transactions run on the event loop, writers queue at an advisory lock."""

    def __init__(self, url: URL) -> None:
        self._engine: AsyncEngine = create_async_engine(url, pool_pre_ping=True)

    async def read(self, work: Work[T]) -> T:
        """Run ``work`` on a snapshot that does not move while it runs."""
        with _translated():
            async with self._engine.connect() as connection:
                repeatable = await connection.execution_options(isolation_level="REPEATABLE READ")
                return await repeatable.run_sync(work)

    async def write(self, work: Work[T]) -> T:
        """Run ``work`` once all earlier writers have committed and can be seen."""
        with _translated():
            async with self._engine.begin() as connection:
                await connection.execute(_TAKE_WRITE_LOCK, {"key": WRITE_LOCK_KEY})
                return await connection.run_sync(work)

    async def close(self) -> None:
        """Close the pool."""
        await self._engine.dispose()


_TAKE_WRITE_LOCK: Final = text("SELECT pg_advisory_xact_lock(:key)")


class WriteLock:
    """An exclusive lock between processes, held around SQLite's own.

    SQLite's waiters poll with growing pauses and can starve; the kernel's wake as soon as the lock is
    free. It goes away with the process that holds it.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def __enter__(self) -> None:
        """Wait for the lock."""
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        """Let the next one in."""
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        """Give the file back; it stays on disk, because removing it would let two in."""
        os.close(self._descriptor)


def lock_path(url: URL) -> Path:
    """The file that write transactions of this SQLite database are serialised by."""
    assert url.database is not None
    return Path(url.database + "-write-lock")


def sqlite_engine(url: URL, *, begin: str, read_only: bool = False) -> Engine:
    """An engine for an SQLite file whose transactions start with the statement ``begin``."""
    engine = create_engine(
        url,
        connect_args={"check_same_thread": False, "timeout": BUSY_SECONDS_MAX},
        pool_reset_on_return=None,
    )

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _record: Any) -> None:
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
        connection.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")
        connection.execute(f"PRAGMA query_only={int(read_only)}")

    @event.listens_for(engine, "begin")
    def start(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


class _translated:  # noqa: N801 - reads as a statement: with _translated()
    """Turns the drivers' errors into ours."""

    def __enter__(self) -> None: ...

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, DBAPIError):
            raise translate(_first(error)) from error
        if isinstance(error, PoolTimeout):
            raise errors.Overloaded("All connections to the directory's database are busy.") from error
        if isinstance(error, OSError):
            raise errors.RoleUnavailable(f"The directory's database cannot be reached: {error}.") from error


def _first(error: DBAPIError) -> DBAPIError:
    """The failure that led to this one: a full disk ends SQLite's transaction, and with it its savepoints,
    whose absence is then complained of."""
    first, earlier = error, error.__context__
    while earlier is not None:
        if isinstance(earlier, DBAPIError):
            first = earlier
        earlier = earlier.__context__
    return first


def translate(error: DBAPIError) -> HayloftError:
    """The error of ours that says what the caller can do about a driver's."""
    original = error.orig
    code = getattr(original, "sqlite_errorcode", 0) & 0xFF
    state = getattr(original, "sqlstate", None) or ""
    if code == sqlite3.SQLITE_FULL or state == _POSTGRES_DISK_FULL:
        return errors.StorageFull("The directory's disk is full.")
    if code in _SQLITE_BUSY or state[:2] in _POSTGRES_AWAY or error.connection_invalidated:
        return errors.RoleUnavailable(f"The directory's database cannot be reached: {original}.")
    return errors.InternalError(f"The directory's database failed: {original}.")


_POSTGRES_DISK_FULL: Final = "53100"
_POSTGRES_AWAY: Final = frozenset({"08", "53", "57"})
"""Classes of SQLSTATE: no connection, out of resources, stopped by an operator."""
_SQLITE_BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_CANTOPEN})
