"""Renditions in this process: ``roles.Renditions``, with decoding in the sandbox's processes.

Each photo is decoded once for everything that is stored of it, however many ask at the same time. What
cannot be decoded is recorded as such and not tried again; a file over which decoders die is treated like
one that cannot be decoded. Requests wait for a decoder before they fetch any bytes, and only so many of
them, so that their memory is bounded. Pictures to order have decoders of their own: they do not wait for
ingest.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import structlog

from hayloft import limits
from hayloft.clock import Clock, SystemClock
from hayloft.config import RenditionSettings
from hayloft.errors import (
    HayloftError,
    ImageTooLarge,
    InvalidRequest,
    Overloaded,
    PhotoDeleted,
    PhotoNotFound,
    StorageFull,
    UnsupportedMedia,
    VolumeReadOnly,
)
from hayloft.renditions import frames, iiif
from hayloft.renditions.keeping import Keeping
from hayloft.renditions.made import Made
from hayloft.roles import Directory, PhotoReader, Store
from hayloft.sandbox import Bounds, JobFailed, Sandbox
from hayloft.types import (
    AlternateKey,
    MadePicture,
    PhotoDetails,
    PhotoId,
    PhotoRecord,
    PhotoStatus,
    StoreId,
)

WORK: Final = "hayloft.renditions.jobs:answer"
ATTEMPTS: Final = 2
"""Decoders that may die over one file before it is held to be the file's fault."""

_PICTURE_TYPES: Final = {"jpeg": "image/jpeg", "png": "image/png", "webp": "image/webp"}
_log = structlog.get_logger(__name__)


class LocalRenditions:
    """The behaviour behind ``roles.Renditions``."""

    def __init__(
        self,
        *,
        directory: Directory,
        stores: Mapping[StoreId, Store],
        reader: PhotoReader,
        settings: RenditionSettings | None = None,
        pixels_max: int = limits.IMAGE_PIXELS_MAX,
        bounds: Bounds | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._directory = directory
        self._reader = reader
        self._settings = settings or RenditionSettings()
        self._pixels_max = pixels_max
        self._picture_bounds = iiif.Bounds(
            side_max=self._settings.picture_side_max, pixels_max=self._settings.picture_pixels_max
        )
        self._keeping = Keeping(directory=directory, stores=stores, clock=clock or SystemClock())
        processes = self._settings.processes
        self._ingest = _Decoders(
            Sandbox(WORK, processes=processes, bounds=bounds, background=True), processes
        )
        self._demand = _Decoders(
            Sandbox(WORK, processes=processes, bounds=bounds), processes, limits.PICTURES_WAITING_MAX
        )
        self._making: dict[PhotoId, asyncio.Task[Made]] = {}

    @property
    def pids(self) -> tuple[int, ...]:
        """The decoder processes that are running."""
        return self._ingest.pids + self._demand.pids

    async def make(self, photo: PhotoId) -> PhotoDetails:
        """Make and store all renditions of a photo and record its details, unless that has been done."""
        record = await self._active(photo)
        known = (await self._directory.details([photo])).get(photo)
        if known is not None and (known.failure or known.renditions):
            return known
        return (await self._make_once(record, self._ingest)).details

    async def rendition(self, photo: PhotoId, alternate_key: AlternateKey) -> MadePicture:
        """One rendition, made now with all others."""
        record = await self._active(photo)
        known = (await self._directory.details([photo])).get(photo)
        if known is not None and known.failure:
            raise UnsupportedMedia(known.failure, photo_id=photo)
        made = await self._make_once(record, self._demand)
        if made.details.failure:
            raise UnsupportedMedia(made.details.failure, photo_id=photo)
        size = made.details.answering(alternate_key)
        assert size is not None, "a photo that can be decoded has at least one"
        found = made.renditions[made.details.renditions.index(size)]
        return MadePicture(data=found.data, media_type=found.media_type)

    async def picture(self, photo: PhotoId, order: str) -> MadePicture:
        """A picture to order, from the original."""
        segments = order.split("/")
        if len(segments) != 4:
            raise InvalidRequest("An order is region/size/rotation/quality.format.")
        details = await self._details(photo)
        picture = iiif.parse(
            *segments, width=details.width, height=details.height, bounds=self._picture_bounds
        )
        head = frames.encode_order(picture, self._settings, self._pixels_max)
        async with self._demand.turn():
            data = await self._decode(self._demand, photo, head)
        return MadePicture(
            data=data, media_type=_PICTURE_TYPES[picture.format], canonical=picture.canonical
        )

    async def information(self, photo: PhotoId, *, address: str) -> Mapping[str, Any]:
        """What can be ordered of a photo."""
        details = await self._details(photo)
        return iiif.information(
            address=address,
            width=details.width,
            height=details.height,
            sizes=tuple((one.width, one.height) for one in details.renditions),
            bounds=self._picture_bounds,
        )

    async def close(self) -> None:
        """End the decoders; what they were doing fails."""
        tasks = list(self._making.values())
        await asyncio.gather(self._ingest.close(), self._demand.close())
        await asyncio.gather(*tasks, return_exceptions=True)

    # Within --------------------------------------------------------------------------------------

    async def _details(self, photo: PhotoId) -> PhotoDetails:
        """A photo's details, found out now if nobody has; of one that can be decoded.

        Raises:
            UnsupportedMedia: it cannot.
        """
        record = await self._active(photo)
        details = (await self._directory.details([photo])).get(photo)
        if details is None:
            details = (await self._make_once(record, self._demand)).details
        if details.failure:
            raise UnsupportedMedia(details.failure, photo_id=photo)
        return details

    async def _active(self, photo: PhotoId) -> PhotoRecord:
        record = await self._directory.photo(photo)
        if record.status is PhotoStatus.DELETED:
            raise PhotoDeleted(photo_id=photo)
        if record.status is not PhotoStatus.ACTIVE:
            raise PhotoNotFound(photo_id=photo)
        return record

    async def _make_once(self, record: PhotoRecord, decoders: _Decoders) -> Made:
        """Join whoever is making this photo's renditions, or make them.

        The work is a task of its own: one caller that goes away does not take it from the others.
        """
        task = self._making.get(record.photo)
        if task is None:
            task = asyncio.create_task(self._make(record, decoders))
            self._making[record.photo] = task
            task.add_done_callback(lambda done: self._made(record.photo, done))
        return await asyncio.shield(task)

    def _made(self, photo: PhotoId, done: asyncio.Task[Made]) -> None:
        self._making.pop(photo, None)
        if not done.cancelled():
            done.exception()

    async def _make(self, record: PhotoRecord, decoders: _Decoders) -> Made:
        head = frames.encode_making(self._settings, self._pixels_max)
        try:
            async with decoders.turn():
                made = frames.decode_made(await self._decode(decoders, record.photo, head))
        except (UnsupportedMedia, ImageTooLarge) as failure:
            made = Made(details=PhotoDetails(failure=failure.message), renditions=())
            await self._directory.set_details(record.photo, made.details)
            return made
        full = await self._kept(record, made)
        await self._directory.set_details(record.photo, made.details)
        if full is not None and decoders is self._ingest:
            raise full
        return made

    async def _kept(self, record: PhotoRecord, made: Made) -> HayloftError | None:
        """Store the renditions; why not, if there is no room: they can still be shown."""
        try:
            await self._keeping.keep(record, made.renditions)
        except (StorageFull, VolumeReadOnly) as full:
            _log.warning("renditions are not kept", photo_id=record.photo, code=full.code)
            # A volume that takes nothing more never will: that is no reason to come again.
            return full if isinstance(full, StorageFull) else None
        return None

    async def _decode(self, decoders: _Decoders, photo: PhotoId, head: bytes) -> bytes:
        """Run the sandbox over a photo's original.

        Raises:
            UnsupportedMedia, ImageTooLarge: it cannot be decoded, or decoders keep dying over it.
        """
        original = await self._reader.read_original(photo)
        reason = ""
        for _ in range(ATTEMPTS):
            try:
                return await decoders.sandbox.run(head, original)
            except JobFailed as failure:
                reason = str(failure)
        raise UnsupportedMedia(f"The image cannot be decoded: {reason}", photo_id=photo)


class _Decoders:
    """A sandbox, and whose turn it is."""

    def __init__(self, sandbox: Sandbox, processes: int, waiting_max: int | None = None) -> None:
        self.sandbox = sandbox
        self._waiting_max = waiting_max
        self._waiting = 0
        # One more than there are processes, which fetches its bytes meanwhile.
        self._turns = asyncio.Semaphore(processes + 1)

    @property
    def pids(self) -> tuple[int, ...]:
        return self.sandbox.pids

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for one's turn.

        Raises:
            Overloaded: too many wait already.
        """
        if self._waiting_max is not None and self._waiting >= self._waiting_max:
            raise Overloaded(
                "Too many pictures are being made; try again shortly.",
                retry_after_seconds=limits.RETRY_AFTER_SECONDS,
            )
        self._waiting += 1
        try:
            await self._turns.acquire()
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._turns.release()

    async def close(self) -> None:
        await self.sandbox.close()
