"""``hayloft ls``, ``info``, ``get`` and ``rm``: the photos themselves."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from hayloft.cli.commands import add
from hayloft.cli.connection import connect, connect_to
from hayloft.cli.failure import Complaint, ExitCode, exit_code_of
from hayloft.cli.options import URL, ApiKey, Everything, Json, Limit, PhotoName, Url, rows_max
from hayloft.cli.output import (
    bytes_text,
    complain,
    console,
    count_text,
    pairs,
    print_json,
    print_line,
    safe,
    say,
    table,
    time_text,
)
from hayloft.errors import HayloftError
from hayloft.types import PhotoDetails, PhotoStatus

if TYPE_CHECKING:
    from hayloft.client import Client, Page, Photo

PAGE: Final = 500

_TIMES: Final = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"]

Size = Literal["orig", "large", "medium", "small", "thumb"]


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    add(app, "ls", ls)
    add(app, "info", info)
    add(app, "get", get)
    add(app, "rm", rm)


def ls(
    url: Url = URL,
    api_key: ApiKey = None,
    limit: Limit = None,
    everything: Everything = False,
    oldest: Annotated[bool, typer.Option("--oldest", help="Oldest first, not newest.")] = False,
    status: Annotated[
        PhotoStatus | None, typer.Option(help="Only photos in this state; see also --any.")
    ] = PhotoStatus.ACTIVE,
    any_status: Annotated[bool, typer.Option("--any", help="Photos in every state.")] = False,
    media_type: Annotated[
        str | None,
        typer.Option("--type", help="Only this media type, such as image/jpeg.", show_default=False),
    ] = None,
    created_from: Annotated[
        datetime | None,
        typer.Option(
            "--from",
            metavar="TIME",
            formats=_TIMES,
            help="Uploaded then or later: 2026-11-24, or 2026-11-24T18:30:00.",
            show_default=False,
        ),
    ] = None,
    created_until: Annotated[
        datetime | None,
        typer.Option(
            "--until", metavar="TIME", formats=_TIMES, help="Uploaded before.", show_default=False
        ),
    ] = None,
    sha256: Annotated[
        str | None, typer.Option("--sha256", help="Only these bytes.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """List photos, newest first."""
    rows = rows_max(limit, everything=everything, as_json=as_json)
    with connect(url, api_key) as client:
        pages = _pages(
            client,
            rows,
            status=None if any_status else status,
            media_type=media_type,
            created_from=created_from,
            created_until=created_until,
            sha256=sha256,
            newest_first=not oldest,
        )
        _print_pages(pages, as_json=as_json)


def info(
    photo: PhotoName,
    url: Url = URL,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Show what is known about a photo."""
    from hayloft.client import parse_reference

    reference = parse_reference(photo)
    with connect_to(reference, url, api_key) as client:
        found = client.info(reference.photo)
    if as_json:
        print_json(found)
        return
    console().print(pairs(_described(found)))


def get(
    photo: PhotoName,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="File or folder to write; - is standard output. Default: its own name, here.",
            show_default=False,
        ),
    ] = None,
    size: Annotated[
        Size | None,
        typer.Option("--size", help="A rendition instead of the original.", show_default=False),
    ] = None,
    force: Annotated[bool, typer.Option("--force", "-f", help="Replace a file that exists.")] = False,
    url: Url = URL,
    api_key: ApiKey = None,
) -> None:
    """Download a photo's original bytes, or a rendition, by its id or by its link."""
    from hayloft.cli.download import choose_path, download
    from hayloft.client import parse_reference

    reference = parse_reference(photo)
    with (
        connect_to(reference, url, api_key) as client,
        client.open(photo if reference.cookie else reference.photo, rendition=size) as file,
    ):
        if output == Path("-"):
            for chunk in iter(lambda: file.read(1 << 20), b""):
                sys.stdout.buffer.write(chunk)
            return
        path = choose_path(output, file.name, reference.photo)
        if path.exists() and not force:
            raise Complaint(
                f"{safe(path)} exists already.",
                advice="Choose another file with -o, or replace it with --force.",
                code=ExitCode.LOCAL,
            )
        download(file, path)
        say(f"{safe(path)}  {bytes_text(file.size)}  {file.media_type}")


def rm(
    photos: Annotated[list[str], typer.Argument(metavar="ID|URL...", help="Which photos.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    url: Url = URL,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Delete photos, for good."""
    from hayloft.client import parse_reference

    wanted = [parse_reference(photo).photo for photo in photos]
    if not yes and not typer.confirm(f"Delete {count_text(len(wanted), 'photo')} for good?", err=True):
        raise Complaint("Nothing was deleted.", code=ExitCode.OK)
    failures: list[HayloftError] = []
    with connect(url, api_key) as client:
        for photo in wanted:
            try:
                deletion = client.delete(photo)
            except HayloftError as error:
                failures.append(error)
                complain(error)
                continue
            if as_json:
                print_json(deletion)
            else:
                late = ", ".join(deletion.failed_replicas)
                print_line(f"{photo}  deleted" + (f" (later on: {late})" if late else ""))
    if failures:
        raise typer.Exit(exit_code_of(failures[0]) if len(wanted) == 1 else ExitCode.PARTLY)


def _pages(client: Client, rows: int | None, **filters: object) -> Iterator[Page[Photo]]:
    cursor: str | None = None
    left = rows
    while left is None or left > 0:
        size = PAGE if left is None else min(left, PAGE)
        page = client.photos_page(limit=size, cursor=cursor, **filters)  # type: ignore[arg-type]
        yield page
        cursor = page.next_cursor
        left = None if left is None else left - len(page.items)
        if cursor is None:
            return


def _print_pages(pages: Iterator[Page[Photo]], *, as_json: bool) -> None:
    shown = total = 0
    for page in pages:
        shown, total = shown + len(page.items), page.total
        if as_json:
            for photo in page.items:
                print_json(photo)
        elif page.items:
            console().print(_listing(page))
    if as_json:
        return
    if total == 0:
        say("No photos. Upload some with: hayloft put FOLDER")
    elif shown < total:
        say(f"{shown:,} of {count_text(total, 'photo')}; see more with --limit N or --all.")
    else:
        say(f"{count_text(total, 'photo')}.")


def _listing(page: Page[Photo]) -> object:
    return table(
        ["id", "uploaded", "type", "pixels", "size", "name"],
        (
            (
                str(photo.id),
                time_text(photo.created_at),
                photo.media_type.removeprefix("image/") + _mark(photo),
                f"{photo.width}×{photo.height}",
                bytes_text(photo.size),
                safe(photo.name),
            )
            for photo in page.items
        ),
        right=["id", "pixels", "size"],
        cut=["name"],
    )


def _mark(photo: Photo) -> str:
    return "" if photo.status is PhotoStatus.ACTIVE else f" ({photo.status})"


def _described(photo: Photo) -> list[tuple[str, str]]:
    return [
        ("photo", str(photo.id)),
        ("status", str(photo.status)),
        ("name", safe(photo.name)),
        ("type", photo.media_type),
        ("pixels", f"{photo.width}×{photo.height}"),
        ("size", f"{bytes_text(photo.size)} ({photo.size:,} bytes)"),
        ("uploaded", time_text(photo.created_at)),
        ("sha256", photo.sha256),
        ("link", photo.url),
        ("kept in", f"{photo.logical_volume} on {', '.join(photo.replicas)}"),
        *(_details(photo.details) if photo.details else ()),
    ]


def _details(details: PhotoDetails) -> list[tuple[str, str]]:
    camera = " ".join(part for part in (details.camera_make, details.camera_model) if part)
    sizes = (f"{one.alternate_key.label} {one.width}×{one.height}" for one in details.renditions)
    rows = [
        ("taken at", details.taken_at),
        ("camera", safe(camera)),
        ("lens", safe(details.lens)),
        ("renditions", ", ".join(sizes)),
        ("not decoded", safe(details.failure)),
    ]
    if details.latitude is not None and details.longitude is not None:
        rows.append(("position", f"{details.latitude:.6f}, {details.longitude:.6f}"))
    return [(name, value) for name, value in rows if value]
