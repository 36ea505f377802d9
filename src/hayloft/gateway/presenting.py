"""Records as JSON values: the one place that decides what clients see of them.

Times are ISO 8601 in UTC with milliseconds, digests hexadecimal, cookies 16 hexadecimal digits. Pure.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from hayloft.errors import HayloftError
from hayloft.gateway.upload import Kept
from hayloft.types import (
    DirectoryStatistics,
    GivenVerdict,
    Link,
    Neighbour,
    ParkedEvent,
    PhotoDetails,
    PhotoId,
    PhotoRecord,
    SimilarityStatus,
    StoreHealth,
    format_cookie,
    volume_name,
    volume_of,
)

Json = dict[str, Any]

_HOST_CHARACTERS: Final = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:[]")


def base_url(public_url: str | None, scheme: str, headers: Mapping[bytes, bytes]) -> str:
    """Where links lead: the configured address, or the one that this request came to."""
    if public_url:
        return public_url.rstrip("/")
    host = headers.get(b"host", b"")
    plausible = host and _HOST_CHARACTERS.issuperset(host)
    return f"{scheme}://{host.decode() if plausible else 'localhost'}"


def time_text(at_ms: int) -> str:
    """A time as ISO 8601, UTC, with milliseconds."""
    moment = datetime.fromtimestamp(at_ms / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def link_url(record: PhotoRecord, base: str) -> str:
    """The capability link: whoever has it may see the photo."""
    return f"{base}/photo/{record.photo}/{format_cookie(record.cookie)}"


def photo(record: PhotoRecord, base: str) -> Json:
    """A photo as the directory knows it."""
    return {
        "photo_id": record.photo,
        "cookie": format_cookie(record.cookie),
        "url": link_url(record, base),
        "status": record.status.value,
        "logical_volume": volume_name(volume_of(record.photo)),
        "alt_key": record.alternate_key.label,
        "replicas": list(record.replicas),
        "size": record.size,
        "media_type": record.media_type,
        "width": record.width,
        "height": record.height,
        "sha256": record.sha256.hex(),
        "name": record.name,
        "created_at": time_text(record.created_at_ms),
    }


def details(told: PhotoDetails, record: PhotoRecord, base: str, *, show_position: bool) -> Json:
    """What a photo's file says about it."""
    position = None
    if show_position and told.latitude is not None:
        position = {
            "latitude": told.latitude,
            "longitude": told.longitude,
            "altitude_m": told.altitude_m,
        }
    link = link_url(record, base)
    return {
        "width": told.width,
        "height": told.height,
        "frames": told.frames,
        "taken_at": told.taken_at,
        "camera_make": told.camera_make,
        "camera_model": told.camera_model,
        "lens": told.lens,
        "exposure_seconds": told.exposure_seconds,
        "f_number": told.f_number,
        "iso": told.iso,
        "focal_length_mm": told.focal_length_mm,
        "focal_length_35mm": told.focal_length_35mm,
        "position": position,
        "placeholder": base64.b64encode(told.placeholder).decode(),
        "renditions": [
            {
                "rendition": one.alternate_key.label,
                "width": one.width,
                "height": one.height,
                "url": f"{link}/{one.alternate_key.label}",
            }
            for one in told.renditions
        ],
        "failure": told.failure,
    }


def uploaded(kept: Kept, base: str) -> Json:
    """The answer to an upload."""
    record = kept.record
    return {
        "photo_id": record.photo,
        "cookie": format_cookie(record.cookie),
        "url": link_url(record, base),
        "logical_volume": volume_name(volume_of(record.photo)),
        "alt_key": record.alternate_key.label,
        "size": record.size,
        "media_type": record.media_type,
        "width": record.width,
        "height": record.height,
        "sha256": record.sha256.hex(),
        "name": record.name,
        "created_at": time_text(record.created_at_ms),
        "duplicate_of": kept.duplicate_of,
        "repeated": kept.repeated,
    }


def refused(name: str, error: HayloftError) -> Json:
    """One file of several that was not kept."""
    return {"name": name, "error": {"code": error.code, "message": error.message, **error.details}}


def photo_link(link: Link, of: PhotoId) -> Json:
    """A link as seen from one of its photos."""
    return {"photo_id": link.other(of), **_link(link)}


def link(link: Link) -> Json:
    """A link with both its photos."""
    return {"a": link.a, "b": link.b, **_link(link)}


def _link(link: Link) -> Json:
    return {
        "relation": link.relation.value,
        "score": link.score,
        "method": link.method,
        "evidence": dict(link.evidence),
        "verdict": link.verdict.value if link.verdict else None,
        "created_at": time_text(link.created_at_ms),
    }


def verdict(given: GivenVerdict) -> Json:
    """A person's word on a pair."""
    return {
        "a": given.a,
        "b": given.b,
        "verdict": given.verdict.value,
        "created_at": time_text(given.created_at_ms),
    }


def neighbour(found: Neighbour) -> Json:
    """A similar photo."""
    return {
        "photo_id": found.photo,
        "distance": found.distance,
        "score": found.score,
        "relation": found.relation.value,
        "method": found.method,
        "evidence": dict(found.evidence),
    }


def similarity(status: SimilarityStatus) -> Json:
    """How far ingest has got."""
    return {
        "trained": status.trained,
        "total_indexed": status.total_indexed,
        "undecodable": status.undecodable,
        "parked": status.parked,
        "position": status.position,
        "pending": status.pending,
        "photos_per_second": status.photos_per_second,
        "seconds_left": status.seconds_left,
        "embedder": status.embedder,
        "embedded": status.embedded,
        "embedder_hint": status.embedder_hint,
        "takes_words": status.takes_words,
        "rebuilding": status.rebuilding,
    }


def parked(one: ParkedEvent) -> Json:
    """An event that was set aside."""
    return {
        "position": one.event.position,
        "kind": one.event.kind.value,
        "photo_id": one.event.photo,
        "reason": one.reason,
        "times": one.times,
        "parked_at": time_text(one.parked_at_ms),
        "due": one.due,
    }


def directory(statistics: DirectoryStatistics) -> Json:
    """Totals over all photos."""
    return {
        "photos": statistics.photos,
        "deleted": statistics.deleted,
        "bytes": statistics.bytes,
        "volumes": statistics.volumes,
        "writable_volumes": statistics.writable_volumes,
        "last_event": statistics.last_event,
        "uploads_refused": statistics.uploads_refused,
    }


def store(health: StoreHealth) -> Json:
    """One store's account of itself."""
    return {
        "store_id": health.store,
        "free_bytes": health.free_bytes,
        "capacity_bytes": health.capacity_bytes,
        "volumes": [
            {
                "logical_volume": volume_name(state.volume),
                "needles": state.needles,
                "size_bytes": state.size_bytes,
                "sealed": state.sealed,
                "corrupt": state.corrupt,
                "live_bytes": state.live_bytes,
            }
            for state in health.volumes
        ],
    }
