"""``hayloft verify``: reads everything that is kept and says whether it is whole."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from hayloft.cli.commands import add
from hayloft.cli.failure import Complaint, ExitCode
from hayloft.cli.options import DataFolder, Json
from hayloft.cli.output import bytes_text, console, count_text, error_console, print_json, safe, say, table

if TYPE_CHECKING:
    from hayloft.assembly.verify import Finding, Verification

SHOWN_MAX: Final = 100
"""Findings in the table; past it only their number. JSON has all of them."""


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    add(app, "verify", verify)


def verify(
    data: DataFolder = Path("hayloft-data"),
    repair: Annotated[
        bool,
        typer.Option(
            "--repair",
            help="Take away what no photo needs: orphans, and what is left of deleted photos. Let volumes "
            "that failed and were found whole take photos again. "
            "The server must be stopped.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Read everything in a data directory and say whether it is whole; a server may be running on it.

    Every photo must be there with the bytes that were uploaded, deleted photos must be unreadable, and
    volumes must agree with their indexes. Orphans, left by uploads that were cut off before they were
    acknowledged, are told and do no harm.
    """
    from hayloft.assembly.data_directory import DataDirectory
    from hayloft.config import Settings

    if not DataDirectory(data).marker.exists():
        raise Complaint(
            f"{safe(data)} holds no Hayloft data.",
            advice="Give the server's data directory with --data.",
            code=ExitCode.LOCAL,
        )
    outcome = _watch(Settings(data=data), repair=repair)
    _tell(outcome, repair=repair, as_json=as_json)
    raise typer.Exit(ExitCode.OK if outcome.sound else ExitCode.PARTLY)


def _watch(settings: Any, *, repair: bool) -> Verification:
    """Verify with a progress bar, if somebody is looking."""
    from hayloft.assembly.verify import verify as verify_data
    from hayloft.cli.progress import count_progress

    with count_progress(error_console()) as progress:
        task = progress.add_task("Verifying", total=None, files="")

        def on_progress(checked: int, total: int) -> None:
            done = f"{checked:,}/{total:,} photos" if checked < total else "volumes"
            progress.update(task, completed=checked, total=max(total, 1), files=done)

        return asyncio.run(verify_data(settings, repair=repair, progress=on_progress))


def _tell(outcome: Verification, *, repair: bool, as_json: bool) -> None:
    if as_json:
        print_json(_as_document(outcome))
        return
    if outcome.findings:
        console().print(
            table(
                ["photo", "store", "what", "detail"],
                (_row(finding) for finding in outcome.findings[:SHOWN_MAX]),
                right=["photo"],
                cut=["detail"],
            )
        )
        if len(outcome.findings) > SHOWN_MAX:
            say(f"… and {len(outcome.findings) - SHOWN_MAX:,} more; --json lists all of them.")
    checked = f"{count_text(outcome.photos, 'photo')} and {count_text(outcome.needles, 'needle')} checked"
    if outcome.sound:
        say(f"{checked}, {bytes_text(outcome.size_bytes)} read: everything is whole.", style="bold green")
    else:
        wrong = sum(not finding.repaired for finding in outcome.findings)
        say(f"{checked}: {count_text(wrong, 'thing is', 'things are')} wrong.", style="bold red")
    _advise(outcome.findings, repair=repair)


def _row(finding: Finding) -> tuple[str, str, str, str]:
    what = f"{finding.fault}{', repaired' if finding.repaired else ''}"
    return (str(finding.photo), str(finding.store), what, safe(finding.detail))


def _advise(findings: list[Finding], *, repair: bool) -> None:
    faults = {str(finding.fault) for finding in findings if not finding.repaired}
    if faults & {"missing", "damaged"}:
        say("Bring damaged or missing photos back from a backup: hayloft import FOLDER, or hayloft put.")
    if not repair and faults & {"orphan", "undeleted"}:
        say("Stop the server and take away what no photo needs: hayloft verify --repair")


def _as_document(outcome: Verification) -> dict[str, Any]:
    return {
        "sound": outcome.sound,
        "photos": outcome.photos,
        "needles": outcome.needles,
        "bytes": outcome.size_bytes,
        "findings": [
            {
                "photo_id": finding.photo,
                "store_id": finding.store,
                "fault": str(finding.fault),
                "detail": finding.detail,
                "repaired": finding.repaired,
            }
            for finding in outcome.findings
        ],
    }
