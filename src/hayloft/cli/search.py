"""``hayloft search``: photos by words."""

from __future__ import annotations

from typing import Annotated

import typer

from hayloft.cli.commands import add
from hayloft.cli.connection import connect
from hayloft.cli.linking import name_of
from hayloft.cli.options import URL, ApiKey, Json, Url
from hayloft.cli.output import console, print_json, say, table


def register(app: typer.Typer) -> None:
    """Add this file's command."""
    add(app, "search", search)


def search(
    words: Annotated[list[str], typer.Argument(metavar="WORDS", help="What is to be seen in the photos.")],
    k: Annotated[int, typer.Option("-k", min=1, max=1000, help="How many.")] = 20,
    url: Url = URL,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Find photos by words, where the server's model knows words.

    The scores of such models are low even for photos that fit well; only their order says something. Which
    model is in use, and whether it knows words: hayloft similarity status
    """
    with connect(url, api_key) as client:
        found = client.search(" ".join(words), k=k)
        if as_json:
            for one in found:
                print_json(one)
        elif found:
            rows = ((str(one.photo), f"{one.score:.3f}", name_of(client, one.photo)) for one in found)
            console().print(table(["id", "score", "name"], rows, right=["id", "score"], cut=["name"]))
        else:
            say("There is no photo yet that could be found: hayloft similarity status")
