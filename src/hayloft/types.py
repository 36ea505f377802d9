"""The nouns that every part shares: identifiers and frozen records.

Values only: nothing here does I/O or knows any other part of Hayloft. Identifiers are distinct types,
so that a bare ``int`` never means two things. Times are milliseconds since the Unix epoch, sizes are
bytes, lengths in images are pixels.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any, Final, NamedTuple, NewType

PhotoId = NewType("PhotoId", int)
"""A photo's identity: ``volume << 32 | sequence``, below 2**53 so that JSON and JavaScript hold it."""

VolumeId = NewType("VolumeId", int)
"""The number *n* of the logical volume ``lv-<n>``, below 2**21."""

Sequence = NewType("Sequence", int)
"""A photo's number inside its volume, below 2**32."""

Cookie = NewType("Cookie", int)
"""64 random bits written into a needle; whoever knows them may read it (Haystack, section 3.2)."""

StoreId = NewType("StoreId", str)
"""The name a store gives itself; unique in a cluster."""

SEQUENCE_BITS: Final = 32
SEQUENCE_MASK: Final = (1 << SEQUENCE_BITS) - 1
PHOTO_ID_BITS: Final = 53


def photo_id(volume: VolumeId, sequence: Sequence) -> PhotoId:
    """The id of the photo with this sequence number in this volume."""
    return PhotoId(volume << SEQUENCE_BITS | sequence)


def volume_of(photo: PhotoId) -> VolumeId:
    """The logical volume that holds a photo: known from its id alone."""
    return VolumeId(photo >> SEQUENCE_BITS)


def sequence_of(photo: PhotoId) -> Sequence:
    """A photo's number inside its volume."""
    return Sequence(photo & SEQUENCE_MASK)


def volume_name(volume: VolumeId) -> str:
    """The volume's name on the wire and on disk, ``lv-<n>``."""
    return f"lv-{volume}"


def parse_volume_name(name: str) -> VolumeId | None:
    """The volume that ``lv-<n>`` names, or None if ``name`` is no such name."""
    digits = name.removeprefix("lv-")
    if digits == name or not (digits.isascii() and digits.isdigit()) or len(digits) > 10:
        return None
    return VolumeId(int(digits))


def new_cookie() -> Cookie:
    """A fresh, unguessable cookie."""
    return Cookie(secrets.randbits(64))


def format_cookie(cookie: Cookie) -> str:
    """The cookie as it stands in a URL: 16 lower-case hexadecimal digits."""
    return f"{cookie:016x}"


def parse_cookie(text: str) -> Cookie | None:
    """The cookie that 16 hexadecimal digits name, or None if ``text`` is anything else."""
    if len(text) != 16:
        return None
    try:
        return Cookie(int.from_bytes(bytes.fromhex(text)))
    except ValueError:
        return None


class AlternateKey(IntEnum):
    """Which of a photo's stored sizes a needle holds; the value is the needle's slot in the index.

    The greater the value, the smaller the picture.
    """

    ORIG = 0
    LARGE = 1
    MEDIUM = 2
    SMALL = 3
    THUMB = 4

    @property
    def label(self) -> str:
        """The rendition's name on the wire: ``orig``, ``large``, ``medium``, ``small``, ``thumb``."""
        return self.name.lower()

    @classmethod
    def parse(cls, label: str) -> AlternateKey | None:
        """The alternate key of this name, or None."""
        return _ALTERNATE_KEYS.get(label)


_ALTERNATE_KEYS: Final = {key.label: key for key in AlternateKey}


class PhotoStatus(StrEnum):
    """Where a photo stands in its life: allocated, committed, or deleted for good."""

    ALLOC = "alloc"
    ACTIVE = "active"
    DELETED = "deleted"


class Relation(StrEnum):
    """What a link says of two photos."""

    DUPLICATE = "duplicate"
    """The same bytes."""
    COPY = "copy"
    """The same photo in another guise, verified."""
    SIMILAR = "similar"
    """Merely alike."""


class Verdict(StrEnum):
    """A person's last word on a pair of photos; it wins over every computation, for ever."""

    SAME = "same"
    DIFFERENT = "different"


class EventKind(StrEnum):
    """What happened to a photo; the value is also the broker's routing key."""

    UPLOADED = "photo.uploaded"
    DELETED = "photo.deleted"
    LINKED = "photo.linked"


@dataclass(frozen=True, slots=True, kw_only=True)
class NeedleMetadata:
    """What a needle carries beside its data: enough to rebuild the directory from volumes alone."""

    media_type: str = "application/octet-stream"
    name: str = ""
    sha256: bytes = b""
    """Digest of the data: 32 bytes, or empty when the writer did not say."""
    created_at_ms: int = 0
    """When the needle was written."""
    first_created_at_ms: int | None = None
    """When the photo was uploaded for the first time, if it was brought here from another library."""

    @property
    def photo_created_at_ms(self) -> int:
        """When the photo was uploaded, here or where it comes from."""
        return self.created_at_ms if self.first_created_at_ms is None else self.first_created_at_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class NewNeedle:
    """A needle to be appended."""

    photo: PhotoId
    cookie: Cookie
    data: bytes | memoryview
    alternate_key: AlternateKey = AlternateKey.ORIG
    metadata: NeedleMetadata = field(default_factory=NeedleMetadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class Appended:
    """Where a needle went: durable on this store when the caller holds this record."""

    offset: int
    size: int
    """Bytes of data, not of the whole record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Existence:
    """What a store knows of one needle without reading it."""

    exists: bool
    deleted: bool = False
    offset: int = 0
    size: int = 0
    """Bytes of the whole record on disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeState:
    """One physical volume as its store sees it."""

    volume: VolumeId
    needles: int
    """Live needles: neither deleted nor replaced."""
    size_bytes: int
    """The log's length on disk."""
    sealed: bool
    corrupt: int = 0
    """Reads since the store started that met a damaged needle."""
    live_bytes: int | None = None
    """Bytes of the records that a compaction would keep; None if the store does not tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeReport:
    """What a full read of a volume found."""

    state: VolumeState
    checked: int
    """Live needles whose bytes were read and verified."""
    damaged: tuple[tuple[PhotoId, AlternateKey, str], ...]
    """Needles that are wrong, each with a sentence that says how."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactionReport:
    """What a compaction did to a volume."""

    volume: VolumeId
    size_bytes_before: int
    """The log's length when it began."""
    size_bytes_after: int
    """The log's length when it had finished, with everything that was appended meanwhile."""
    needles: int
    """Live needles afterwards."""


class Scrutiny(StrEnum):
    """How closely a store looks at needles that it is asked to list."""

    INDEX = "index"
    """Only what the index says; checksums are not told."""
    KNOWN = "known"
    """With their checksums, read where that has not been done since the store started."""
    MEDIUM = "medium"
    """With their checksums, every byte read anew from the medium."""


class NeedleKey(NamedTuple):
    """Which needle: comparing two tells the order in which needles are listed."""

    photo: PhotoId
    alternate_key: AlternateKey = AlternateKey.ORIG


@dataclass(frozen=True, slots=True, kw_only=True)
class NeedleEntry:
    """One needle in the listing of a replica, a deleted one included."""

    key: NeedleKey
    size: int = 0
    """Bytes of the whole record, the same on every replica; 0 for a deleted needle."""
    checksum: int | None = None
    """CRC-32C of header, data and metadata, the same on every replica; None if it was not read."""
    deleted: bool = False
    damaged: bool = False
    """Its bytes are not those that were written, or cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeDigest:
    """What a replica holds of ``RANGE_SEQUENCES`` sequence numbers, from ``first`` on."""

    first: Sequence
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeDigest:
    """What a replica holds, in short: equal for two replicas that hold the same, tombstones included."""

    volume: VolumeId
    needles: int
    """Live needles, damaged ones included."""
    live_bytes: int
    """Bytes of their records."""
    deleted: int
    """Slots whose needle was deleted."""
    damaged: int
    """Live needles that could not be read when they were read last."""
    digest: str
    ranges: tuple[RangeDigest, ...]
    """One for each range in which there is anything, in order."""


RANGE_SEQUENCES: Final = 8192
"""Sequence numbers that one ``RangeDigest`` covers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What an import did, in needles; durable when the caller holds this record."""

    stored: int = 0
    """Needles that are here now and were missing, damaged or older before."""
    deleted: int = 0
    """Tombstones that are here now and were not before."""
    kept: int = 0
    """Needles and tombstones that were left as they were: here already, newer, or deleted here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreHealth:
    """A store's account of itself."""

    store: StoreId
    volumes: tuple[VolumeState, ...]
    free_bytes: int
    capacity_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheMiss:
    """A cache does not have a rendition, or cannot say."""

    lease: str | None
    """Shown when the cache is filled, so that it refuses what was deleted since it was asked. Empty for a
    cache that gives no leases; None for one that must not be filled, because it did not answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheStatistics:
    """How full a cache is and how well it does."""

    items: int
    size_bytes: int
    """Everything that is kept beside a photo's bytes included."""
    items_max: int
    size_bytes_max: int
    ttl_seconds: float
    hits: int = 0
    misses: int = 0
    memory_items: int = 0
    disk_items: int = 0
    """Renditions that are in memory as well are counted here too, but not in ``items``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A block of sequence numbers of one writable volume, the holder's to use once each."""

    volume: VolumeId
    first: Sequence
    count: int
    replicas: tuple[StoreId, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where a logical volume's replicas are, and whether it takes writes."""

    volume: VolumeId
    replicas: tuple[StoreId, ...]
    writable: bool


MISSING: Final = "missing"
"""What is wrong with a replica that its store has nothing of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaState:
    """One replica of a logical volume as the directory knows it."""

    volume: VolumeId
    store: StoreId
    failure: str | None
    """What is wrong with it until it is mended, for a person; None if nothing is known to be."""
    size_bytes: int
    """The log's length at its store's last heartbeat; 0 if it was never told."""
    needles: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoEntry:
    """A photo as it stands in its volume's list: what a store's needles are compared with."""

    photo: PhotoId
    status: PhotoStatus
    alternate_key: AlternateKey
    size: int
    """Bytes of its original."""
    created_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPhoto:
    """A durable photo, to be committed in the directory."""

    photo: PhotoId
    cookie: Cookie
    size: int
    sha256: bytes
    media_type: str
    width: int
    height: int
    name: str = ""
    alternate_key: AlternateKey = AlternateKey.ORIG
    created_at_ms: int = 0
    idempotency_key: str | None = None
    """An upload repeated with the same key names the photo that the first one made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """The directory's answer to a commit."""

    photo: PhotoId
    """The photo committed; an earlier one if the idempotency key was known (``repeated``)."""
    cookie: Cookie
    duplicate_of: PhotoId | None = None
    """The oldest active photo with the same bytes, if there was one before."""
    repeated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoRecord:
    """A photo as the directory knows it. Unknown sizes (of a photo in status ``alloc``) are 0."""

    photo: PhotoId
    cookie: Cookie
    status: PhotoStatus
    alternate_key: AlternateKey
    replicas: tuple[StoreId, ...]
    size: int = 0
    sha256: bytes = b""
    media_type: str = ""
    width: int = 0
    height: int = 0
    name: str = ""
    created_at_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RenditionSize:
    """One rendition that was made of a photo."""

    alternate_key: AlternateKey
    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoDetails:
    """What a photo's file says about it, found out after the upload. None and "" mean: it does not say."""

    width: int = 0
    """Pixels across once the photo is upright; 0 if it could not be decoded."""
    height: int = 0
    frames: int = 1
    """More than one for an animation."""
    taken_at: str = ""
    """ISO 8601; local time, with its offset from UTC where the file gives one."""
    camera_make: str = ""
    camera_model: str = ""
    lens: str = ""
    exposure_seconds: float | None = None
    f_number: float | None = None
    iso: int | None = None
    focal_length_mm: float | None = None
    focal_length_35mm: int | None = None
    latitude: float | None = None
    """Degrees north."""
    longitude: float | None = None
    """Degrees east."""
    altitude_m: float | None = None
    """Metres above sea level."""
    placeholder: bytes = b""
    """ThumbHash; empty if the photo could not be decoded."""
    renditions: tuple[RenditionSize, ...] = ()
    """Those made, largest first."""
    failure: str = ""
    """Why the photo could not be decoded; empty if it could."""

    def answering(self, asked: AlternateKey) -> RenditionSize | None:
        """The rendition that answers for the one asked for; None if none was made.

        One that was not made would have been the same picture as the largest that was.
        """
        smaller = (one for one in self.renditions if one.alternate_key >= asked)
        return next(smaller, self.renditions[-1] if self.renditions else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class MadePicture:
    """An encoded picture that was made of a photo."""

    data: bytes
    media_type: str
    canonical: str = ""
    """The shortest order for the same picture (IIIF Image API 3.0, section 4.7); empty for a rendition."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoQuery:
    """Which photos to list, oldest first by time of creation; ``cursor`` continues where a page ended."""

    status: PhotoStatus | None = PhotoStatus.ACTIVE
    media_type: str | None = None
    created_from_ms: int | None = None
    """Inclusive."""
    created_until_ms: int | None = None
    """Exclusive."""
    sha256: bytes | None = None
    newest_first: bool = False
    cursor: str | None = None
    offset: int = 0
    """Photos to skip, after the cursor: for jumping into a long listing. A cursor is what goes on."""
    limit: int = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoPage:
    """One page of a listing."""

    photos: tuple[PhotoRecord, ...]
    next_cursor: str | None
    total: int
    """All photos that match the filters, on every page together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One entry of the event log. Positions grow in commit order and are never reused."""

    position: int
    kind: EventKind
    photo: PhotoId
    at_ms: int
    payload: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParkedEvent:
    """An event that a consumer could not deal with, set aside so that later ones go on."""

    event: Event
    reason: str
    """What went wrong, for a person."""
    times: int
    """How often it has been parked."""
    parked_at_ms: int
    due: bool = False
    """Whether somebody has asked to have it tried again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownStore:
    """A store as the directory knows it from its heartbeats."""

    store: StoreId
    url: str | None
    free_bytes: int
    capacity_bytes: int
    seen_at_ms: int
    """Its last heartbeat."""
    zone: str | None = None
    """What it fails together with: a rack, a room. None if it does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryStatistics:
    """Totals over all photos."""

    photos: int
    deleted: int
    bytes: int
    """Bytes of active originals."""
    volumes: int
    writable_volumes: int
    last_event: int
    uploads_refused: str = ""
    """Why nobody can be given a volume to write to now; empty if anybody can."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A recorded relation between two photos, ``a`` < ``b``."""

    a: PhotoId
    b: PhotoId
    relation: Relation
    score: float
    """1.0 is certain or identical, 0.0 is nothing in common; comparable within one method only."""
    method: str
    """What computed it, with its version, e.g. ``sha256`` or ``pdq/1``."""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    verdict: Verdict | None = None
    created_at_ms: int = 0

    def other(self, photo: PhotoId) -> PhotoId:
        """The photo at the other end."""
        return self.b if photo == self.a else self.a


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkPage:
    """One page of all links."""

    links: tuple[Link, ...]
    next_cursor: str | None
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenVerdict:
    """What a person said of a pair, ``a`` < ``b``, whether any computation links the two or not."""

    a: PhotoId
    b: PhotoId
    verdict: Verdict
    created_at_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictPage:
    """One page of all verdicts."""

    verdicts: tuple[GivenVerdict, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoGroup:
    """Photos that are the same photo: connected by equal bytes, verified copies and people's word."""

    group: PhotoId
    """The smallest id of its photos; changes when that one leaves."""
    photos: tuple[PhotoId, ...]
    """All of them, in order of their ids."""
    best: PhotoId
    """The one to keep if only one were kept: the fullest view, then the largest, then the sharpest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupPage:
    """One page of all groups, by their smallest id."""

    groups: tuple[PhotoGroup, ...]
    next_cursor: str | None
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """A photo near another one."""

    photo: PhotoId
    distance: float
    """0 is nearest; the scale is the method's."""
    relation: Relation
    score: float
    method: str
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SimilarityStatus:
    """How far ingest has got."""

    trained: bool
    total_indexed: int
    """Photos with fingerprints."""
    undecodable: int
    """Photos that could not be decoded, recorded as such and skipped."""
    parked: int
    """Photos given up after repeated failures; they can be retried."""
    position: int
    """The last event dealt with."""
    pending: int
    """Events not dealt with yet."""
    photos_per_second: float = 0.0
    """Recent ingest rate."""
    seconds_left: float | None = None
    """What is pending at the recent rate; None when nothing is known of either."""
    embedder: str = ""
    """What says which photos are alike, with its version; empty if nothing does."""
    embedded: int = 0
    """Photos that have been seen by that embedder."""
    embedder_hint: str = ""
    """What it is, for a person, and how to get a better one."""
    takes_words: bool = False
    """Whether photos can be searched by words."""
    rebuilding: float | None = None
    """How far a rebuild in the background is, 0 to 1; None when there is none."""
