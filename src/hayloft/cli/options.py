"""Options that several commands share, so that they are spelled and explained alike everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from hayloft.types import Relation

URL: Final = "http://127.0.0.1:8080"

ROWS: Final = 50
"""Rows of a table when nobody says how many; JSON has no such default."""

Url = Annotated[str, typer.Option("--url", envvar="HAYLOFT_URL", help="The server's address.")]
ApiKey = Annotated[
    str | None,
    typer.Option(
        "--api-key", envvar="HAYLOFT_API_KEY", help="The server's key, if it has any.", show_default=False
    ),
]
Json = Annotated[
    bool, typer.Option("--json", help="Print JSON: one object, or one object a line for a list.")
]
Limit = Annotated[
    int | None,
    typer.Option(
        "--limit",
        "-n",
        min=1,
        help=f"At most so many; {ROWS} in a table, all as JSON.",
        show_default=False,
    ),
]
Everything = Annotated[bool, typer.Option("--all", "-a", help="No limit.")]
Parallel = Annotated[int, typer.Option("--parallel", "-P", min=1, max=64, help="Transfers in flight.")]
DataFolder = Annotated[
    Path, typer.Option("--data", envvar="HAYLOFT_DATA", help="Directory that holds what Hayloft keeps.")
]
OnlyRelation = Annotated[
    Relation | None, typer.Option("--relation", help="Only this kind of link.", show_default=False)
]
PhotoName = Annotated[str, typer.Argument(metavar="ID|URL", help="A photo's id, or its link.")]


def rows_max(limit: int | None, *, everything: bool, as_json: bool) -> int | None:
    """How many rows are listed at the most; None: all there are."""
    return None if everything or (as_json and limit is None) else limit or ROWS
