"""A process that does one kind of work over hostile bytes; ``pool`` starts it and talks to its pipes.

It limits itself before it sees a request: address space, so that a hostile file meets ``MemoryError`` and
not the machine's last byte; processor time for each request, so that the kernel ends what does not end; no
core dumps. It gives way to whoever serves, and altogether when nobody waits for its answers. It ends when
its parent does, even in the middle of a request.

Frames on both pipes: length (8 bytes, big-endian), then that many bytes. A request is whatever the work
takes; an answer begins with ``+`` and what the work gave, or ``-`` and the error as JSON: code and message.
Nothing that this process says is ever executed (as a pickle would be).
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import importlib
import json
import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final

from hayloft.errors import HayloftError, UnsupportedMedia

Work = Callable[[bytes], bytes]

LENGTH_BYTES: Final = 8
OK: Final = b"+"
FAILED: Final = b"-"

_PR_SET_PDEATHSIG: Final = 1
_NICENESS: Final = 10
"""For work that somebody waits for: it still gets a tenth of a core that others want for themselves."""
_OOM_SCORE: Final = "1000"


def main(arguments: list[str]) -> None:
    """Answer requests until the pipe closes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", required=True, help="module:function")
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--memory-bytes", type=int, required=True)
    parser.add_argument("--cpu-seconds", type=int, required=True)
    parser.add_argument("--background", action="store_true", help="use only what nobody else wants")
    options = parser.parse_args(arguments)
    die_with(options.parent)
    requests, answers = _take_pipes()
    work = load(options.work)
    confine(options.memory_bytes)
    give_way(altogether=options.background)
    while (request := read_frame(requests)) is not None:
        allow_seconds(options.cpu_seconds)
        write_frame(answers, answer(work, request))


def load(name: str) -> Work:
    """The function that ``module:function`` names."""
    module, _, function = name.partition(":")
    work: Work = getattr(importlib.import_module(module), function)
    return work


def die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent ends; end now if it already has."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def confine(memory_bytes: int) -> None:
    """Allow ``memory_bytes`` of address space beyond what the libraries take."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + memory_bytes
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE)


def give_way(*, altogether: bool) -> None:
    """Let others go first: most of the time, or always.

    A process of ``SCHED_BATCH`` keeps a core for a few milliseconds before one that has waked up gets it,
    however nice it is; one of ``SCHED_IDLE`` gives it up at once (sched(7)). That is what a read waits for
    while photos are decoded (``bench``, part ingest).
    """
    os.nice(_NICENESS)
    os.sched_setscheduler(0, os.SCHED_IDLE if altogether else os.SCHED_BATCH, os.sched_param(0))


def allow_seconds(seconds: int) -> None:
    """Let the kernel kill this process (SIGXCPU) after this much more processor time."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    until = int(used.ru_utime + used.ru_stime) + 1 + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (until, resource.RLIM_INFINITY))


def read_frame(pipe: BinaryIO) -> bytes | None:
    """The next frame, or None when the other side has closed the pipe."""
    head = pipe.read(LENGTH_BYTES)
    if len(head) < LENGTH_BYTES:
        return None
    size = int.from_bytes(head)
    body = pipe.read(size)
    return body if len(body) == size else None


def write_frame(pipe: BinaryIO, body: bytes) -> None:
    """Send a frame."""
    pipe.write(len(body).to_bytes(LENGTH_BYTES))
    pipe.write(body)
    pipe.flush()


def answer(work: Work, request: bytes) -> bytes:
    """What the work gives, or why it does not, as a frame's body."""
    try:
        return OK + work(request)
    except HayloftError as error:
        refused = error
    except MemoryError:
        refused = UnsupportedMedia("Decoding the image needs more memory than is allowed.")
    return FAILED + json.dumps({"code": refused.code, "message": refused.message}).encode()


def _take_pipes() -> tuple[BinaryIO, BinaryIO]:
    """The two pipes; whatever a library prints goes nowhere instead of into the answers."""
    answers = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    return os.fdopen(0, "rb"), answers


if __name__ == "__main__":
    main(sys.argv[1:])
