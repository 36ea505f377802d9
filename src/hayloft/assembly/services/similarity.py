"""``hayloft similarity``: links and renditions as one service, fed from RabbitMQ, at one port.

Several events are in hand at once, and any of them may come again; both roles are idempotent. An event that
fails because a part of the cluster is away is tried for hours before it is put aside.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from hayloft.assembly.background import background
from hayloft.assembly.fleet import Fleet
from hayloft.assembly.locked_directory import LockedDirectory
from hayloft.assembly.originals import Originals
from hayloft.assembly.peers import directory_of, fleet_of
from hayloft.assembly.queues import DELETIONS_QUEUE, QUEUES, RENDITIONS_QUEUE
from hayloft.assembly.service import run, serve
from hayloft.assembly.settings import SimilarityRoleSettings
from hayloft.events.consumer import EventConsumer, Handler, Persistence
from hayloft.events.rabbitmq.broker import SIMILARITY_QUEUE
from hayloft.events.rabbitmq.source import RabbitEventSource
from hayloft.renditions import server as renditions_server
from hayloft.renditions.ingest import RenditionsConsumer
from hayloft.renditions.local import LocalRenditions
from hayloft.roles import Directory
from hayloft.similarity import server as similarity_server
from hayloft.similarity.embedders.choice import follow
from hayloft.similarity.embedders.embedder import open_embedder
from hayloft.similarity.embedders.library import ModelLibrary
from hayloft.similarity.ingest import Ingest, SharedSource, lanes
from hayloft.similarity.local import LocalSimilarity
from hayloft.wire.asgi import App, Receive, Scope, Send

PERSISTENCE: Final = Persistence(attempts_unavailable=5000)
"""Seven hours: what is away in a cluster comes back, or somebody is told."""

_RENDITIONS_PATH: Final = re.compile(r"/photo/\d+(?:/(?:information|picture|rendition/\w+))?")


def main(settings: SimilarityRoleSettings) -> int:
    """Serve until told to stop; returns the process's exit code.

    Raises:
        AlreadyServed: another process uses its directory.
        Conflict: the directory is something else's.
    """
    home = LockedDirectory(settings.data, kind="similarity")
    with home.lock():
        home.check_format()
        return run(_similarity, settings, name="similarity")


async def _similarity(settings: SimilarityRoleSettings, stopping: asyncio.Event) -> None:
    async with AsyncExitStack() as stack:
        directory = await stack.enter_async_context(directory_of(settings))
        fleet = await stack.enter_async_context(fleet_of(settings, directory))
        similarity = await stack.enter_async_context(_links(settings, directory, fleet))
        renditions = await stack.enter_async_context(_renditions(settings, directory, fleet))
        app = _both(similarity_server.application(similarity), renditions_server.application(renditions))
        await stack.enter_async_context(serve(app, settings, role="similarity", ready=similarity.status))
        await stopping.wait()


@asynccontextmanager
async def _links(
    settings: SimilarityRoleSettings, directory: Directory, fleet: Fleet
) -> AsyncIterator[LocalSimilarity]:
    """Similarity, fed."""
    told = settings.similarity
    library = ModelLibrary(settings.data / "models")
    chosen, threads = library.in_use(), told.embedder_threads
    similarity = await LocalSimilarity.open(
        _database_url(settings),
        folder=settings.data / "indexes",
        reader=Originals(directory, fleet),
        append_event=directory.append_event,
        embedder=open_embedder(told.embedder or chosen, threads=threads, library=library),
        processes=told.processes,
    )
    try:
        handler, loops = Ingest(similarity).handle, lanes(told.processes)
        async with (
            _consumer(settings, SIMILARITY_QUEUE, handler, loops=loops),
            _consumer(settings, DELETIONS_QUEUE, handler),
            AsyncExitStack() as stack,
        ):
            if told.embedder is None:
                following = follow(similarity, library, chosen=chosen, threads=threads)
                await stack.enter_async_context(background(following))
            yield similarity
    finally:
        await similarity.close()


def _database_url(settings: SimilarityRoleSettings) -> str:
    """The shared PostgreSQL, or a file of this process's own."""
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    return f"sqlite:///{settings.data.absolute() / 'similarity.sqlite'}"


@asynccontextmanager
async def _renditions(
    settings: SimilarityRoleSettings, directory: Directory, fleet: Fleet
) -> AsyncIterator[LocalRenditions]:
    """Renditions, fed."""
    renditions = LocalRenditions(
        directory=directory,
        stores=fleet,
        reader=Originals(directory, fleet),
        settings=settings.renditions,
        pixels_max=settings.upload.pixels_max,
    )
    try:
        handler, loops = RenditionsConsumer(renditions).handle, lanes(settings.renditions.processes)
        async with _consumer(settings, RENDITIONS_QUEUE, handler, loops=loops):
            yield renditions
    finally:
        await renditions.close()


@asynccontextmanager
async def _consumer(
    settings: SimilarityRoleSettings, queue: str, handler: Handler, *, loops: int = 1
) -> AsyncIterator[None]:
    """A queue's consumer, its handler called by ``loops`` loops at a time."""
    broker = settings.broker_url.get_secret_value()
    source = SharedSource(RabbitEventSource(broker, queue=queue, kinds=QUEUES[queue]))
    consumers = [EventConsumer(source, handler, name=queue, persistence=PERSISTENCE) for _ in range(loops)]
    async with AsyncExitStack() as stack:
        for consumer in consumers:
            await stack.enter_async_context(background(consumer.run(), cancel=False))
        try:
            yield
        finally:
            for consumer in consumers:
                consumer.stop()
            await source.close()


def _both(similarity: App, renditions: App) -> App:
    """Both roles at one port: their addresses differ, but for ``/health``, which is similarity's."""

    async def choose(scope: Scope, receive: Receive, send: Send) -> None:
        made = scope["type"] == "http" and _RENDITIONS_PATH.fullmatch(scope["path"])
        await (renditions if made else similarity)(scope, receive, send)

    return choose
