"""Keeps child processes running until it is told to stop, then stops them in order.

A child that ends by itself is started again, after a pause that grows while it keeps dying. Stopping
sends SIGTERM to one group of children after the other and kills what has not ended in time. Knows
nothing of what the children do.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog

PAUSE_SECONDS_MIN: Final = 0.2
PAUSE_SECONDS_MAX: Final = 10.0
STEADY_SECONDS: Final = 30.0
"""A child that has run this long starts again without a pause to speak of."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """How a child is started."""

    name: str
    module: str
    environment: Mapping[str, str]
    descriptors: tuple[int, ...] = ()
    """File descriptors that it inherits."""


class Child:
    """One child process, started again whenever it ends."""

    def __init__(self, command: Command) -> None:
        self._command = command
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin keeping it running."""
        self._task = asyncio.create_task(self._keep_running())

    def signal(self, number: int) -> None:
        """Stop keeping it running and send it a signal."""
        self._stopping.set()
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def ended(self) -> None:
        """Wait until it has ended for good."""
        if self._task is not None:
            await self._task

    async def _keep_running(self) -> None:
        pause = PAUSE_SECONDS_MIN
        while not self._stopping.is_set():
            started = time.monotonic()
            self._process = await self._spawn()
            if self._stopping.is_set():  # told to stop while it was being started
                self.signal(signal.SIGTERM)
            code = await self._process.wait()
            if self._stopping.is_set():
                return
            if time.monotonic() - started > STEADY_SECONDS:
                pause = PAUSE_SECONDS_MIN
            _log.error("process ended", name=self._command.name, code=code, again_in_seconds=pause)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)
            pause = min(2 * pause, PAUSE_SECONDS_MAX)

    async def _spawn(self) -> asyncio.subprocess.Process:
        command = self._command
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            command.module,
            env={**os.environ, **command.environment},
            pass_fds=command.descriptors,
            stdin=asyncio.subprocess.DEVNULL,
        )


async def stop(children: Sequence[Child], *, seconds_max: float, now: asyncio.Event) -> None:
    """Let children finish; kill them when ``seconds_max`` have passed, or when ``now`` is set."""
    for child in children:
        child.signal(signal.SIGTERM)
    ended = asyncio.gather(*(child.ended() for child in children))
    impatience = asyncio.create_task(now.wait())
    either: set[asyncio.Future[Any]] = {ended, impatience}
    await asyncio.wait(either, timeout=seconds_max, return_when=asyncio.FIRST_COMPLETED)
    impatience.cancel()
    if not ended.done():
        _log.warning("killing what has not ended")
        for child in children:
            child.signal(signal.SIGKILL)
    await ended
