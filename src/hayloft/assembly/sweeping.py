"""Clears away what interrupted uploads and deletions left in one server; in a cluster the pitchfork does.

An upload that was stored and never committed can be read by whoever guesses its id and cookie, and takes
room for ever. Once an hour what has changed is looked at next to the directory, and what is older than the
grace time goes. It decides nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

import structlog

from hayloft.clock import Clock, SystemClock
from hayloft.config import PitchforkSettings
from hayloft.errors import HayloftError
from hayloft.pitchfork.journal import Journal
from hayloft.pitchfork.sweep import Sweep
from hayloft.pitchfork.watched import Watched
from hayloft.roles import Directory, Store
from hayloft.types import StoreId

SWEEP_SECONDS: Final = 3600.0

_log = structlog.get_logger(__name__)


class Sweeping:
    """Sweeps the stores of one server."""

    def __init__(
        self,
        directory: Directory,
        stores: Mapping[StoreId, Store],
        *,
        grace_seconds: float,
        clock: Clock | None = None,
    ) -> None:
        clock = clock or SystemClock()
        watched = Watched(
            directory=directory,
            stores=stores,
            settings=PitchforkSettings(grace_seconds=grace_seconds),
            clock=clock,
        )
        self._sweep = Sweep(watched, Journal(clock))

    async def for_ever(self) -> None:
        """Sweep again and again, until cancelled."""
        while True:
            # First a pause: a server that was just started has more urgent things to do.
            await asyncio.sleep(SWEEP_SECONDS)
            try:
                if swept := await self.once():
                    _log.info("swept", photos=swept)
            except HayloftError as error:
                _log.warning("not swept", error=error.message)

    async def once(self) -> int:
        """Sweep; returns how many photos that concerned.

        Raises:
            HayloftError: the directory does not answer.
        """
        return await self._sweep.everything()
