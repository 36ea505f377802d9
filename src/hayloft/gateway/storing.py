"""Storing a needle on every replica of a volume, durably; on another volume when that fails.

``Storing.store`` appends on all replicas of a fresh id's volume at once. When one of them fails, the volume
is abandoned, the directory told, what the others stored is taken back, and the next id lies in a volume
without that store: a client sees success as long as one healthy volume can be had. A replica that is still
silent a while after the others have answered is taken for hung, so that it holds up nobody for long. It
knows nothing of photos and commits nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Mapping
from typing import Any, Final

import structlog

from hayloft import limits
from hayloft.errors import (
    HayloftError,
    Invalid,
    Overloaded,
    ReplicasFailed,
    RoleUnavailable,
    ShuttingDown,
    StorageFull,
    Unavailable,
    UploadTooLarge,
    VolumeReadOnly,
)
from hayloft.gateway.identifiers import Identifiers, Slot
from hayloft.gateway.reports import Reports
from hayloft.gateway.standing import Standings
from hayloft.roles import Directory, Store
from hayloft.types import NewNeedle, PhotoId, StoreId, VolumeId

ATTEMPTS_MAX: Final = 6
"""Volumes tried for one upload. Each failure takes its volume out of the writable set."""

GRACE_SECONDS: Final = 1.5
"""How long a replica may take for a small needle after another one has it."""
GRACE_BYTES_PER_SECOND: Final = 16 * limits.MIB
"""What it may take longer for a larger one."""

SILENCE_SECONDS_MAX: Final = 15.0
"""How long all replicas may take for a small needle: a disk behind all of them may be busy."""

_log = structlog.get_logger(__name__)

Make = Callable[[PhotoId], NewNeedle]
"""The needle that is to be stored under an id."""


class Storing:
    """Appends over the roles."""

    def __init__(
        self,
        *,
        directory: Directory,
        stores: Mapping[StoreId, Store],
        identifiers: Identifiers,
        reports: Reports,
        standings: Standings,
        grace_seconds: float = GRACE_SECONDS,
    ) -> None:
        self._directory = directory
        self._stores = stores
        self._identifiers = identifiers
        self._reports = reports
        self._standings = standings
        self._grace_seconds = grace_seconds
        self._cleanups: set[asyncio.Task[None]] = set()

    async def store(self, make: Make) -> tuple[Slot, NewNeedle]:
        """Append a needle in the first volume all of whose replicas take it.

        Raises:
            StorageFull: no volume has room.
            ReplicasFailed: no volume's replicas could store it.
            ShuttingDown, Overloaded, Invalid, UploadTooLarge: as a store says.
        """
        failure: HayloftError | None = None
        avoid = self._standings.avoided()
        for _ in range(ATTEMPTS_MAX):
            slot = await self._identifiers.take(avoid)
            needle = make(slot.photo)
            failures = await self._append(slot, needle)
            if not failures:
                return slot, needle
            failure = _gravest(failures)
            await self._tell(slot.volume, failures)
            if isinstance(failure, (ShuttingDown, Invalid, UploadTooLarge)):
                raise failure
            avoid = self._standings.avoided() | avoid | _unreachable(failures)
        assert failure is not None
        if isinstance(failure, (StorageFull, Overloaded)):
            raise failure
        raise ReplicasFailed(
            "No volume could store the photo.", retry_after_seconds=limits.RETRY_AFTER_SECONDS
        ) from failure

    def take_back(self, photo: PhotoId, stores: Collection[StoreId]) -> None:
        """Delete in the background what was stored and is not to be committed."""
        if stores:
            self._in_background(self._delete(photo, stores))

    async def close(self) -> None:
        """Let the taking back of unused needles finish."""
        await asyncio.gather(*self._cleanups, return_exceptions=True)

    # Appending -----------------------------------------------------------------------------------

    async def _append(self, slot: Slot, needle: NewNeedle) -> dict[StoreId, HayloftError]:
        """Append on every replica at once; returns failures, and takes back the rest if there is one."""
        if len(slot.replicas) == 1:
            failure = await self._append_on(slot.replicas[0], slot.volume, needle)
            return {slot.replicas[0]: failure} if failure else {}
        appends = {
            asyncio.create_task(self._append_on(store, slot.volume, needle)): store
            for store in slot.replicas
        }
        try:
            failures, hung = await self._first_failures(appends, len(needle.data))
        except BaseException:
            # The upload is given up by its client: what gets stored all the same is an orphan.
            self._in_background(self._settle(slot.photo, appends))
            raise
        for store in hung:
            self._standings.of(store).hung()
        for append, store in appends.items():
            if store in hung:
                append.cancel()
        if failures:
            rest = {append: store for append, store in appends.items() if store not in failures}
            self._in_background(self._settle(slot.photo, rest))
        return failures

    async def _first_failures(
        self, appends: Mapping[asyncio.Task[HayloftError | None], StoreId], size: int
    ) -> tuple[dict[StoreId, HayloftError], set[StoreId]]:
        """Wait until all have succeeded, or some have failed; also says which of these are hung."""
        failures: dict[StoreId, HayloftError] = {}
        pending = set(appends)
        seconds = SILENCE_SECONDS_MAX
        while pending and not failures:
            done, pending = await asyncio.wait(
                pending,
                timeout=seconds + size / GRACE_BYTES_PER_SECOND,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if not done:
                hung = {appends[append] for append in pending}
                return {store: RoleUnavailable(f"The store {store} is silent.") for store in hung}, hung
            seconds = self._grace_seconds
            for append in done:
                if (failure := append.result()) is not None:
                    failures[appends[append]] = failure
        return failures, set()

    async def _append_on(self, name: StoreId, volume: VolumeId, needle: NewNeedle) -> HayloftError | None:
        store = self._stores.get(name)
        if store is None:
            return RoleUnavailable(f"The store {name} is not known here.")
        try:
            await store.append(volume, needle)
        except RoleUnavailable as error:
            self._standings.of(name).failed()
            return error
        except HayloftError as error:
            return error
        self._standings.of(name).worked()
        return None

    # Failures ------------------------------------------------------------------------------------

    async def _tell(self, volume: VolumeId, failures: Mapping[StoreId, HayloftError]) -> None:
        """Write no more in this volume, and have the directory know why."""
        self._identifiers.abandon(volume)
        for store, failure in failures.items():
            try:
                await self._tell_one(volume, store, failure)
            except HayloftError as error:
                _log.warning("directory not told", volume=volume, error=error.message)

    async def _tell_one(self, volume: VolumeId, name: StoreId, failure: HayloftError) -> None:
        if isinstance(failure, VolumeReadOnly):
            await self._directory.set_writable(volume, False)
        elif isinstance(failure, StorageFull) and name in self._stores:
            # The volume itself is sound. The store's own account of its free space keeps the directory
            # from choosing it again until there is room.
            await self._directory.register(await self._stores[name].health())
        elif name not in self._stores:
            pass  # A store so new that only the directory knows it: nothing is wrong with its replica.
        elif not isinstance(failure, (ShuttingDown, Overloaded, Invalid, UploadTooLarge)):
            await self._reports.tell(volume, name, failure.code)

    async def _settle(
        self, photo: PhotoId, appends: Mapping[asyncio.Task[HayloftError | None], StoreId]
    ) -> None:
        """Let appends end that nobody waits for, and take back what they stored."""
        if appends:
            await asyncio.wait(appends)
        stored = [store for append, store in appends.items() if _succeeded(append)]
        await self._delete(photo, stored)

    async def _delete(self, photo: PhotoId, stores: Collection[StoreId]) -> None:
        for name in stores:
            try:
                await self._stores[name].delete(photo)
            except (HayloftError, KeyError) as error:
                # It stays as an orphan, which is found when volumes are compared with the directory.
                _log.warning("needle not taken back", photo_id=photo, store=name, error=repr(error))

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._cleanups.add(task)
        task.add_done_callback(self._cleanups.discard)


def _succeeded(append: asyncio.Task[HayloftError | None]) -> bool:
    return not append.cancelled() and append.exception() is None and append.result() is None


def _unreachable(failures: Mapping[StoreId, HayloftError]) -> frozenset[StoreId]:
    """Stores that another volume had better not be on."""
    return frozenset(
        store
        for store, failure in failures.items()
        if isinstance(failure, Unavailable) and not isinstance(failure, VolumeReadOnly)
    )


def _gravest(failures: Mapping[StoreId, HayloftError]) -> HayloftError:
    """The failure that decides what the client is told."""
    order = (ShuttingDown, Invalid, UploadTooLarge, StorageFull, Overloaded)
    for kind in order:
        for failure in failures.values():
            if isinstance(failure, kind):
                return failure
    return next(iter(failures.values()))
