"""``hayloft similarity status`` and ``rebuild``: how far linking is, and making its indexes anew.

``hayloft similarity`` by itself runs the role of a cluster; these two are commands to a server.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from typer.core import TyperGroup

from hayloft.cli.commands import add
from hayloft.cli.connection import connect
from hayloft.cli.options import URL, ApiKey, Json, Url
from hayloft.cli.output import console, count_text, error_console, pairs, print_json, say

if TYPE_CHECKING:
    from hayloft.client import Client
    from hayloft.types import SimilarityStatus

POLL_SECONDS: Final = 0.5
STEPS: Final = 1000
"""Of the progress bar: a share is shown as a count."""


class RoleGroup(TyperGroup):
    """A group that runs a role when it is given no command."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was given, or the role."""
        role, self.callback = self.callback, None
        try:
            ran = super().invoke(ctx)
        finally:
            self.callback = role
        return ran if ctx.invoked_subcommand or role is None else ctx.invoke(role, **ctx.params)


def group(role: Any) -> Any:
    """The commands, in a group that runs the role when it is given none of them."""
    app = typer.Typer()
    add(app, "status", status)
    add(app, "rebuild", rebuild)
    made: Any = typer.main.get_group(app)
    return RoleGroup(
        name="similarity",
        help=role.help,
        params=role.params,
        callback=role.callback,
        commands=made.commands,
        invoke_without_command=True,
        subcommand_metavar="[COMMAND]",
    )


def status(url: Url = URL, api_key: ApiKey = None, as_json: Json = False) -> None:
    """Show how far linking is, and what says which photos look alike."""
    with connect(url, api_key) as client:
        found = client.similarity_status()
    if as_json:
        print_json(found)
    else:
        console().print(pairs(_rows(found)))


def rebuild(
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Show how far it is until it is done.")
    ] = True,
    url: Url = URL,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Make the indexes of links and neighbours anew from what is recorded.

    The old ones answer until the new ones are done. Needed only where files of an index were damaged.
    """
    with connect(url, api_key) as client:
        found = client.rebuild_similarity()
        if wait:
            found = _watch(client, found)
    if as_json:
        print_json(found)
    else:
        say(f"{count_text(found.total_indexed, 'photo')} indexed." if wait else "It has begun.")


def _watch(client: Client, found: SimilarityStatus) -> SimilarityStatus:
    from hayloft.cli.progress import count_progress

    with count_progress(error_console()) as progress:
        task = progress.add_task("Rebuilding", total=STEPS, files="")
        while found.rebuilding is not None:
            progress.update(task, completed=round(STEPS * found.rebuilding))
            time.sleep(POLL_SECONDS)
            found = client.similarity_status()
    return found


def _rows(found: SimilarityStatus) -> list[tuple[str, str]]:
    rate = f", {found.photos_per_second:.1f} photos/s" if found.photos_per_second else ""
    left = "" if found.seconds_left is None else f", about {found.seconds_left:.0f} s"
    to_do = f"{count_text(found.pending, 'event')} to go{rate}{left}" if found.pending else "up to date"
    rows = [
        ("photos", f"{found.total_indexed:,} looked at, {found.undecodable:,} cannot be decoded"),
        ("linking", to_do + (f"; {found.parked:,} given up: see hayloft events" if found.parked else "")),
        ("embedder", f"{found.embedder or 'none'}: {found.embedder_hint}"),
        ("looked at by it", f"{found.embedded:,}"),
        ("search by words", "yes" if found.takes_words else "no: the embedder knows no words"),
    ]
    if found.rebuilding is not None:
        rows.append(("in the background", f"{found.rebuilding:.0%}"))
    return rows
