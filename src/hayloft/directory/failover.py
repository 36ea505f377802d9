"""One directory at several addresses: reads go to any that answers, writes to the primary.

A replica that is asked to write says where the primary is, and that is remembered. When the primary is
gone, the others are asked in turn until one of them has taken over, for a bounded time. What may reach a
directory twice is repeated; what may not is repeated only when it certainly never arrived. It does not know
what is said to the directory.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp

from hayloft.errors import HayloftError, NotPrimary, RoleUnavailable, ShuttingDown
from hayloft.wire.breaker import Breaker
from hayloft.wire.session import SAFE_METHODS, Answer, Patience, Session

READS_BY_POST: Final = frozenset({"/known", "/details"})
"""Reads whose questions are too long for an address."""

PATIENCE_WITH_ONE: Final = Patience()
PATIENCE_WITH_EACH: Final = Patience(connect_seconds=1.0, total_seconds=6.0)
"""Where there are others to ask, one that stands still is not waited for as long."""

TAKEOVER_SECONDS_MAX: Final = 20.0
"""How long a new primary is waited for: several times as long as it takes one to notice."""

PAUSE_SECONDS: Final = 0.2
_REDIRECT: Final = 307
_REDIRECTS_MAX: Final = 2


def is_read(method: str, path: str) -> bool:
    """Whether a request changes nothing, so that any directory can answer it."""
    return method in {"GET", "HEAD"} or (method == "POST" and path in READS_BY_POST)


class Directories:
    """Sessions with all directories of one cluster.

    Raises RoleUnavailable from every request that no directory answers.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        uds: Path | None = None,
        patience: Patience | None = None,
        secret: bytes | None = None,
        breaker: Breaker | None = None,
    ) -> None:
        assert urls
        self._urls = [url.rstrip("/") for url in urls]
        self._uds = uds
        self._patience = patience or (PATIENCE_WITH_ONE if len(urls) == 1 else PATIENCE_WITH_EACH)
        self._secret = secret
        self._breaker = breaker
        self._sessions: dict[str, Session] = {}
        self._reader = self._primary = self._urls[0]

    @property
    def waiting_seconds_max(self) -> float:
        """How long a directory may keep a request waiting for news, without looking dead."""
        return self._patience.total_seconds / 2

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | int | float] | None = None,
        body: Any = None,
        repeatable: bool | None = None,
    ) -> Answer:
        """Send a request to a directory that can answer it, and return the whole answer.

        Raises:
            HayloftError: what the directory answered, with its type.
            RoleUnavailable: none answered in time.
        """
        if self._breaker is not None and not self._breaker.allows():
            raise RoleUnavailable("The directory has not answered lately.")
        if repeatable is None:
            repeatable = method in SAFE_METHODS
        try:
            answer = await self._until_answered(method, path, query, body, repeatable)
        except HayloftError as error:
            if self._breaker is not None:
                (self._breaker.failed if _is_silence(error) else self._breaker.succeeded)()
            raise
        if self._breaker is not None:
            self._breaker.succeeded()
        return answer

    async def close(self) -> None:
        """Close all connections."""
        for session in self._sessions.values():
            await session.close()

    async def _until_answered(
        self,
        method: str,
        path: str,
        query: Mapping[str, str | int | float] | None,
        body: Any,
        repeatable: bool,
    ) -> Answer:
        reading = is_read(method, path)
        url = self._reader if reading else self._primary
        deadline = time.monotonic() + TAKEOVER_SECONDS_MAX
        attempts = redirects = refusals = 0
        while True:
            try:
                session = self._session(url)
                answer = await session.request(
                    method, path, query=query, body=body, repeatable=False, follow=False
                )
            except (RoleUnavailable, NotPrimary, ShuttingDown) as error:
                attempts += 1
                if not (repeatable or _was_not_done(error)) or self._gives_up(attempts, deadline):
                    raise
                # One that answers so, for want of its database or of stores, has done its own waiting.
                refusals += isinstance(error, RoleUnavailable) and not _is_silence(error)
                if refusals >= len(self._urls):
                    raise
                url = self._after(url)
            else:
                if answer.status != _REDIRECT:
                    self._remember(url, reading)
                    return answer
                url, redirects = _origin(answer, url), redirects + 1
                if redirects <= _REDIRECTS_MAX:
                    continue
                attempts, redirects = attempts + 1, 0
                if self._gives_up(attempts, deadline):
                    raise RoleUnavailable("The directories do not agree on which one takes writes.")
            if attempts % len(self._urls) == 0 or len(self._urls) == 1:
                await asyncio.sleep(PAUSE_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311 - jitter

    def _gives_up(self, attempts: int, deadline: float) -> bool:
        if len(self._urls) == 1:
            return attempts >= self._patience.attempts
        return time.monotonic() >= deadline

    def _after(self, url: str) -> str:
        """The next one to ask; one that was only pointed to is followed by the first."""
        known = self._urls
        return known[(known.index(url) + 1) % len(known)] if url in known else known[0]

    def _remember(self, url: str, reading: bool) -> None:
        if reading:
            self._reader = url
        else:
            self._primary = url

    def _session(self, url: str) -> Session:
        session = self._sessions.get(url)
        if session is None:
            uds = self._uds if url == self._urls[0] else None
            session = self._sessions[url] = Session(
                url, uds=uds, patience=self._patience, secret=self._secret
            )
        return session


def _is_silence(error: HayloftError) -> bool:
    """Whether an error is not an answer but the lack of one."""
    return isinstance(error, RoleUnavailable) and error.__cause__ is not None


def _was_not_done(error: HayloftError) -> bool:
    """Whether a request was certainly not carried out."""
    return isinstance(error, NotPrimary) or isinstance(error.__cause__, aiohttp.ClientConnectorError)


def _origin(answer: Answer, url: str) -> str:
    """The directory that an answer points to; the same one again if it points nowhere."""
    parts = urlsplit(answer.headers.get("location", ""))
    return f"{parts.scheme}://{parts.netloc}" if parts.scheme and parts.netloc else url
