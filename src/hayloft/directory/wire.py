"""The directory's values as JSON, both ways: what ``server`` and ``client`` must agree on.

Field names are the wire contract's (``photo_id``, ``logical_volume``, ``alt_key``, ``cookie``,
``replicas``, ``status``); cookies and digests are hexadecimal text, times are milliseconds since the
Unix epoch. Pure: values only, nothing is sent from here.
"""

from __future__ import annotations

import json
from typing import Any, Final

from pydantic import TypeAdapter

from hayloft.errors import HayloftError, InvalidRequest
from hayloft.types import (
    AlternateKey,
    Committed,
    Cookie,
    DirectoryStatistics,
    Event,
    EventKind,
    KnownStore,
    Lease,
    NewPhoto,
    ParkedEvent,
    PhotoDetails,
    PhotoEntry,
    PhotoId,
    PhotoRecord,
    PhotoStatus,
    Placement,
    ReplicaState,
    StoreHealth,
    StoreId,
    VolumeId,
    format_cookie,
    parse_cookie,
    parse_volume_name,
    volume_name,
    volume_of,
)
from hayloft.wire.details import details_from_json
from hayloft.wire.errors import from_response, to_body

LEASE: Final = TypeAdapter(Lease)
PLACEMENT: Final = TypeAdapter(Placement)
PLACEMENTS: Final = TypeAdapter(tuple[Placement, ...])
REPLICAS: Final = TypeAdapter(tuple[ReplicaState, ...])
ENTRIES: Final = TypeAdapter(tuple[PhotoEntry, ...])
STORES: Final = TypeAdapter(tuple[KnownStore, ...])
HEALTH: Final = TypeAdapter(StoreHealth)
EVENT: Final = TypeAdapter(Event)
EVENTS: Final = TypeAdapter(tuple[Event, ...])
PARKED: Final = TypeAdapter(tuple[ParkedEvent, ...])
STATISTICS: Final = TypeAdapter(DirectoryStatistics)
"""Values whose fields are numbers, names and truths: they cross the wire as they are."""


def details_from(told: dict[str, Any]) -> PhotoDetails:
    """A photo's details.

    Raises:
        InvalidRequest: these are none.
    """
    try:
        return details_from_json(told)
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidRequest("These are no photo's details.", field="details") from error


def record_to_json(record: PhotoRecord) -> dict[str, Any]:
    """A photo's record."""
    return {
        "photo_id": record.photo,
        "logical_volume": volume_name(volume_of(record.photo)),
        "alt_key": record.alternate_key.label,
        "cookie": format_cookie(record.cookie),
        "replicas": list(record.replicas),
        "status": record.status.value,
        "size": record.size,
        "sha256": record.sha256.hex(),
        "media_type": record.media_type,
        "width": record.width,
        "height": record.height,
        "name": record.name,
        "created_at_ms": record.created_at_ms,
    }


def record_from_json(told: dict[str, Any]) -> PhotoRecord:
    """The record in an answer; fields that a peer does not send are unknown."""
    return PhotoRecord(
        photo=PhotoId(told["photo_id"]),
        cookie=cookie_from(told["cookie"]),
        status=PhotoStatus(told.get("status", PhotoStatus.ALLOC.value)),
        alternate_key=alternate_key_from(told.get("alt_key", "orig")),
        replicas=tuple(StoreId(store) for store in told.get("replicas", ())),
        size=told.get("size", 0),
        sha256=digest_from(told.get("sha256", "")),
        media_type=told.get("media_type", ""),
        width=told.get("width", 0),
        height=told.get("height", 0),
        name=told.get("name", ""),
        created_at_ms=told.get("created_at_ms", 0),
    )


def new_photo_to_json(new: NewPhoto) -> dict[str, Any]:
    """A photo to be committed."""
    return {
        "photo_id": new.photo,
        "cookie": format_cookie(new.cookie),
        "size": new.size,
        "sha256": new.sha256.hex(),
        "media_type": new.media_type,
        "width": new.width,
        "height": new.height,
        "name": new.name,
        "alt_key": new.alternate_key.label,
        "created_at_ms": new.created_at_ms,
        "idempotency_key": new.idempotency_key,
    }


def committed_to_json(committed: Committed) -> dict[str, Any]:
    """The answer to a commit."""
    return {
        "photo_id": committed.photo,
        "cookie": format_cookie(committed.cookie),
        "duplicate_of": committed.duplicate_of,
        "repeated": committed.repeated,
    }


def outcome_from_json(told: dict[str, Any]) -> Committed | HayloftError:
    """The answer to one commit of several: what was committed, or why it was not."""
    if "error" in told:
        return from_response(told["status"], json.dumps(told["error"]).encode())
    return Committed(
        photo=PhotoId(told["photo_id"]),
        cookie=cookie_from(told["cookie"]),
        duplicate_of=told["duplicate_of"],
        repeated=told["repeated"],
    )


def error_to_json(error: HayloftError, request_id: str) -> dict[str, Any]:
    """An error as one answer of several."""
    return {"status": error.status, "error": json.loads(to_body(error, request_id))}


def cookie_from(text: str) -> Cookie:
    """The cookie in 16 hexadecimal digits.

    Raises:
        InvalidRequest: it is none.
    """
    cookie = parse_cookie(text)
    if cookie is None:
        raise InvalidRequest("A cookie is 16 hexadecimal digits.")
    return cookie


def digest_from(text: str) -> bytes:
    """The digest in hexadecimal digits.

    Raises:
        InvalidRequest: they are none.
    """
    try:
        return bytes.fromhex(text)
    except ValueError as error:
        raise InvalidRequest("A SHA-256 digest is 64 hexadecimal digits.") from error


def alternate_key_from(label: str) -> AlternateKey:
    """The alternate key with this name.

    Raises:
        InvalidRequest: there is none.
    """
    key = AlternateKey.parse(label)
    if key is None:
        names = ", ".join(known.label for known in AlternateKey)
        raise InvalidRequest(f"An alternate key is one of {names}.", alt_key=label)
    return key


def kinds_from(names: str) -> frozenset[EventKind]:
    """The kinds of events in a list with commas.

    Raises:
        InvalidRequest: one of them is none.
    """
    try:
        return frozenset(EventKind(name) for name in names.split(",") if name)
    except ValueError as error:
        known = ", ".join(kind.value for kind in EventKind)
        raise InvalidRequest(f"Events are of the kinds {known}.", kinds=names) from error


def volume_from(name: str) -> VolumeId:
    """The volume with this name.

    Raises:
        InvalidRequest: ``name`` is not ``lv-<n>``.
    """
    volume = parse_volume_name(name)
    if volume is None:
        raise InvalidRequest("A logical volume is named lv-<number>.", logical_volume=name)
    return volume
