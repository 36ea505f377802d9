"""Similarity in this process: ``roles.Similarity``, fed by ``ingest`` and ``forget``.

Owns the database, the methods' indexes and the decoder processes; exactly one process may have it open. A
photo whose bytes are already known costs no decoding. Everything it knows comes from the database, so
that a kill at any moment loses at most work that its event, delivered again, repeats.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Self

from sqlalchemy import Connection

from hayloft import limits
from hayloft.clock import Clock, SystemClock
from hayloft.errors import InvalidRequest, PhotoDeleted, PhotoNotFound, UnsupportedMedia
from hayloft.roles import PhotoReader
from hayloft.similarity import links, queries, records
from hayloft.similarity.announcer import Announcer, AppendEvent
from hayloft.similarity.database import Database, open_database
from hayloft.similarity.decoder_pool import Decoder, DecoderFailed, DecoderPool
from hayloft.similarity.linker import decide
from hayloft.similarity.methods import Method, PdqMethod
from hayloft.similarity.progress import Progress
from hayloft.similarity.recorder import Recorder
from hayloft.similarity.records import Seen
from hayloft.similarity.schema import State
from hayloft.types import Event, Link, LinkPage, Neighbour, PhotoId, Relation, SimilarityStatus, Verdict


class LocalSimilarity:
    """The behaviour behind ``roles.Similarity``. Made by ``open``."""

    def __init__(
        self,
        *,
        database: Database,
        reader: PhotoReader,
        append_event: AppendEvent,
        decoder: Decoder,
        methods: Sequence[Method],
        clock: Clock,
    ) -> None:
        self._database = database
        self._reader = reader
        self._decoder = decoder
        self._clock = clock
        self._recorder = Recorder(database, methods)
        self._announcer = Announcer(database, append_event)
        self.progress = Progress(clock)

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        reader: PhotoReader,
        append_event: AppendEvent,
        processes: int = 1,
        decoder: Decoder | None = None,
        methods: Sequence[Method] | None = None,
        clock: Clock | None = None,
    ) -> Self:
        """Open the database at ``url`` (``sqlite:///PATH``), make the indexes, announce what is left over.

        Raises:
            FormatTooNew: a newer Hayloft wrote the database.
        """
        database = await open_database(url)
        opened = cls(
            database=database,
            reader=reader,
            append_event=append_event,
            decoder=decoder or DecoderPool(processes=processes),
            methods=(PdqMethod(),) if methods is None else methods,
            clock=clock or SystemClock(),
        )
        await opened._recorder.load()
        return opened

    async def ingest(self, event: Event) -> None:
        """Fingerprint and link the photo that a ``photo.uploaded`` tells of; again is no error.

        Raises:
            Unavailable: its bytes cannot be had now; the event must come again.
            NeedleCorrupt: its bytes are damaged.
            DecoderFailed: a decoder died or hung over it.
        """
        seen = await self._seen(event)
        if seen is None or await self._settled(seen):
            return
        data = await self._bytes_of(event.photo)
        if data is None:
            return
        try:
            description = await self._decoder.describe(data)
        except UnsupportedMedia as failure:
            await self._recorder.record_undecodable(seen, failure.message)
        else:
            await self._recorder.record(seen, description)
        self.progress.count()
        await self._announcer.announce()

    async def forget(self, photo: PhotoId) -> None:
        """Erase all that is known of a deleted photo; what comes late about it is ignored."""
        await self._recorder.forget(photo, at_ms=self._clock.now_ms())
        await self._announcer.announce()

    async def similar(
        self, photo: PhotoId, *, k: int, score_min: float = 0.0, relation: Relation | None = None
    ) -> tuple[Neighbour, ...]:
        """The photos nearest to one: twins, then copies, then those that are alike."""
        _check_k(k)
        found = await self._database.read(lambda connection: queries.linked(connection, photo))
        return queries.nearest(found, k=k, score_min=score_min, relation=relation)

    async def similar_to(
        self, image: bytes, *, k: int, score_min: float = 0.0, relation: Relation | None = None
    ) -> tuple[Neighbour, ...]:
        """The photos nearest to an image that is not stored."""
        _check_k(k)
        try:
            description = await self._decoder.describe(image)
        except DecoderFailed as failure:
            raise UnsupportedMedia(str(failure)) from failure
        nobody = PhotoId(-1)
        copies = decide(nobody, await self._recorder.matches(description), at_ms=0)
        digest = await asyncio.to_thread(lambda: hashlib.sha256(image).digest())
        twins = await self._database.read(lambda connection: _twins(connection, digest))
        found = {link.other(nobody): queries.unstored(link.other(nobody), link) for link in copies}
        found |= {twin: queries.duplicate(None, twin) for twin in twins}
        return queries.nearest(found.values(), k=k, score_min=score_min, relation=relation)

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

    async def set_verdict(self, a: PhotoId, b: PhotoId, verdict: Verdict | None) -> Link | None:
        """Record a person's verdict on a pair; the answer is the pair's link, if it has one."""
        if a == b:
            raise InvalidRequest("A verdict needs two photos.")
        link = await self._recorder.set_verdict(a, b, verdict, at_ms=self._clock.now_ms())
        await self._announcer.announce()
        return link

    async def status(self) -> SimilarityStatus:
        """How far ingest has got."""
        counts = await self._database.read(records.counts)
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
        )

    async def close(self) -> None:
        """End the decoders, finish what is being recorded, release the database."""
        await self._decoder.close()
        await self._recorder.close()
        await self._database.close()

    async def _seen(self, event: Event) -> Seen | None:
        """What the event tells of the photo; its digest is computed if the event has none."""
        told, size = str(event.payload.get("sha256") or ""), event.payload.get("size")
        if not told or size is None:
            data = await self._bytes_of(event.photo)
            if data is None:
                return None
            told, size = await asyncio.to_thread(lambda: hashlib.sha256(data).hexdigest()), len(data)
        return Seen(
            photo=event.photo,
            position=event.position,
            sha256=bytes.fromhex(told),
            size_bytes=int(size),
            seen_at_ms=event.at_ms,
        )

    async def _settled(self, seen: Seen) -> bool:
        settled = await self._recorder.settle(seen)
        if settled:
            self.progress.count()
            await self._announcer.announce()
        return settled

    async def _bytes_of(self, photo: PhotoId) -> bytes | None:
        """The photo's bytes; None for one that is deleted, which its own event deals with."""
        try:
            return await self._reader.read_original(photo)
        except (PhotoDeleted, PhotoNotFound):
            return None


def _twins(connection: Connection, digest: bytes) -> list[PhotoId]:
    original = records.original_of(connection, digest)
    if original is None:
        return []
    first = PhotoId(original.photo)
    return [first, *(PhotoId(twin.photo) for twin in records.twins_of(connection, first))]


def _check_k(k: int) -> None:
    if not 1 <= k <= limits.NEIGHBOURS_MAX:
        raise InvalidRequest(f"k lies between 1 and {limits.NEIGHBOURS_MAX}.", field="k")


def _parse_cursor(cursor: str | None) -> int:
    if cursor is None:
        return 0
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= 18):
        raise InvalidRequest("The cursor is not one that this server made.", field="cursor")
    return int(cursor)
