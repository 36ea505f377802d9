"""What client and server of a store say to each other beside the bytes: headers and JSON. Pure.

The contract's own fields (docs/ARCHITECTURE.md) are always there; what is more is ours, and a peer that
leaves it out is understood. A cookie that is not 16 hexadecimal digits comes from a service with another
notion of cookies; 64 bits are derived from it, so that the same text always names the same cookie.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, unquote

from hayloft.errors import InvalidRequest
from hayloft.roles import StoredNeedle
from hayloft.types import (
    PHOTO_ID_BITS,
    AlternateKey,
    CompactionReport,
    Cookie,
    NeedleMetadata,
    PhotoId,
    StoreHealth,
    StoreId,
    VolumeId,
    VolumeReport,
    VolumeState,
    format_cookie,
    new_cookie,
    parse_cookie,
    parse_volume_name,
    volume_name,
)

PHOTO: Final = "x-photo-id"
COOKIE: Final = "x-cookie"
ALTERNATE_KEY: Final = "x-alt-key"
NAME: Final = "x-name"
CREATED: Final = "x-created-at-ms"
DIGEST: Final = "x-sha256"
MEDIA_TYPE: Final = "content-type"

COOKIE_UNKNOWN: Final = Cookie(-1)
"""The cookie of a needle whose store does not tell it; equal to no cookie in any URL."""


def parse_photo(text: str | None) -> PhotoId:
    """A photo id out of a header or a query.

    Raises:
        InvalidRequest: there is none, or it is no integer below 2**53.
    """
    if text is None or not (text.isascii() and text.isdigit()) or len(text) > 16:
        raise InvalidRequest("A photo id is needed: an integer below 2**53.")
    if int(text) >> PHOTO_ID_BITS:
        raise InvalidRequest("A photo id is an integer below 2**53.")
    return PhotoId(int(text))


def parse_volume(name: str) -> VolumeId:
    """The volume in an address.

    Raises:
        InvalidRequest: it is not named ``lv-<n>``.
    """
    volume = parse_volume_name(name)
    if volume is None:
        raise InvalidRequest("A logical volume is named lv-<n>.")
    return volume


def parse_alternate_key(label: str | None) -> AlternateKey:
    """The alternate key of a header or a query; the original if there is none.

    Raises:
        InvalidRequest: there is no such alternate key.
    """
    key = AlternateKey.parse(label or "orig")
    if key is None:
        known = ", ".join(each.label for each in AlternateKey)
        raise InvalidRequest(f"There is no alternate key of this name, only {known}.")
    return key


def read_cookie(text: str | None) -> Cookie:
    """The cookie in a header; one that nobody knows if there is none."""
    if not text:
        return new_cookie()
    cookie = parse_cookie(text)
    if cookie is not None:
        return cookie
    return Cookie(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]))


def read_metadata(headers: Mapping[str, str], digest: bytes) -> NeedleMetadata:
    """The metadata in an append's headers, for data with this SHA-256.

    Raises:
        InvalidRequest: a header is malformed, or says that the data should be other than it is.
    """
    if (told := headers.get(DIGEST)) and told.lower() != digest.hex():
        raise InvalidRequest("The data's SHA-256 is not the one announced: it was damaged on its way.")
    created = headers.get(CREATED, "0")
    if not (created.isascii() and created.isdigit()) or len(created) > 15:
        raise InvalidRequest("The time of creation is milliseconds since the Unix epoch.")
    return NeedleMetadata(
        media_type=headers.get(MEDIA_TYPE) or NeedleMetadata().media_type,
        name=unquote(headers.get(NAME, ""), errors="surrogateescape"),
        sha256=digest,
        created_at_ms=int(created),
    )


def write_metadata(metadata: NeedleMetadata) -> dict[str, str]:
    """Metadata as headers."""
    headers = {
        MEDIA_TYPE: _printable(metadata.media_type),
        NAME: quote(metadata.name, errors="surrogateescape"),
        CREATED: str(max(0, metadata.created_at_ms)),
        DIGEST: metadata.sha256.hex(),
    }
    return {name: value for name, value in headers.items() if value}


def write_needle(needle: StoredNeedle, alternate_key: AlternateKey) -> dict[str, str]:
    """What stands beside a needle's data, as headers."""
    return {
        COOKIE: format_cookie(needle.cookie),
        ALTERNATE_KEY: alternate_key.label,
        **write_metadata(needle.metadata),
    }


def read_needle_metadata(headers: Mapping[str, str]) -> NeedleMetadata:
    """The metadata in a read's answer, as far as the peer tells it."""
    created = headers.get(CREATED, "0")
    digest = headers.get(DIGEST, "")
    return NeedleMetadata(
        media_type=headers.get(MEDIA_TYPE) or NeedleMetadata().media_type,
        name=unquote(headers.get(NAME, ""), errors="surrogateescape"),
        sha256=bytes.fromhex(digest) if len(digest) == 64 else b"",
        created_at_ms=int(created) if created.isdigit() else 0,
    )


def state_to_json(state: VolumeState) -> dict[str, Any]:
    """One volume's state."""
    return {
        "lv": volume_name(state.volume),
        "needles": state.needles,
        "size_bytes": state.size_bytes,
        "sealed": state.sealed,
        "corrupt": state.corrupt,
    }


def state_from_json(told: Mapping[str, Any]) -> VolumeState:
    """One volume's state, as told."""
    return VolumeState(
        volume=parse_volume(str(told["lv"])),
        needles=int(told["needles"]),
        size_bytes=int(told["size_bytes"]),
        sealed=bool(told["sealed"]),
        corrupt=int(told.get("corrupt", 0)),
    )


def health_to_json(health: StoreHealth) -> dict[str, Any]:
    """A store's account of itself."""
    return {
        "service": "store",
        "status": "ok",
        "store_id": health.store,
        "volumes": {volume_name(state.volume): state.needles for state in health.volumes},
        "states": [state_to_json(state) for state in health.volumes],
        "free_bytes": health.free_bytes,
        "capacity_bytes": health.capacity_bytes,
    }


def health_from_json(told: Mapping[str, Any]) -> StoreHealth:
    """A store's account of itself; a peer that tells only the contract's fields has unknown sizes of 0."""
    states = [state_from_json(state) for state in told.get("states", ())]
    if not states:
        states = [
            VolumeState(volume=number, needles=int(count), size_bytes=0, sealed=False)
            for name, count in told.get("volumes", {}).items()
            if (number := parse_volume_name(name)) is not None
        ]
    return StoreHealth(
        store=StoreId(str(told["store_id"])),
        volumes=tuple(states),
        free_bytes=int(told.get("free_bytes", 0)),
        capacity_bytes=int(told.get("capacity_bytes", 0)),
    )


def report_to_json(report: VolumeReport) -> dict[str, Any]:
    """What a full read found."""
    return {
        "state": state_to_json(report.state),
        "checked": report.checked,
        "damaged": [
            {"photo_id": photo, "alt_key": key.label, "reason": reason}
            for photo, key, reason in report.damaged
        ],
    }


def report_from_json(told: Mapping[str, Any]) -> VolumeReport:
    """What a full read found, as told."""
    damaged = (
        (PhotoId(each["photo_id"]), parse_alternate_key(each["alt_key"]), str(each["reason"]))
        for each in told["damaged"]
    )
    return VolumeReport(
        state=state_from_json(told["state"]), checked=int(told["checked"]), damaged=tuple(damaged)
    )


def compaction_to_json(report: CompactionReport) -> dict[str, Any]:
    """What a compaction did."""
    return {
        "lv": volume_name(report.volume),
        "size_bytes_before": report.size_bytes_before,
        "size_bytes_after": report.size_bytes_after,
        "needles": report.needles,
    }


def compaction_from_json(told: Mapping[str, Any]) -> CompactionReport:
    """What a compaction did, as told."""
    return CompactionReport(
        volume=parse_volume(str(told["lv"])),
        size_bytes_before=int(told["size_bytes_before"]),
        size_bytes_after=int(told["size_bytes_after"]),
        needles=int(told["needles"]),
    )


def _printable(value: str) -> str:
    """A value that a header can carry: a media type with anything else in it tells nothing anyway."""
    return value if value.isascii() and value.isprintable() else NeedleMetadata().media_type
