"""Clusters for the benchmark: Hayloft's roles as processes, and the same topology written plainly.

Hayloft's has a PostgreSQL of its own, one directory, stores, one gateway with one worker, a secret between
them, and a pitchfork where one is wanted; no broker, no similarity: they take no part in what is measured.
A store can be killed, stopped, gone on with, started again, and replaced by one with an empty disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hayloft.assembly.machine import postgres
from measure.contenders import Contender, ContenderError, free_port, served, stop

SECRET = "a secret for the benchmark alone"
STORES = 3
START_SECONDS_MAX = 60

_HAYLOFT = str(Path(sys.executable).parent / "hayloft")


@dataclass(slots=True, kw_only=True)
class Cluster:
    """A running cluster of Hayloft's."""

    root: Path
    environment: dict[str, str]
    directory_url: str
    ports: dict[str, int]
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def gateway(self) -> Contender:
        """Its gateway."""
        port, process = self.ports["gateway"], self.processes["gateway"]
        return Contender(name="hayloft cluster", url=f"http://127.0.0.1:{port}", pid=process.pid)

    @property
    def stores(self) -> list[str]:
        """The stores' names."""
        return [name for name in self.ports if name.startswith("s")]

    def start(self, name: str, *arguments: str, **environment: str) -> None:
        """Start a role."""
        with (self.root / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [_HAYLOFT, *arguments, "--port", str(self.ports[name])],
                env=self.environment | environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def start_store(self, name: str) -> None:
        """Start a store, on whatever is on its disk."""
        self.start(name, "store", "--store-id", name, "--data", str(self.root / name))

    def signal(self, name: str, number: int) -> None:
        """Send a process a signal; one that kills is waited for."""
        self.processes[name].send_signal(number)
        if number == signal.SIGKILL:
            self.processes[name].wait()

    def empty_store(self, name: str) -> None:
        """Replace a store by one with nothing on its disk."""
        self.signal(name, signal.SIGKILL)
        shutil.rmtree(self.root / name)
        self.start_store(name)

    def wait_until_ready(self, name: str) -> None:
        """Wait until a process says that it can do its work."""
        deadline = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < deadline and self.processes[name].poll() is None:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{self.ports[name]}/ready", timeout=3).close()
                return
            time.sleep(0.1)
        log = (self.root / f"{name}.log").read_text(errors="replace")
        raise ContenderError(f"{name} did not get ready; it said:\n{log[-3000:]}")


@contextlib.contextmanager
def hayloft_cluster(root: Path, *, pitchfork: bool = False) -> Iterator[Cluster]:
    """Hayloft's cluster under ``root``, ready to be used."""
    names = ["directory", *(f"s{number}" for number in range(1, STORES + 1)), "gateway", "pitchfork"]
    ports = {name: free_port() for name in names}
    directory_url = f"http://127.0.0.1:{ports['directory']}"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HAYLOFT_")}
    environment |= {
        "HAYLOFT_LOG_LEVEL": "warning",
        "HAYLOFT_SECRET": SECRET,
        "HAYLOFT_DIRECTORIES": json.dumps([directory_url]),
    }
    cluster = Cluster(root=root, environment=environment, directory_url=directory_url, ports=ports)
    try:
        with _database(root) as url:
            cluster.start(
                "directory", "directory", HAYLOFT_DATABASE_URL=url, HAYLOFT_ADVERTISED_URL=directory_url
            )
            cluster.wait_until_ready("directory")
            for name in cluster.stores:
                cluster.start_store(name)
            for name in cluster.stores:
                cluster.wait_until_ready(name)
            cluster.start("gateway", "gateway", "--workers", "1", HAYLOFT_RENDITIONS__ENABLED="false")
            if pitchfork:
                # As fast as it can: what it is held to by default leaves room for those who read.
                cluster.start("pitchfork", "pitchfork", HAYLOFT_PITCHFORK__COPY_BYTES_PER_SECOND="0")
            cluster.wait_until_ready("gateway")
            yield cluster
            for name in reversed(names):
                if name in cluster.processes and name != "directory":
                    stop(cluster.processes[name])
            stop(cluster.processes["directory"])
    finally:
        for process in cluster.processes.values():
            if process.poll() is None:
                process.kill()
                process.wait()


@contextlib.contextmanager
def _database(root: Path) -> Iterator[str]:
    prepared = postgres.prepare(root / "postgres", output=root / "postgres.log")
    command = prepared.command
    with (root / "postgres.log").open("ab") as log:
        server = subprocess.Popen(
            command.arguments,
            env={**os.environ, **command.environment},
            stdout=log,
            stderr=subprocess.STDOUT,
            user=command.user,
        )
    try:
        asyncio.run(postgres.until_ready(prepared))
        yield prepared.url
    finally:
        server.send_signal(signal.SIGINT)  # PostgreSQL's fast shutdown
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


@contextlib.contextmanager
def plain_cluster(root: Path) -> Iterator[Contender]:
    """The same topology written plainly (``measure.plain``)."""
    with contextlib.ExitStack() as stack:
        stores = [_plain(stack, root, f"store-{n}", {"BENCH_ROLE": "store"}) for n in range(STORES)]
        directory = _plain(stack, root, "directory", {"BENCH_ROLE": "directory"})
        told = {
            "BENCH_ROLE": "gateway",
            "BENCH_DIRECTORY": directory.url,
            "BENCH_STORES": ",".join(store.url for store in stores),
        }
        yield _plain(stack, root, "written plainly", told)


def _plain(stack: contextlib.ExitStack, root: Path, name: str, environment: Mapping[str, str]) -> Contender:
    data = root / name.replace(" ", "-")
    data.mkdir(parents=True)
    return stack.enter_context(
        uvicorn(
            name, "measure.plain:application", data, {**environment, "BENCH_DATA": str(data)}, "/health"
        )
    )


@contextlib.contextmanager
def bare_proxy(upstream: Contender, work: Path, ready: str) -> Iterator[Contender]:
    """A bare aiohttp proxy in front of a bare ASGI server (``measure.proxy``)."""
    with uvicorn(
        "bare proxy", "measure.proxy:application", work, {"BENCH_UPSTREAM": upstream.url}, ready
    ) as proxy:
        yield proxy


@contextlib.contextmanager
def uvicorn(
    name: str, application: str, work: Path, environment: Mapping[str, str], ready: str
) -> Iterator[Contender]:
    """An ASGI application on the HTTP server that Hayloft uses."""
    port = free_port()
    command = [
        sys.executable, "-m", "uvicorn", "--loop", "uvloop", "--http", "httptools", "--ws", "none",
        "--lifespan", "off", "--no-access-log", "--log-level", "warning", "--host", "127.0.0.1",
        "--port", str(port), application,
    ]  # fmt: skip
    whole = {**os.environ, **environment, "PYTHONPATH": str(Path(__file__).parents[1])}
    log = work / f"{name.replace(' ', '-')}.log"
    with served(name, command, port, log, whole, ready=ready) as contender:
        yield contender
