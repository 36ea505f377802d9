"""Options that several commands share, so that they are spelled and explained alike everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from hayloft.types import Relation

URL: Final = "http://127.0.0.1:8080"

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
Parallel = Annotated[int, typer.Option("--parallel", "-P", min=1, max=64, help="Transfers in flight.")]
DataFolder = Annotated[
    Path, typer.Option("--data", envvar="HAYLOFT_DATA", help="Directory that holds what Hayloft keeps.")
]
OnlyRelation = Annotated[
    Relation | None, typer.Option("--relation", help="Only this kind of link.", show_default=False)
]
PhotoName = Annotated[str, typer.Argument(metavar="ID|URL", help="A photo's id, or its link.")]
