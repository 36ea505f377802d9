"""What client and server of a store say to each other as JSON. Pure.

The contract's own fields (docs/ARCHITECTURE.md) are always there; what is more is ours, and a peer that
leaves it out is understood. What stands in headers is in ``wire/needles.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hayloft.errors import InvalidRequest
from hayloft.types import (
    CompactionReport,
    PhotoId,
    StoreHealth,
    StoreId,
    VolumeId,
    VolumeReport,
    VolumeState,
    parse_volume_name,
    volume_name,
)
from hayloft.wire import needles


def parse_volume(name: str) -> VolumeId:
    """The volume in an address.

    Raises:
        InvalidRequest: it is not named ``lv-<n>``.
    """
    volume = parse_volume_name(name)
    if volume is None:
        raise InvalidRequest("A logical volume is named lv-<n>.")
    return volume


def state_to_json(state: VolumeState) -> dict[str, Any]:
    """One volume's state."""
    return {
        "lv": volume_name(state.volume),
        "needles": state.needles,
        "size_bytes": state.size_bytes,
        "sealed": state.sealed,
        "corrupt": state.corrupt,
        "live_bytes": state.live_bytes,
    }


def state_from_json(told: Mapping[str, Any]) -> VolumeState:
    """One volume's state, as told."""
    return VolumeState(
        volume=parse_volume(str(told["lv"])),
        needles=int(told["needles"]),
        size_bytes=int(told["size_bytes"]),
        sealed=bool(told["sealed"]),
        corrupt=int(told.get("corrupt", 0)),
        live_bytes=None if told.get("live_bytes") is None else int(told["live_bytes"]),
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
        (PhotoId(each["photo_id"]), needles.parse_alternate_key(each["alt_key"]), str(each["reason"]))
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
