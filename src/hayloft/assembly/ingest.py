"""The ingest process: everything that follows from an upload or a deletion, away from those who serve.

It owns the renditions and similarity roles and serves them on Unix sockets, feeds them from the event log,
finishes deletions that were interrupted between directory and store, clears away uploads that were, and
tells the directory how the store is. Killed at any moment, it goes on from the last event that it
acknowledged.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Final

import structlog

from hayloft.assembly import embedded
from hayloft.assembly.background import background
from hayloft.assembly.child import Orders, run_child
from hayloft.assembly.embedded import Roles
from hayloft.assembly.mending import Mending
from hayloft.assembly.originals import Originals
from hayloft.assembly.sweeping import Sweeping
from hayloft.database import open_database
from hayloft.directory import log
from hayloft.errors import HayloftError
from hayloft.events.consumer import EventConsumer, Handler
from hayloft.events.local import LogEventSource
from hayloft.renditions.ingest import CONSUMER as RENDITIONS_CONSUMER
from hayloft.renditions.ingest import RenditionsConsumer
from hayloft.renditions.local import LocalRenditions
from hayloft.renditions.server import renditions_application
from hayloft.roles import EventSource
from hayloft.similarity.embedders.choice import follow
from hayloft.similarity.embedders.embedder import open_embedder
from hayloft.similarity.embedders.library import ModelLibrary
from hayloft.similarity.ingest import Ingest, SharedSource, lanes
from hayloft.similarity.local import LocalSimilarity
from hayloft.similarity.progress import LogState
from hayloft.similarity.server import similarity_application
from hayloft.types import Event, EventKind, volume_of
from hayloft.wire.serving import AppServer

HEARTBEAT_SECONDS: Final = 5.0
"""How often the directory learns how much room the store has and which volumes are sealed."""

SIMILARITY_CONSUMER: Final = "similarity"
DELETES_CONSUMER: Final = "deletes"

KINDS: Final[Mapping[str, tuple[EventKind, ...]]] = {
    SIMILARITY_CONSUMER: (EventKind.UPLOADED, EventKind.DELETED),
    RENDITIONS_CONSUMER: (EventKind.UPLOADED,),
    DELETES_CONSUMER: (EventKind.DELETED,),
}
"""What each consumer has something to do for."""

_log = structlog.get_logger(__name__)


async def main(orders: Orders, stopping: asyncio.Event) -> None:
    """Ingest until ``stopping`` is set."""
    async with AsyncExitStack() as stack:
        opened = await stack.enter_async_context(embedded.roles(orders.settings, orders.data))
        await stack.enter_async_context(background(_heartbeats(opened)))
        await stack.enter_async_context(background(Mending(opened.directory, opened.stores).for_ever()))
        if (grace_seconds := orders.settings.uncommitted_seconds) > 0:
            sweeping = Sweeping(opened.directory, opened.stores, grace_seconds=grace_seconds)
            await stack.enter_async_context(background(sweeping.for_ever()))
        await stack.enter_async_context(_consumer(opened, DELETES_CONSUMER, _finish_deletion(opened)))
        if orders.settings.renditions.enabled:
            await stack.enter_async_context(_renditions(orders, opened))
        if orders.settings.similarity.enabled:
            await stack.enter_async_context(_similarity(orders, opened))
        await stopping.wait()


@asynccontextmanager
async def _similarity(orders: Orders, opened: Roles) -> AsyncIterator[None]:
    """Similarity, served and fed."""
    settings = orders.settings.similarity
    processes = settings.processes
    if not orders.data.similarity_file.exists():
        await _begin_again(orders.data.directory_url, SIMILARITY_CONSUMER)
    library = ModelLibrary(orders.data.models)
    chosen, threads = library.in_use(), settings.embedder_threads
    similarity = await LocalSimilarity.open(
        orders.data.similarity_url,
        folder=orders.data.similarity_indexes,
        reader=Originals(opened.directory, opened.stores),
        append_event=opened.directory.append_event,
        embedder=open_embedder(settings.embedder or chosen, threads=threads, library=library),
        processes=processes,
    )
    similarity.progress.log_state = _log_state(opened)
    try:
        handler = Ingest(similarity).handle
        socket = orders.data.similarity_socket
        async with (
            AppServer(similarity_application(similarity), uds=socket),
            _consumer(opened, SIMILARITY_CONSUMER, handler, loops=lanes(processes)),
            AsyncExitStack() as stack,
        ):
            if settings.embedder is None:
                following = follow(similarity, library, chosen=chosen, threads=threads)
                await stack.enter_async_context(background(following))
            yield
    finally:
        await similarity.close()


async def _begin_again(directory_url: str, consumer: str) -> None:
    """Have a consumer read the log from its start: what it had made of it is lost, or never was."""
    database = open_database(directory_url, name="directory")
    try:
        await database.write(partial(log.forget, consumer=consumer))
    finally:
        await database.close()


@asynccontextmanager
async def _renditions(orders: Orders, opened: Roles) -> AsyncIterator[None]:
    """Renditions, served and fed."""
    settings = orders.settings.renditions
    renditions = LocalRenditions(
        directory=opened.directory,
        stores=opened.stores,
        reader=Originals(opened.directory, opened.stores),
        settings=settings,
        pixels_max=orders.settings.upload.pixels_max,
    )
    try:
        handler = RenditionsConsumer(renditions).handle
        served = AppServer(renditions_application(renditions), uds=orders.data.renditions_socket)
        async with served, _consumer(opened, RENDITIONS_CONSUMER, handler, loops=lanes(settings.processes)):
            yield
    finally:
        await renditions.close()


@asynccontextmanager
async def _consumer(opened: Roles, name: str, handler: Handler, *, loops: int = 1) -> AsyncIterator[None]:
    """A consumer of the event log, its handler called by ``loops`` loops at a time."""
    source: EventSource = LogEventSource(opened.directory, consumer=name, kinds=KINDS[name])
    if loops > 1:
        source = SharedSource(source)
    consumers = [EventConsumer(source, handler, name=name) for _ in range(loops)]
    async with AsyncExitStack() as stack:
        for consumer in consumers:
            await stack.enter_async_context(background(consumer.run(), cancel=False))
        try:
            yield
        finally:
            for consumer in consumers:
                consumer.stop()
            await source.close()


def _log_state(opened: Roles) -> Callable[[], Awaitable[LogState]]:
    """Where the consumer that feeds similarity stands in the event log."""

    async def log_state() -> LogState:
        return LogState(
            position=await opened.directory.position(SIMILARITY_CONSUMER),
            last=(await opened.directory.statistics()).last_event,
            parked=len(await opened.directory.parked(SIMILARITY_CONSUMER)),
        )

    return log_state


def _finish_deletion(opened: Roles) -> Handler:
    """Tombstones for a photo that the directory has deleted; most times they are there already."""

    async def handle(event: Event) -> None:
        if event.kind is not EventKind.DELETED:
            return
        placement = await opened.directory.placement(volume_of(event.photo))
        for name in placement.replicas:
            if name in opened.stores:
                await opened.stores[name].delete(event.photo)

    return handle


async def _heartbeats(opened: Roles) -> None:
    while True:
        await asyncio.sleep(HEARTBEAT_SECONDS)
        for store in opened.stores.values():
            try:
                await opened.directory.register(await store.health())
            except HayloftError as error:
                _log.warning("heartbeat failed", error=error.message)


if __name__ == "__main__":
    run_child(main)
