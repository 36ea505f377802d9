"""``hayloft similarity``: links and renditions as one service, fed from RabbitMQ, at one port.

Several events are in hand at once, and any of them may come again; both roles are idempotent. An event that
fails because a part of the cluster is away is tried for hours before it is put aside.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from hayloft.assembly.background import background
from hayloft.assembly.fleet import Fleet
from hayloft.assembly.locked_directory import LockedDirectory
from hayloft.assembly.originals import Originals
from hayloft.assembly.peers import directory_of, fleet_of
from hayloft.assembly.queues import DELETIONS_QUEUE, QUEUES, RENDITIONS_QUEUE
from hayloft.assembly.service import run, serve, until_there
from hayloft.assembly.settings import SimilarityRoleSettings
from hayloft.errors import RoleUnavailable
from hayloft.events.consumer import EventConsumer, Handler, Persistence
from hayloft.events.rabbitmq.broker import DEAD_SUFFIX, SIMILARITY_QUEUE
from hayloft.events.rabbitmq.depth import QueueDepths
from hayloft.events.rabbitmq.relay import CONSUMER as RELAY
from hayloft.events.rabbitmq.source import RabbitEventSource
from hayloft.renditions.ingest import RenditionsConsumer
from hayloft.renditions.local import LocalRenditions
from hayloft.renditions.server import renditions_application
from hayloft.roles import Directory
from hayloft.similarity.embedders.choice import follow
from hayloft.similarity.embedders.embedder import open_embedder
from hayloft.similarity.embedders.library import ModelLibrary
from hayloft.similarity.ingest import Ingest, SharedSource, lanes
from hayloft.similarity.local import LocalSimilarity
from hayloft.similarity.progress import LogState
from hayloft.similarity.server import similarity_application
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
    library = ModelLibrary(settings.data / "models")
    async with AsyncExitStack() as stack:
        directory = await stack.enter_async_context(directory_of(settings))
        fleet = await stack.enter_async_context(fleet_of(settings, directory))
        similarity = await until_there(
            "the database", lambda: _open(settings, library, directory, fleet), stopping
        )
        if similarity is None:
            return
        stack.push_async_callback(similarity.close)
        await stack.enter_async_context(_linking(settings, library, directory, similarity))
        renditions = await stack.enter_async_context(_renditions(settings, directory, fleet))
        app = _both(similarity_application(similarity), renditions_application(renditions))
        await stack.enter_async_context(serve(app, settings, role="similarity", ready=similarity.status))
        await stopping.wait()


async def _open(
    settings: SimilarityRoleSettings, library: ModelLibrary, directory: Directory, fleet: Fleet
) -> LocalSimilarity:
    """Similarity over its database.

    Raises:
        RoleUnavailable: that does not answer.
    """
    told = settings.similarity
    return await LocalSimilarity.open(
        _database_url(settings),
        folder=settings.data / "indexes",
        reader=Originals(directory, fleet),
        append_event=directory.append_event,
        embedder=open_embedder(
            told.embedder or library.in_use(), threads=told.embedder_threads, library=library
        ),
        processes=told.processes,
    )


@asynccontextmanager
async def _linking(
    settings: SimilarityRoleSettings,
    library: ModelLibrary,
    directory: Directory,
    similarity: LocalSimilarity,
) -> AsyncIterator[None]:
    """Similarity is fed while the context is open."""
    told, broker = settings.similarity, settings.broker_url.get_secret_value()
    handler, loops = Ingest(similarity).handle, lanes(told.processes)
    depths = QueueDepths(broker)
    async with (
        _consumer(settings, SIMILARITY_QUEUE, handler, loops=loops) as source,
        _consumer(settings, DELETIONS_QUEUE, handler),
        AsyncExitStack() as stack,
    ):
        stack.push_async_callback(depths.close)
        similarity.progress.log_state = _log_state(directory, source, depths)
        if told.embedder is None:
            chosen = library.in_use()
            following = follow(similarity, library, chosen=chosen, threads=told.embedder_threads)
            await stack.enter_async_context(background(following))
        yield


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


def _log_state(
    directory: Directory, source: RabbitEventSource, depths: QueueDepths
) -> Callable[[], Awaitable[LogState]]:
    """How far the links are: what the relay has not sent, what waits in the queue, what is in hand here.

    While the broker does not answer, what it said last stands.
    """
    waiting = dead = 0

    async def log_state() -> LogState:
        nonlocal waiting, dead
        last = (await directory.statistics()).last_event
        unsent = max(0, last - await directory.position(RELAY))
        with contextlib.suppress(RoleUnavailable):
            waiting, dead = await depths.waiting(SIMILARITY_QUEUE, SIMILARITY_QUEUE + DEAD_SUFFIX)
        pending = unsent + waiting + source.in_hand
        return LogState(position=max(0, last - pending), last=last, parked=dead)

    return log_state


@asynccontextmanager
async def _consumer(
    settings: SimilarityRoleSettings, queue: str, handler: Handler, *, loops: int = 1
) -> AsyncIterator[RabbitEventSource]:
    """A queue's consumer, its handler called by ``loops`` loops at a time."""
    broker = settings.broker_url.get_secret_value()
    events = RabbitEventSource(broker, queue=queue, kinds=QUEUES[queue])
    source = SharedSource(events)
    consumers = [EventConsumer(source, handler, name=queue, persistence=PERSISTENCE) for _ in range(loops)]
    async with AsyncExitStack() as stack:
        for consumer in consumers:
            await stack.enter_async_context(background(consumer.run(), cancel=False))
        try:
            yield events
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
