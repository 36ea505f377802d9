"""``hayloft directory``: one of the directories over a cluster's database, and the relay of its events.

Waits for its database, brings it to the current schema, and serves. The relay to RabbitMQ runs in the
primary's process only.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from hayloft.assembly.background import background
from hayloft.assembly.queues import QUEUES
from hayloft.assembly.service import run, serve, until_there
from hayloft.assembly.settings import DirectoryRoleSettings
from hayloft.directory import migrations
from hayloft.directory.leases import WritePolicy
from hayloft.directory.local import LocalDirectory
from hayloft.directory.server import Mode, directory_application
from hayloft.events.rabbitmq.relay import OutboxRelay


def main(settings: DirectoryRoleSettings) -> int:
    """Serve until told to stop; returns the process's exit code."""
    return run(_directory, settings, name=f"directory {settings.port}")


async def _directory(settings: DirectoryRoleSettings, stopping: asyncio.Event) -> None:
    url = settings.database_url.get_secret_value()
    if await until_there("the database", lambda: _prepare(url), stopping) is None:
        return
    async with AsyncExitStack() as stack:
        directory = LocalDirectory.open(url, policy=write_policy(settings))
        stack.push_async_callback(directory.close)
        mode = Mode(primary=settings.mode == "primary", primary_url=settings.url)
        app = directory_application(directory, mode=mode)
        if mode.primary:
            await stack.enter_async_context(_relaying(settings, directory))
        await stack.enter_async_context(serve(app, settings, role="directory", ready=directory.statistics))
        await stopping.wait()


async def _prepare(url: str) -> bool:
    await asyncio.to_thread(migrations.upgrade, url)
    return True


@asynccontextmanager
async def _relaying(settings: DirectoryRoleSettings, directory: LocalDirectory) -> AsyncIterator[None]:
    """Events go to the broker while the context is open, if there is one."""
    if settings.broker_url is None:
        yield
        return
    relay = OutboxRelay(directory, settings.broker_url.get_secret_value(), queues=QUEUES)
    async with background(relay.run(), cancel=False):
        try:
            yield
        finally:
            await relay.close()


def write_policy(settings: DirectoryRoleSettings) -> WritePolicy:
    """How volumes are made and filled in a cluster."""
    return WritePolicy(
        writable_max=settings.writable_volumes,
        replication=settings.replication,
        volume_size_bytes_max=settings.volume.size_bytes_max,
        free_bytes_min=settings.volume.free_space_reserve_bytes,
        silence_ms_max=round(settings.silence_seconds_max * 1000),
    )
