"""``hayloft pitchfork``: watches the stores of a cluster, mends what fails, and says what it is doing."""

from __future__ import annotations

import asyncio

from hayloft.assembly.background import background
from hayloft.assembly.peers import directory_of, fleet_of
from hayloft.assembly.service import run, serve
from hayloft.assembly.settings import PitchforkRoleSettings
from hayloft.pitchfork import Pitchfork
from hayloft.pitchfork.server import pitchfork_application


def main(settings: PitchforkRoleSettings) -> int:
    """Serve until told to stop; returns the process's exit code."""
    return run(_pitchfork, settings, name="pitchfork")


async def _pitchfork(settings: PitchforkRoleSettings, stopping: asyncio.Event) -> None:
    async with directory_of(settings) as directory, fleet_of(settings, directory) as fleet:
        pitchfork = Pitchfork(directory=directory, stores=fleet, settings=settings.pitchfork)
        app = pitchfork_application(pitchfork)
        async with (
            serve(
                app,
                settings,
                role="pitchfork",
                ready=pitchfork.ready,
                registry=pitchfork.journal.registry,
            ),
            background(pitchfork.run()),
        ):
            await stopping.wait()
