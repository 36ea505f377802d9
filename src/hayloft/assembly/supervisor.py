"""Keeps child processes running until it is told to stop, then stops them in order.

A child that ends by itself is started again, after a pause that grows while it keeps dying. Stopping
sends one group of children after the other the signal that each of them ends at, and kills what has not
ended in time, with what it has started itself. A child gets that signal from the kernel should the
supervisor die without having sent it. Knows nothing of what the children do.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import structlog

PAUSE_SECONDS_MIN: Final = 0.2
PAUSE_SECONDS_MAX: Final = 10.0
STEADY_SECONDS: Final = 30.0
"""A child that has run this long starts again without a pause to speak of."""

_PR_SET_PDEATHSIG: Final = 1
"""prctl(2): the signal that a process gets when its parent dies."""

_LIBC: Final = ctypes.CDLL(None, use_errno=True)

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """How a child is started."""

    name: str
    arguments: tuple[str, ...]
    """The program and what it is given."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """What is added to the supervisor's own."""
    descriptors: tuple[int, ...] = ()
    """File descriptors that it inherits."""
    own_group: bool = False
    """Whether it leads a process group of its own, which Ctrl-C at a terminal does not reach."""
    user: str | None = None
    """System user to run as, if not the supervisor's."""
    niceness: int = 0
    """How much it gives way to others, beyond what the supervisor does; see nice(2)."""
    output: Path | None = None
    """File that what it prints is added to; the supervisor's own output when not given."""
    stop_signal: signal.Signals = signal.SIGTERM


def python(module: str) -> tuple[str, ...]:
    """The arguments that run a module of this installation."""
    return (sys.executable, "-m", module)


class Child:
    """One child process, started again whenever it ends."""

    def __init__(self, command: Command) -> None:
        self.command = command
        self.restarts = 0
        self.started_at_ms = 0
        """When its process was started, since the epoch."""
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        running = self._process is not None and self._process.returncode is None
        return self._process.pid if running and self._process is not None else None

    @property
    def is_stopping(self) -> bool:
        """Whether it was told to end, and is not started again."""
        return self._stopping.is_set()

    def start(self) -> None:
        """Begin keeping it running."""
        self._task = asyncio.create_task(self._keep_running())

    def signal(self, number: int) -> None:
        """Stop keeping it running and send it a signal."""
        self._stopping.set()
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """Stop keeping it running and end it at once, with its group if it leads one."""
        self._stopping.set()
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                (os.killpg if self.command.own_group else os.kill)(self.pid, signal.SIGKILL)

    async def ended(self) -> None:
        """Wait until it has ended for good."""
        if self._task is not None:
            await self._task

    async def _keep_running(self) -> None:
        pause = PAUSE_SECONDS_MIN
        while not self._stopping.is_set():
            started = time.monotonic()
            self._process = await self._spawn()
            self.started_at_ms = time.time_ns() // 1_000_000
            if self._stopping.is_set():  # told to stop while it was being started
                self.signal(self.command.stop_signal)
            code = await self._process.wait()
            self._sweep(self._process.pid)
            if self._stopping.is_set():
                return
            if time.monotonic() - started > STEADY_SECONDS:
                pause = PAUSE_SECONDS_MIN
            _log.error("process ended", name=self.command.name, code=code, again_in_seconds=pause)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)
            pause = min(2 * pause, PAUSE_SECONDS_MAX)
            self.restarts += 1

    def _sweep(self, leader: int) -> None:
        """End what a leader has left behind in its group: it may hold ports and locks."""
        if self.command.own_group:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(leader, signal.SIGKILL)

    async def _spawn(self) -> asyncio.subprocess.Process:
        command = self.command
        with contextlib.ExitStack() as stack:
            output = None if command.output is None else stack.enter_context(command.output.open("ab"))
            return await asyncio.create_subprocess_exec(
                *command.arguments,
                env={**os.environ, **command.environment},
                pass_fds=command.descriptors,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=None if output is None else subprocess.STDOUT,
                start_new_session=command.own_group,
                user=command.user,
                preexec_fn=_before_exec(os.getpid(), command),
            )


def die_with_parent(parent: int, number: int = signal.SIGTERM) -> None:
    """Get this signal when the parent is gone, or end at once if it is gone already."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:
        sys.exit(0)


def _before_exec(parent: int, command: Command) -> Callable[[], None]:
    """What a child does between fork and exec: arranged there, because not every program does it itself.

    Niceness belongs to a thread (sched(7)): libraries start threads when they are imported, and those
    would keep the one before.
    """

    def prepare() -> None:
        die_with_parent(parent, command.stop_signal)
        os.nice(command.niceness)

    return prepare


def told_to_stop(*signals: signal.Signals) -> tuple[asyncio.Event, asyncio.Event]:
    """Events of the running loop for the first of these signals, and for the second: stop, and stop now."""
    stopping, now = asyncio.Event(), asyncio.Event()

    def told() -> None:
        (now if stopping.is_set() else stopping).set()

    for number in signals:
        asyncio.get_running_loop().add_signal_handler(number, told)
    return stopping, now


async def stop(children: Sequence[Child], *, seconds_max: float, now: asyncio.Event) -> None:
    """Let children finish; kill them when ``seconds_max`` have passed, or when ``now`` is set."""
    for child in children:
        child.signal(child.command.stop_signal)
        child.signal(signal.SIGCONT)  # one that stands still would not even notice
    ended = asyncio.gather(*(child.ended() for child in children))
    impatience = asyncio.create_task(now.wait())
    either: set[asyncio.Future[Any]] = {ended, impatience}
    await asyncio.wait(either, timeout=seconds_max, return_when=asyncio.FIRST_COMPLETED)
    impatience.cancel()
    if not ended.done():
        _log.warning("killing what has not ended")
        for child in children:
            child.kill()
    await ended
