"""Which of several directories on one database is the primary: a term of office that is renewed or lost.

The term stands in one row of the database. The primary puts its end off every second; when it has ended,
because the primary died, stands still or cannot reach the database, another directory begins the next
term. Every write transaction of a directory reads, under the lock that all writers take, whether its term
is still the present one, and writes nothing otherwise: so there are never two that acknowledge, however
late one of them wakes up. Times are the database's own. It does not know what is written, nor who asks.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple, Self, TypeVar

import structlog
from sqlalchemy import Connection, insert, literal_column, select, update

from hayloft.database import Database, Work
from hayloft.directory.schema import leadership
from hayloft.errors import HayloftError, NotPrimary

T = TypeVar("T")

OFFICE: Final = "primary"

TERM_SECONDS: Final = 4.0
"""How long a term lasts that nobody renews: a primary that is gone is missed for about as long."""

RENEWAL_SECONDS: Final = 1.0
"""How often the primary renews its term, so that a late renewal or two do not lose it."""

WATCH_SECONDS: Final = 0.5
"""How often the others look."""

DEFERENCE_SECONDS: Final = 3.0
"""How long a directory that is not to be first leaves a cluster that never had a primary to the others."""

AGAIN_SECONDS: Final = 1.0
"""The pause before what only the primary does is begun again after it failed."""

_ROW: Final = select(leadership).where(leadership.c.office == OFFICE)
_NOW_MS: Final = {
    "sqlite": "CAST(ROUND((julianday('now') - 2440587.5) * 86400000) AS INTEGER)",
    "postgresql": "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)",
}

_log = structlog.get_logger(__name__)


class Reign(NamedTuple):
    """What the database says of the present term."""

    term: int
    url: str
    left_ms: int
    """How much longer it lasts; not positive when it has ended."""


class Leadership:
    """One directory's part in finding the primary; at work while the context is open.

    ``url`` is where other services reach this directory, ``first`` says that it is to be the primary of a
    cluster that never had one. It is also what ``server`` asks for the mode it is in.
    """

    def __init__(
        self,
        database: Database,
        *,
        url: str,
        first: bool = True,
        term_seconds: float = TERM_SECONDS,
        renewal_seconds: float = RENEWAL_SECONDS,
    ) -> None:
        self._database = database
        self._url = url.rstrip("/")
        self._defers_until = 0.0 if first else time.monotonic() + DEFERENCE_SECONDS
        self._term_seconds = term_seconds
        self._renewal_seconds = renewal_seconds
        self._term: int | None = None
        self._sure_until = float("-inf")
        self._known_url = ""
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Look who is the primary, begin a term if it falls to this one, and go on so."""
        await self._try()
        self._task = asyncio.create_task(self._for_ever())
        return self

    async def __aexit__(self, *_: object) -> None:
        """End the term, so that another one can begin at once."""
        assert self._task is not None
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        term = self._term
        self._lose()
        if term is not None:
            with contextlib.suppress(HayloftError):
                await self._database.write(lambda connection: _resign(connection, term))

    @property
    def primary(self) -> bool:
        """Whether this is the primary, for certain at this moment: a process that stood still must not say
        so until it has looked."""
        return self._term is not None and time.monotonic() < self._sure_until

    @property
    def primary_url(self) -> str:
        """Where the primary is, as far as is known; empty before anything is."""
        return self._known_url

    @property
    def url(self) -> str:
        """Where this one is."""
        return self._url

    @property
    def fenced(self) -> Database:
        """The database, for whoever may write only while this is the primary."""
        return FencedDatabase(self._database, self)

    async def while_primary(self, work: Callable[[], Awaitable[None]]) -> None:
        """Run ``work`` whenever this is the primary, and cancel it when it is not; until cancelled.

        Work that fails is begun again after a pause.
        """
        while True:
            await self._until(lambda: self._term is not None)
            running = asyncio.ensure_future(_for_ever(work))
            lost = asyncio.create_task(self._until(lambda: self._term is None))
            try:
                await asyncio.wait({running, lost}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (running, lost):
                    task.cancel()
                await asyncio.gather(running, lost, return_exceptions=True)

    def check(self, connection: Connection) -> None:
        """Inside a write transaction: refuse to go on if this is not the primary (any more).

        Raises:
            NotPrimary: another one may be.
        """
        row = connection.execute(_ROW).one_or_none()
        if self._term is None or row is None or row.term != self._term:
            raise NotPrimary(retry_after_seconds=1, primary_directory=row.url if row else "")

    async def _for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._renewal_seconds if self._term is not None else WATCH_SECONDS)
            await self._try()

    async def _try(self) -> None:
        try:
            await self._step()
        except HayloftError as error:
            _log.warning("leadership cannot be looked up", error=error.message)

    async def _step(self) -> None:
        asked_at = time.monotonic()
        reign, term = await self._database.read(_reign), self._term
        if term is not None or self._is_vacant(reign):
            reign, term = await self._database.write(self._campaign)
        self._known_url = reign.url if reign else ""
        if term is None:
            if self._term is not None:
                _log.warning("no longer the primary", primary=self._known_url)
            self._lose()
            return
        if term != self._term:
            _log.info("primary now", term=term)
        self._term = term
        self._sure_until = asked_at + self._term_seconds
        self._tell()

    def _is_vacant(self, reign: Reign | None) -> bool:
        if reign is None:
            return time.monotonic() >= self._defers_until
        # Whoever had this address before is dead, or will find its term ended: no two listen on one.
        return reign.left_ms <= 0 or reign.url == self._url

    def _campaign(self, connection: Connection) -> tuple[Reign | None, int | None]:
        """Renew the own term, or begin one if the office is still vacant; says as well which is the own."""
        reign = _reign(connection)
        own = reign is not None and reign.term == self._term
        if not own and not (self._term is None and self._is_vacant(reign)):
            return reign, None
        term = reign.term + (not own) if reign is not None else 1
        length_ms = round(self._term_seconds * 1000)
        values = {"term": term, "url": self._url, "expires_at_ms": _now_ms(connection) + length_ms}
        if reign is None:
            connection.execute(insert(leadership).values(office=OFFICE, **values))
        else:
            connection.execute(update(leadership).where(leadership.c.office == OFFICE).values(values))
        return Reign(term, self._url, length_ms), term

    def _lose(self) -> None:
        self._term = None
        self._sure_until = float("-inf")
        self._tell()

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await self._changed.wait()


class FencedDatabase:
    """A database that lets only the primary write; everybody reads."""

    def __init__(self, database: Database, leadership: Leadership) -> None:
        self._database = database
        self._leadership = leadership

    async def read(self, work: Work[T]) -> T:
        """Run ``work`` on a consistent snapshot."""
        return await self._database.read(work)

    async def write(self, work: Work[T]) -> T:
        """Run ``work`` if this is the primary, in the transaction that makes sure of it.

        Raises:
            NotPrimary: it is not; nothing was written.
        """

        def checked(connection: Connection) -> T:
            self._leadership.check(connection)
            return work(connection)

        return await self._database.write(checked)

    async def close(self) -> None:
        """Nothing: the database is closed by whoever opened it, once the term has been ended in it."""


async def _for_ever(work: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await work()
        except Exception:
            _log.exception("the primary's work failed")
        await asyncio.sleep(AGAIN_SECONDS)


def _reign(connection: Connection) -> Reign | None:
    row = connection.execute(_ROW).one_or_none()
    if row is None:
        return None
    return Reign(row.term, row.url, row.expires_at_ms - _now_ms(connection))


def _resign(connection: Connection, term: int) -> None:
    mine = (leadership.c.office == OFFICE) & (leadership.c.term == term)
    connection.execute(update(leadership).where(mine).values(expires_at_ms=0))


def _now_ms(connection: Connection) -> int:
    now: Any = literal_column(_NOW_MS[connection.dialect.name])
    return int(connection.execute(select(now)).scalar_one())
