"""``hayloft compact`` and ``hayloft rebuild``: space from deleted photos, and a directory that was lost."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hayloft.cli.commands import add
from hayloft.cli.failure import Complaint, ExitCode
from hayloft.cli.options import DataFolder, Json
from hayloft.cli.output import bytes_text, console, count_text, error_console, print_json, safe, say, table
from hayloft.types import volume_name

if TYPE_CHECKING:
    from hayloft.assembly.compact import Compaction
    from hayloft.assembly.rebuild import Outcome


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    add(app, "compact", compact)
    add(app, "rebuild", rebuild)


def compact(
    data: DataFolder = Path("hayloft-data"),
    waste: Annotated[
        int,
        typer.Option("--waste", min=0, max=100, help="Leave volumes alone that waste less, in percent."),
    ] = 20,
    as_json: Json = False,
) -> None:
    """Give the disk space of deleted photos back; a server may be running on the data.

    Volumes of which at least --waste percent is deleted or replaced are written anew, one after the other,
    those first that need the least room. Reads and uploads go on, and an interruption loses nothing.
    """
    from hayloft.assembly.compact import compact as compact_data
    from hayloft.config import Settings

    _check(data)
    outcome: Compaction = _watch(
        "Compacting",
        lambda progress: compact_data(Settings(data=data), waste_percent_min=waste, progress=progress),
        lambda done, total: f"{done}/{total} volumes",
    )
    _tell_compaction(outcome, as_json=as_json)
    raise typer.Exit(ExitCode.PARTLY if outcome.failures else ExitCode.OK)


def rebuild(
    data: DataFolder = Path("hayloft-data"),
    replace: Annotated[
        bool,
        typer.Option(
            "--replace",
            help="Also when a directory is there; it is kept under another name beside the new.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Make a lost or damaged directory database anew from the volumes. The server must be stopped.

    Every photo comes back with its id, link, name, digest and time of upload, deleted ones as deleted. Not
    kept in volumes, and so lost, are idempotency keys; details, renditions and links are made again after
    the next start. Uploads that were cut off before they were acknowledged come back as photos.
    """
    from hayloft.assembly.rebuild import rebuild as rebuild_data

    _check(data)
    if (data / "directory.sqlite").exists() and not replace:
        raise Complaint(
            f"{safe(data)} has a directory.",
            advice="If it is damaged, make it anew with: hayloft rebuild --replace",
            code=ExitCode.REFUSED,
        )
    outcome: Outcome = _watch(
        "Rebuilding",
        lambda progress: rebuild_data(data, replace=replace, progress=progress),
        lambda read, total: f"{bytes_text(read)} of {bytes_text(total)}",
    )
    _tell_rebuild(outcome, as_json=as_json)
    raise typer.Exit(ExitCode.PARTLY if outcome.damaged_stretches else ExitCode.OK)


def _check(data: Path) -> None:
    from hayloft.assembly.data_directory import DataDirectory

    if not DataDirectory(data).marker.exists():
        raise Complaint(
            f"{safe(data)} holds no Hayloft data.",
            advice="Give the server's data directory with --data.",
            code=ExitCode.LOCAL,
        )


def _watch(what: str, work: Any, text: Any) -> Any:
    """Do the work with a progress bar, if somebody is looking."""
    from hayloft.cli.progress import count_progress

    with count_progress(error_console()) as progress:
        task = progress.add_task(what, total=None, files="")

        def on_progress(done: int, total: int) -> None:
            progress.update(task, completed=done, total=max(total, 1), files=text(done, total))

        return asyncio.run(work(on_progress))


def _tell_compaction(outcome: Compaction, *, as_json: bool) -> None:
    if as_json:
        print_json(_compaction_document(outcome))
        return
    rows = [
        (
            volume_name(report.volume),
            bytes_text(report.size_bytes_before),
            bytes_text(report.size_bytes_after),
            f"{report.needles:,}",
        )
        for report in outcome.reports
    ]
    if rows:
        sizes = ["before", "after", "needles"]
        console().print(table(["volume", *sizes], rows, right=sizes))
    for volume, error in outcome.failures:
        say(f"{volume_name(volume)}: {safe(error.message)}", style="red")
    done = f"{len(outcome.reports)} of {count_text(outcome.volumes, 'volume')} compacted"
    say(f"{done}, {bytes_text(outcome.reclaimed_bytes)} given back.", style="bold green")


def _compaction_document(outcome: Compaction) -> dict[str, Any]:
    return {
        "volumes": outcome.volumes,
        "reclaimed_bytes": outcome.reclaimed_bytes,
        "compacted": [
            {
                "logical_volume": volume_name(report.volume),
                "size_bytes_before": report.size_bytes_before,
                "size_bytes_after": report.size_bytes_after,
                "needles": report.needles,
            }
            for report in outcome.reports
        ],
        "failed": [
            {"logical_volume": volume_name(volume), "code": error.code, "message": error.message}
            for volume, error in outcome.failures
        ],
    }


def _tell_rebuild(outcome: Outcome, *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "photos": outcome.photos,
                "deleted": outcome.deleted,
                "volumes": outcome.volumes,
                "damaged_stretches": outcome.damaged_stretches,
                "kept": str(outcome.kept) if outcome.kept else None,
            }
        )
        return
    volumes = count_text(outcome.volumes, "volume")
    told = f"{count_text(outcome.photos, 'photo is', 'photos are')} back from {volumes}"
    deleted = count_text(outcome.deleted, "deleted photo is", "deleted photos are")
    say(f"{told}; {deleted} known as deleted.", style="bold green")
    if outcome.damaged_stretches:
        stretches = count_text(outcome.damaged_stretches, "damaged stretch", "damaged stretches")
        say(f"{stretches} of the logs could not be read; bring those photos back from a backup.")
    if outcome.kept:
        say(f"The directory that was there is now {safe(outcome.kept)}.")
    say("Check all of it with: hayloft verify")
