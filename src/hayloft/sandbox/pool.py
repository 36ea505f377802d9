"""A few confined processes, so that a hostile file costs no more than its own time and memory.

Each process takes one request at a time. One that dies, or does not answer in time and is killed, is
replaced; only its request suffers. Processes are started as fresh interpreters (nothing is forked from an
event loop), each from the thread that talks to it, and die with it. Requests wait here for a free process;
whoever calls holds their bytes, so the caller bounds the memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hayloft import limits
from hayloft.errors import ERRORS_BY_CODE, HayloftError, ShuttingDown, UnsupportedMedia
from hayloft.sandbox.process import FAILED, LENGTH_BYTES

Buffer = bytes | memoryview

_CHUNK: Final = 1 << 20
ONE_THREAD: Final = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""Environment of a process whose numerical libraries shall start no threads of their own."""

_KEEP_MEMORY: Final = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(128 << 20)}
"""Pixels of one photo after the other go into the same memory: giving it back to the kernel in between, and
getting it back zeroed, took a tenth of the time of making a photo's renditions."""

_DYING_SECONDS: Final = 0.2
_LOOK_AGAIN_SECONDS: Final = 1.0


class JobFailed(Exception):
    """The process died or hung, which may be the request's doing or not; worth another try."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What one request may cost."""

    memory_bytes: int = limits.DECODE_MEMORY_BYTES_MAX
    """Address space beyond the libraries' own."""
    cpu_seconds: int = limits.DECODE_CPU_SECONDS_MAX
    """Processor time."""
    wall_seconds: float = limits.DECODE_WALL_SECONDS_MAX
    """Time after which the process is killed, unless it only waits for a core."""


class Sandbox:
    """``processes`` processes that run ``work``, a ``module:function`` of bytes to bytes.

    They are started when first needed. Those in the ``background`` get only processor time that nobody else
    wants: for work that nobody waits for.
    """

    def __init__(
        self, work: str, *, processes: int, bounds: Bounds | None = None, background: bool = False
    ) -> None:
        bounds = bounds or Bounds()
        self._workers = [_Worker(work, bounds, background=background) for _ in range(processes)]
        self._idle: asyncio.LifoQueue[_Worker] = asyncio.LifoQueue()
        for worker in self._workers:
            self._idle.put_nowait(worker)
        self._closed = False

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes that are running."""
        return tuple(worker.pid for worker in self._workers if worker.pid is not None)

    async def run(self, *request: Buffer) -> bytes:
        """What the work gives for these bytes (the parts one after the other), in the next free process.

        Raises:
            HayloftError: the work raised it.
            UnsupportedMedia: it took more processor time or memory than is allowed.
            JobFailed: the process died or did not answer.
            ShuttingDown: the sandbox is closed.
        """
        worker = await self._idle.get()
        try:
            if self._closed:
                raise ShuttingDown
            return await worker.run(request)
        finally:
            self._idle.put_nowait(worker)

    async def close(self) -> None:
        """Kill the processes; what they were doing fails."""
        self._closed = True
        await asyncio.gather(*(worker.close() for worker in self._workers))


class _Worker:
    """One process and the thread that started it and talks to it."""

    def __init__(self, work: str, bounds: Bounds, *, background: bool) -> None:
        self._work = work
        self._bounds = bounds
        self._background = background
        self._thread = ThreadPoolExecutor(1, "sandbox")
        self._process: subprocess.Popen[bytes] | None = None
        self._answered = 0
        self._closing = False

    @property
    def pid(self) -> int | None:
        """The process, if there is one."""
        return None if self._process is None else self._process.pid

    async def run(self, request: tuple[Buffer, ...]) -> bytes:
        """Have one request answered; a caller that gives up takes the process with it."""
        future = asyncio.get_running_loop().run_in_executor(self._thread, self._run, request)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            self._kill()
            with contextlib.suppress(Exception):
                await future
            raise

    async def close(self) -> None:
        """End the process and the thread."""
        self._closing = True
        self._kill()
        await asyncio.to_thread(self._thread.shutdown)
        self._discard()

    def _run(self, request: tuple[Buffer, ...]) -> bytes:
        process = self._process or self._start()
        try:
            answer = _exchange(process, request, _Deadline(process.pid, self._bounds.wall_seconds))
        except (OSError, TimeoutError, EOFError) as failure:
            raise self._post_mortem(failure) from failure
        self._answered += 1
        if self._answered >= limits.DECODER_PHOTOS_MAX:
            self._discard()
        if answer[:1] == FAILED:
            raise _error(answer[1:])
        return answer[1:]

    def _start(self) -> subprocess.Popen[bytes]:
        command = [
            *(sys.executable, "-m", "hayloft.sandbox.process"),
            *("--work", self._work),
            *("--parent", str(os.getpid())),
            *("--memory-bytes", str(self._bounds.memory_bytes)),
            *("--cpu-seconds", str(self._bounds.cpu_seconds)),
            *(("--background",) if self._background else ()),
        ]
        self._answered = 0
        self._process = subprocess.Popen(  # noqa: S603 - our own module, no shell
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **ONE_THREAD, **_KEEP_MEMORY},
            # Ctrl-C is for whoever started us; the process ends when its pipe closes. A session of its own
            # would be scheduled as one against all of the server's (sched(7), autogroup), and giving way
            # would then mean nothing.
            process_group=0,
        )
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            os.set_blocking(pipe.fileno(), False)
            with contextlib.suppress(OSError):  # More than the system allows: slower, not wrong.
                fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, _CHUNK)
        if self._closing:
            self._kill()
        return self._process

    def _post_mortem(self, failure: Exception) -> Exception:
        """What to tell of a process that gave no answer."""
        process = self._process
        self._discard()
        if process is not None and process.returncode == -signal.SIGXCPU:
            seconds = self._bounds.cpu_seconds
            return UnsupportedMedia(f"Decoding the image takes more than {seconds} s of processor time.")
        if isinstance(failure, TimeoutError):
            return JobFailed(f"Decoding did not end within {self._bounds.wall_seconds:.0f} s.")
        status = None if process is None else process.returncode
        return JobFailed(f"The decoder process ended with status {status}.")

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()

    def _discard(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            pipe.close()
        # One that is already dying keeps its own exit status, which says how it died.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_DYING_SECONDS)
        process.kill()
        process.wait()


def _error(body: bytes) -> HayloftError:
    """The error that the process told of; what cannot be read is the image's fault, too."""
    try:
        told = json.loads(body)
        return ERRORS_BY_CODE[told["code"]](str(told["message"]))
    except (ValueError, KeyError, TypeError):
        return UnsupportedMedia()


class _Deadline:
    """When a process has had its time.

    One that could go on if it had a core is not hanging: the machine is busy. It may go on until its
    processor time is used up, which the kernel sees to.
    """

    def __init__(self, pid: int, seconds: float) -> None:
        self._pid = pid
        self._until = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds that it still has."""
        now = time.monotonic()
        if self._until <= now and _is_ready_to_run(self._pid):
            self._until = now + _LOOK_AGAIN_SECONDS
        return self._until - now


def _is_ready_to_run(pid: int) -> bool:
    """Whether any of its threads runs or waits for a core (proc_pid_stat(5))."""
    for thread in Path(f"/proc/{pid}/task").glob("*/stat"):
        with contextlib.suppress(OSError):  # The thread has just ended.
            if thread.read_text().rpartition(")")[2].split()[0] == "R":
                return True
    return False


def _exchange(process: subprocess.Popen[bytes], request: tuple[Buffer, ...], deadline: _Deadline) -> bytes:
    """Send a request and receive the answer's frame.

    Raises:
        TimeoutError: the deadline passed.
        EOFError, OSError: the process went away.
    """
    assert process.stdin is not None
    assert process.stdout is not None
    requests, answers = process.stdin.fileno(), process.stdout.fileno()
    size = sum(len(part) for part in request)
    for part in (size.to_bytes(LENGTH_BYTES), *request):
        _send(requests, memoryview(part), deadline)
    size = int.from_bytes(_receive(answers, LENGTH_BYTES, deadline))
    return _receive(answers, size, deadline)


def _send(pipe: int, data: memoryview, deadline: _Deadline) -> None:
    while data:
        _wait(pipe, select.POLLOUT, deadline)
        data = data[os.write(pipe, data[:_CHUNK]) :]


def _receive(pipe: int, size: int, deadline: _Deadline) -> bytes:
    received = bytearray()
    while len(received) < size:
        _wait(pipe, select.POLLIN, deadline)
        part = os.read(pipe, min(size - len(received), _CHUNK))
        if not part:
            raise EOFError
        received += part
    return bytes(received)


def _wait(pipe: int, event: int, deadline: _Deadline) -> None:
    poll = select.poll()
    poll.register(pipe, event)
    while (left := deadline.left()) > 0:
        if poll.poll(left * 1000):
            return
    raise TimeoutError
