"""``hayloft export``: every original back out as a file, with a manifest, resumable.

A file is listed in the manifest only when it is whole and its SHA-256 is that of the upload, so an
export can be cut off at any moment and taken up again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hayloft.cli.commands import add
from hayloft.cli.connection import connect
from hayloft.cli.failure import Complaint, ExitCode
from hayloft.cli.manifest import MANIFEST, Entry, Manifest, SavedVerdict, write_verdicts
from hayloft.cli.options import URL, ApiKey, Json, Parallel, Url
from hayloft.cli.output import bytes_text, complain, count_text, error_console, print_json, safe, say
from hayloft.errors import Gone, HayloftError

if TYPE_CHECKING:
    from hayloft.client import Client, Photo


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    add(app, "export", export)


def export(
    folder: Annotated[
        Path, typer.Argument(file_okay=False, help="Where to write; made if it is not there.")
    ],
    check: Annotated[
        bool, typer.Option("--check", help="Read files of an earlier run again, not only their sizes.")
    ] = False,
    parallel: Parallel = 4,
    url: Url = URL,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Write all originals out as files, with a manifest.

    Files have the names they were uploaded with; where two are alike, the photo's id is added. Running it
    again writes what is missing. Verdicts about pairs are saved, too. Get it all back with: hayloft import
    """
    folder.mkdir(parents=True, exist_ok=True)
    manifest = Manifest(folder)
    if not manifest.entries and any(not path.name.startswith(".") for path in folder.iterdir()):
        raise Complaint(
            f"{safe(folder)} has files in it that no export wrote.",
            advice="Export into an empty folder.",
            code=ExitCode.LOCAL,
        )
    with connect(url, api_key) as client:
        run = _Export(client, manifest, check=check, as_json=as_json)
        try:
            run.write_all(parallel)
            saved = _save_verdicts(client, folder)
        except KeyboardInterrupt:
            say("Interrupted; run the same command again to go on where it stopped.")
            raise typer.Exit(ExitCode.INTERRUPTED) from None
    run.summarise(saved)
    raise typer.Exit(ExitCode.PARTLY if run.failed else ExitCode.OK)


class _Export:
    """One run."""

    def __init__(self, client: Client, manifest: Manifest, *, check: bool, as_json: bool) -> None:
        self._client = client
        self._manifest = manifest
        self._check = check
        self._as_json = as_json
        self._written = self._bytes = self._present = 0
        self.failed = 0

    def write_all(self, parallel: int) -> None:
        """Write every photo that is not there yet, ``parallel`` at a time."""
        from hayloft.cli.progress import transfer_progress

        total = self._client.stats().directory
        with (
            transfer_progress(error_console()) as progress,
            ThreadPoolExecutor(parallel) as pool,
        ):
            task = progress.add_task("Exporting", total=max(total.bytes, 1), files="")
            photos = _in_parallel(pool, parallel, self._write, self._client.photos())
            for done, photo in enumerate(photos, 1):
                progress.update(task, advance=photo.size, files=f"{done:,}/{total.photos:,} photos")

    def summarise(self, verdicts: int) -> None:
        """Tell what was done."""
        parts = [f"{count_text(self._written, 'photo')} written ({bytes_text(self._bytes)})"]
        if self._present:
            parts.append(f"{self._present:,} already there")
        if verdicts:
            parts.append(count_text(verdicts, "verdict"))
        if self.failed:
            parts.append(f"{self.failed:,} failed; run it again to try those once more")
        say(f"{', '.join(parts)}. Listed in {safe(self._manifest.folder / MANIFEST)}.", "bold")

    def _write(self, photo: Photo) -> Photo:
        from hayloft.cli.download import download, safe_name

        if self._is_there(photo):
            self._present += 1
            return photo
        try:
            name = self._manifest.claim(safe_name(photo.name, photo.id), photo.id, _is_free_for(photo))
            path = self._manifest.folder / name
            with self._client.open(photo) as file:
                download(file, path, sha256=photo.sha256)
        except Gone:
            return photo  # deleted since the page of the listing was made
        except HayloftError as error:
            self.failed += 1
            complain(error)
            return photo
        self._record(photo, path)
        return photo

    def _is_there(self, photo: Photo) -> bool:
        from hayloft.client.sources import digest_file

        entry = self._manifest.entries.get(photo.id)
        path = self._manifest.folder / entry.file if entry else None
        if entry is None or path is None or not path.is_file() or path.stat().st_size != entry.size:
            return False
        return not self._check or digest_file(path)[0].hex() == photo.sha256

    def _record(self, photo: Photo, path: Path) -> None:
        from hayloft.client.answers import format_time

        entry = Entry(
            photo_id=photo.id,
            file=path.name,
            name=photo.name,
            size=photo.size,
            sha256=photo.sha256,
            media_type=photo.media_type,
            width=photo.width,
            height=photo.height,
            created_at=format_time(photo.created_at),
        )
        if self._manifest.entries.get(photo.id) != entry:
            self._manifest.append(entry)
        self._written += 1
        self._bytes += photo.size
        if self._as_json:
            print_json(entry)


def _is_free_for(photo: Photo) -> Callable[[Path], bool]:
    """Whether a file may be written: it is not there, or it is this photo, of a run that was cut off."""
    from hayloft.client.sources import digest_file

    def is_free(path: Path) -> bool:
        if not path.exists():
            return True
        return path.is_file() and digest_file(path)[0].hex() == photo.sha256

    return is_free


def _save_verdicts(client: Client, folder: Path) -> int:
    said = client.verdicts()
    return write_verdicts(
        folder, (SavedVerdict(a=one.a, b=one.b, verdict=str(one.verdict)) for one in said)
    )


def _in_parallel(
    pool: ThreadPoolExecutor, parallel: int, work: Callable[[Photo], Photo], photos: Iterator[Photo]
) -> Iterator[Photo]:
    """Results as they come, never more than twice ``parallel`` begun: listings can be endless."""
    pending: set[Future[Photo]] = set()
    for photo in photos:
        pending.add(pool.submit(work, photo))
        if len(pending) >= 2 * parallel:
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
    yield from (future.result() for future in pending)
