"""The stores that the directory knows, each with a client to it: a mapping that keeps itself up to date.

The gateway, the pitchfork and similarity look stores up here by name, as they look up local ones. A store
that moved to another address gets another client; one that went away stays, because its photos may still be
asked for, and its client says that it does not answer. The directory being away changes nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Final, Self

import structlog

from hayloft.errors import HayloftError
from hayloft.roles import Directory, Store
from hayloft.types import StoreId

REFRESH_SECONDS: Final = 2.0
"""How long a new store may be unknown: a gateway that meets an unknown name fails over, or tries again."""

_UNKNOWN_PAUSE_SECONDS: Final = 0.1
"""Before an unknown store is asked for: one that nobody knows must not have it asked for without end."""

_log = structlog.get_logger(__name__)

MakeClient = Callable[[StoreId, str], Store]
"""A client to the store of this name at this address."""


class Fleet(Mapping[StoreId, Store]):
    """All known stores by name, live while the context is open."""

    def __init__(
        self, directory: Directory, make: MakeClient, *, refresh_seconds: float = REFRESH_SECONDS
    ) -> None:
        self._directory = directory
        self._make = make
        self._refresh_seconds = refresh_seconds
        self._stores: dict[StoreId, Store] = {}
        self._urls: dict[StoreId, str] = {}
        self._replaced: list[Store] = []
        self._unknown = asyncio.Event()
        self._refreshing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Ask for the first time, and go on asking."""
        await self._try()
        self._refreshing = asyncio.create_task(self._for_ever())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close all clients."""
        if self._refreshing is not None:
            self._refreshing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._refreshing
        for store in (*self._stores.values(), *self._replaced):
            await store.close()

    def __getitem__(self, name: StoreId) -> Store:
        """The store of this name; an unknown one may have just come, so it is asked for at once."""
        if name not in self._stores:
            self._unknown.set()
        return self._stores[name]

    def __iter__(self) -> Iterator[StoreId]:
        """The names; of this moment, so that a refresh disturbs nobody."""
        return iter(tuple(self._stores))

    def __len__(self) -> int:
        """How many there are."""
        return len(self._stores)

    async def refresh(self) -> None:
        """Take over what the directory says now.

        Raises:
            RoleUnavailable: it does not answer.
        """
        for known in await self._directory.stores():
            if known.url is None or self._urls.get(known.store) == known.url:
                continue
            if known.store in self._stores:
                # Requests may be under way on the old client: it is closed at the end.
                self._replaced.append(self._stores[known.store])
            self._stores[known.store] = self._make(known.store, known.url)
            self._urls[known.store] = known.url
            _log.info("store known", store=known.store, url=known.url)

    async def _try(self) -> None:
        try:
            await self.refresh()
        except HayloftError as error:
            _log.warning("directory does not say which stores there are", error=error.message)

    async def _for_ever(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._unknown.wait(), self._refresh_seconds)
                await asyncio.sleep(_UNKNOWN_PAUSE_SECONDS)
            self._unknown.clear()
            await self._try()
