"""A database in an SQLite file: one thread writes, a few read, each on connections of their own.

A transaction costs one thread hop however many statements it has (an asynchronous driver costs one for
each). The file is in WAL mode with full synchronisation: readers never wait for writers, and what was
committed survives a power cut. Several processes may use one file.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL

from hayloft.database.failures import translated
from hayloft.errors import ShuttingDown

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


class SqliteDatabase:
    """``Database`` in a file."""

    def __init__(self, url: URL, *, name: str) -> None:
        self._name = name
        self._writer = sqlite_engine(url, begin="BEGIN IMMEDIATE")
        self._reader = sqlite_engine(url, begin="BEGIN", read_only=True)
        self._lock = WriteLock(lock_path(url))
        self._writer_thread = ThreadPoolExecutor(1, f"{name}-write")
        self._reader_threads = ThreadPoolExecutor(READER_THREADS, f"{name}-read")
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
            raise ShuttingDown from closed
        return await future

    def _read_now(self, work: Work[T]) -> T:
        with translated(self._name), self._reader.connect() as connection:
            return work(connection)

    def _write_now(self, work: Work[T]) -> T:
        with translated(self._name), self._lock:
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
        # Transactions start with our own BEGIN, so that reads are snapshots and DDL is transactional.
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
