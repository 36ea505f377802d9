"""``hayloft import``: a folder that ``hayloft export`` wrote, back into a library, resumable.

Every file is compared with the manifest before it is sent. Photos keep their names and upload times, and
photos with the same bytes stay as many as they were; their ids are new. Verdicts follow their photos.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hayloft.cli.commands import add
from hayloft.cli.manifest import Entry, SavedVerdict, read_entries, read_verdicts
from hayloft.cli.options import URL, ApiKey, Json, Parallel, Url
from hayloft.cli.put import run_and_tell, upload_all
from hayloft.types import PhotoId

if TYPE_CHECKING:
    from hayloft.client import AsyncClient, Found


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    add(app, "import", import_folder)


def import_folder(
    folder: Annotated[
        Path, typer.Argument(exists=True, file_okay=False, help="A folder that hayloft export wrote.")
    ],
    parallel: Parallel = 4,
    url: Url = URL,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Upload a folder that hayloft export wrote, with its names, upload times and verdicts.

    Running it again is safe. Photos have other ids than before.
    """
    from hayloft.cli.tally import Tally
    from hayloft.client import AsyncClient, FolderUpload

    entries = read_entries(folder)
    verdicts = read_verdicts(folder)
    tally = Tally(as_json=as_json)

    async def run() -> None:
        async with AsyncClient(url, api_key=api_key) as client:
            await upload_all(FolderUpload(client, _files(folder, entries), parallel=parallel), tally)
            if not tally.interrupted:
                await _restore(client, verdicts, _new_ids(folder, entries, tally.photos))

    run_and_tell(run, tally)


def _files(folder: Path, entries: list[Entry]) -> Iterator[Found]:
    """The files to upload. Contents that several photos share get keys, so that they stay several."""
    from hayloft.client import Found
    from hayloft.client.answers import parse_time

    copies = Counter(entry.sha256 for entry in entries)
    for entry in entries:
        yield Found(
            path=folder / entry.file,
            size=entry.size,
            name=entry.name,
            sha256=entry.sha256,
            idempotency_key=_key(entry) if copies[entry.sha256] > 1 else None,
            created_at=parse_time(entry.created_at) if entry.created_at else None,
        )


def _key(entry: Entry) -> str:
    """The same for the same exported photo, whenever it is imported."""
    identity = f"{entry.photo_id} {entry.sha256} {entry.created_at}"
    return "import-" + hashlib.sha256(identity.encode()).hexdigest()[:32]


def _new_ids(folder: Path, entries: Iterable[Entry], photos: Mapping[Path, PhotoId]) -> dict[int, PhotoId]:
    return {
        entry.photo_id: photos[folder / entry.file] for entry in entries if folder / entry.file in photos
    }


async def _restore(
    client: AsyncClient, verdicts: Iterable[SavedVerdict], ids: Mapping[int, PhotoId]
) -> None:
    """Say again what people said, about the photos' new ids."""
    for saved in verdicts:
        if saved.a in ids and saved.b in ids:
            await client.set_verdict(ids[saved.a], ids[saved.b], saved.verdict)
