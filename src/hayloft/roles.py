"""The protocols between the parts. The gateway and the pitchfork see only these.

Every role has one implementation of its behaviour (``<role>/local.py``), a server that speaks HTTP over
any implementation (``server.py``) and a client that speaks the protocol over HTTP (``client.py``). All
methods raise errors of ``errors.py`` only; those that any call may raise (``RoleUnavailable`` over a
network, ``InternalError``) are not repeated below. One contract suite runs over every implementation.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from hayloft.types import (
    AlternateKey,
    Appended,
    CacheMiss,
    CacheStatistics,
    Committed,
    CompactionReport,
    Cookie,
    DirectoryStatistics,
    Event,
    EventKind,
    Existence,
    GroupPage,
    Imported,
    KnownStore,
    Lease,
    Link,
    LinkPage,
    MadePicture,
    NeedleEntry,
    NeedleKey,
    NeedleMetadata,
    Neighbour,
    NewNeedle,
    NewPhoto,
    ParkedEvent,
    PhotoDetails,
    PhotoEntry,
    PhotoGroup,
    PhotoId,
    PhotoPage,
    PhotoQuery,
    PhotoRecord,
    Placement,
    Relation,
    ReplicaState,
    Scrutiny,
    SimilarityStatus,
    StoreHealth,
    StoreId,
    Verdict,
    VerdictPage,
    VolumeDigest,
    VolumeId,
    VolumeReport,
)
from hayloft.types import Sequence as SequenceNumber


class StoredNeedle(Protocol):
    """A needle read back and verified: its checksum was right."""

    @property
    def cookie(self) -> Cookie:
        """The cookie it was written with."""
        ...

    @property
    def data(self) -> bytes | memoryview:
        """The photo's bytes. A view may be handed out; it stays valid as long as it is held."""
        ...

    @property
    def metadata(self) -> NeedleMetadata:
        """What was written beside the data; decoded when asked for."""
        ...


class Store(Protocol):
    """Keeps needles in physical volumes on its disks; knows nothing of photos beyond that."""

    async def append(self, volume: VolumeId, needle: NewNeedle) -> Appended:
        """Append a needle; it is on stable storage when this returns.

        The volume is created if it is not there yet. The same photo and alternate key appended again
        replace the older needle.

        Raises:
            VolumeReadOnly: the volume is sealed, or this append would overfill it. Renditions of photos
                that it holds are still taken, as long as its index can address them.
            StorageFull: the disk has no room. Nothing was written.
            UploadTooLarge: it would not fit into an empty volume.
            PhotoDeleted: this is a rendition of a photo whose original was deleted here.
            ShuttingDown: the store is closing.
        """
        ...

    async def read(self, photo: PhotoId, alternate_key: AlternateKey = AlternateKey.ORIG) -> StoredNeedle:
        """Read a needle with one disk operation and verify it.

        Raises:
            PhotoNotFound: no such needle, or no such volume.
            PhotoDeleted: it was deleted.
            NeedleCorrupt: the bytes on disk are not those that were written.
        """
        ...

    def read_cached(
        self, photo: PhotoId, alternate_key: AlternateKey = AlternateKey.ORIG
    ) -> StoredNeedle | None:
        """A needle, if it takes no waiting; None means that ``read`` has to be asked.

        Raises:
            PhotoNotFound, PhotoDeleted, NeedleCorrupt: as ``read``.
        """
        ...

    def exists(self, photo: PhotoId, alternate_key: AlternateKey = AlternateKey.ORIG) -> Existence | None:
        """What the index in memory says, without I/O; None if this implementation cannot know."""
        ...

    async def stat(self, photo: PhotoId, alternate_key: AlternateKey = AlternateKey.ORIG) -> Existence:
        """What the index says of one needle; never raises for a photo that is not there."""
        ...

    async def delete(self, photo: PhotoId) -> bool:
        """Append tombstones for all of a photo's needles, durably; False if there was none to delete.

        Deleting again is no error. A deleted photo is never brought back by a later recovery.
        """
        ...

    async def seal(self, volume: VolumeId) -> None:
        """Have a volume take no more photos, for good.

        Raises:
            VolumeNotFound: this store has no such volume.
        """
        ...

    async def health(self) -> StoreHealth:
        """Volumes, free space, capacity."""
        ...

    async def verify(self, volume: VolumeId) -> VolumeReport:
        """Read a whole volume from disk and compare it with its index.

        Raises:
            VolumeNotFound: this store has no such volume.
        """
        ...

    async def compact(self, volume: VolumeId) -> CompactionReport:
        """Reclaim the space of deleted and replaced needles while reads and writes go on.

        Interrupted at any moment, it loses nothing and can be started again.

        Raises:
            VolumeNotFound: this store has no such volume.
            Conflict: the volume is being compacted already.
            StorageFull: the disk has no room for the needles that stay.
        """
        ...

    async def digest(self, volume: VolumeId, *, scrutiny: Scrutiny = Scrutiny.KNOWN) -> VolumeDigest:
        """What this replica holds, in short, for comparing it with another at the same scrutiny.

        By the index alone, needles of the same size count as the same, and nothing is read.

        Raises:
            VolumeNotFound: this store has no such volume.
        """
        ...

    async def needles(
        self,
        volume: VolumeId,
        *,
        after: NeedleKey | None = None,
        limit: int,
        scrutiny: Scrutiny = Scrutiny.KNOWN,
    ) -> tuple[NeedleEntry, ...]:
        """Live and deleted needles past ``after``, in order; none at the end.

        Raises:
            VolumeNotFound: this store has no such volume.
            InvalidRequest: ``limit`` is not between 1 and ``limits.TRANSFER_NEEDLES_MAX``.
        """
        ...

    async def export_needles(
        self, volume: VolumeId, needles: Sequence[NeedleKey]
    ) -> bytes | bytearray | memoryview:
        """These needles as records that another store takes over, verified; deletions too.

        Needles that are absent or damaged are left out, and what is past ``limits.TRANSFER_BYTES`` unless
        it is the first.

        Raises:
            VolumeNotFound: this store has no such volume.
            InvalidRequest: these are too many (``limits.TRANSFER_NEEDLES_MAX``), or another volume's.
        """
        ...

    async def fetch_needles(
        self, volume: VolumeId, needles: Sequence[NeedleKey], *, source: StoreId
    ) -> Imported:
        """Take over what the store called ``source`` exports of these needles, in one write and one sync.

        The volume is created if it is not there yet, and may be sealed or full as long as its index can
        address what comes. A tombstone wins, on whichever side it is. A needle that is whole here is
        replaced only by a newer one (``created_at_ms``; of two of the same time, by the one with the larger
        checksum, so that all replicas choose alike).

        Raises:
            RoleUnavailable: the source does not answer, or it is not known where it is.
            VolumeNotFound: the source has no such volume.
            InvalidRequest: these are too many, another volume's, or the records were damaged on their way;
                nothing was done.
            StorageFull: the disk, or the volume, has no room for them; nothing was done.
            VolumeReadOnly, VolumeCorrupt: the volume cannot be written; nothing was done.
        """
        ...

    async def rebuild_index(self, volume: VolumeId) -> None:
        """Make a volume's index anew from its log, for when it says what the log does not.

        Raises:
            VolumeNotFound: this store has no such volume.
        """
        ...

    async def set_aside(self, volume: VolumeId) -> None:
        """Rename a volume that is damaged so that it cannot be opened, so that it can be filled anew.

        Raises:
            VolumeNotFound: this store has no such volume.
            Conflict: it can be opened.
        """
        ...

    async def close(self) -> None:
        """Finish what is in flight, write checkpoints, release files."""
        ...


class Directory(Protocol):
    """Maps logical volumes to stores, hands out ids, records every committed photo and event."""

    async def lease(self, *, holder: str, count: int, avoid: Collection[StoreId] = ()) -> Lease:
        """Lease a block of ids in a writable volume, never given to anyone else.

        Different holders get different volumes as far as there are enough; new volumes are created
        as old ones fill up. Stores to ``avoid`` are those that the holder cannot reach: it gets a volume on
        others, made if need be, with fewer replicas if need be; one on theirs only when there is no other.

        Raises:
            StorageFull: no volume takes writes and no store has room for a new one.
            RoleUnavailable: no volume takes writes and no store has registered yet, or all are silent.
        """
        ...

    async def allocate(self, *, size: int, alternate_key: AlternateKey = AlternateKey.ORIG) -> PhotoRecord:
        """Allocate one photo in status ``alloc`` (the paper's write path, without a lease)."""
        ...

    async def commit(self, photo: NewPhoto) -> Committed:
        """Record a durable photo as active and append ``photo.uploaded``, in one transaction.

        Concurrent commits share transactions. The answer comes after the transaction is durable.

        Raises:
            Conflict: the id was never leased, or is already committed with other contents.
            PhotoDeleted: the id was committed and deleted.
            InvalidRequest: a value cannot be stored.
        """
        ...

    async def commit_allocated(self, photo: PhotoId) -> PhotoRecord:
        """Make a photo in status ``alloc`` active and append its event; again is no error.

        Raises:
            PhotoNotFound: the id was never allocated.
            PhotoDeleted: it was deleted meanwhile.
        """
        ...

    async def delete(self, photo: PhotoId) -> PhotoRecord:
        """Mark a photo deleted and append ``photo.deleted``, in one transaction; again is no error.

        Returns the record as it was before, so that the caller knows whether it was the first.

        Raises:
            PhotoNotFound: there is no such photo.
        """
        ...

    async def photo(self, photo: PhotoId) -> PhotoRecord:
        """A photo's record, deleted ones included.

        Raises:
            PhotoNotFound: there is no such photo.
        """
        ...

    async def photos(self, query: PhotoQuery) -> PhotoPage:
        """One page of photos.

        Raises:
            InvalidRequest: the cursor is not one that this directory made.
        """
        ...

    async def known(self, digests: Sequence[bytes]) -> Mapping[bytes, PhotoId]:
        """The oldest active photo for each SHA-256 that is already here."""
        ...

    async def placement(self, volume: VolumeId) -> Placement:
        """Where a volume's replicas are.

        Raises:
            VolumeNotFound: the directory has no such volume.
        """
        ...

    async def placements(self) -> tuple[Placement, ...]:
        """All volumes."""
        ...

    async def replicas(self) -> tuple[ReplicaState, ...]:
        """Every replica of every volume, by volume and store."""
        ...

    async def register(
        self, health: StoreHealth, *, url: str | None = None, zone: str | None = None
    ) -> None:
        """A store's heartbeat; the first one makes the store known, sealed volumes stop being writable.

        ``zone`` says what the store fails together with; replicas are spread over zones. A replica that is
        placed on this store and that it does not speak of any more is marked failed (``missing``).
        """
        ...

    async def stores(self) -> tuple[KnownStore, ...]:
        """All stores that have ever sent a heartbeat."""
        ...

    async def set_writable(self, volume: VolumeId, writable: bool) -> None:
        """Put a volume into, or take it out of, the writable set, by hand: mending a replica does not put
        it back. Putting it in forgets its replicas' failures.

        Raises:
            VolumeNotFound: the directory has no such volume.
            Conflict: it is sealed, or was made elsewhere, and stays read-only for good.
        """
        ...

    async def report_failure(self, volume: VolumeId, store: StoreId, reason: str) -> None:
        """A replica failed: the volume takes no writes until it is mended.

        Raises:
            VolumeNotFound: the directory has no such volume on that store.
        """
        ...

    async def mend(self, volume: VolumeId, store: StoreId) -> None:
        """A replica is whole again. Its volume takes writes once no replica of it has a failure, if it is
        neither sealed nor full nor taken out by hand.

        Raises:
            VolumeNotFound: the directory has no such volume on that store.
        """
        ...

    async def replace_replica(self, volume: VolumeId, old: StoreId | None, new: StoreId) -> None:
        """Have a replica on another store instead of one that is gone for good, or (``old`` None) one more.

        The new one counts as failed until it is mended: whoever copies it says when it is whole. Should the
        old store come back, its replica is not counted.

        Raises:
            VolumeNotFound: the directory has no such volume on the old store.
            Conflict: the new store is not known, or has a replica already.
        """
        ...

    async def volume_photos(
        self, volume: VolumeId, *, after: SequenceNumber | None = None, limit: int
    ) -> tuple[PhotoEntry, ...]:
        """A volume's photos, deleted ones included, in order of their ids.

        They begin past the sequence number ``after``, or with the first; fewer than ``limit`` (at most
        ``limits.PAGE_EVENTS_MAX``) are the last.

        Raises:
            VolumeNotFound: the directory has no such volume.
        """
        ...

    async def set_details(self, photo: PhotoId, details: PhotoDetails) -> None:
        """Record what a photo's file says about it; nothing for a photo that is not active any more."""
        ...

    async def details(self, photos: Sequence[PhotoId]) -> Mapping[PhotoId, PhotoDetails]:
        """The recorded details of those photos (at most ``limits.PAGE_PHOTOS_MAX``) that have any."""
        ...

    async def append_event(self, kind: EventKind, photo: PhotoId, payload: Mapping[str, Any]) -> int:
        """Append to the event log; returns the position."""
        ...

    async def events(
        self,
        *,
        after: int,
        limit: int,
        wait_seconds: float = 0.0,
        kinds: Collection[EventKind] | None = None,
    ) -> tuple[Event, ...]:
        """Events with positions past ``after``, in order, waiting up to ``wait_seconds`` for the first.

        No position below a returned one can appear later, so a reader that remembers the last position
        misses nothing. With ``kinds``, only events of these, and at the end the log's last event whatever
        its kind, so that the reader gets past the others.
        """
        ...

    async def position(self, consumer: str) -> int:
        """The last position that a consumer of the event log has acknowledged; 0 at first."""
        ...

    async def advance(self, consumer: str, position: int) -> None:
        """Remember durably that a consumer has dealt with everything up to ``position``."""
        ...

    async def park(self, consumer: str, event: Event, reason: str) -> None:
        """Set an event that a consumer cannot deal with aside, durably; again counts how often."""
        ...

    async def parked(self, consumer: str, *, limit: int = 1000) -> tuple[ParkedEvent, ...]:
        """A consumer's parked events, in the log's order."""
        ...

    async def retry(self, consumer: str, position: int | None = None) -> int:
        """Have a parked event (None: all of them) delivered once more; returns how many."""
        ...

    async def due(self, consumer: str, *, limit: int) -> tuple[Event, ...]:
        """Parked events that are to be delivered once more, in the log's order."""
        ...

    async def unpark(self, consumer: str, position: int) -> None:
        """A parked event has been dealt with after all; one that is not parked is no error."""
        ...

    async def statistics(self) -> DirectoryStatistics:
        """Totals."""
        ...

    async def close(self) -> None:
        """Finish what is in flight, release connections."""
        ...


class Cache(Protocol):
    """Keeps hot renditions in front of the stores; may forget anything at any time.

    Its answers have been verified against the checksum that was taken when they came in. It must never be
    needed: whoever uses one goes on without it when it fails.
    """

    async def get(
        self, photo: PhotoId, alternate_key: AlternateKey = AlternateKey.ORIG
    ) -> StoredNeedle | CacheMiss:
        """A rendition, or a miss with the lease for filling it. Being read, it stays longer.

        The cookie is ``COOKIE_UNKNOWN`` (of ``wire.needles``; equal to none in a URL) when whoever filled
        the cache did not tell it.
        """
        ...

    async def put(self, needle: NewNeedle, *, lease: str | None = None) -> bool:
        """Keep a rendition in place of any older one; False if it was refused.

        With the lease of an earlier miss, a photo that was deleted meanwhile is refused: a reader that was
        slow cannot bring it back. Without one, it is kept whatever happened before.

        Raises:
            EmptyUpload: it has no bytes.
            UploadTooLarge: it would not fit if the cache were empty.
        """
        ...

    async def size(self, photo: PhotoId, alternate_key: AlternateKey = AlternateKey.ORIG) -> int | None:
        """A rendition's bytes, or None if it is not here. Asking does not make it stay longer."""
        ...

    async def delete(self, photo: PhotoId) -> bool:
        """Forget all of a photo's renditions; False if there was none. Leases given before are void for it.

        Raises:
            RoleUnavailable: some of them may still be served; ask again.
        """
        ...

    async def statistics(self) -> CacheStatistics:
        """How full it is, how well it does."""
        ...

    async def close(self) -> None:
        """Let go of memory, files and connections."""
        ...


class Similarity(Protocol):
    """Fingerprints photos, finds neighbours, records links."""

    async def similar(
        self,
        photo: PhotoId,
        *,
        k: int,
        score_min: float = 0.0,
        relation: Relation | None = None,
    ) -> tuple[Neighbour, ...]:
        """The photos nearest to one, nearest first, never the photo itself.

        Raises:
            PhotoNotFound: the photo has not been fingerprinted.
        """
        ...

    async def similar_to(
        self, image: bytes, *, k: int, score_min: float = 0.0, relation: Relation | None = None
    ) -> tuple[Neighbour, ...]:
        """The photos nearest to an image that is not stored.

        Raises:
            UnsupportedMedia: the bytes cannot be decoded as an image.
        """
        ...

    async def search(self, words: str, *, k: int) -> tuple[Neighbour, ...]:
        """The ``k`` photos that the words describe best, best first; the score is a cosine, -1 to 1.

        Raises:
            SearchNotConfigured: the embedder in use knows no words.
            InvalidRequest: there are no words, or too many.
        """
        ...

    async def links(self, photo: PhotoId) -> tuple[Link, ...]:
        """All links of one photo, best first; none for a photo not seen yet."""
        ...

    async def all_links(self, *, relation: Relation | None, cursor: str | None, limit: int) -> LinkPage:
        """All links, in the order they were found."""
        ...

    async def set_verdict(self, a: PhotoId, b: PhotoId, verdict: Verdict | None) -> Link | None:
        """Record a person's verdict on a pair (None takes it back); it wins over any computation.

        A photo that is not known here yet may be spoken of.

        Raises:
            InvalidRequest: the two are one photo.
            PhotoDeleted: one of them was deleted.
        """
        ...

    async def verdicts(self, *, cursor: str | None, limit: int) -> VerdictPage:
        """All verdicts, by the ids of their pairs.

        Raises:
            InvalidRequest: the cursor is not one of this server's.
        """
        ...

    async def groups(self, *, relation: Relation | None, cursor: str | None, limit: int) -> GroupPage:
        """Photos that are the same, all in all, by their smallest id.

        Groups are connected components over ``duplicate`` and verified ``copy`` links and verdicts
        ``same``; with ``relation=duplicate`` over equal bytes alone. Photos that a person called
        ``different`` are never in one group.

        Raises:
            InvalidRequest: ``relation`` is ``similar``, or the cursor is not one of this server's.
        """
        ...

    async def group_of(self, photo: PhotoId) -> PhotoGroup:
        """The photo's group; a photo that is like no other is a group of its own.

        Raises:
            PhotoNotFound: the photo has not been fingerprinted.
        """
        ...

    async def rebuild(self) -> None:
        """Make the indexes anew from what is recorded, in the background; ``status`` says how far it is."""
        ...

    async def status(self) -> SimilarityStatus:
        """How far ingest has got."""
        ...

    async def close(self) -> None:
        """Finish what is in flight, release files."""
        ...


class Renditions(Protocol):
    """Makes a photo's smaller sizes and stores them beside it, and makes pictures to order."""

    async def make(self, photo: PhotoId) -> PhotoDetails:
        """Make and store all renditions of a photo and record its details, unless that has been done.

        A photo that cannot be decoded is recorded as such; the answer's ``failure`` says why.

        Raises:
            PhotoNotFound, PhotoDeleted: it is not there, or no more.
            ReplicasFailed: its bytes cannot be had.
            StorageFull: there is no room for renditions; the details were recorded.
        """
        ...

    async def rendition(self, photo: PhotoId, alternate_key: AlternateKey) -> MadePicture:
        """One rendition that is not stored yet, made now; all are stored if there is room.

        For one that a photo is too small for, the largest that it has.

        Raises:
            PhotoNotFound, PhotoDeleted, ReplicasFailed: as for ``make``.
            UnsupportedMedia, ImageTooLarge: the photo cannot be decoded.
            Overloaded: too much is being made already.
        """
        ...

    async def picture(self, photo: PhotoId, order: str) -> MadePicture:
        """A picture to order: ``region/size/rotation/quality.format`` (IIIF Image API 3.0, section 4).

        Raises:
            InvalidRequest: the order makes no sense, or is beyond what is made to order.
            PhotoNotFound, PhotoDeleted, ReplicasFailed, UnsupportedMedia, ImageTooLarge, Overloaded: as
                for ``rendition``.
        """
        ...

    async def information(self, photo: PhotoId, *, address: str) -> Mapping[str, Any]:
        """The information document (IIIF Image API 3.0, section 5) of the photo served at ``address``.

        Raises:
            PhotoNotFound, PhotoDeleted, ReplicasFailed, UnsupportedMedia, ImageTooLarge, Overloaded: as
                for ``rendition``.
        """
        ...

    async def close(self) -> None:
        """End the decoders."""
        ...


class EventSource(Protocol):
    """Where a consumer gets the event log from, in order, at least once."""

    async def next(self, *, limit: int) -> tuple[Event, ...]:
        """The next events, waiting for at least one; empty when the source is closing."""
        ...

    async def acknowledge(self, event: Event) -> None:
        """This event has been dealt with durably; it need not come again."""
        ...

    async def park(self, event: Event, reason: str) -> None:
        """This event cannot be dealt with: set it aside durably, with the reason; later ones go on."""
        ...

    async def close(self) -> None:
        """Stop waiting."""
        ...


class PhotoReader(Protocol):
    """How a consumer of events gets at a photo's original bytes."""

    async def read_original(self, photo: PhotoId) -> bytes:
        """The original's bytes.

        Raises:
            PhotoNotFound, PhotoDeleted: it is not there, or no more.
            ReplicasFailed: no replica could answer.
        """
        ...
