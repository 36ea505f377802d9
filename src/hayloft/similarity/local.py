"""Similarity in this process: ``roles.Similarity``, fed by ``ingest`` and ``forget``.

Owns the methods' indexes, the embedder and the decoder processes. An SQLite database is one process's
alone; a PostgreSQL one may serve several, each with its own indexes of copies and all with one of
vectors. Everything it knows comes from the database, so that a kill at any moment loses at most work
that its event, delivered again, repeats.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import secrets
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Self

import structlog
from sqlalchemy import Connection

from hayloft import limits
from hayloft.clock import Clock, SystemClock
from hayloft.database import Database
from hayloft.errors import InvalidRequest, SearchNotConfigured, UnsupportedMedia
from hayloft.roles import PhotoReader
from hayloft.sandbox import JobFailed
from hayloft.similarity import links, membership, queries, records, shelf
from hayloft.similarity.alike import fingerprint_of
from hayloft.similarity.announcer import Announcer, AppendEvent
from hayloft.similarity.decoder_pool import Decoder, DecoderPool
from hayloft.similarity.embedders.embedder import Embedder
from hayloft.similarity.embedders.words import WORDS_CHARACTERS_MAX
from hayloft.similarity.intake import FIRST, Intake
from hayloft.similarity.linker import decide
from hayloft.similarity.methods import Method
from hayloft.similarity.migrations import open_upgraded
from hayloft.similarity.progress import Progress
from hayloft.similarity.rebuilding import rebuild
from hayloft.similarity.recorder import Recorder
from hayloft.similarity.repertoire import Repertoire, is_shared
from hayloft.similarity.schema import State
from hayloft.types import (
    Event,
    GroupPage,
    Link,
    LinkPage,
    Neighbour,
    PhotoGroup,
    PhotoId,
    Relation,
    SimilarityStatus,
    Verdict,
    VerdictPage,
)

_NOBODY = PhotoId(-1)
"""Stands for an image that is not stored."""

_Counts = tuple[dict[State, int], dict[str, int]]

COUNT_SECONDS = 0.25
"""A count that takes longer is not made anew every time that somebody asks."""
COUNT_SHARE = 20
"""It is made once in so many times as long as it takes."""

_log = structlog.get_logger(__name__)


class LocalSimilarity:
    """The behaviour behind ``roles.Similarity``. Made by ``open``."""

    def __init__(
        self,
        *,
        database: Database,
        reader: PhotoReader,
        append_event: AppendEvent,
        decoder: Decoder,
        asked: Decoder,
        repertoire: Repertoire,
        clock: Clock,
        shared: bool,
    ) -> None:
        self.progress = Progress(clock)
        self._database = database
        self._decoders = {decoder, asked}
        self._asked = asked
        self._repertoire = repertoire
        self._clock = clock
        self._recorder = Recorder(database, repertoire.methods, shared=shared)
        self._announcer = Announcer(database, append_event)
        self._shared = shared
        self._background: asyncio.Task[None] | None = None
        self._changing = asyncio.Lock()
        self._counting = asyncio.Lock()
        self._counts: _Counts | None = None
        self._counts_until = 0.0
        self._intake = Intake(
            database=database,
            reader=reader,
            decoder=decoder,
            embedder=repertoire.embedder,
            recorder=self._recorder,
            announcer=self._announcer,
            progress=self.progress,
            clock=clock,
        )

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        folder: Path,
        reader: PhotoReader,
        append_event: AppendEvent,
        embedder: Embedder | None = None,
        processes: int = 1,
        decoder: Decoder | None = None,
        methods: Sequence[Method] | None = None,
        clock: Clock | None = None,
    ) -> Self:
        """Open the database at ``url``: an SQLite file, this process's alone, or PostgreSQL with pgvector,
        which several may use. Indexes that live on disk are in ``folder``, which is this process's alone.

        ``embedder`` says what is alike; nothing does when there is none. Photos that lack fingerprints of
        today's methods are described in the background.

        Raises:
            FormatTooNew: a newer Hayloft wrote the database.
        """
        database = await open_upgraded(url)
        repertoire = await Repertoire.assemble(database, folder, embedder, methods, url=url)
        # Whoever asks about a picture waits; nobody waits for ingest, which therefore gives way to all.
        asked = decoder or DecoderPool(processes=processes)
        opened = cls(
            database=database,
            reader=reader,
            append_event=append_event,
            decoder=decoder or DecoderPool(processes=processes, background=True),
            asked=asked,
            repertoire=repertoire,
            clock=clock or SystemClock(),
            shared=is_shared(url),
        )
        await opened._recorder.load()
        opened._start(opened._catch_up)
        return opened

    async def ingest(self, event: Event) -> None:
        """Fingerprint and link the photo that a ``photo.uploaded`` tells of; see ``Intake.ingest``."""
        await self._intake.ingest(event)

    async def forget(self, photo: PhotoId) -> None:
        """Erase all that is known of a deleted photo; what comes late about it is ignored."""
        await self._recorder.forget(photo, at_ms=self._clock.now_ms())
        await self._announcer.announce()

    async def similar(
        self, photo: PhotoId, *, k: int, score_min: float = 0.0, relation: Relation | None = None
    ) -> tuple[Neighbour, ...]:
        """The photos nearest to one: twins, then copies, then those that are alike."""
        _check_k(k)

        linked, strangers, vectors = await self._database.read(
            lambda connection: (
                *queries.linked(connection, photo),
                queries.vectors(connection, photo, self._repertoire.alike_names),
            )
        )
        wanted = k + len(linked) + len(strangers) + 1
        near = await asyncio.to_thread(self._repertoire.nearest, vectors, k=wanted)
        # Whatever was deleted meanwhile is left out here.
        unlinked = await self._database.read(
            lambda connection: queries.alike(connection, photo, near, leaving_out={*linked, *strangers})
        )
        found = [*linked.values(), *unlinked]
        return queries.nearest(found, k=k, score_min=score_min, relation=relation)

    async def similar_to(
        self, image: bytes, *, k: int, score_min: float = 0.0, relation: Relation | None = None
    ) -> tuple[Neighbour, ...]:
        """The photos nearest to an image that is not stored."""
        _check_k(k)
        try:
            description = await self._intake.describe(image, decoder=self._asked)
        except JobFailed as failure:
            raise UnsupportedMedia(str(failure)) from failure
        matches = await self._recorder.matches(description)
        near = await asyncio.to_thread(self._repertoire.nearest, description.fingerprints, k=k)
        named = [(str(match.evidence["model"]), match) for match in near]
        decided = decide(_NOBODY, [*matches, *named], at_ms=0)
        digest = await asyncio.to_thread(lambda: hashlib.sha256(image).digest())
        found = await self._database.read(
            lambda connection: queries.unstored(connection, _NOBODY, decided, digest)
        )
        return queries.nearest(found, k=k, score_min=score_min, relation=relation)

    async def links(self, photo: PhotoId) -> tuple[Link, ...]:
        """All links of one photo, strongest first."""
        return await self._database.read(lambda connection: links.of_photo(connection, photo))

    async def all_links(self, *, relation: Relation | None, cursor: str | None, limit: int) -> LinkPage:
        """All links, in the order they were found."""
        limit = max(1, min(limit, limits.PAGE_PHOTOS_MAX))
        after = _parse_cursor(cursor)
        found, total = await self._database.read(
            lambda connection: links.page(connection, relation=relation, after=after, limit=limit + 1)
        )
        page = found[:limit]
        return LinkPage(
            links=tuple(link for _, link in page),
            next_cursor=str(page[-1][0]) if len(found) > limit else None,
            total=total,
        )

    async def groups(self, *, relation: Relation | None, cursor: str | None, limit: int) -> GroupPage:
        """Photos that are the same, all in all, by their smallest id."""
        if relation is Relation.SIMILAR:
            raise InvalidRequest("Photos that are merely alike form no groups.", field="relation")
        limit = max(1, min(limit, limits.PAGE_PHOTOS_MAX))
        after = _parse_cursor(cursor)
        twins_only = relation is Relation.DUPLICATE
        return await self._database.read(
            lambda connection: membership.page(connection, twins_only=twins_only, after=after, limit=limit)
        )

    async def group_of(self, photo: PhotoId) -> PhotoGroup:
        """The photo's group, with the best of it."""
        return await self._database.read(lambda connection: membership.of_photo(connection, photo))

    async def verdicts(self, *, cursor: str | None, limit: int) -> VerdictPage:
        """All verdicts, by the ids of their pairs."""
        limit = max(1, min(limit, limits.PAGE_PHOTOS_MAX))
        a, _, b = (cursor or "0.0").partition(".")
        after = (PhotoId(_parse_cursor(a)), PhotoId(_parse_cursor(b)))
        found = await self._database.read(
            lambda connection: links.verdict_page(connection, after=after, limit=limit + 1)
        )
        page = tuple(found[:limit])
        more = len(found) > limit
        return VerdictPage(verdicts=page, next_cursor=f"{page[-1].a}.{page[-1].b}" if more else None)

    async def set_verdict(self, a: PhotoId, b: PhotoId, verdict: Verdict | None) -> Link | None:
        """Record a person's verdict on a pair; the answer is the pair's link, if it has one."""
        if a == b:
            raise InvalidRequest("A verdict needs two photos.")
        link = await self._recorder.set_verdict(a, b, verdict, at_ms=self._clock.now_ms())
        await self._announcer.announce()
        return link

    async def search(self, words: str, *, k: int) -> tuple[Neighbour, ...]:
        """The photos that the words describe best, by today's embedder."""
        _check_k(k)
        if not 0 < len(words.strip()) <= WORDS_CHARACTERS_MAX:
            raise InvalidRequest(f"Words are 1 to {WORDS_CHARACTERS_MAX} characters.", field="q")
        embedder = self._repertoire.embedder
        if embedder is None or not embedder.takes_words:
            raise SearchNotConfigured
        asked = fingerprint_of(embedder.name, await embedder.embed_words(words.strip()))
        near = await asyncio.to_thread(self._repertoire.nearest, [asked], k=k)
        found = await self._database.read(lambda connection: queries.described(connection, near))
        return queries.nearest(found, k=k, score_min=-1.0, relation=None)

    async def use(self, embedder: Embedder | None) -> None:
        """Have another embedder say what is alike. The one before answers until the new one has caught up.

        Takes the embedder over: it is closed when another one takes its place, or with the rest.
        """
        async with self._changing:
            before = self._repertoire.embedder
            if embedder is not None and embedder.name == self._repertoire.embedder_name:
                await embedder.close()
                return
            await self._stop_background()
            method = None if embedder is None else await self._repertoire.method_of(embedder)
            if method is not None:
                await self._recorder.remake(method)
            self._repertoire.adopt(embedder, method)
            await self._intake.change(embedder)
            if before is not None:
                await before.close()
            self._start(self._catch_up)

    async def rebuild(self) -> None:
        """Make the indexes anew from what is recorded, in the background; one such work at a time."""
        if self._background is None or self._background.done():
            self._start(self._rebuild)

    async def status(self) -> SimilarityStatus:
        """How far ingest has got."""
        counts, by_method = await self._counted()
        indexed = counts.get(State.INDEXED, 0)
        progress = await self.progress.now()
        return SimilarityStatus(
            trained=indexed > 0,
            total_indexed=indexed,
            undecodable=counts.get(State.UNDECODABLE, 0),
            parked=progress.parked,
            position=progress.position,
            pending=progress.pending,
            photos_per_second=progress.photos_per_second,
            seconds_left=progress.seconds_left,
            embedder=self._repertoire.embedder_name,
            embedded=by_method.get(self._repertoire.embedder_name, 0),
            embedder_hint=self._repertoire.hint,
            takes_words=self._repertoire.takes_words,
            rebuilding=progress.rebuilding,
        )

    async def close(self) -> None:
        """End the decoders, finish what is being recorded, write the indexes, release the database."""
        await self._stop_background()
        await asyncio.gather(*(decoder.close() for decoder in self._decoders))
        await self._recorder.close()
        await self._repertoire.close()
        await self._database.close()

    async def caught_up(self) -> None:
        """Wait for what runs in the background."""
        if self._background is not None:
            with contextlib.suppress(asyncio.CancelledError):
                await self._background

    def _start(self, work: Callable[[], Awaitable[None]]) -> None:
        async def logged() -> None:
            try:
                await work()
            except Exception:
                _log.exception("background work on links failed")
            finally:
                self.progress.rebuilding = None

        self._background = asyncio.create_task(logged())

    async def _counted(self) -> _Counts:
        """How many photos are in each state and known to each method.

        Counting millions takes a while; the answer then stands for long enough that it stays a small part
        of the work.
        """
        async with self._counting:
            began = self._clock.monotonic_seconds()
            if self._counts is None or began >= self._counts_until:
                self._counts = await self._database.read(
                    lambda connection: (records.counts(connection), shelf.counts_by_method(connection))
                )
                ended = self._clock.monotonic_seconds()
                took = ended - began
                self._counts_until = ended + (COUNT_SHARE * took if took > COUNT_SECONDS else 0.0)
            return self._counts

    async def _stop_background(self) -> None:
        if self._background is not None:
            self._background.cancel()
            await asyncio.gather(self._background, return_exceptions=True)

    async def _rebuild(self) -> None:
        await rebuild(self._repertoire, self._recorder, self._tell)
        await self._catch_up()

    def _tell(self, share: float) -> None:
        self.progress.rebuilding = share

    async def _catch_up(self) -> None:
        start = await self._database.read(_somewhere) if self._shared else FIRST
        if await self._intake.catch_up(self._repertoire.names, self._repertoire.obsolete, start=start):
            await self._repertoire.forget_obsolete()


def _somewhere(connection: Connection) -> PhotoId:
    """A photo at random, near enough, for a process to begin with."""
    return PhotoId(secrets.randbelow(records.last_photo(connection) + 2) - 1)


def _check_k(k: int) -> None:
    if not 1 <= k <= limits.NEIGHBOURS_MAX:
        raise InvalidRequest(f"k lies between 1 and {limits.NEIGHBOURS_MAX}.", field="k")


def _parse_cursor(cursor: str | None) -> int:
    if cursor is None:
        return 0
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= 18):
        raise InvalidRequest("The cursor is not one that this server made.", field="cursor")
    return int(cursor)
