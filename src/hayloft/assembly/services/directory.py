"""``hayloft directory``: one of the directories over a cluster's database, and the relay of its events.

Waits for its database, brings it to the current schema, and serves, as the primary or as a replica until
that is gone. The relay to RabbitMQ runs in the primary's process only.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from hayloft.assembly.background import background
from hayloft.assembly.queues import QUEUES
from hayloft.assembly.service import run, serve, until_there
from hayloft.assembly.settings import DirectoryRoleSettings
from hayloft.database import open_database
from hayloft.directory import migrations
from hayloft.directory.leadership import Leadership
from hayloft.directory.leases import WritePolicy
from hayloft.directory.local import LocalDirectory
from hayloft.directory.server import directory_application
from hayloft.events.rabbitmq.relay import relay


def main(settings: DirectoryRoleSettings) -> int:
    """Serve until told to stop; returns the process's exit code."""
    return run(_directory, settings, name=f"directory {settings.port}")


async def _directory(settings: DirectoryRoleSettings, stopping: asyncio.Event) -> None:
    url = settings.database_url.get_secret_value()
    if await until_there("the database", lambda: _prepare(url), stopping) is None:
        return
    async with AsyncExitStack() as stack:
        database = open_database(url, name="directory")
        stack.push_async_callback(database.close)
        leadership = Leadership(database, url=settings.url, first=settings.mode == "primary")
        directory = LocalDirectory(leadership.fenced, policy=write_policy(settings))
        stack.push_async_callback(directory.close)
        app = directory_application(directory, mode=leadership)
        await stack.enter_async_context(serve(app, settings, role="directory", ready=directory.statistics))
        # After serving has begun, and given up before it ends: nobody is sent to where nobody listens.
        await stack.enter_async_context(leadership)
        await stack.enter_async_context(_relaying(settings, directory, leadership))
        await stopping.wait()


async def _prepare(url: str) -> bool:
    await asyncio.to_thread(migrations.upgrade, url)
    return True


@asynccontextmanager
async def _relaying(
    settings: DirectoryRoleSettings, directory: LocalDirectory, leadership: Leadership
) -> AsyncIterator[None]:
    """Events go to the broker, if there is one, whenever this is the primary."""
    if settings.broker_url is None:
        yield
        return
    relaying = partial(relay, directory, settings.broker_url.get_secret_value(), queues=QUEUES)
    async with background(leadership.while_primary(relaying)):
        yield


def write_policy(settings: DirectoryRoleSettings) -> WritePolicy:
    """How volumes are made and filled in a cluster."""
    return WritePolicy(
        writable_max=settings.writable_volumes,
        replication=settings.replication,
        replicas_min=settings.replicas_min,
        volume_size_bytes_max=settings.volume.size_bytes_max,
        free_bytes_min=settings.volume.free_space_reserve_bytes,
        silence_ms_max=round(settings.silence_seconds_max * 1000),
    )
