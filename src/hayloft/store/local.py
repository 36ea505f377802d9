"""A store in this process: volumes in one directory, shared with every process that opens the same.

A hot read is one ``preadv`` on the event loop and no thread; a read that would wait for the disk goes to
a thread, so it never holds up the others. Appends and deletions of one volume share their syncs
(``committer.py``). Volumes are opened when first needed. It knows nothing of replicas or of the
directory.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from collections.abc import Sequence as Sequences
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

from hayloft import limits
from hayloft.config import VolumeSettings
from hayloft.disk import Disk, SystemDisk
from hayloft.errors import (
    HayloftError,
    InvalidRequest,
    PhotoNotFound,
    RoleUnavailable,
    ShuttingDown,
    VolumeNotFound,
)
from hayloft.needle import Bytes, Needle
from hayloft.roles import Store
from hayloft.store.committer import Committer
from hayloft.types import (
    SEQUENCE_MASK,
    AlternateKey,
    Appended,
    CompactionReport,
    Existence,
    Imported,
    NeedleEntry,
    NeedleKey,
    NewNeedle,
    PhotoId,
    Scrutiny,
    Sequence,
    StoreHealth,
    StoreId,
    VolumeDigest,
    VolumeId,
    VolumeReport,
    VolumeState,
    parse_volume_name,
    sequence_of,
    volume_of,
)
from hayloft.volume import Append, Delete, Import, Operation, Outcome, Seal, Volume, transfer

READ_THREADS_MAX: Final = 16
"""Cold reads in flight: enough to fill a disk's queue."""
COMMIT_THREADS_MAX: Final = 16
"""Volumes that are written at the same time."""

INSPECTION_THREADS_MAX: Final = 8
"""Volumes read or rewritten as a whole at the same time; they must not take the readers' threads."""

FETCHES_MAX: Final = 8
"""Exports of peers in memory at the same time: one comes while others wait for the disk's next sync, which
they share. Each is ``limits.TRANSFER_BYTES`` long, or one large photo."""

_Result = TypeVar("_Result")


class LocalStore:
    """Keeps needles in the volumes under ``directory``; see ``roles.Store`` for the contract.

    ``peers`` are the stores from which needles can be fetched; they may come and go.
    """

    def __init__(
        self,
        directory: Path,
        *,
        store: StoreId,
        settings: VolumeSettings | None = None,
        disk: Disk | None = None,
        peers: Mapping[StoreId, Store] | None = None,
    ) -> None:
        self.store = store
        self._peers: Mapping[StoreId, Store] = {} if peers is None else peers
        self._fetching = asyncio.Semaphore(FETCHES_MAX)
        self._directory = directory
        self._settings = settings or VolumeSettings()
        self._disk = disk or SystemDisk()
        self._disk.make_directory(directory)
        self._volumes: dict[int, Volume] = {}
        self._opening: dict[tuple[int, bool], asyncio.Future[Volume]] = {}
        self._opening_locks: defaultdict[int, threading.Lock] = defaultdict(threading.Lock)
        self._committers: dict[int, Committer] = {}
        self._readers = ThreadPoolExecutor(READ_THREADS_MAX, "store-read")
        self._writers = ThreadPoolExecutor(COMMIT_THREADS_MAX, "store-commit")
        self._inspectors = ThreadPoolExecutor(INSPECTION_THREADS_MAX, "store-inspect")
        self._closing = False

    # Needles -------------------------------------------------------------------------------------

    async def append(self, volume: VolumeId, needle: NewNeedle) -> Appended:
        """Append a needle; it is on stable storage when this returns."""
        outcome = await self._carry_out(volume, Append(needle=needle), create=True)
        assert isinstance(outcome, Appended)
        return outcome

    async def read(self, photo: PhotoId, alternate_key: AlternateKey = AlternateKey.ORIG) -> Needle:
        """Read a needle with one disk operation and verify it."""
        volume = self._volumes.get(photo >> 32) or await self._volume_of(photo)
        needle = volume.read_cached(Sequence(photo & SEQUENCE_MASK), alternate_key)
        if needle is None:
            needle = await self._in_thread(lambda: volume.read(sequence_of(photo), alternate_key))
        return needle

    def read_cached(self, photo: PhotoId, alternate_key: AlternateKey = AlternateKey.ORIG) -> Needle | None:
        """A needle, if its volume is open and the page cache holds it."""
        volume = self._volumes.get(photo >> 32)
        return volume.read_cached(Sequence(photo & SEQUENCE_MASK), alternate_key) if volume else None

    def exists(self, photo: PhotoId, alternate_key: AlternateKey = AlternateKey.ORIG) -> Existence | None:
        """What the index in memory says; None while the volume is not open yet."""
        volume = self._volumes.get(volume_of(photo))
        return volume.exists(sequence_of(photo), alternate_key) if volume else None

    async def stat(self, photo: PhotoId, alternate_key: AlternateKey = AlternateKey.ORIG) -> Existence:
        """What the index says of one needle."""
        try:
            volume = self._volumes.get(volume_of(photo)) or await self._volume_of(photo)
        except PhotoNotFound:
            return Existence(exists=False)
        while (existence := volume.exists(sequence_of(photo), alternate_key)) is None:
            await self._in_thread(volume.follow_compaction)
        return existence

    async def delete(self, photo: PhotoId) -> bool:
        """Append tombstones for all of a photo's needles, durably."""
        try:
            return bool(await self._carry_out(volume_of(photo), Delete(sequence=sequence_of(photo))))
        except VolumeNotFound:
            return False

    # Volumes -------------------------------------------------------------------------------------

    async def seal(self, volume: VolumeId) -> None:
        """Make a volume read-only for good."""
        await self._carry_out(volume, Seal())

    async def verify(self, volume: VolumeId) -> VolumeReport:
        """Read a whole volume from disk and compare it with its index."""
        return await self._inspect((await self._opened(volume)).verify)

    async def compact(self, volume: VolumeId) -> CompactionReport:
        """Reclaim the space of deleted and replaced needles while reads and writes go on."""
        return await self._inspect((await self._opened(volume)).compact)

    async def rebuild_index(self, volume: VolumeId) -> None:
        """Make a volume's index anew from its log."""
        await self._inspect((await self._opened(volume)).rebuild_index)

    async def set_aside(self, volume: VolumeId) -> None:
        """Rename a volume that cannot be opened."""
        self._refuse_when_closing()
        if volume in self._volumes:
            # Open since before it was damaged: it is opened anew, or not at all.
            self._forget(volume)
        await self._in_thread(lambda: Volume.set_aside(self._disk, self._directory, volume))

    # Replicas ------------------------------------------------------------------------------------

    async def digest(self, volume: VolumeId, *, scrutiny: Scrutiny = Scrutiny.KNOWN) -> VolumeDigest:
        """What this replica holds, in short."""
        opened = await self._opened(volume)
        return await self._inspect(lambda: opened.inventory().digest(scrutiny))

    async def needles(
        self,
        volume: VolumeId,
        *,
        after: NeedleKey | None = None,
        limit: int,
        scrutiny: Scrutiny = Scrutiny.KNOWN,
    ) -> tuple[NeedleEntry, ...]:
        """Live and deleted needles past ``after``, in order."""
        if not 0 < limit <= limits.TRANSFER_NEEDLES_MAX:
            raise InvalidRequest(f"A listing has 1 to {limits.TRANSFER_NEEDLES_MAX} needles.")
        opened = await self._opened(volume)
        return await self._inspect(
            lambda: opened.inventory().needles(after=after, limit=limit, scrutiny=scrutiny)
        )

    async def export_needles(self, volume: VolumeId, needles: Sequences[NeedleKey]) -> Bytes:
        """These needles as the records that ``transfer`` unpacks."""
        if len(needles) > limits.TRANSFER_NEEDLES_MAX:
            raise InvalidRequest(f"At most {limits.TRANSFER_NEEDLES_MAX} needles are exported at once.")
        if any(volume_of(key.photo) != volume for key in needles):
            raise InvalidRequest("A photo's id names its volume.")
        opened = await self._opened(volume)
        return await self._inspect(lambda: opened.inventory().export(needles))

    async def fetch_needles(
        self, volume: VolumeId, needles: Sequences[NeedleKey], *, source: StoreId
    ) -> Imported:
        """Take over what a peer exports of these needles."""
        peer = self._peers.get(source)
        if peer is None:
            raise RoleUnavailable(f"{self.store} does not know where {source} is.")
        async with self._fetching:
            records = await peer.export_needles(volume, needles)
            # Verified before it waits for its turn: meanwhile another one is written and synced.
            arrived = await self._inspect(lambda: transfer.unpack(records))
            outcome = await self._carry_out(volume, Import(needles=arrived), create=True)
        assert isinstance(outcome, Imported)
        return outcome

    # The whole -----------------------------------------------------------------------------------

    async def health(self) -> StoreHealth:
        """Volumes, free space, capacity."""
        return await self._in_thread(self._health)

    async def close(self) -> None:
        """Finish what is in flight, write checkpoints, release files."""
        self._closing = True
        for committer in list(self._committers.values()):
            await committer.drain()
        await asyncio.get_running_loop().run_in_executor(None, self._close)

    # Within --------------------------------------------------------------------------------------

    async def _carry_out(self, number: VolumeId, operation: Operation, *, create: bool = False) -> Outcome:
        try:
            return await (await self._committer(number, create=create)).carry_out(operation)
        except VolumeNotFound:
            # Its files were removed while it was open: the disk was replaced by an empty one.
            if not create:
                raise
        self._forget(number)
        return await (await self._committer(number, create=True)).carry_out(operation)

    async def _committer(self, number: VolumeId, *, create: bool) -> Committer:
        committer = self._committers.get(number)
        if committer is None or self._closing:
            self._refuse_when_closing()
            volume = await self._opened(number, create=create)
            self._refuse_when_closing()
            committer = self._committers.setdefault(number, Committer(volume, self._writers))
        return committer

    def _forget(self, number: VolumeId) -> None:
        """Open a volume anew when it is needed next. What its committer has in hand goes its own way."""
        self._volumes.pop(number, None)
        self._committers.pop(number, None)

    async def _volume_of(self, photo: PhotoId) -> Volume:
        self._refuse_when_closing()
        try:
            return await self._opened(volume_of(photo))
        except VolumeNotFound as missing:
            raise PhotoNotFound(photo_id=photo) from missing

    async def _opened(self, number: VolumeId, *, create: bool = False) -> Volume:
        """The open volume; callers that come while it is being opened share one thread."""
        if volume := self._volumes.get(number):
            return volume
        opening = self._opening.get((number, create))
        if opening is None:
            opening = asyncio.ensure_future(self._in_thread(lambda: self._open(number, create=create)))
            self._opening[number, create] = opening
            opening.add_done_callback(lambda _done: self._opening.pop((number, create), None))
        # One caller that stops waiting must not stop the others.
        return await asyncio.shield(opening)

    def _open(self, number: VolumeId, *, create: bool) -> Volume:
        """In a thread: the open volume, opened first if need be."""
        with self._opening_locks[number]:
            volume = self._volumes.get(number)
            if volume is None:
                volume = self._volumes[number] = Volume.open(
                    self._disk,
                    self._directory,
                    number,
                    create_size_bytes_max=self._settings.size_bytes_max if create else None,
                    reserve_bytes=self._settings.free_space_reserve_bytes,
                )
            return volume

    def _health(self) -> StoreHealth:
        names = self._disk.names(self._directory)
        numbers = sorted(
            number
            for name in names
            if name.endswith(".log") and (number := parse_volume_name(name[: -len(".log")])) is not None
        )
        free, capacity = self._disk.space(self._directory)
        return StoreHealth(
            store=self.store,
            volumes=tuple(self._state(number) for number in numbers),
            free_bytes=free,
            capacity_bytes=capacity,
        )

    def _state(self, number: VolumeId) -> VolumeState:
        """In a thread. A volume that cannot be used is told as damaged; the others' health is their own."""
        try:
            return self._open(number, create=False).state()
        except HayloftError:
            return VolumeState(volume=number, needles=0, size_bytes=0, sealed=True, corrupt=1)

    def _close(self) -> None:
        for threads in (self._readers, self._writers, self._inspectors):
            threads.shutdown()
        for volume in self._volumes.values():
            # A volume that cannot write its checkpoint is read from an older one at the next opening.
            with contextlib.suppress(HayloftError):
                volume.checkpoint()
        self._volumes.clear()
        self._committers.clear()

    async def _in_thread(self, work: Callable[[], _Result]) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._readers, work)

    async def _inspect(self, work: Callable[[], _Result]) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._inspectors, work)

    def _refuse_when_closing(self) -> None:
        if self._closing:
            raise ShuttingDown("The store is closing.")
