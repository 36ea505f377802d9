"""``hayloft stats``: what the server holds, and how far linking has got."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from hayloft.cli.commands import add
from hayloft.cli.connection import connect
from hayloft.cli.options import URL, ApiKey, Json, Url
from hayloft.cli.output import bytes_text, console, count_text, pairs, print_json, table
from hayloft.types import StoreHealth, volume_name

if TYPE_CHECKING:
    from hayloft.client import Statistics


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    add(app, "stats", stats)


def stats(url: Url = URL, api_key: ApiKey = None, as_json: Json = False) -> None:
    """Show what the server holds: photos, volumes, free space, and how far linking has got."""
    with connect(url, api_key) as client:
        found = client.stats()
    if as_json:
        print_json(found)
        return
    console().print(pairs([*_photos(found), *_linking(found)]))
    for store in found.stores:
        console().print(_volumes(store))


def _photos(found: Statistics) -> list[tuple[str, str]]:
    held = found.directory
    return [
        ("photos", f"{held.photos:,} ({bytes_text(held.bytes)}), {held.deleted:,} deleted"),
        ("volumes", f"{held.volumes:,}, {held.writable_volumes:,} of them writable"),
        *([("uploads", f"refused: {held.uploads_refused}")] if held.uploads_refused else []),
        *((f"store {store.store}", _space(store)) for store in found.stores),
    ]


def _space(store: StoreHealth) -> str:
    return f"{bytes_text(store.free_bytes)} free of {bytes_text(store.capacity_bytes)}"


def _linking(found: Statistics) -> list[tuple[str, str]]:
    status = found.similarity
    if status is None:
        return [("linking", "off, or the ingest process does not answer")]
    rest = f"{count_text(status.pending, 'event')} to go" if status.pending else "up to date"
    looked = f"{count_text(status.total_indexed, 'photo')} looked at, {rest}"
    odd = [
        (f"{status.undecodable:,} that cannot be decoded", status.undecodable),
        (f"{status.parked:,} given up", status.parked),
        (f"{status.photos_per_second:.1f} photos/s", status.photos_per_second),
    ]
    return [("linking", ", ".join([looked, *(text for text, count in odd if count)]))]


def _volumes(store: StoreHealth) -> object:
    return table(
        ["volume", "needles", "size", "state"],
        (
            (
                volume_name(volume.volume),
                f"{volume.needles:,}",
                bytes_text(volume.size_bytes),
                ("sealed" if volume.sealed else "open")
                + (f", {volume.corrupt} damaged reads" if volume.corrupt else ""),
            )
            for volume in store.volumes
        ),
        right=["needles", "size"],
    )
