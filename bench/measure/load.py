"""The load generator: wrk, one process with one thread, the same script for every contender.

A run that met an error (a status of 400 or more, a broken connection, a timeout, a response of the wrong
length) raises: a benchmark of failures measures nothing. Rates are closed-loop, over the connections
given: each of them sends its next request when the last one is answered.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from measure import machine
from measure.photos import Template

CONNECTIONS = 32
_SCRIPT = Path(__file__).parent / "lua" / "load.lua"
_HEADER_BYTES_MAX = 1500
_serials = itertools.count(1)


class LoadError(RuntimeError):
    """The load was not served as it should be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reads:
    """What is read: a file of request targets, and the mean size of what they answer, in bytes."""

    paths: Path
    size_mean: float
    once: bool = False
    """Read each in the file's order instead of at random, so that nothing is met twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Writes:
    """What is written: photos of one template, ``images`` to a request (0: a raw body)."""

    template: Template
    directory: Path
    """Where the template's two halves are put for the script."""
    images: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One run of the generator."""

    seconds: float
    requests: int
    reads: int
    images_written: int
    p50_ms: float
    p99_ms: float
    server_cpu_us: float
    """Processor time of the contender's processes per request, in microseconds."""
    server_cpu_share: float
    """Processor time of the contender's processes per second; 1 is one whole core."""
    generator_cpu_share: float
    """The same of wrk; near 1 it, not the server, may have been the limit."""

    @property
    def requests_per_second(self) -> float:
        return self.requests / self.seconds

    @property
    def reads_per_second(self) -> float:
        return self.reads / self.seconds

    @property
    def images_written_per_second(self) -> float:
        return self.images_written / self.seconds


def run(
    url: str,
    pid: int,
    *,
    seconds: int,
    reads: Reads | None = None,
    writes: Writes | None = None,
    write_share: float = 0.0,
    connections: int = CONNECTIONS,
) -> Sample:
    """Load the server at ``url``, whose first process is ``pid``, and say how it did.

    A round in which not one request was finished is lengthened, once: large uploads on a slow disk.

    Raises:
        LoadError: any answer was an error or had the wrong length, or there was none.
    """
    sample, raw = _run_once(url, pid, seconds, connections, reads, writes, write_share)
    if sample.requests == 0:
        sample, raw = _run_once(url, pid, 5 * seconds, connections, reads, writes, write_share)
    _check(raw, sample, reads, url)
    return sample


def _run_once(
    url: str,
    pid: int,
    seconds: int,
    connections: int,
    reads: Reads | None,
    writes: Writes | None,
    write_share: float,
) -> tuple[Sample, dict[str, int]]:
    command = [
        "wrk", "--threads", "1", "--connections", str(connections), "--duration", f"{seconds}s",
        "--timeout", "30s", "--latency", "--script", str(_SCRIPT), url, "--",
        *_arguments(reads, writes, write_share),
    ]  # fmt: skip
    server_before = machine.cpu_seconds(pid)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as wrk:
        generator_cpu = _wait(wrk.pid, seconds)
        output = wrk.communicate()[0]
    server_cpu = machine.cpu_seconds_since(pid, server_before)
    raw = _parse(output)
    return _sample(raw, writes, server_cpu, generator_cpu), raw


def _arguments(reads: Reads | None, writes: Writes | None, write_share: float) -> list[str]:
    arguments = ["-", "random"] if reads is None else [str(reads.paths), "once" if reads.once else "random"]
    if writes is None:
        return [*arguments, "0", "0", "-", "-", str(_new_serials())]
    head, tail = writes.directory / "photo.head", writes.directory / "photo.tail"
    head.write_bytes(writes.template.head)
    tail.write_bytes(writes.template.tail)
    share = "1" if reads is None else str(write_share)
    return [*arguments, share, str(writes.images), str(head), str(tail), str(_new_serials())]


def _new_serials() -> int:
    """A range of serial numbers that no other run of the generator uses, below 2**53 for Lua."""
    return next(_serials) << 32


def _wait(pid: int, seconds: int) -> float:
    """Processor time that the generator has used shortly before its end."""
    used = 0.0
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(min(0.1, seconds / 10))
        used = machine.cpu_seconds(pid).get(pid, used)
    return used


def _parse(output: str) -> dict[str, int]:
    for line in output.splitlines():
        if line.startswith("RESULT "):
            values: dict[str, int] = json.loads(line.removeprefix("RESULT "))
            return values
    raise LoadError(f"wrk gave no result:\n{output}")


def _sample(raw: dict[str, int], writes: Writes | None, server_cpu: float, generator_cpu: float) -> Sample:
    seconds, requests = raw["duration_us"] / 1e6, raw["requests"]
    # The script counts what it sent; the few requests still open at the end are shared out alike.
    sent = max(raw["reads_sent"] + raw["writes_sent"], 1)
    write_requests = requests * raw["writes_sent"] / sent
    return Sample(
        seconds=seconds,
        requests=requests,
        reads=round(requests - write_requests),
        images_written=round(write_requests * max(writes.images, 1)) if writes else 0,
        p50_ms=raw["p50_us"] / 1000,
        p99_ms=raw["p99_us"] / 1000,
        server_cpu_us=server_cpu / max(requests, 1) * 1e6,
        server_cpu_share=server_cpu / seconds,
        generator_cpu_share=generator_cpu / seconds,
    )


def _check(raw: dict[str, int], sample: Sample, reads: Reads | None, url: str) -> None:
    errors = {name: raw[name] for name in ("connect", "read", "write", "status", "timeout") if raw[name]}
    if errors:
        raise LoadError(f"{url}: {errors} errors in {raw['requests']} requests")
    if sample.requests == 0:
        raise LoadError(f"{url}: no request was answered")
    if reads is not None and sample.images_written == 0:
        excess = raw["bytes"] / sample.requests - reads.size_mean
        # Photos of mixed sizes come at random: a few per cent of slack around the mean, then.
        if not -0.05 * reads.size_mean <= excess <= _HEADER_BYTES_MAX + 0.05 * reads.size_mean:
            raise LoadError(f"{url}: answers are {excess:+.0f} bytes off the photos' mean size")
