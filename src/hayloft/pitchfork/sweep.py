"""Clears away what no photo needs, once it is far older than any upload can be.

Three things are left behind by uploads and deletions that were interrupted: ids that were allocated and
never committed, needles that were stored and never committed (readable by whoever guessed their id and
cookie), and needles of photos that the directory has deleted. It looks at what every store's index says
next to what the directory says, and once it has, only where something has changed; nothing is read from
disk but the age of what is to be swept away. A volume in which the directory never had a photo is not ours
to sweep, and one with many needles that it does not know looks as if the directory had been restored from
an old backup: both are left alone.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from hayloft import limits
from hayloft.errors import HayloftError, NotFound, PhotoNotFound
from hayloft.pitchfork.journal import Journal
from hayloft.pitchfork.watched import Watched, before
from hayloft.roles import Store
from hayloft.types import (
    RANGE_SEQUENCES,
    AlternateKey,
    PhotoId,
    PhotoQuery,
    PhotoStatus,
    ReplicaState,
    Scrutiny,
    Sequence,
    StoreId,
    VolumeId,
    volume_of,
)

ORPHANS_MAX: Final = 100
"""Unknown photos in one volume that are taken for interrupted uploads, however small the volume."""
ORPHAN_SHARE_MAX: Final = 0.05
"""The same, as a share of its needles."""


class _Found(NamedTuple):
    """Photos with live needles in a range that should not have them."""

    unknown: list[PhotoId]
    deleted: list[PhotoId]


class Sweep:
    """See the module."""

    def __init__(self, watched: Watched, journal: Journal) -> None:
        self._watched = watched
        self._journal = journal
        self._first_seen_ms: dict[PhotoId, int] = {}
        """Orphans whose needles do not say when they were written."""
        self._clean: dict[tuple[StoreId, VolumeId, Sequence], tuple[str, int]] = {}
        """Ranges in which there was nothing to sweep: their digest then, and when that was."""

    async def everything(self) -> int:
        """Sweep all volumes; returns how many photos that concerned.

        Raises:
            HayloftError: the directory does not answer.
        """
        swept = await self.allocations()
        for volume, replicas in (await self._watched.replicas()).items():
            swept += await self.volume(volume, replicas)
        return swept

    async def allocations(self) -> int:
        """Delete photos that were allocated long ago and never committed; returns how many.

        Raises:
            HayloftError: the directory does not answer.
        """
        directory = self._watched.directory
        swept = 0
        query = PhotoQuery(
            status=PhotoStatus.ALLOC, created_until_ms=self._deadline_ms(), limit=limits.PAGE_PHOTOS_MAX
        )
        while page := (await directory.photos(query)).photos:
            for record in page:
                await directory.delete(record.photo)
                await self._delete(record.photo, record.replicas)
            swept += len(page)
            self._journal.did("allocations swept", len(page))
        return swept

    async def volume(self, volume: VolumeId, replicas: list[ReplicaState]) -> int:
        """Sweep one volume; returns how many photos' needles were deleted.

        Raises:
            HayloftError: the directory does not answer.
        """
        if await self._watched.is_foreign(volume):
            return 0
        orphans: dict[PhotoId, set[StoreId]] = {}
        needles = buried = 0
        with self._journal.doing("sweep", volume=volume):
            for replica in replicas:
                try:
                    found = await self._look_at(volume, replica.store, orphans)
                except HayloftError as error:
                    self._journal.failed("sweep", error.message, volume=volume, store=replica.store)
                else:
                    needles, buried = max(needles, found[0]), buried + found[1]
            return buried + await self._sweep_orphans(volume, orphans, needles)

    async def _look_at(
        self, volume: VolumeId, name: StoreId, orphans: dict[PhotoId, set[StoreId]]
    ) -> tuple[int, int]:
        """One replica: how many live needles it has, and how many deleted photos it still had."""
        store = self._watched.store(name)
        buried = 0
        try:
            digest = await store.digest(volume, scrutiny=Scrutiny.INDEX)
        except NotFound:
            return 0, 0
        for each in digest.ranges:
            place = (name, volume, each.first)
            if self._is_known_clean(place, each.digest):
                continue
            found = await self._look_at_range(store, volume, each.first)
            for photo in found.unknown:
                orphans.setdefault(photo, set()).add(name)
            for photo in found.deleted:
                buried += await store.delete(photo)
            if not (found.unknown or found.deleted):
                self._clean[place] = (each.digest, self._watched.clock.now_ms())
        self._journal.did("deletions finished", buried)
        return digest.needles, buried

    def _is_known_clean(self, place: tuple[StoreId, VolumeId, Sequence], digest: str) -> bool:
        """Whether nothing has changed there since it was looked at; once in a grace time all is."""
        known, looked_at_ms = self._clean.get(place, ("", 0))
        return known == digest and looked_at_ms > self._deadline_ms()

    async def _look_at_range(self, store: Store, volume: VolumeId, first: Sequence) -> _Found:
        listing = await self._watched.list_range(store, volume, first, Scrutiny.INDEX)
        # After the needles: what is committed meanwhile is known.
        statuses = await self._watched.statuses(volume, first, Sequence(first + RANGE_SEQUENCES - 1))
        live = sorted({key.photo for key, entry in listing.items() if not entry.deleted})
        return _Found(
            unknown=[photo for photo in live if photo not in statuses],
            deleted=[photo for photo in live if statuses.get(photo) is PhotoStatus.DELETED],
        )

    async def _sweep_orphans(
        self, volume: VolumeId, orphans: dict[PhotoId, set[StoreId]], needles: int
    ) -> int:
        if len(orphans) > max(ORPHANS_MAX, needles * ORPHAN_SHARE_MAX):
            reason = f"{len(orphans)} photos are unknown. Was the directory restored? None was swept."
            self._journal.failed("sweep", reason, volume=volume)
            return 0
        swept = 0
        for photo, names in sorted(orphans.items()):
            if await self._is_old(photo, names) and await self._is_unknown(photo):
                swept += await self._delete(photo, tuple(sorted(names)))
        self._forget(volume, orphans)
        self._journal.did("orphans swept", swept)
        return swept

    async def _is_old(self, photo: PhotoId, names: set[StoreId]) -> bool:
        """Whether its needles say that they were written long ago, or it has been known that long."""
        times = [time for name in names for time in await self._written_at_ms(photo, name)]
        if not any(times):
            # Damaged everywhere, or written by others who tell no time.
            now_ms = self._watched.clock.now_ms()
            times = [self._first_seen_ms.setdefault(photo, now_ms)]
        return max(times) < self._deadline_ms()

    async def _written_at_ms(self, photo: PhotoId, name: StoreId) -> list[int]:
        """What those of its needles say that can be read there."""
        times: list[int] = []
        try:
            store = self._watched.store(name)
            page = await store.needles(
                volume_of(photo), after=before(photo), limit=len(AlternateKey), scrutiny=Scrutiny.INDEX
            )
            for entry in page:
                if entry.key.photo == photo and not entry.deleted:
                    found = await store.read(photo, entry.key.alternate_key)
                    times.append(found.metadata.created_at_ms)
        except HayloftError:
            return times
        return times

    async def _is_unknown(self, photo: PhotoId) -> bool:
        """Ask once more: it may have been committed since the listing."""
        try:
            await self._watched.directory.photo(photo)
        except PhotoNotFound:
            return True
        return False

    async def _delete(self, photo: PhotoId, names: tuple[StoreId, ...]) -> bool:
        deleted = False
        for name in names:
            try:
                deleted = await self._watched.store(name).delete(photo) or deleted
            except HayloftError as error:
                self._journal.failed("sweep", error.message, volume=volume_of(photo), store=name)
        return deleted

    def _forget(self, volume: VolumeId, orphans: dict[PhotoId, set[StoreId]]) -> None:
        for photo in [p for p in self._first_seen_ms if volume_of(p) == volume and p not in orphans]:
            del self._first_seen_ms[photo]

    def _deadline_ms(self) -> int:
        return self._watched.clock.now_ms() - int(self._watched.settings.grace_seconds * 1000)
