"""``hayloft cluster``: a whole cluster on this machine, how it is, and what describes it to Docker.

``up`` is defined when it is looked at, because its flags are made from the settings.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.live import Live
from typer.core import TyperGroup

from hayloft.cli.commands import add
from hayloft.cli.failure import Complaint, ExitCode
from hayloft.cli.options import Json
from hayloft.cli.output import console, print_json, print_line, table

if TYPE_CHECKING:
    from rich.table import Table

    from hayloft.assembly.machine.watching import Observation
    from hayloft.assembly.settings import ClusterSettings

UP: Final = "up"
DATA: Final = Path("hayloft-cluster")

ClusterFolder = Annotated[
    Path,
    typer.Option("--data", "-d", envvar="HAYLOFT_DATA", help="The cluster's directory."),
]

_UP_HELP: Final = """Start a whole cluster on this machine, and keep it running until Ctrl-C.

It starts a PostgreSQL and a RabbitMQ of its own unless it is given addresses of others, and then all roles,
each as a process; what dies is started again. Shows how they are, every second. Started again on the same
directory, everything is still there. Every setting can be given here, as an environment variable (shown in
brackets) or in the file hayloft.toml, settings of the roles included.
"""


class ClusterGroup(TyperGroup):
    """The group's commands, ``up`` first."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of this name."""
        if cmd_name == UP and UP not in self.commands:
            self.add_command(_up_command(), UP)
        return super().get_command(ctx, cmd_name)

    def list_commands(self, ctx: Any) -> list[str]:
        """All names."""
        return [UP, *(name for name in super().list_commands(ctx) if name != UP)]


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    group = typer.Typer(
        cls=ClusterGroup, no_args_is_help=True, help="A whole cluster on this machine, or in containers."
    )

    @group.callback()
    def _group() -> None:
        """A whole cluster on this machine, or in containers."""

    add(group, "status", status)
    add(group, "compose", compose)
    app.add_typer(group, name="cluster")


def _up_command() -> Any:
    from hayloft.assembly.settings import ClusterSettings
    from hayloft.cli.setting_flags import command

    return command(UP, ClusterSettings, _up, text=_UP_HELP)


def _up(settings: ClusterSettings) -> int:
    from hayloft.assembly.machine.up import up

    shown = Display(str(settings.data))
    with shown:
        return up(settings, shown.show)


def status(data: ClusterFolder = DATA, as_json: Json = False) -> None:
    """Show how each part of a cluster is that runs on this machine.

    The exit code is 0 if all of them are ready, 1 if some are not, and 3 if no cluster runs there.
    """
    from hayloft.assembly.machine.home import ClusterHome
    from hayloft.assembly.machine.watching import Part, observe

    home = ClusterHome(data)
    if home.holder() is None:
        raise Complaint(
            f"No cluster runs in {data}.",
            advice="Start one with: hayloft cluster up",
            code=ExitCode.UNREACHABLE,
        )
    state = home.read_state()
    if state is None:
        raise Complaint(
            f"The cluster in {data} is just starting, or stopping.",
            advice="Ask again in a moment.",
            code=ExitCode.PARTLY,
        )
    observations = asyncio.run(observe([Part.from_json(part) for part in state["parts"]]))
    if as_json:
        for observation in observations:
            print_json(observation.to_json())
    else:
        console().print(_table(observations))
    raise typer.Exit(ExitCode.OK if all(map(_is_ready, observations)) else ExitCode.PARTLY)


def compose() -> None:
    """Print the docker-compose.yml that starts a cluster in containers."""
    from hayloft.assembly.compose import compose_yaml

    sys.stdout.write(compose_yaml())


class Display:
    """Shows how a cluster is: a table on a terminal, lines of what has changed elsewhere."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._live: Live | None = None
        self._known: dict[str, str] = {}
        self._was_ready = False
        self._was_stopping = False

    def __enter__(self) -> None:
        """Begin the table, on a terminal."""
        if sys.stdout.isatty():
            self._live = Live(console=console(), auto_refresh=False)
            self._live.start()

    def __exit__(self, *_: object) -> None:
        """Leave the last table standing."""
        if self._live is not None:
            self._live.stop()

    def show(self, observations: list[Observation]) -> None:
        """Take in how all parts are."""
        conditions = {each.condition.value for each in observations}
        if not self._was_stopping and "stopping" in conditions:
            self._was_stopping = True
            self._say("Stopping; another Ctrl-C ends at once what is still running.")
        if self._live is not None:
            self._live.update(_table(observations), refresh=True)
        else:
            self._print_changes(observations)
        ready = all(map(_is_ready, observations))
        if ready and not self._was_ready:
            gateway = next(each for each in observations if each.part.command == "gateway")
            self._say(f"The cluster is ready at {gateway.part.address}; its data is in {self._place}.")
        self._was_ready = ready
        if conditions == {"stopped"}:
            self._say(f"The cluster has stopped; its data is in {self._place}.")
        sys.stdout.flush()

    def _print_changes(self, observations: list[Observation]) -> None:
        for each in observations:
            said = each.condition.value
            if said not in (self._known.get(each.part.name), "running"):
                self._known[each.part.name] = said
                why = f": {each.says}" if each.says else ""
                print_line(f"{each.part.name} {each.part.address} {said}{why}")

    def _say(self, text: str) -> None:
        if self._live is not None:
            self._live.console.print(text, highlight=False)
        else:
            print_line(text)


def _is_ready(observation: Observation) -> bool:
    return observation.condition.value == "ready"


def _table(observations: list[Observation]) -> Table:
    columns = ["role", "address", "pid", "state", "up", "restarts", "says"]
    rows = [
        [
            each.part.name,
            each.part.address,
            str(each.part.pid or ""),
            each.condition.value,
            _duration(each.uptime_seconds) if each.part.pid else "",
            str(each.part.restarts or ""),
            each.says,
        ]
        for each in observations
    ]
    return table(columns, rows, right=["pid", "up", "restarts"], cut=["address", "says"])


def _duration(seconds: float) -> str:
    """``12 s``, ``3 min``, ``5.0 h``, ``2.1 d``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 100 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} d"
