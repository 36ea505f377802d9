"""The contenders: Hayloft, nginx, and a bare ASGI callable on the same HTTP server as Hayloft's.

Each one is started by the benchmark on a port of its own, serves until its ``with`` block ends, and is
ended by signal. A ``Contender`` knows its address and its processes, nothing else.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measure import machine

START_SECONDS_MAX = 60
STOP_SECONDS_MAX = 40

NGINX_CONFIGURATION = """\
daemon off;
{user}
worker_processes 1;
pid {work}/nginx.pid;
error_log {work}/nginx-error.log error;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    tcp_nodelay on;
    keepalive_requests 1000000000;
    keepalive_timeout 600;
    types {{ image/jpeg jpg; }}
    client_body_temp_path {work}/body;
    proxy_temp_path {work}/proxy;
    fastcgi_temp_path {work}/fastcgi;
    uwsgi_temp_path {work}/uwsgi;
    scgi_temp_path {work}/scgi;
    {file_cache}
    server {{
        listen 127.0.0.1:{port};
        location / {{ root {root}; }}
    }}
}}
"""
FILE_CACHE = "open_file_cache max=200000 inactive=1h; open_file_cache_valid 1h;"
"""Keeps the files' descriptors open: the fastest nginx, as long as the hot photos are few."""


class ContenderError(RuntimeError):
    """A contender did not start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """One running server."""

    name: str
    url: str
    pid: int

    @property
    def pids(self) -> list[int]:
        """All its processes, now."""
        return machine.family(self.pid)

    def pss_bytes(self) -> int:
        """Proportional set size of all its processes together."""
        return sum(machine.pss_bytes(pid) for pid in self.pids)

    def get(self, path: str) -> bytes:
        """The body of one GET.

        Raises:
            urllib.error.HTTPError: the answer was an error.
        """
        with urllib.request.urlopen(self.url + path, timeout=30) as response:
            body: bytes = response.read()
            return body

    def get_json(self, path: str) -> Any:
        """The body of one GET, as JSON."""
        return json.loads(self.get(path))


@contextlib.contextmanager
def hayloft(
    data: Path, *, workers: int | None = 1, settings: Mapping[str, str] | None = None, name: str = "hayloft"
) -> Iterator[Contender]:
    """Hayloft on a data directory, with settings of its own given as ``HAYLOFT_…`` variables."""
    port = free_port()
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HAYLOFT_")}
    environment |= {"HAYLOFT_DATA": str(data), "HAYLOFT_PORT": str(port), "HAYLOFT_LOG_LEVEL": "warning"}
    if workers is not None:
        environment["HAYLOFT_WORKERS"] = str(workers)
    environment |= dict(settings or {})
    command = [str(Path(sys.executable).parent / "hayloft"), "serve"]
    with served(
        name, command, port, data.parent / f"{data.name}.log", environment, ready="/ready"
    ) as contender:
        yield contender


@contextlib.contextmanager
def nginx(root: Path, work: Path, *, file_cache: bool = False) -> Iterator[Contender]:
    """nginx with one worker, serving the files under ``root``."""
    port = free_port()
    home = work / ("nginx-cached" if file_cache else "nginx")
    home.mkdir(parents=True, exist_ok=True)
    configuration = home / "nginx.conf"
    configuration.write_text(
        NGINX_CONFIGURATION.format(
            user="user root;" if os.geteuid() == 0 else "",
            work=home,
            root=root,
            port=port,
            file_cache=FILE_CACHE if file_cache else "",
        )
    )
    name = "nginx, open files cached" if file_cache else "nginx"
    command = ["nginx", "-p", str(home), "-c", str(configuration), "-e", str(home / "nginx-start.log")]
    with served(name, command, port, home / "nginx.log", dict(os.environ), ready="/") as contender:
        yield contender


@contextlib.contextmanager
def bare_asgi(paths: Path, root: Path, work: Path) -> Iterator[Contender]:
    """The same HTTP server as Hayloft's, one worker, around a callable that answers from memory."""
    port = free_port()
    environment = dict(os.environ) | {"BENCH_PATHS": str(paths), "BENCH_ROOT": str(root)}
    environment["PYTHONPATH"] = str(Path(__file__).parents[1])
    command = [
        sys.executable, "-m", "uvicorn", "--loop", "uvloop", "--http", "httptools", "--ws", "none",
        "--lifespan", "off", "--no-access-log", "--log-level", "warning", "--host", "127.0.0.1",
        "--port", str(port), "measure.bare:application",
    ]  # fmt: skip
    with served("bare ASGI", command, port, work / "bare.log", environment, ready="/") as contender:
        yield contender


@contextlib.contextmanager
def served(
    name: str, command: list[str], port: int, log: Path, environment: dict[str, str], *, ready: str
) -> Iterator[Contender]:
    """A server started by a command, once it answers at ``ready``; what it says goes into ``log``."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
    contender = Contender(name=name, url=f"http://127.0.0.1:{port}", pid=process.pid)
    try:
        _wait_until_ready(contender, process, ready, log)
        yield contender
    finally:
        stop(process)


def _wait_until_ready(contender: Contender, process: subprocess.Popen[bytes], path: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < deadline and process.poll() is None:
        try:
            contender.get(path)
        except urllib.error.HTTPError as error:
            if error.code < 500:
                return
        except OSError:
            pass
        else:
            return
        time.sleep(0.05)
    raise ContenderError(
        f"{contender.name} did not start; it said:\n{log.read_text(errors='replace')[-4000:]}"
    )


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process, by force if it does not by itself."""
    process.terminate()
    try:
        process.wait(STOP_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def free_port() -> int:
    """A port that nothing listens on right now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
