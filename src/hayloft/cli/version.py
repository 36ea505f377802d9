"""``hayloft version``: which Hayloft this is, and which one answers."""

from __future__ import annotations

import platform

import typer

from hayloft import __version__
from hayloft.cli.commands import add
from hayloft.cli.options import URL, ApiKey, Json, Url
from hayloft.cli.output import print_json, print_line
from hayloft.errors import HayloftError


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    add(app, "version", version)


def version(
    url: Url = URL,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Show the version here, and the server's if one answers."""
    from hayloft.client import Client, Patience

    server: str | None = None
    try:
        with Client(url, api_key=api_key, patience=Patience(attempts=1, connect_seconds=1)) as client:
            server = client.health().version
    except HayloftError:
        pass
    if as_json:
        print_json({"version": __version__, "python": platform.python_version(), "server": server})
        return
    print_line(f"hayloft {__version__} on Python {platform.python_version()}")
    print_line(f"server {server} at {url}" if server else f"no server at {url}")
