"""Cross-checks the directory against the stores: is everything kept that was acknowledged?

Every active photo's needle must be there, whole, with the bytes, cookie and SHA-256 that were committed;
deleted photos must be unreadable; volumes must agree with their indexes; a needle that the directory does
not know is an orphan, left by an upload that was interrupted before it was acknowledged. May run beside a
server. Repairing (tombstones for orphans and for what should be deleted, photos again in volumes that were
found whole) needs the data directory to itself, because an upload in flight looks like an orphan.
"""

from __future__ import annotations

import asyncio
import hashlib
from array import array
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

import numpy as np
import numpy.typing as npt

from hayloft import limits
from hayloft.assembly import embedded
from hayloft.assembly.data_directory import DataDirectory
from hayloft.assembly.embedded import Roles
from hayloft.clock import SystemClock
from hayloft.config import Settings
from hayloft.disk import SystemDisk
from hayloft.errors import HayloftError, NotFound, PhotoDeleted, PhotoNotFound
from hayloft.roles import Store
from hayloft.types import (
    AlternateKey,
    PhotoId,
    PhotoQuery,
    PhotoRecord,
    PhotoStatus,
    Sequence,
    StoreId,
    VolumeId,
    photo_id,
    volume_name,
    volume_of,
)
from hayloft.volume import Volume
from hayloft.volume.verification import live_entries

READS_MAX: Final = 8
"""Photos read at the same time."""

ORPHAN_AGE_MS_MIN: Final = 5 * 60 * 1000
"""Beside a running server, a younger needle may belong to an upload in flight."""

Progress = Callable[[int, int], None]
"""Told photos checked so far and photos in all."""


Photos = npt.NDArray[np.uint64]


class Fault(StrEnum):
    """What can be wrong."""

    MISSING = "missing"
    """An active photo that a replica does not have."""
    DAMAGED = "damaged"
    """A needle or a volume whose bytes are not those that were written."""
    UNDELETED = "undeleted"
    """A deleted photo that can still be read."""
    ORPHAN = "orphan"
    """A needle that the directory does not know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong."""

    fault: Fault
    store: StoreId
    photo: PhotoId
    detail: str
    repaired: bool = False


@dataclass(slots=True, kw_only=True)
class Verification:
    """What was checked and what was found."""

    photos: int = 0
    """Photos of the directory that were checked, deleted ones included."""
    size_bytes: int = 0
    """Bytes of active photos that were read and hashed."""
    needles: int = 0
    """Live needles in the volumes, renditions included."""
    findings: list[Finding] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong, or nothing is any more. Orphans lose nothing that was acknowledged."""
        return all(finding.repaired or finding.fault is Fault.ORPHAN for finding in self.findings)


async def verify(
    settings: Settings, *, repair: bool = False, progress: Progress | None = None
) -> Verification:
    """Check everything under ``settings.data``.

    Raises:
        NotFound: there is no data there.
        AlreadyServed: ``repair`` was asked for and a server is running.
        FormatTooNew: a newer Hayloft wrote the data.
    """
    data = DataDirectory(settings.data)
    if not data.marker.exists():
        raise PhotoNotFound(f"{data.path} holds no Hayloft data.")
    data.check_format()
    with data.lock() if repair else nullcontext():
        if repair:
            data.prepare()
        async with embedded.roles(settings, data) as opened:
            return await _Verifier(opened, data, repair, progress).verify()


class _Verifier:
    def __init__(self, opened: Roles, data: DataDirectory, repair: bool, progress: Progress | None) -> None:
        self._opened = opened
        self._data = data
        self._repair = repair
        self._progress = progress or (lambda _checked, _total: None)
        self._outcome = Verification()
        self._known = array("Q")
        self._now_ms = SystemClock().now_ms()

    async def verify(self) -> Verification:
        # The needles first: what is appended later is not in this list, and so never an orphan.
        needles = await asyncio.to_thread(self._live_photos)
        async for batch in self._batches():
            await asyncio.gather(*(self._check_photo(record) for record in batch))
        for name, store in self._opened.stores.items():
            await self._check_volumes(name, store)
            await self._check_orphans(name, store, needles)
        if self._repair:
            await self._mend_replicas()
        return self._outcome

    async def _mend_replicas(self) -> None:
        """Volumes that were found whole take photos again, whatever went wrong with them before."""
        broken = {
            (volume_of(finding.photo), finding.store)
            for finding in self._outcome.findings
            if finding.fault is not Fault.ORPHAN and not finding.repaired
        }
        for replica in await self._opened.directory.replicas():
            known = replica.store in self._opened.stores
            if known and replica.failure and (replica.volume, replica.store) not in broken:
                await self._opened.directory.mend(replica.volume, replica.store)

    async def _batches(self) -> AsyncIterator[list[PhotoRecord]]:
        """All photos of the directory, a few at a time."""
        cursor: str | None = None
        while True:
            query = PhotoQuery(status=None, limit=limits.PAGE_PHOTOS_MAX, cursor=cursor)
            page = await self._opened.directory.photos(query)
            self._known.extend(record.photo for record in page.photos)
            for start in range(0, len(page.photos), READS_MAX):
                yield list(page.photos[start : start + READS_MAX])
                self._progress(self._outcome.photos, page.total)
            cursor = page.next_cursor
            if cursor is None:
                return

    # Photos --------------------------------------------------------------------------------------

    async def _check_photo(self, record: PhotoRecord) -> None:
        self._outcome.photos += 1
        for name in record.replicas:
            store = self._opened.stores.get(name)
            if store is None:
                self._found(Fault.MISSING, name, record.photo, "The store is not here.")
            elif record.status is PhotoStatus.ACTIVE:
                await self._check_active(name, store, record)
            elif record.status is PhotoStatus.DELETED:
                await self._check_deleted(name, store, record.photo)

    async def _check_active(self, name: StoreId, store: Store, record: PhotoRecord) -> None:
        try:
            needle = await store.read(record.photo, record.alternate_key)
        except (NotFound, PhotoDeleted) as error:
            self._found(Fault.MISSING, name, record.photo, error.message)
            return
        except HayloftError as error:
            self._found(Fault.DAMAGED, name, record.photo, error.message)
            return
        if needle.cookie != record.cookie:
            self._found(Fault.DAMAGED, name, record.photo, "The cookie is not the committed one.")
        # A photo committed without its digest (the two-step write path) has none to compare with.
        elif record.sha256 and await asyncio.to_thread(_digest, needle.data) != record.sha256:
            self._found(Fault.DAMAGED, name, record.photo, "The bytes are not the committed ones.")
        self._outcome.size_bytes += len(needle.data)

    async def _check_deleted(self, name: StoreId, store: Store, photo: PhotoId) -> None:
        for key in AlternateKey:
            if (await store.stat(photo, key)).exists:
                repaired = self._repair and await store.delete(photo)
                detail = f"Its {key.label} can still be read."
                self._found(Fault.UNDELETED, name, photo, detail, repaired=repaired)
                return

    # Volumes -------------------------------------------------------------------------------------

    async def _check_volumes(self, name: StoreId, store: Store) -> None:
        """Every live needle, renditions too, against its checksum and the index."""
        for state in (await store.health()).volumes:
            try:
                report = await store.verify(state.volume)
            except HayloftError as error:
                photo = photo_id(state.volume, Sequence(0))
                detail = f"{volume_name(state.volume)}: {error.message}"
                self._found(Fault.DAMAGED, name, photo, detail)
                continue
            self._outcome.needles += report.state.needles
            known = {f.photo for f in self._outcome.findings if f.fault is Fault.DAMAGED}
            for photo, key, detail in report.damaged:
                if photo not in known:
                    self._found(Fault.DAMAGED, name, photo, f"{key.label}: {detail}")

    async def _check_orphans(self, name: StoreId, store: Store, needles: dict[VolumeId, Photos]) -> None:
        known = np.frombuffer(self._known, dtype=np.uint64) if self._known else np.empty(0, np.uint64)
        for photos in needles.values():
            for photo in np.setdiff1d(photos, known).tolist():
                await self._check_orphan(name, store, PhotoId(photo))

    async def _check_orphan(self, name: StoreId, store: Store, photo: PhotoId) -> None:
        """Ask the directory once more: the photo may have been committed after the listing passed by."""
        try:
            await self._opened.directory.photo(photo)
        except PhotoNotFound:
            pass
        else:
            return
        if not self._repair and await self._is_young(store, photo):
            return
        repaired = self._repair and await store.delete(photo)
        self._found(Fault.ORPHAN, name, photo, "The directory does not know it.", repaired=repaired)

    async def _is_young(self, store: Store, photo: PhotoId) -> bool:
        for key in AlternateKey:
            try:
                needle = await store.read(photo, key)
            except HayloftError:
                continue
            return self._now_ms - needle.metadata.created_at_ms < ORPHAN_AGE_MS_MIN
        return False

    def _live_photos(self) -> dict[VolumeId, Photos]:
        """The photos that have a live needle, by volume. Blocks; for a thread."""
        disk = SystemDisk()
        return {
            volume: np.fromiter(_photos_in(disk, self._data, volume), dtype=np.uint64)
            for volume in self._data.volume_numbers()
        }

    def _found(
        self, fault: Fault, store: StoreId, photo: PhotoId, detail: str, *, repaired: bool = False
    ) -> None:
        self._outcome.findings.append(
            Finding(fault=fault, store=store, photo=photo, detail=detail, repaired=repaired)
        )


def _photos_in(disk: SystemDisk, data: DataDirectory, volume: VolumeId) -> Iterator[int]:
    opened = Volume.open(disk, data.volumes, volume, reserve_bytes=0)
    generation = opened.current.generation
    slots = generation.log.superblock.slots
    last = -1
    for slot, _entry in live_entries(generation):
        sequence = slot // slots
        if sequence != last:  # a photo's renditions stand beside it
            last = sequence
            yield photo_id(volume, Sequence(sequence))


def _digest(data: bytes | memoryview) -> bytes:
    return hashlib.sha256(data).digest()
