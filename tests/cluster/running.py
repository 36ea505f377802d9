"""A real cluster for tests: ``hayloft cluster up`` in a directory of its own, and ways to hurt it.

Ends only its own processes. What a fault needs to know (process ids, addresses) comes from where
``hayloft cluster status`` takes it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hayloft.assembly.machine.home import ClusterHome
from hayloft.assembly.machine.watching import is_running

START_SECONDS_MAX = 150.0
STOP_SECONDS_MAX = 120.0
MIB = 1 << 20

QUICK = {
    # Small volumes, so that a short load fills several; a failed replica is looked after soon.
    "HAYLOFT_VOLUME__SIZE_BYTES_MAX": str(8 * MIB),
    "HAYLOFT_VOLUME__FREE_SPACE_RESERVE_BYTES": str(MIB),
    "HAYLOFT_SILENCE_SECONDS_MAX": "8",
    "HAYLOFT_WORKERS": "2",
    "HAYLOFT_PITCHFORK__CHECK_SECONDS": "1",
    "HAYLOFT_PITCHFORK__COMPARE_SECONDS": "10",
}


class RunningCluster:
    """One cluster; ``settings`` are added to its environment."""

    def __init__(self, data: Path, **settings: str) -> None:
        self.home = ClusterHome(data)
        self.output = data.parent / f"{data.name}.log"
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("HAYLOFT_")},
            **QUICK,
            **settings,
        }
        self.process: subprocess.Popen[str] | None = None
        self.strangers: list[subprocess.Popen[bytes]] = []

    # Its life ------------------------------------------------------------------------------------

    def start(self, *options: str) -> RunningCluster:
        """Start it and wait until every role is ready."""
        with self.output.open("w") as output:
            self.process = subprocess.Popen(
                [*HAYLOFT, "cluster", "up", "--data", str(self.home.path), "--free-ports", *options],
                stdout=output,
                stderr=output,
                env=self._environment,
                start_new_session=True,
                text=True,
            )
        self.wait_for("the cluster is up", lambda: "cluster is ready" in self.said, START_SECONDS_MAX)
        return self

    def stop(self) -> int:
        """Stop it as Ctrl-C does; its exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self.process.wait(STOP_SECONDS_MAX)

    def close(self) -> None:
        """End everything, whatever state it is in."""
        for stranger in self.strangers:
            stranger.kill()
            stranger.wait()
        if self.process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.stop()
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()

    def run_store(
        self, name: str, data: Path, *, port: int, advertised_url: str, **settings: str
    ) -> subprocess.Popen[bytes]:
        """One more store, started by its own command."""
        environment = self._environment | {
            "HAYLOFT_STORE_ID": name,
            "HAYLOFT_DATA": str(data),
            "HAYLOFT_PORT": str(port),
            "HAYLOFT_ADVERTISED_URL": advertised_url,
            "HAYLOFT_DIRECTORIES": json.dumps(self.directories),
            "HAYLOFT_SECRET_FILE": str(self.home.secret_file),
            **settings,
        }
        with (self.home.path.parent / f"{name}.log").open("ab") as output:
            store = subprocess.Popen(
                [*HAYLOFT, "store"], stdout=output, stderr=output, env=environment, start_new_session=True
            )
        self.strangers.append(store)
        return store

    # What is known of it -------------------------------------------------------------------------

    @property
    def said(self) -> str:
        """What it has printed so far."""
        return self.output.read_text()

    @property
    def parts(self) -> dict[str, dict[str, Any]]:
        """Its processes by name."""
        state = self.home.read_state()
        return {part["name"]: part for part in state["parts"]} if state else {}

    @property
    def url(self) -> str:
        """The gateway."""
        return str(self.parts["gateway"]["address"])

    @property
    def directories(self) -> list[str]:
        return [part["address"] for part in self.parts.values() if part["command"] == "directory"]

    @property
    def broker_url(self) -> str:
        address = self.parts["rabbitmq"]["address"]
        return f"amqp://hayloft:{self.home.derived('rabbitmq')}@{address}/"

    @property
    def secret(self) -> bytes:
        return self.home.secret_file.read_bytes().strip()

    def pid(self, name: str) -> int:
        """A part's process now."""
        self.wait_for(f"{name} runs", lambda: self.parts.get(name, {}).get("pid") is not None)
        return int(self.parts[name]["pid"])

    def status(self) -> list[dict[str, Any]]:
        """What ``hayloft cluster status --json`` says."""
        told = subprocess.run(
            [*HAYLOFT, "cluster", "status", "--json", "--data", str(self.home.path)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return [json.loads(line) for line in told.stdout.splitlines()]

    def log_of(self, name: str) -> str:
        return self.home.log_of(name).read_text()

    def processes(self) -> list[int]:
        """Every process that works in its directory, or was started by it."""
        mark = str(self.home.path)
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                told = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
                if re.search(re.escape(mark.encode()) + rb"[/\0]", told) and int(entry.name) != os.getpid():
                    found.append(int(entry.name))
        return found

    # Hurting it ----------------------------------------------------------------------------------

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a part a signal that ends it, and wait until it has been started again."""
        pid = self.pid(name)
        os.kill(pid, number)
        self.wait_for(f"{name} is started again", lambda: self.parts[name]["pid"] not in (None, pid))

    def pause(self, name: str) -> Callable[[], None]:
        """Have a part stand still; what is returned lets it go on."""
        pid = self.pid(name)
        os.kill(pid, signal.SIGSTOP)

        def go_on() -> None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

        return go_on

    def until_ready(self, seconds: float = 90.0) -> None:
        """Wait until every role says that it is ready."""
        self.wait_for("every role is ready", self._is_ready, seconds)

    def _is_ready(self) -> bool:
        told = self.status()
        return bool(told) and all(part["state"] == "ready" for part in told)

    def wait_for(self, what: str, condition: Callable[[], bool], seconds: float = 60.0) -> None:
        """Poll until something is so; an assertion with what the cluster said if it never is."""
        deadline = time.monotonic() + seconds
        while not condition():
            if self.process is not None and self.process.poll() is not None:
                raise AssertionError(f"the cluster ended ({what}):\n{self.said}")
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {seconds} s: {what}\n{self.said}\n{self.status()}")
            time.sleep(0.1)


HAYLOFT = (sys.executable, "-m", "hayloft")


def gone(pids: list[int]) -> bool:
    """Whether none of these processes is there any more."""
    return not any(is_running(pid) for pid in pids)
