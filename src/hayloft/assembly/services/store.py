"""``hayloft store``: one store, which tells the directory of itself for as long as it runs.

It serves whether or not there is a directory; its heartbeats are tried for ever, and make a directory
that has lost it, or is new, know it again. Other stores, from which it is told to fetch needles, it finds
as the gateway does.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final

import structlog

from hayloft.assembly.background import background
from hayloft.assembly.fleet import Fleet
from hayloft.assembly.locked_directory import LockedDirectory
from hayloft.assembly.peers import directory_of, fleet_of
from hayloft.assembly.service import run, serve
from hayloft.assembly.settings import StoreRoleSettings
from hayloft.errors import HayloftError
from hayloft.roles import Directory
from hayloft.store.local import LocalStore
from hayloft.store.protocol import needle_protocol
from hayloft.store.server import store_application

HEARTBEAT_SECONDS: Final = 2.0
"""How often the directory learns how much room there is, which volumes are sealed, and that it is there."""

_log = structlog.get_logger(__name__)


def main(settings: StoreRoleSettings) -> int:
    """Serve until told to stop; returns the process's exit code.

    Raises:
        AlreadyServed: another process uses its directory.
        Conflict: the directory is another store's.
    """
    home = LockedDirectory(settings.data, kind="store", name=settings.store)
    with home.lock():
        home.check_format()
        return run(_store, settings, name=settings.store)


async def _store(settings: StoreRoleSettings, stopping: asyncio.Event) -> None:
    async with directory_of(settings) as directory:
        peers = fleet_of(settings, directory)
        store = LocalStore(
            settings.data / "volumes", store=settings.store, settings=settings.volume, peers=peers
        )
        try:
            app = store_application(store)
            direct = partial(needle_protocol, store)
            async with (
                serve(app, settings, role="store", ready=store.health, direct=direct),
                background(_heartbeats(settings, store, directory)),
                background(_know(peers)),
            ):
                await stopping.wait()
        finally:
            await store.close()


async def _know(peers: Fleet) -> None:
    """Keep the other stores known; the directory, which is asked for them, may be away for long."""
    async with peers:
        await asyncio.Event().wait()


async def _heartbeats(settings: StoreRoleSettings, store: LocalStore, directory: Directory) -> None:
    """Register now and every few seconds; a directory that does not answer is asked again."""
    answered = True
    while True:
        try:
            await directory.register(await store.health(), url=settings.url, zone=settings.zone or None)
            answered = True
        except HayloftError as error:
            if answered:
                _log.warning("the directory does not take heartbeats", error=error.message)
            answered = False
        await asyncio.sleep(HEARTBEAT_SECONDS)
