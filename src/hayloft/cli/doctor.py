"""``hayloft doctor``: looks at the machine, the data and the server, and says what to do.

Every check is one function that returns findings; none of them changes anything, and none needs the
others. A finding that is wrong makes the exit code 1, one that is merely worth knowing does not.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from hayloft.cli.commands import add
from hayloft.cli.failure import ExitCode
from hayloft.cli.options import URL, ApiKey, DataFolder, Json, Url
from hayloft.cli.output import console, print_json, say

if TYPE_CHECKING:
    from hayloft.cli.checks import Finding


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    add(app, "doctor", doctor)


def doctor(
    data: DataFolder = Path("hayloft-data"),
    url: Url = URL,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Check this machine, the data and the server, and say what to do about what is wrong."""
    from hayloft.cli.checks.data import check_data
    from hayloft.cli.checks.machine import check_machine
    from hayloft.cli.checks.server import check_server

    found = [*check_machine(), *check_data(data), *check_server(url, api_key)]
    for finding in found:
        if as_json:
            print_json(finding)
        else:
            _show(finding)
    if not as_json:
        _conclude(found)
    if any(finding.level == "wrong" for finding in found):
        raise typer.Exit(ExitCode.PARTLY)


_MARKS = {"good": ("✓", "green"), "note": ("!", "yellow"), "wrong": ("✗", "red")}


def _show(finding: Finding) -> None:
    from rich.text import Text

    mark, style = _MARKS[finding.level]
    line = Text(f"{mark} ", style=style)
    line.append(f"{finding.subject}: ", style="bold").append(finding.text, style="default")
    console().print(line, soft_wrap=True)
    if finding.advice:
        console().print(Text(f"    → {finding.advice}"), soft_wrap=True)


def _conclude(found: list[Finding]) -> None:
    wrong = sum(finding.level == "wrong" for finding in found)
    notes = sum(finding.level == "note" for finding in found)
    if wrong:
        say(f"{wrong} of {len(found)} checks failed.", style="bold red")
    else:
        say("Nothing is wrong." + (f" {notes} worth knowing." if notes else ""), style="bold green")
