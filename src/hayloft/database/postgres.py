"""A database on a PostgreSQL server: transactions run on the event loop, through SQLAlchemy's greenlets.

Writers of all processes queue at an advisory lock of the database, so that their transactions follow one
another. A server that restarts is waited for a while: reads, and writes that had not come to their end, are
done again. Whether a commit whose answer was lost took place is asked of the server, which remembers
(``pg_xact_status``); so no transaction is done twice, and none is called lost that was not. A process that
stands still in the middle of a transaction is cut off by the server, so that others need not wait for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import zlib
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from hayloft.database.failures import is_away, translated
from hayloft.errors import RoleUnavailable, ShuttingDown

T = TypeVar("T")
Work = Callable[[Connection], T]

CONNECT_SECONDS_MAX: Final = 5.0
COMMAND_SECONDS_MAX: Final = 30.0
"""How long one statement may take: longer than any of ours, shorter than for ever."""

IDLE_MS_MAX: Final = 3000
"""A transaction whose process says nothing for this long is ended by the server, and its locks with it."""

AWAY_SECONDS_MAX: Final = 10.0
"""How long a server that does not answer is waited for: longer than it takes to restart."""

_PAUSE_SECONDS: Final = 0.1

_TAKE_LOCK: Final = text("SELECT pg_advisory_xact_lock(:key), CAST(pg_current_xact_id() AS text)")
_STATUS: Final = text("SELECT pg_xact_status(CAST(CAST(:number AS text) AS xid8))")


class _Lost(Exception):
    """The connection broke while a transaction was being committed."""

    def __init__(self, transaction: str, answer: Any, cause: BaseException) -> None:
        self.transaction = transaction
        self.answer = answer
        self.cause = cause


class PostgresDatabase:
    """``Database`` on a server."""

    def __init__(self, url: URL, *, name: str, idle_ms_max: int = IDLE_MS_MAX) -> None:
        self._name = name
        self._key = lock_key(name)
        self._engine = postgres_engine(url, idle_ms_max=idle_ms_max)
        self._turn = asyncio.Lock()
        # Kept open: taking it from the pool for every transaction costs two round trips.
        self._writing: AsyncConnection | None = None
        self._given_up = False
        self._closed = False

    async def read(self, work: Work[T]) -> T:
        """Run ``work`` on a snapshot that does not move while it runs."""
        with translated(self._name):
            return await self._patiently(lambda: self._read_once(work))

    async def write(self, work: Work[T]) -> T:
        """Run ``work`` once all earlier writers have committed and can be seen."""
        with translated(self._name):
            async with self._turn:
                return await self._patiently(lambda: self._write_for_certain(work))

    async def close(self) -> None:
        """Let the writer finish, close all connections."""
        self._closed = True
        async with self._turn:
            await self._drop()
        await self._engine.dispose()

    async def _patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        """What ``ask`` says, asked again while the server is away; not for long when it has been away for
        others before."""
        deadline = time.monotonic() + (0.0 if self._given_up else AWAY_SECONDS_MAX)
        while True:
            if self._closed:
                raise ShuttingDown
            try:
                answer = await ask()
            except (DBAPIError, OSError) as error:
                if not is_away(error):
                    raise
                if time.monotonic() >= deadline:
                    self._given_up = True
                    raise
            else:
                self._given_up = False
                return answer
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _read_once(self, work: Work[T]) -> T:
        async with self._engine.connect() as connection:
            snapshot = await connection.execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            )
            return await snapshot.run_sync(work)

    async def _write_for_certain(self, work: Work[T]) -> T:
        """Write once, and find out what became of it if the end of it was not seen."""
        try:
            return await self._write_once(work)
        except _Lost as lost:
            if await self._is_committed(lost.transaction):
                answer: T = lost.answer
                return answer
            raise lost.cause from None

    async def _write_once(self, work: Work[T]) -> T:
        if self._writing is None:
            self._writing = await self._engine.connect()
        connection = self._writing
        try:
            transaction = (await connection.execute(_TAKE_LOCK, {"key": self._key})).one()[1]
            answer = await connection.run_sync(work)
        except BaseException as error:
            await self._undo(connection, error)
            raise
        try:
            await connection.commit()
        except BaseException as error:
            await self._drop()
            if isinstance(error, DBAPIError | OSError) and is_away(error):
                raise _Lost(transaction, answer, error) from error
            raise
        return answer

    async def _undo(self, connection: AsyncConnection, error: BaseException) -> None:
        if isinstance(error, Exception) and not is_away(error):
            with contextlib.suppress(DBAPIError, OSError):
                await connection.rollback()
                return
        await self._drop()

    async def _drop(self) -> None:
        """Give the writer's connection up, whatever state it is in."""
        connection, self._writing = self._writing, None
        if connection is not None:
            with contextlib.suppress(Exception):
                await connection.invalidate()
            with contextlib.suppress(Exception):
                await connection.close()

    async def _is_committed(self, transaction: str) -> bool:
        """Whether a transaction took place.

        Raises:
            RoleUnavailable: the server does not say in time; it may have.
        """
        try:
            return await self._patiently(lambda: self._status_of(transaction))
        except (DBAPIError, OSError) as error:
            raise RoleUnavailable(
                f"Whether the {self._name} recorded this is not known: its database went away meanwhile."
            ) from error

    async def _status_of(self, transaction: str) -> bool:
        async with self._engine.connect() as connection:
            status = (await connection.execute(_STATUS, {"number": transaction})).scalar_one()
        if status not in ("committed", "aborted"):
            # The server has not noticed yet that the connection is gone.
            raise ConnectionError("a transaction has not come to its end")
        return bool(status == "committed")


def lock_key(name: str) -> int:
    """The advisory lock of those who write under this name."""
    return zlib.crc32(name.encode())


def postgres_engine(url: URL, *, idle_ms_max: int = IDLE_MS_MAX, **options: Any) -> AsyncEngine:
    """An engine whose connections give up on a server that stands still, and the server on them."""
    settings = {"idle_in_transaction_session_timeout": str(idle_ms_max), "jit": "off"}
    arguments = {
        "timeout": CONNECT_SECONDS_MAX,
        "command_timeout": COMMAND_SECONDS_MAX,
        "server_settings": settings,
    }
    return create_async_engine(url, connect_args=arguments, **options)
