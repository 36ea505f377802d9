"""A store in memory: needles by photo and alternate key, with the store's own errors."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from hayloft import errors, limits
from hayloft import needle as codec
from hayloft.errors import HayloftError
from hayloft.needle import Kind, Needle
from hayloft.roles import Store
from hayloft.types import (
    RANGE_SEQUENCES,
    AlternateKey,
    Appended,
    CompactionReport,
    Cookie,
    Existence,
    Imported,
    NeedleEntry,
    NeedleKey,
    NeedleMetadata,
    NewNeedle,
    PhotoId,
    RangeDigest,
    Scrutiny,
    StoreHealth,
    StoreId,
    VolumeDigest,
    VolumeId,
    VolumeReport,
    VolumeState,
    photo_id,
    sequence_of,
    volume_of,
)
from hayloft.types import Sequence as SequenceNumber
from hayloft.volume import transfer

LOCAL = StoreId("local")


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryNeedle:
    """A needle as a ``MemoryStore`` holds it."""

    cookie: Cookie
    data: bytes
    metadata: NeedleMetadata


class MemoryStore:
    """A store whose volumes are dictionaries.

    ``fail`` makes every later append and read raise an error (None heals it); ``corrupt`` damages one
    needle; ``forget`` loses one without a tombstone. ``peers`` are the stores it may fetch needles from.
    """

    def __init__(
        self,
        store: StoreId = LOCAL,
        *,
        capacity_bytes: int = limits.GIB,
        peers: Mapping[StoreId, Store] | None = None,
    ) -> None:
        self.store = store
        self._peers: Mapping[StoreId, Store] = {} if peers is None else peers
        self._capacity_bytes = capacity_bytes
        self._needles: dict[tuple[PhotoId, AlternateKey], MemoryNeedle] = {}
        self._deleted: set[NeedleKey] = set()
        self._damaged: set[NeedleKey] = set()
        self._volumes: set[VolumeId] = set()
        self._sealed: set[VolumeId] = set()
        self._failure: HayloftError | None = None
        self._closed = False

    def fail(self, error: HayloftError | None) -> None:
        """Raise ``error`` from every append and read from now on; None heals."""
        self._failure = error

    def corrupt(self, photo: PhotoId) -> None:
        """Damage a photo's needles: reading them raises ``NeedleCorrupt``."""
        self._damaged.update(NeedleKey(photo, key) for key in AlternateKey)

    def forget(self, photo: PhotoId) -> None:
        """Lose a photo's needles without a trace."""
        for key in AlternateKey:
            self._needles.pop((photo, key), None)

    async def append(self, volume: VolumeId, needle: NewNeedle) -> Appended:
        """Keep a needle."""
        self._check()
        if volume in self._sealed:
            raise errors.VolumeReadOnly(volume=volume)
        if needle.alternate_key and NeedleKey(needle.photo) in self._deleted:
            raise errors.PhotoDeleted(photo_id=needle.photo)
        if self._used_bytes() + len(needle.data) > self._capacity_bytes:
            raise errors.StorageFull
        self._volumes.add(volume)
        offset = self._used_bytes()
        kept = MemoryNeedle(cookie=needle.cookie, data=bytes(needle.data), metadata=needle.metadata)
        self._needles[needle.photo, needle.alternate_key] = kept
        self._deleted.discard(NeedleKey(needle.photo, needle.alternate_key))
        self._damaged.discard(NeedleKey(needle.photo, needle.alternate_key))
        return Appended(offset=offset, size=len(needle.data))

    async def read(self, photo: PhotoId, alternate_key: AlternateKey = AlternateKey.ORIG) -> MemoryNeedle:
        """Give a needle back."""
        self._check()
        if NeedleKey(photo, alternate_key) in self._deleted:
            raise errors.PhotoDeleted(photo_id=photo)
        needle = self._needles.get((photo, alternate_key))
        if needle is None:
            raise errors.PhotoNotFound(photo_id=photo)
        if (photo, alternate_key) in self._damaged:
            raise errors.NeedleCorrupt(photo_id=photo)
        return needle

    def read_cached(
        self,
        photo: PhotoId,  # noqa: ARG002 - the protocol's signature
        alternate_key: AlternateKey = AlternateKey.ORIG,  # noqa: ARG002
    ) -> MemoryNeedle | None:
        """Nothing: so that ``read`` is what tests see."""
        return None

    def exists(self, photo: PhotoId, alternate_key: AlternateKey = AlternateKey.ORIG) -> Existence | None:
        """What is known of a needle."""
        needle = self._needles.get((photo, alternate_key))
        if NeedleKey(photo, alternate_key) in self._deleted:
            return Existence(exists=False, deleted=True)
        return Existence(exists=needle is not None, size=len(needle.data) if needle else 0)

    async def stat(self, photo: PhotoId, alternate_key: AlternateKey = AlternateKey.ORIG) -> Existence:
        """What is known of a needle."""
        found = self.exists(photo, alternate_key)
        assert found is not None
        return found

    async def delete(self, photo: PhotoId) -> bool:
        """Forget a photo for good."""
        self._check()
        held = [key for key in AlternateKey if (photo, key) in self._needles]
        for key in held:
            del self._needles[photo, key]
            self._deleted.add(NeedleKey(photo, key))
        return bool(held)

    async def seal(self, volume: VolumeId) -> None:
        """Take no more appends in a volume."""
        self._volume(volume)
        self._sealed.add(volume)

    async def health(self) -> StoreHealth:
        """Volumes and room."""
        return StoreHealth(
            store=self.store,
            volumes=tuple(self._state(volume) for volume in sorted(self._volumes)),
            free_bytes=self._capacity_bytes - self._used_bytes(),
            capacity_bytes=self._capacity_bytes,
        )

    async def verify(self, volume: VolumeId) -> VolumeReport:
        """Report the needles that ``corrupt`` damaged."""
        self._volume(volume)
        held = [key for key in self._needles if volume_of(key[0]) == volume]
        damaged = tuple((photo, key, "damaged") for photo, key in held if (photo, key) in self._damaged)
        return VolumeReport(state=self._state(volume), checked=len(held), damaged=damaged)

    async def compact(self, volume: VolumeId) -> CompactionReport:
        """Nothing to reclaim: what is deleted is gone at once."""
        self._volume(volume)
        state = self._state(volume)
        return CompactionReport(
            volume=volume,
            size_bytes_before=state.size_bytes,
            size_bytes_after=state.size_bytes,
            needles=state.needles,
        )

    async def digest(self, volume: VolumeId, *, scrutiny: Scrutiny = Scrutiny.KNOWN) -> VolumeDigest:
        """All needles, as they would be listed."""
        self._check()
        self._volume(volume)
        entries = _looked_at(self._entries(volume), scrutiny)
        ranges: dict[int, list[NeedleEntry]] = defaultdict(list)
        for entry in entries:
            ranges[sequence_of(entry.key.photo) // RANGE_SEQUENCES].append(entry)
        return VolumeDigest(
            volume=volume,
            needles=sum(not entry.deleted for entry in entries),
            live_bytes=sum(entry.size for entry in entries),
            deleted=sum(entry.deleted for entry in entries),
            damaged=sum(entry.damaged for entry in entries),
            digest=_digest_of(entries),
            ranges=tuple(
                RangeDigest(first=SequenceNumber(number * RANGE_SEQUENCES), digest=_digest_of(some))
                for number, some in sorted(ranges.items())
            ),
        )

    async def needles(
        self,
        volume: VolumeId,
        *,
        after: NeedleKey | None = None,
        limit: int,
        scrutiny: Scrutiny = Scrutiny.KNOWN,
    ) -> tuple[NeedleEntry, ...]:
        """Needles past a key, deleted ones included."""
        self._check()
        self._volume(volume)
        if not 0 < limit <= limits.TRANSFER_NEEDLES_MAX:
            raise errors.InvalidRequest
        entries = [entry for entry in self._entries(volume) if after is None or entry.key > after]
        return tuple(_looked_at(entries[:limit], scrutiny))

    async def export_needles(self, volume: VolumeId, needles: Sequence[NeedleKey]) -> bytes:
        """Records of the needles that are whole, and of deletions."""
        self._check()
        self._volume(volume)
        if len(needles) > limits.TRANSFER_NEEDLES_MAX or any(volume_of(k.photo) != volume for k in needles):
            raise errors.InvalidRequest
        records: list[bytes] = []
        for key in needles:
            if key in self._deleted:
                records.append(transfer.pack_deletion(sequence_of(key.photo), key.alternate_key))
            elif key in self._needles and key not in self._damaged:
                record = _record(key, self._needles[key])
                if records and sum(map(len, records)) + len(record) > limits.TRANSFER_BYTES:
                    break
                records.append(record)
        return b"".join(records)

    async def fetch_needles(
        self, volume: VolumeId, needles: Sequence[NeedleKey], *, source: StoreId
    ) -> Imported:
        """Take over what a peer exports and is missing, damaged or older here; deletions win."""
        self._check()
        if source not in self._peers:
            raise errors.RoleUnavailable(f"{source} is not known.")
        records = await self._peers[source].export_needles(volume, needles)
        self._check()
        arrived = transfer.unpack(records)
        if self._used_bytes() + sum(needle.data_size for needle in arrived) > self._capacity_bytes:
            raise errors.StorageFull
        self._volumes.add(volume)
        done = [self._take_over(volume, needle) for needle in sorted(arrived, key=lambda each: -each.kind)]
        return Imported(stored=done.count("stored"), deleted=done.count("deleted"), kept=done.count("kept"))

    def _take_over(self, volume: VolumeId, needle: Needle) -> str:
        key = NeedleKey(photo_id(volume, needle.sequence), AlternateKey(needle.alternate_key))
        if key in self._deleted or (NeedleKey(key.photo) in self._deleted and not needle.kind):
            return "kept"
        if needle.kind == Kind.TOMBSTONE:
            self._needles.pop(key, None)
            self._deleted.add(key)
            return "deleted"
        here = self._needles.get(key)
        if here is not None and key not in self._damaged:
            theirs = (needle.metadata.created_at_ms, needle.body_checksum)
            if theirs <= (here.metadata.created_at_ms, self._checksum(key)):
                return "kept"
        self._needles[key] = MemoryNeedle(
            cookie=needle.cookie, data=bytes(needle.data), metadata=needle.metadata
        )
        self._damaged.discard(key)
        return "stored"

    async def rebuild_index(self, volume: VolumeId) -> None:
        """There is no index."""
        self._volume(volume)

    async def set_aside(self, volume: VolumeId) -> None:
        """There is nothing that cannot be opened."""
        self._volume(volume)
        raise errors.Conflict

    async def close(self) -> None:
        """Refuse everything from now on."""
        self._closed = True

    def _check(self) -> None:
        if self._closed:
            raise errors.ShuttingDown
        if self._failure is not None:
            raise self._failure

    def _entries(self, volume: VolumeId) -> list[NeedleEntry]:
        live = [
            NeedleEntry(
                key=NeedleKey(*key),
                size=len(_record(NeedleKey(*key), needle)),
                checksum=None if key in self._damaged else self._checksum(NeedleKey(*key)),
                damaged=key in self._damaged,
            )
            for key, needle in self._needles.items()
            if volume_of(key[0]) == volume
        ]
        deleted = [
            NeedleEntry(key=key, deleted=True) for key in self._deleted if volume_of(key.photo) == volume
        ]
        return sorted(live + deleted, key=lambda entry: entry.key)

    def _checksum(self, key: NeedleKey) -> int:
        return transfer.unpack(_record(key, self._needles[key]))[0].body_checksum

    def _volume(self, volume: VolumeId) -> None:
        if volume not in self._volumes:
            raise errors.VolumeNotFound(volume=volume)

    def _used_bytes(self) -> int:
        return sum(len(needle.data) for needle in self._needles.values())

    def _state(self, volume: VolumeId) -> VolumeState:
        held = [n for (photo, _), n in self._needles.items() if volume_of(photo) == volume]
        return VolumeState(
            volume=volume,
            needles=len(held),
            size_bytes=sum(len(needle.data) for needle in held),
            sealed=volume in self._sealed,
        )


def _record(key: NeedleKey, needle: MemoryNeedle) -> bytes:
    """The needle as it travels between stores."""
    record = codec.encode(
        salt=transfer.SALT,
        sequence=sequence_of(key.photo),
        cookie=needle.cookie,
        data=needle.data,
        alternate_key=key.alternate_key,
        metadata=codec.encode_metadata(needle.metadata),
    )
    return b"".join(map(bytes, record.body)) + record.footer(replaced=0, batch_offset=0)


def _looked_at(entries: list[NeedleEntry], scrutiny: Scrutiny) -> list[NeedleEntry]:
    if scrutiny is Scrutiny.INDEX:
        return [replace(entry, checksum=None, damaged=False) for entry in entries]
    return entries


def _digest_of(entries: Sequence[NeedleEntry]) -> str:
    return hashlib.sha256(repr(entries).encode()).hexdigest()
