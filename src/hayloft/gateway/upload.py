"""Keeping an upload: checked, on every replica's disk, committed; only then is it acknowledged.

``Uploads.keep`` takes one file's bytes, ``storing`` sees to the replicas. What was stored but not committed
is taken back, unless the commit's outcome is unknown.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from typing import Final

from hayloft import limits
from hayloft.clock import Clock
from hayloft.errors import (
    Conflict,
    Invalid,
    InvalidRequest,
    StorageFull,
)
from hayloft.gateway.identifiers import Slot
from hayloft.gateway.metrics import Metrics
from hayloft.gateway.sniff import Data, Inspected, inspect
from hayloft.gateway.storing import Storing
from hayloft.roles import Directory
from hayloft.types import (
    AlternateKey,
    NeedleMetadata,
    NewNeedle,
    NewPhoto,
    PhotoId,
    PhotoRecord,
    PhotoStatus,
    StoreId,
    new_cookie,
)

THREAD_BYTES_MIN: Final = 256 * limits.KIB
"""Larger uploads are hashed and inspected in a thread: this much SHA-256 takes a quarter millisecond."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A photo that is stored for good."""

    record: PhotoRecord
    duplicate_of: PhotoId | None = None
    repeated: bool = False
    """An earlier upload with the same idempotency key made this photo."""


class Uploads:
    """Uploads over the roles."""

    def __init__(
        self,
        *,
        directory: Directory,
        storing: Storing,
        metrics: Metrics,
        clock: Clock,
        pixels_max: int = limits.IMAGE_PIXELS_MAX,
    ) -> None:
        self._directory = directory
        self._storing = storing
        self._metrics = metrics
        self._clock = clock
        self._pixels_max = pixels_max

    async def keep(
        self,
        data: Data,
        *,
        name: str,
        idempotency_key: str | None = None,
        alternate_key: AlternateKey = AlternateKey.ORIG,
        first_created_at_ms: int | None = None,
    ) -> Kept:
        """Store a photo durably and commit it.

        ``first_created_at_ms`` is when it was uploaded to the library that it is brought from. The needle
        still says when it was written: whoever looks for uploads that were never committed goes by that.

        Raises:
            InvalidRequest: it was uploaded before 1970, or is yet to be.
            EmptyUpload, UnsupportedMedia, Truncated, ImageTooLarge: it is no image to be kept.
            StorageFull: no volume has room.
            ReplicasFailed: no volume's replicas could store it.
            RoleUnavailable: the directory does not answer; the photo may or may not be there.
        """
        now_ms = self._clock.now_ms()
        if first_created_at_ms is not None and not 0 <= first_created_at_ms <= now_ms:
            raise InvalidRequest("created_at: a time between 1970 and now.", field="created_at")
        if len(data) < THREAD_BYTES_MIN:
            data = bytes(data)  # Copies what came in several pieces: cheaper than reading it in place.
            image, digest = self._examine(data)
        else:
            image, digest = await asyncio.to_thread(self._examine, data)
        metadata = NeedleMetadata(
            media_type=image.media_type,
            name=name,
            sha256=digest,
            created_at_ms=now_ms,
            first_created_at_ms=first_created_at_ms,
        )
        slot, needle = await self._storing.store(
            lambda photo: NewNeedle(
                photo=photo,
                cookie=new_cookie(),
                data=data if isinstance(data, bytes) else memoryview(data),
                alternate_key=alternate_key,
                metadata=metadata,
            )
        )
        return await self._commit(slot, needle, image, idempotency_key)

    def _examine(self, data: Data) -> tuple[Inspected, bytes]:
        return inspect(data, pixels_max=self._pixels_max), hashlib.sha256(data).digest()

    # Committing ----------------------------------------------------------------------------------

    async def _commit(
        self, slot: Slot, needle: NewNeedle, image: Inspected, idempotency_key: str | None
    ) -> Kept:
        photo = NewPhoto(
            photo=slot.photo,
            cookie=needle.cookie,
            size=len(needle.data),
            sha256=needle.metadata.sha256,
            media_type=image.media_type,
            width=image.width,
            height=image.height,
            name=needle.metadata.name,
            alternate_key=needle.alternate_key,
            created_at_ms=needle.metadata.photo_created_at_ms,
            idempotency_key=idempotency_key,
        )
        try:
            committed = await self._directory.commit(photo)
        except (Invalid, Conflict, StorageFull):
            # The directory has certainly not recorded it. After any other failure it may have.
            self._storing.take_back(slot.photo, slot.replicas)
            raise
        if committed.photo != slot.photo:
            self._storing.take_back(slot.photo, slot.replicas)
            return Kept(await self._directory.photo(committed.photo), repeated=True)
        self._metrics.uploaded(photo.size)
        return Kept(_record(photo, slot.replicas), committed.duplicate_of, committed.repeated)


def _record(photo: NewPhoto, replicas: tuple[StoreId, ...]) -> PhotoRecord:
    return PhotoRecord(
        photo=photo.photo,
        cookie=photo.cookie,
        status=PhotoStatus.ACTIVE,
        alternate_key=photo.alternate_key,
        replicas=replicas,
        size=photo.size,
        sha256=photo.sha256,
        media_type=photo.media_type,
        width=photo.width,
        height=photo.height,
        name=photo.name,
        created_at_ms=photo.created_at_ms,
    )
