"""Keeping an upload: checked, on every replica's disk, committed; only then is it acknowledged.

``Uploads.keep`` takes one file's bytes. A volume that cannot take them is abandoned, the directory is told,
and another one is tried: the client sees success as long as one healthy volume exists. What was stored
but not committed is taken back, unless the commit's outcome is unknown.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Final

import structlog

from hayloft import limits
from hayloft.clock import Clock
from hayloft.errors import (
    Conflict,
    HayloftError,
    Invalid,
    ReplicasFailed,
    RoleUnavailable,
    ShuttingDown,
    StorageFull,
    UploadTooLarge,
    VolumeReadOnly,
)
from hayloft.gateway.identifiers import Identifiers, Slot
from hayloft.gateway.metrics import Metrics
from hayloft.gateway.reports import Reports
from hayloft.gateway.sniff import Data, Inspected, inspect
from hayloft.roles import Directory, Store
from hayloft.types import (
    AlternateKey,
    NeedleMetadata,
    NewNeedle,
    NewPhoto,
    PhotoId,
    PhotoRecord,
    PhotoStatus,
    StoreId,
    VolumeId,
    new_cookie,
)

ATTEMPTS_MAX: Final = 6
"""Volumes tried for one upload. Each failure takes its volume out of the writable set."""

THREAD_BYTES_MIN: Final = 256 * limits.KIB
"""Larger uploads are hashed and inspected in a thread: this much SHA-256 takes a quarter millisecond."""

_log = structlog.get_logger(__name__)


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
        stores: Mapping[StoreId, Store],
        identifiers: Identifiers,
        reports: Reports,
        metrics: Metrics,
        clock: Clock,
        pixels_max: int = limits.IMAGE_PIXELS_MAX,
    ) -> None:
        self._directory = directory
        self._stores = stores
        self._identifiers = identifiers
        self._reports = reports
        self._metrics = metrics
        self._clock = clock
        self._pixels_max = pixels_max
        self._cleanups: set[asyncio.Task[None]] = set()

    async def keep(
        self,
        data: Data,
        *,
        name: str,
        idempotency_key: str | None = None,
        alternate_key: AlternateKey = AlternateKey.ORIG,
    ) -> Kept:
        """Store a photo durably and commit it.

        Raises:
            EmptyUpload, UnsupportedMedia, Truncated, ImageTooLarge: it is no image to be kept.
            StorageFull: no volume has room.
            ReplicasFailed: no volume's replicas could store it.
            RoleUnavailable: the directory does not answer; the photo may or may not be there.
        """
        if len(data) < THREAD_BYTES_MIN:
            data = bytes(data)  # Copies what came in several pieces: cheaper than reading it in place.
            image, digest = self._examine(data)
        else:
            image, digest = await asyncio.to_thread(self._examine, data)
        metadata = NeedleMetadata(
            media_type=image.media_type, name=name, sha256=digest, created_at_ms=self._clock.now_ms()
        )
        slot, needle = await self._store(data, alternate_key, metadata)
        return await self._commit(slot, needle, image, idempotency_key)

    async def close(self) -> None:
        """Let the taking back of unused needles finish."""
        await asyncio.gather(*self._cleanups, return_exceptions=True)

    def _examine(self, data: Data) -> tuple[Inspected, bytes]:
        return inspect(data, pixels_max=self._pixels_max), hashlib.sha256(data).digest()

    # Storing -------------------------------------------------------------------------------------

    async def _store(
        self, data: Data, alternate_key: AlternateKey, metadata: NeedleMetadata
    ) -> tuple[Slot, NewNeedle]:
        """Append the needle in the first volume all of whose replicas take it."""
        failure: HayloftError | None = None
        for _ in range(ATTEMPTS_MAX):
            slot = await self._identifiers.take()
            needle = NewNeedle(
                photo=slot.photo,
                cookie=new_cookie(),
                data=data if isinstance(data, bytes) else memoryview(data),
                alternate_key=alternate_key,
                metadata=metadata,
            )
            failures = await self._append(slot, needle)
            if not failures:
                return slot, needle
            failure = _gravest(failures)
            await self._abandon(slot, failures)
            if isinstance(failure, (ShuttingDown, Invalid, UploadTooLarge)):
                raise failure
        assert failure is not None
        if isinstance(failure, StorageFull):
            raise failure
        raise ReplicasFailed(
            "No volume could store the photo.", retry_after_seconds=limits.RETRY_AFTER_SECONDS
        ) from failure

    async def _append(self, slot: Slot, needle: NewNeedle) -> dict[StoreId, HayloftError]:
        """Append on every replica at once; returns those that failed."""
        if len(slot.replicas) == 1:
            failure = await self._append_on(slot.replicas[0], slot.volume, needle)
            return {slot.replicas[0]: failure} if failure else {}
        outcomes = await asyncio.gather(
            *(self._append_on(store, slot.volume, needle) for store in slot.replicas)
        )
        return {s: f for s, f in zip(slot.replicas, outcomes, strict=True) if f is not None}

    async def _append_on(self, name: StoreId, volume: VolumeId, needle: NewNeedle) -> HayloftError | None:
        store = self._stores.get(name)
        if store is None:
            return RoleUnavailable(f"The store {name} is not known here.")
        try:
            await store.append(volume, needle)
        except HayloftError as error:
            return error
        return None

    async def _abandon(self, slot: Slot, failures: Mapping[StoreId, HayloftError]) -> None:
        """Write no more in this volume, tell the directory why, take back what did get stored."""
        self._identifiers.abandon(slot.volume)
        stored = [store for store in slot.replicas if store not in failures]
        if stored:
            self._in_background(self._take_back(slot.photo, stored))
        try:
            for store, failure in failures.items():
                await self._tell(slot.volume, store, failure)
        except HayloftError as error:
            _log.warning("directory not told", volume=slot.volume, error=error.message)

    async def _tell(self, volume: VolumeId, name: StoreId, failure: HayloftError) -> None:
        if isinstance(failure, VolumeReadOnly):
            await self._directory.set_writable(volume, False)
        elif isinstance(failure, StorageFull) and name in self._stores:
            # The volume itself is sound. The store's own account of its free space keeps the directory
            # from choosing it again until there is room.
            await self._directory.register(await self._stores[name].health())
        elif not isinstance(failure, (ShuttingDown, Invalid, UploadTooLarge)):
            self._reports.failure(volume, name, failure.code)
            await self._directory.set_writable(volume, False)

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
            created_at_ms=needle.metadata.created_at_ms,
            idempotency_key=idempotency_key,
        )
        try:
            committed = await self._directory.commit(photo)
        except (Invalid, Conflict, StorageFull):
            # The directory has certainly not recorded it. After any other failure it may have.
            self._in_background(self._take_back(slot.photo, slot.replicas))
            raise
        if committed.photo != slot.photo:
            self._in_background(self._take_back(slot.photo, slot.replicas))
            return Kept(await self._directory.photo(committed.photo), repeated=True)
        self._metrics.uploaded(photo.size)
        return Kept(_record(photo, slot.replicas), committed.duplicate_of, committed.repeated)

    async def _take_back(self, photo: PhotoId, stores: list[StoreId] | tuple[StoreId, ...]) -> None:
        for name in stores:
            try:
                await self._stores[name].delete(photo)
            except HayloftError as error:
                # It stays as an orphan that ``hayloft verify --repair`` finds.
                _log.warning("needle not taken back", photo_id=photo, store=name, error=error.message)

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._cleanups.add(task)
        task.add_done_callback(self._cleanups.discard)


def _gravest(failures: Mapping[StoreId, HayloftError]) -> HayloftError:
    """The failure that decides what the client is told."""
    order = (ShuttingDown, Invalid, UploadTooLarge, StorageFull)
    for kind in order:
        for failure in failures.values():
            if isinstance(failure, kind):
                return failure
    return next(iter(failures.values()))


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
