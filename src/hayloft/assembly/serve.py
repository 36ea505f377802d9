"""``hayloft serve``: one machine, everything embedded.

Takes hold of the data directory, prepares it, and keeps the ingest process and the worker processes
running until SIGINT or SIGTERM. Uploads in flight are finished before it returns; a second signal ends
it at once. If it is killed itself, its children stop by themselves.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from dataclasses import replace
from typing import Final

import aiohttp

from hayloft import limits
from hayloft.assembly.child import ORDERS, Orders
from hayloft.assembly.data_directory import DataDirectory
from hayloft.assembly.logs import configure_logs
from hayloft.assembly.ports import reserved_port, url_at
from hayloft.assembly.supervisor import Child, Command, python, stop, told_to_stop
from hayloft.config import Settings
from hayloft.errors import HayloftError, RoleUnavailable
from hayloft.sandbox import ONE_THREAD

START_SECONDS_MAX: Final = 60.0
"""Recovery after a crash reads what was written since the last checkpoint, so this is generous."""

INGEST_STOP_SECONDS_MAX: Final = 15.0

INGEST_NICENESS: Final = 5
"""Whoever reads goes first: that leaves ingest a quarter of a core that both want, and its decoders, which
give way to it in turn, less. Numerical libraries start no threads in it, which would spin while they wait
for work (``make bench``, part ingest)."""


def serve(settings: Settings) -> int:
    """Serve until told to stop; returns the process's exit code.

    Raises:
        AlreadyServed: another server uses the data directory.
        FormatTooNew: a newer Hayloft wrote it.
        Conflict: the port is taken, or the directory holds something else.
        RoleUnavailable: the server did not come up.
    """
    configure_logs(settings.log_level, process="supervisor")
    data = DataDirectory(settings.data)
    with data.lock() as lock, reserved_port(settings) as port:
        data.prepare()
        asyncio.run(_supervise(settings, data, port, lock))
    return 0


async def _supervise(settings: Settings, data: DataDirectory, port: int, lock: int) -> None:
    stopping, now = told_to_stop(signal.SIGINT, signal.SIGTERM)
    workers = [
        Child(_command("worker", f"worker-{number}", settings, data, port, lock))
        for number in range(1, settings.workers + 1)
    ]
    ingest = Child(_in_background(_command("ingest", "ingest", settings, data, port, lock)))
    for child in (ingest, *workers):
        child.start()
    try:
        if await _came_up(settings.host, port, stopping):
            print(_banner(settings, data, port), flush=True)  # noqa: T201 - what people wait for
            await stopping.wait()
    finally:
        await stop(workers, seconds_max=limits.SHUTDOWN_SECONDS_MAX, now=now)
        await stop([ingest], seconds_max=INGEST_STOP_SECONDS_MAX, now=now)


def _command(
    module: str, name: str, settings: Settings, data: DataDirectory, port: int, lock: int
) -> Command:
    orders = Orders(settings=settings, port=port, name=name)
    environment = {
        ORDERS: orders.to_environment(),
        "PROMETHEUS_MULTIPROC_DIR": str(data.metrics),
    }
    return Command(
        name=name,
        arguments=python(f"hayloft.assembly.{module}"),
        environment=environment,
        descriptors=(lock,),
    )


def _in_background(command: Command) -> Command:
    """The same beside others that serve; see ``INGEST_NICENESS``."""
    environment = {**command.environment, **ONE_THREAD}
    return replace(command, niceness=INGEST_NICENESS, environment=environment)


async def _came_up(host: str, port: int, stopping: asyncio.Event) -> bool:
    """Wait until a worker answers; False when told to stop before that.

    Raises:
        RoleUnavailable: none did in time.
    """
    deadline = asyncio.get_running_loop().time() + START_SECONDS_MAX
    async with aiohttp.ClientSession() as session:
        while asyncio.get_running_loop().time() < deadline:
            if stopping.is_set():
                return False
            try:
                async with session.get(f"{url_at(host, port)}/health"):
                    return True
            except (aiohttp.ClientError, OSError):
                await asyncio.sleep(0.05)
    raise RoleUnavailable("The server did not come up; its log says why.")


def _banner(settings: Settings, data: DataDirectory, port: int) -> str:
    address = url_at(settings.host, port)
    option = "" if address == "http://127.0.0.1:8080" else f" --url {address}"
    return (
        f"Hayloft is serving on {settings.public_url or address} with {settings.workers} worker(s).\n"
        f"The data is in {data.path}.\n"
        f"The API is described at {address}/docs.\n"
        f"Next, upload a folder of photos: hayloft put FOLDER{option}"
    )


def main() -> None:
    """Serve with settings from the environment and the file alone."""
    try:
        sys.exit(serve(Settings()))
    except HayloftError as error:
        sys.exit(error.message)


if __name__ == "__main__":
    main()
