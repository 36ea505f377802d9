"""What client and server of a store say to each other when replicas are compared and copied. Pure.

A needle is named by its sequence number and the label of its alternate key: the volume stands in the
address. Listings are arrays, not objects, because a volume has many needles.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from hayloft import limits
from hayloft.errors import InvalidRequest
from hayloft.types import (
    AlternateKey,
    Imported,
    NeedleEntry,
    NeedleKey,
    RangeDigest,
    Sequence,
    VolumeDigest,
    VolumeId,
    photo_id,
    sequence_of,
    volume_name,
)

_DELETED, _DAMAGED = "deleted", "damaged"


def key_to_json(key: NeedleKey) -> list[Any]:
    """Which needle of a volume."""
    return [sequence_of(key.photo), key.alternate_key.label]


def key_from_json(volume: VolumeId, told: Any) -> NeedleKey:
    """Which needle of a volume, as told.

    Raises:
        InvalidRequest: it names none.
    """
    match told:
        case [int(sequence), str(label)] if 0 <= sequence < limits.SEQUENCES_PER_VOLUME_MAX:
            key = AlternateKey.parse(label)
            if key is not None:
                return NeedleKey(photo_id(volume, Sequence(sequence)), key)
    raise InvalidRequest("A needle is named by its sequence number and its alternate key.")


def key_to_text(key: NeedleKey) -> str:
    """Which needle of a volume, in an address."""
    return f"{sequence_of(key.photo)}/{key.alternate_key.label}"


def key_from_text(volume: VolumeId, text: str) -> NeedleKey:
    """Which needle of a volume, out of an address.

    Raises:
        InvalidRequest: it names none.
    """
    sequence, _slash, label = text.partition("/")
    known = sequence.isascii() and sequence.isdigit() and len(sequence) <= 10
    return key_from_json(volume, [int(sequence) if known else -1, label])


def entries_to_json(entries: Iterable[NeedleEntry]) -> list[list[Any]]:
    """A listing."""
    return [[*key_to_json(entry.key), entry.size, entry.checksum, _condition(entry)] for entry in entries]


def entries_from_json(volume: VolumeId, told: Iterable[list[Any]]) -> tuple[NeedleEntry, ...]:
    """A listing, as told."""
    return tuple(
        NeedleEntry(
            key=key_from_json(volume, [sequence, label]),
            size=int(size),
            checksum=None if checksum is None else int(checksum),
            deleted=condition == _DELETED,
            damaged=condition == _DAMAGED,
        )
        for sequence, label, size, checksum, condition in told
    )


def digest_to_json(digest: VolumeDigest) -> dict[str, Any]:
    """What a replica holds, in short."""
    return {
        "lv": volume_name(digest.volume),
        "needles": digest.needles,
        "live_bytes": digest.live_bytes,
        "deleted": digest.deleted,
        "damaged": digest.damaged,
        "digest": digest.digest,
        "ranges": [[each.first, each.digest] for each in digest.ranges],
    }


def digest_from_json(volume: VolumeId, told: Mapping[str, Any]) -> VolumeDigest:
    """What a replica holds, as told."""
    return VolumeDigest(
        volume=volume,
        needles=int(told["needles"]),
        live_bytes=int(told["live_bytes"]),
        deleted=int(told["deleted"]),
        damaged=int(told["damaged"]),
        digest=str(told["digest"]),
        ranges=tuple(
            RangeDigest(first=Sequence(int(first)), digest=str(digest)) for first, digest in told["ranges"]
        ),
    )


def imported_to_json(imported: Imported) -> dict[str, int]:
    """What an import did."""
    return {"stored": imported.stored, "deleted": imported.deleted, "kept": imported.kept}


def imported_from_json(told: Mapping[str, Any]) -> Imported:
    """What an import did, as told."""
    return Imported(stored=int(told["stored"]), deleted=int(told["deleted"]), kept=int(told["kept"]))


def _condition(entry: NeedleEntry) -> str | None:
    if entry.deleted:
        return _DELETED
    return _DAMAGED if entry.damaged else None
