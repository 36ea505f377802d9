"""What the client hands back: frozen records made from the server's JSON.

Pure. Records that the roles share (``Link``, ``Neighbour``, the statistics) are those of
``hayloft.types``; here stand the ones that only a client sees. Fields that a server does not tell have
their neutral value, so that services which speak only the fixed contract are understood too.
"""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, Generic, TypeVar

from hayloft.types import (
    AlternateKey,
    DirectoryStatistics,
    Event,
    EventKind,
    GivenVerdict,
    Link,
    Neighbour,
    ParkedEvent,
    PhotoDetails,
    PhotoGroup,
    PhotoId,
    PhotoStatus,
    Relation,
    RenditionSize,
    SimilarityStatus,
    StoreHealth,
    StoreId,
    Verdict,
    VolumeId,
    VolumeState,
    parse_volume_name,
    volume_name,
)

EPOCH: Final = datetime.fromtimestamp(0, UTC)

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Photo:
    """A photo as the server describes it."""

    id: PhotoId
    cookie: str = ""
    """16 hexadecimal digits; whoever knows them may read the photo."""
    url: str = ""
    """The capability link: readable without an API key."""
    status: PhotoStatus = PhotoStatus.ACTIVE
    size: int = 0
    """Bytes of the original."""
    media_type: str = ""
    width: int = 0
    height: int = 0
    sha256: str = ""
    """Of the original, 64 hexadecimal digits."""
    name: str = ""
    """The file name it was uploaded with."""
    created_at: datetime = EPOCH
    """When it was uploaded, in UTC."""
    logical_volume: str = ""
    alternate_key: str = "orig"
    replicas: tuple[StoreId, ...] = ()
    details: PhotoDetails | None = None
    """What the photo's file says about it; only ``info`` tells, and only after ingest has looked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadedPhoto(Photo):
    """A photo that was just uploaded: on stable storage, and recorded."""

    duplicate_of: PhotoId | None = None
    """The oldest photo with the same bytes, if there was one before."""
    repeated: bool = False
    """Whether an earlier upload with the same idempotency key had made this photo already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[T]):
    """One page of a listing."""

    items: tuple[T, ...]
    next_cursor: str | None
    total: int
    """Everything that matches the filters, on every page together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deletion:
    """A photo that is gone."""

    photo: PhotoId
    failed_replicas: tuple[StoreId, ...] = ()
    """Stores that were down; they get the deletion later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """A server's sign of life."""

    status: str
    version: str = ""
    trained: bool = False
    total_indexed: int = 0
    """Photos with fingerprints."""
    answered_at: datetime | None = None
    """The server's clock when it answered, to the second, if it told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """What a server holds."""

    directory: DirectoryStatistics
    stores: tuple[StoreHealth, ...]
    similarity: SimilarityStatus | None
    """None when photos are not linked, or the ingest process does not answer."""


def photo_from(told: Mapping[str, Any]) -> Photo:
    """A photo from its JSON."""
    return Photo(**_photo_fields(told))


def uploaded_from(told: Mapping[str, Any]) -> UploadedPhoto:
    """An upload's answer."""
    duplicate_of = told.get("duplicate_of")
    return UploadedPhoto(
        **_photo_fields(told),
        duplicate_of=None if duplicate_of is None else PhotoId(int(duplicate_of)),
        repeated=bool(told.get("repeated", False)),
    )


def photo_page_from(told: Mapping[str, Any]) -> Page[Photo]:
    """One page of photos."""
    return Page(
        items=tuple(photo_from(photo) for photo in told["photos"]),
        next_cursor=told.get("next_cursor"),
        total=int(told["total"]),
    )


def link_page_from(told: Mapping[str, Any]) -> Page[Link]:
    """One page of links."""
    return Page(
        items=tuple(link_from(link) for link in told["links"]),
        next_cursor=told.get("next_cursor"),
        total=int(told["total"]),
    )


def group_page_from(told: Mapping[str, Any]) -> Page[PhotoGroup]:
    """One page of groups."""
    return Page(
        items=tuple(group_from(group) for group in told["groups"]),
        next_cursor=told.get("next_cursor"),
        total=int(told["total"]),
    )


def group_from(told: Mapping[str, Any]) -> PhotoGroup:
    """Photos that are the same."""
    return PhotoGroup(
        group=PhotoId(int(told["group"])),
        photos=tuple(PhotoId(int(photo)) for photo in told["photos"]),
        best=PhotoId(int(told["best"])),
    )


def verdicts_page_from(told: Mapping[str, Any]) -> tuple[tuple[GivenVerdict, ...], str | None]:
    """One page of what people said, and the cursor of the next one."""
    page = tuple(
        GivenVerdict(
            a=PhotoId(int(one["a"])),
            b=PhotoId(int(one["b"])),
            verdict=Verdict(one["verdict"]),
            created_at_ms=_milliseconds(parse_time(one["created_at"])),
        )
        for one in told["verdicts"]
    )
    return page, told.get("next_cursor")


def link_from(told: Mapping[str, Any]) -> Link:
    """A link with both of its ends."""
    a, b = sorted((int(told["a"]), int(told["b"])))
    verdict = told.get("verdict")
    return Link(
        a=PhotoId(a),
        b=PhotoId(b),
        relation=Relation(told["relation"]),
        score=float(told["score"]),
        method=str(told.get("method", "")),
        evidence=told.get("evidence") or {},
        verdict=Verdict(verdict) if verdict else None,
        created_at_ms=_milliseconds(parse_time(told.get("created_at"))),
    )


def verdict_from(told: Mapping[str, Any] | None) -> Link | None:
    """A verdict's answer: the link as it is now, or nothing."""
    return link_from(told) if told and "a" in told else None


def known_from(told: Mapping[str, Any]) -> dict[str, PhotoId]:
    """The photos that hold digests that were asked about."""
    return {str(digest): PhotoId(int(photo)) for digest, photo in told["known"].items()}


def links_of(told: Mapping[str, Any]) -> tuple[Link, ...]:
    """The links of one photo, which the server tells from that photo's side."""
    photo = told["photo_id"]
    return tuple(link_from({**link, "a": photo, "b": link["photo_id"]}) for link in told["links"])


def neighbours_from(told: Mapping[str, Any]) -> tuple[Neighbour, ...]:
    """The photos near another one, nearest first."""
    return tuple(_neighbour_from(near) for near in told["similar"])


def parked_from(told: Mapping[str, Any]) -> tuple[ParkedEvent, ...]:
    """Events that were given up; when they happened is not told."""
    return tuple(
        ParkedEvent(
            event=Event(
                position=int(one["position"]),
                kind=EventKind(one["kind"]),
                photo=PhotoId(int(one["photo_id"])),
                at_ms=0,
            ),
            reason=str(one["reason"]),
            times=int(one["times"]),
            parked_at_ms=_milliseconds(parse_time(one["parked_at"])),
            due=bool(one["due"]),
        )
        for one in told["parked"]
    )


def found_from(told: Mapping[str, Any]) -> tuple[Neighbour, ...]:
    """The photos that words describe."""
    return tuple(_neighbour_from(near) for near in told["photos"])


def similarity_from(told: Mapping[str, Any]) -> SimilarityStatus:
    """How far linking has got."""
    return SimilarityStatus(**_known(SimilarityStatus, told))


def deletion_from(photo: PhotoId, told: Mapping[str, Any]) -> Deletion:
    """A deletion's answer."""
    failed = told.get("failed_replicas") or ()
    return Deletion(photo=photo, failed_replicas=tuple(StoreId(str(store)) for store in failed))


def health_from(date: str | None, told: Mapping[str, Any]) -> Health:
    """A health check's answer, with the ``Date`` header that it came with."""
    fields = _known(Health, {"status": "ok", **told})
    return Health(**{**fields, "answered_at": parsedate_to_datetime(date) if date else None})


def statistics_from(told: Mapping[str, Any]) -> Statistics:
    """All statistics."""
    similarity = told.get("similarity")
    return Statistics(
        directory=DirectoryStatistics(**_known(DirectoryStatistics, told["directory"])),
        stores=tuple(_store_from(store) for store in told.get("stores") or ()),
        similarity=None if similarity is None else similarity_from(similarity),
    )


def to_json(record: Any) -> Any:
    """A record as JSON-serialisable values, with the wire's own field names and times."""
    if dataclasses.is_dataclass(record) and not isinstance(record, type):
        pairs = ((field.name, getattr(record, field.name)) for field in dataclasses.fields(record))
        document = dict(_wire_pair(record, name, value) for name, value in pairs)
        return _as_on_the_wire(record, document)
    if isinstance(record, AlternateKey):
        return record.label
    if isinstance(record, bytes):
        return base64.b64encode(record).decode()
    if isinstance(record, datetime):
        return format_time(record)
    if isinstance(record, Mapping):
        return {str(name): to_json(value) for name, value in record.items()}
    if isinstance(record, tuple | list):
        return [to_json(value) for value in record]
    return record


def format_time(time: datetime) -> str:
    """ISO 8601 in UTC with milliseconds, as on the wire."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_time(text: str | None) -> datetime:
    """A time from the wire; the epoch when there is none."""
    return datetime.fromisoformat(text).astimezone(UTC) if text else EPOCH


_WIRE_NAMES: Final = {"alternate_key": "alt_key", "store": "store_id"}


def _wire_pair(record: Any, name: str, value: Any) -> tuple[str, Any]:
    if (isinstance(record, Photo) and name == "id") or (isinstance(record, Neighbour) and name == "photo"):
        return "photo_id", value
    if isinstance(record, Deletion) and name == "photo":
        return "photo_id", value
    if isinstance(record, VolumeState) and name == "volume":
        return "logical_volume", volume_name(value)
    if name == "created_at_ms":
        return "created_at", format_time(datetime.fromtimestamp(value / 1000, UTC))
    return _WIRE_NAMES.get(name, name), to_json(value)


def _as_on_the_wire(record: Any, document: dict[str, Any]) -> dict[str, Any]:
    """What is grouped otherwise on the wire than in the record."""
    if isinstance(record, Photo) and record.details is None:
        del document["details"]
    if isinstance(record, RenditionSize):
        document["rendition"] = document.pop("alt_key")
    if isinstance(record, PhotoDetails):
        position = {name: document.pop(name) for name in ("latitude", "longitude", "altitude_m")}
        document["position"] = None if record.latitude is None else position
    return document


def _photo_fields(told: Mapping[str, Any]) -> dict[str, Any]:
    fields = _known(Photo, told)
    fields["id"] = PhotoId(int(told["photo_id"]))
    fields["alternate_key"] = told.get("alt_key", "orig")
    fields["status"] = PhotoStatus(told.get("status", PhotoStatus.ACTIVE))
    fields["created_at"] = parse_time(told.get("created_at"))
    fields["replicas"] = tuple(StoreId(str(store)) for store in told.get("replicas") or ())
    told_details = told.get("details")
    fields["details"] = _details_from(told_details) if told_details else None
    return fields


def _details_from(told: Mapping[str, Any]) -> PhotoDetails:
    fields = _known(PhotoDetails, told) | _known(PhotoDetails, told.get("position") or {})
    fields["placeholder"] = base64.b64decode(told.get("placeholder") or "")
    fields["renditions"] = tuple(
        RenditionSize(
            alternate_key=AlternateKey[one["rendition"].upper()], width=one["width"], height=one["height"]
        )
        for one in told.get("renditions") or ()
    )
    return PhotoDetails(**fields)


def _neighbour_from(told: Mapping[str, Any]) -> Neighbour:
    return Neighbour(
        photo=PhotoId(int(told["photo_id"])),
        distance=float(told["distance"]),
        relation=Relation(told.get("relation", Relation.SIMILAR)),
        score=float(told.get("score", 0.0)),
        method=str(told.get("method", "")),
        evidence=told.get("evidence") or {},
    )


def _store_from(told: Mapping[str, Any]) -> StoreHealth:
    return StoreHealth(
        store=StoreId(str(told["store_id"])),
        volumes=tuple(_volume_from(volume) for volume in told.get("volumes") or ()),
        free_bytes=int(told.get("free_bytes", 0)),
        capacity_bytes=int(told.get("capacity_bytes", 0)),
    )


def _volume_from(told: Mapping[str, Any]) -> VolumeState:
    return VolumeState(
        volume=parse_volume_name(told["logical_volume"]) or VolumeId(0), **_known(VolumeState, told)
    )


def _known(kind: type[Any], told: Mapping[str, Any]) -> dict[str, Any]:
    names: Iterable[str] = (field.name for field in dataclasses.fields(kind))
    return {name: told[name] for name in names if told.get(name) is not None}


def _milliseconds(time: datetime) -> int:
    return round(time.timestamp() * 1000)
