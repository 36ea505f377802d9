"""The routes by which replicas are compared, copied and begun anew."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Query, Response
from pydantic import BaseModel, Field

from hayloft import limits
from hayloft.roles import Store
from hayloft.store import replica_wire, wire
from hayloft.types import NeedleKey, Scrutiny, StoreId, VolumeId


class Wanted(BaseModel):
    """Needles, each by its sequence number and alternate key."""

    needles: list[tuple[int, str]] = Field(max_length=limits.TRANSFER_NEEDLES_MAX)


class WantedFrom(Wanted):
    """Needles, and the store from which they are to be taken over."""

    source: str = Field(min_length=1, max_length=255)


def add_replica_routes(app: FastAPI, store: Store) -> None:
    """Have the application answer what the pitchfork asks."""

    @app.get("/volume/{lv}/digest")
    async def digest(lv: str, scrutiny: Scrutiny = Scrutiny.KNOWN) -> dict[str, Any]:
        """What this replica holds, in short, for comparing it with another."""
        return replica_wire.digest_to_json(await store.digest(wire.parse_volume(lv), scrutiny=scrutiny))

    @app.get("/volume/{lv}/needles")
    async def needles(
        lv: str,
        after: str | None = None,
        limit: int = Query(default=limits.TRANSFER_NEEDLES_MAX),
        scrutiny: Scrutiny = Scrutiny.KNOWN,
    ) -> dict[str, Any]:
        """Live and deleted needles past ``after`` (sequence number, slash, alternate key), in order."""
        volume = wire.parse_volume(lv)
        start = replica_wire.key_from_text(volume, after) if after is not None else None
        found = await store.needles(volume, after=start, limit=limit, scrutiny=scrutiny)
        return {"lv": lv, "needles": replica_wire.entries_to_json(found)}

    @app.post("/volume/{lv}/export")
    async def export(lv: str, wanted: Wanted) -> Response:
        """These needles as records that another store verifies and takes over."""
        volume = wire.parse_volume(lv)
        records = await store.export_needles(volume, _keys(volume, wanted))
        return Response(records, media_type="application/octet-stream")

    @app.post("/volume/{lv}/fetch")
    async def fetch(lv: str, wanted: WantedFrom) -> dict[str, int]:
        """Take these needles over from another store, durably; it is asked for them by its name."""
        volume = wire.parse_volume(lv)
        keys = _keys(volume, wanted)
        imported = await store.fetch_needles(volume, keys, source=StoreId(wanted.source))
        return replica_wire.imported_to_json(imported)

    @app.post("/volume/{lv}/rebuild_index")
    async def rebuild_index(lv: str) -> dict[str, Any]:
        """Make a volume's index anew from its log."""
        await store.rebuild_index(wire.parse_volume(lv))
        return {"status": "rebuilt", "lv": lv}

    @app.post("/volume/{lv}/set_aside")
    async def set_aside(lv: str) -> dict[str, Any]:
        """Rename a volume that cannot be opened, so that it can be filled anew."""
        await store.set_aside(wire.parse_volume(lv))
        return {"status": "set aside", "lv": lv}


def _keys(volume: VolumeId, wanted: Wanted) -> list[NeedleKey]:
    return [replica_wire.key_from_json(volume, list(told)) for told in wanted.needles]
