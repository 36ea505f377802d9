"""All commands together, and how a run of the program ends.

Commands import what is heavy (the client, the settings, the server) when they run, so that help and
completion are quick. ``serve`` and the roles of a cluster are even defined only when asked for: their
flags are made from the settings.
"""

from __future__ import annotations

import sys
from typing import Annotated, Any, Final, NoReturn

import typer
from typer.core import TyperGroup

from hayloft import __version__
from hayloft.cli import (
    cluster,
    doctor,
    events,
    export,
    importing,
    linking,
    maintenance,
    models,
    photos,
    put,
    reference,
    search,
    statistics,
    verify,
    version,
)
from hayloft.cli.failure import Complaint, ExitCode, exit_code_of
from hayloft.cli.output import complain, print_line, say
from hayloft.cli.role_names import ROLES
from hayloft.errors import HayloftError

SERVE: Final = "serve"


class LazyGroup(TyperGroup):
    """A group of commands in which those of servers are imported when they are looked at."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of this name."""
        if cmd_name not in self.commands and cmd_name in (SERVE, *ROLES):
            self.add_command(_server_command(cmd_name), cmd_name)
        return super().get_command(ctx, cmd_name)

    def list_commands(self, ctx: Any) -> list[str]:
        """All names, the server's first, those of a cluster's roles last."""
        others = [name for name in super().list_commands(ctx) if name not in (SERVE, *ROLES)]
        return [SERVE, *others, *ROLES]


def _server_command(name: str) -> Any:
    if name == SERVE:
        from hayloft.cli import serve

        return serve.command()
    from hayloft.cli import roles, similarity

    command = roles.command(name)
    return similarity.group(command) if name == "similarity" else command


app = typer.Typer(
    name="hayloft",
    cls=LazyGroup,
    help="Keep photos, serve them, and find the ones that belong together.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _tell_version(asked: bool) -> None:
    if asked:
        print_line(f"hayloft {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Keep photos, serve them, and find the ones that belong together."""


for part in (
    put,
    photos,
    linking,
    search,
    statistics,
    models,
    events,
    verify,
    maintenance,
    export,
    importing,
    doctor,
    version,
    reference,
    cluster,
):
    part.register(app)


def run(arguments: list[str] | None = None) -> NoReturn:
    """Run one command line and exit with its code.

    Raises:
        SystemExit: always.
    """
    try:
        app(args=arguments, prog_name="hayloft")
    except (HayloftError, Complaint, OSError) as error:
        _end(error)
    except KeyboardInterrupt:
        say("hayloft: interrupted.")
        sys.exit(ExitCode.INTERRUPTED)
    sys.exit(ExitCode.OK)


def _end(error: HayloftError | OSError | Complaint) -> NoReturn:
    complain(error)
    sys.exit(exit_code_of(error))
