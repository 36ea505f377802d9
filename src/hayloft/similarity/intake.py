"""From an event, or a photo's bytes, to what is recorded: read, decode, embed, record.

The one decode that a photo gets happens here. A photo whose bytes are already known costs none.
``catch_up`` does the same, in the background, for photos that were recorded before a method or an
embedder was there; until it is done, what the old one recorded stays and keeps answering.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from typing import Any, Final

import structlog
from sqlalchemy import Connection

from hayloft.clock import Clock
from hayloft.database import Database
from hayloft.errors import Corrupt, PhotoDeleted, PhotoNotFound, Unavailable, UnsupportedMedia
from hayloft.roles import PhotoReader
from hayloft.sandbox import JobFailed
from hayloft.similarity import records, shelf
from hayloft.similarity.alike import fingerprint_of
from hayloft.similarity.announcer import Announcer
from hayloft.similarity.decoder_pool import Decoder
from hayloft.similarity.embedders.embedder import Embedder
from hayloft.similarity.fingerprint import Description
from hayloft.similarity.progress import Progress
from hayloft.similarity.recorder import Recorder
from hayloft.similarity.records import Seen
from hayloft.similarity.schema import State
from hayloft.types import PHOTO_ID_BITS, Event, PhotoId

FIRST: Final = PhotoId(-1)
LAST: Final = PhotoId((1 << PHOTO_ID_BITS) - 1)
"""Below and at the ends of all ids."""

CATCH_UP_PHOTOS: Final = 8
"""Photos in hand at once while catching up."""

_log = structlog.get_logger(__name__)


class Intake:
    """Takes photos in. Everything it uses belongs to its owner."""

    def __init__(
        self,
        *,
        database: Database,
        reader: PhotoReader,
        decoder: Decoder,
        embedder: Embedder | None,
        recorder: Recorder,
        announcer: Announcer,
        progress: Progress,
        clock: Clock,
    ) -> None:
        self._database = database
        self._reader = reader
        self._decoder = decoder
        self._embedder = embedder
        self._recorder = recorder
        self._announcer = announcer
        self._progress = progress
        self._clock = clock
        self._in_hand: set[asyncio.Task[bool]] = set()

    async def change(self, embedder: Embedder | None) -> None:
        """Embed by another model from now on; returns when no photo is in hand for the one before."""
        self._embedder = embedder
        await asyncio.gather(*self._in_hand, return_exceptions=True)

    async def ingest(self, event: Event) -> None:
        """Fingerprint and link the photo that a ``photo.uploaded`` tells of; again is no error.

        Raises:
            Unavailable: its bytes cannot be had now; the event must come again.
            NeedleCorrupt: its bytes are damaged.
            JobFailed: a decoder died or hung over it.
        """
        seen = await self._seen(event)
        if seen is None:
            return
        if not await self._recorder.settle(seen) and not await self._held(self._take_in(seen)):
            return
        self._progress.count()
        await self._announcer.announce()
        await self._recorder.save()

    async def describe(self, data: bytes, *, decoder: Decoder | None = None) -> Description:
        """Decode and fingerprint bytes, the embedder's vector among the fingerprints.

        ``decoder`` takes the place of ingest's, which gives way to everything else.

        Raises:
            UnsupportedMedia, JobFailed: see ``Decoder.describe``.
        """
        embedder = self._embedder  # another one may take its place while the photo is decoded
        view = None if embedder is None else embedder.view
        description = await (decoder or self._decoder).describe(data, view=view)
        if embedder is None or description.view is None:
            return description
        vector = await embedder.embed(description.view)
        fingerprint = fingerprint_of(embedder.name, vector)
        return replace(description, fingerprints=(*description.fingerprints, fingerprint), view=None)

    async def catch_up(
        self, methods: Sequence[str], obsolete: Sequence[str], *, start: PhotoId = FIRST
    ) -> bool:
        """Give every photo the fingerprints of ``methods`` that it lacks, then drop the ``obsolete`` ones.

        Photos that fail are left for the next start, and the obsolete fingerprints with them. Whether the
        latter are gone. Interrupted at any moment, it goes on with what is still lacking. Begins past the
        photo ``start`` and ends with it: processes that begin in different places share the work.
        """
        total = max(1, (await self._database.read(records.counts)).get(State.INDEXED, 0))
        lacking = await self._database.read(lambda connection: shelf.count_lacking(connection, methods))
        done, failed = max(0, total - lacking), 0
        for after, until in ((start, LAST), (FIRST, start)):
            while photos := await self._lacking(methods, after, until):
                self._progress.rebuilding = min(1.0, done / total)
                outcomes = await asyncio.gather(*(self._supplement(photo) for photo in photos))
                after, done, failed = photos[-1], done + len(photos), failed + outcomes.count(False)
                await self._announcer.announce()
                await self._recorder.save()
        self._progress.rebuilding = None
        if obsolete and not failed:
            await self._recorder.retire(obsolete)
        return not failed

    async def _lacking(self, methods: Sequence[str], after: PhotoId, until: PhotoId) -> list[PhotoId]:
        def work(connection: Connection) -> list[PhotoId]:
            return shelf.lacking(connection, methods, after, until, limit=CATCH_UP_PHOTOS)

        return await self._database.read(work)

    async def _held(self, work: Coroutine[Any, Any, bool]) -> bool:
        """Run work that uses the embedder, known to whoever wants to change it."""
        task = asyncio.create_task(work)
        self._in_hand.add(task)
        task.add_done_callback(self._in_hand.discard)
        try:
            return await task
        except asyncio.CancelledError:
            task.cancel()
            raise

    async def _supplement(self, photo: PhotoId) -> bool:
        """Whether the photo has what it lacked, or never will."""
        try:
            data = await self._bytes_of(photo)
            if data is not None:
                description = await self.describe(data)
                await self._recorder.supplement(photo, description.fingerprints, at_ms=self._clock.now_ms())
        except UnsupportedMedia:
            return True
        except (Unavailable, Corrupt, JobFailed) as failure:
            _log.warning("photo not described anew", photo_id=photo, error=repr(failure))
            return False
        return True

    async def _take_in(self, seen: Seen) -> bool:
        """Decode and record a photo; False if it is gone."""
        data = await self._bytes_of(seen.photo)
        if data is None:
            return False
        try:
            description = await self.describe(data)
        except UnsupportedMedia as failure:
            await self._recorder.record_undecodable(seen, failure.message)
        else:
            await self._recorder.record(seen, description)
        return True

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

    async def _bytes_of(self, photo: PhotoId) -> bytes | None:
        """The photo's bytes; None for one that is deleted, which its own event deals with."""
        try:
            return await self._reader.read_original(photo)
        except (PhotoDeleted, PhotoNotFound):
            return None
