"""The faults, each a function of a running cluster: what breaks, for how long, and what mends it.

Each leaves every role running again; what the cluster has to mend by itself afterwards is left to it.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from cluster.proxy import Proxy
from cluster.running import MIB, RunningCluster
from hayloft.wire.serving import free_port

TMPFS_BYTES = 96 * MIB
FULL_STORE = "s1"
"""The store whose disk is small enough to be filled, where a test may mount one."""


@dataclass
class Scene:
    """A cluster, what was added to it for its faults, and the chance that they follow."""

    cluster: RunningCluster
    choice: random.Random
    pause_seconds: float
    """How long a part stands still, or is cut off."""
    small_disk: Path | None = None
    proxy: Proxy | None = None
    own_store: OwnStore | None = None
    said: list[str] = field(default_factory=list)

    def tell(self, what: str) -> None:
        self.said.append(what)

    def rest(self) -> None:
        time.sleep(self.pause_seconds)


Fault = Callable[[Scene], None]


def killed(*names: str) -> Fault:
    """SIGKILL, one after the other with nothing in between."""

    def fault(scene: Scene) -> None:
        pids = {name: scene.cluster.pid(name) for name in names}
        for pid in pids.values():
            os.kill(pid, signal.SIGKILL)
        for name, pid in pids.items():
            scene.cluster.wait_for(
                f"{name} is started again",
                lambda n=name, p=pid: scene.cluster.parts[n]["pid"] not in (None, p),
            )
        scene.cluster.until_ready()

    return _named(fault, "SIGKILL " + " and ".join(names))


def stopped(*names: str) -> Fault:
    """SIGSTOP for a while: alive for the kernel, silent for everybody else."""

    def fault(scene: Scene) -> None:
        go_on = [scene.cluster.pause(name) for name in names]
        try:
            scene.rest()
        finally:
            for each in go_on:
                each()
        scene.cluster.until_ready()

    return _named(fault, "SIGSTOP " + " and ".join(names))


def broker_away(scene: Scene) -> None:
    """The broker is stopped in an orderly way; starting takes it a while."""
    scene.cluster.kill("rabbitmq", signal.SIGTERM)
    scene.cluster.until_ready()


def postgres_restarted(scene: Scene) -> None:
    """PostgreSQL ends all sessions and starts anew."""
    scene.cluster.kill("postgres", signal.SIGINT)
    scene.cluster.until_ready()


def postgres_killed(scene: Scene) -> None:
    """PostgreSQL has to recover."""
    scene.cluster.kill("postgres")
    scene.cluster.until_ready()


def disk_full(scene: Scene) -> None:
    """Something else fills a store's disk, and makes room again."""
    if scene.small_disk is None:
        _all_reserved(scene)
        return
    filler = scene.small_disk / "filler"
    try:
        with filler.open("wb") as file, contextlib.suppress(OSError):
            while True:
                file.write(b"\0" * MIB)
                file.flush()
        scene.rest()
    finally:
        filler.unlink(missing_ok=True)
    scene.cluster.until_ready()


def _all_reserved(scene: Scene) -> None:
    """Where no disk may be mounted: a store that leaves more space free than there is."""
    assert scene.own_store is not None
    scene.own_store.restart(HAYLOFT_VOLUME__FREE_SPACE_RESERVE_BYTES=str(1 << 60))
    scene.rest()
    scene.own_store.restart()
    scene.cluster.until_ready()


def volume_damaged(scene: Scene) -> None:
    """Bytes of a store's volumes change on its disk, in the middle of needles and between them."""
    name = scene.choice.choice(["s2", "s3"])
    logs = sorted((scene.cluster.home.stores / name / "volumes").glob("lv-*.log"))
    for log in logs:
        size = log.stat().st_size
        for _ in range(3):
            offset = scene.choice.randrange(4096, size) if size > 8192 else None
            if offset is not None:
                with log.open("r+b") as file:
                    file.seek(offset)
                    old = file.read(1)
                    file.seek(offset)
                    file.write(bytes([old[0] ^ 0xFF]))
                scene.tell(f"changed byte {offset} of {name}/{log.name}")


def store_replaced(scene: Scene) -> None:
    """A store's disk is gone, and an empty one is in its place."""
    name = "s3"
    folder = scene.cluster.home.stores / name
    pid = scene.cluster.pid(name)
    os.kill(pid, signal.SIGSTOP)  # so that it writes nothing to the disk that is taken away
    folder.rename(folder.with_name(f"{name}-taken-away-{pid}"))
    os.kill(pid, signal.SIGKILL)
    scene.cluster.wait_for("the store is back", lambda: scene.cluster.parts[name]["pid"] not in (None, pid))
    scene.cluster.until_ready()
    shutil.rmtree(folder.with_name(f"{name}-taken-away-{pid}"))


def partition(scene: Scene) -> None:
    """Nothing comes through to or from one store any more, while it goes on telling that it is well."""
    assert scene.proxy is not None
    scene.proxy.cut()
    try:
        scene.rest()
    finally:
        scene.proxy.mend()
    scene.cluster.until_ready()


def small_disk(folder: Path) -> Path | None:
    """A disk of its own for a store's folder, where one may be mounted."""
    folder.mkdir(parents=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={TMPFS_BYTES},mode=0700", "tmpfs", str(folder)],
        capture_output=True,
        check=False,
    )
    return folder if mounted.returncode == 0 else None


def unmount(folder: Path) -> None:
    subprocess.run(["umount", "--lazy", str(folder)], capture_output=True, check=False)


class OwnStore:
    """One more store, which all others reach through a proxy."""

    def __init__(self, cluster: RunningCluster, data: Path) -> None:
        self._cluster, self._data, self._port = cluster, data, free_port()
        self.proxy = Proxy(free_port(), self._port).start()
        self._process = self._start()

    def restart(self, **settings: str) -> None:
        """Stop it in an orderly way, and start it with other settings."""
        self._process.terminate()
        self._process.wait(60)
        self._process = self._start(**settings)

    def _start(self, **settings: str) -> subprocess.Popen[bytes]:
        return self._cluster.run_store(
            "s4", self._data, port=self._port, advertised_url=self.proxy.url, **settings
        )


def add_store(scene: Scene, data: Path) -> None:
    """Have one more store join."""
    scene.own_store = OwnStore(scene.cluster, data)
    scene.proxy = scene.own_store.proxy


def _named(fault: Fault, name: str) -> Fault:
    fault.__name__ = name
    return fault


EVERY_ROLE = (
    "directory-1",
    "directory-2",
    "s1",
    "s2",
    "s3",
    "cache-1",
    "cache-2",
    "similarity",
    "pitchfork",
    "gateway",
)

IN_SHORT: tuple[Fault, ...] = (
    killed("directory-1", "similarity"),
    stopped("s1", "cache-1"),
    killed("s2", "cache-2", "pitchfork"),
    partition,
    killed("gateway"),
    broker_away,
    stopped("directory-1", "similarity"),
    postgres_restarted,
    disk_full,
    volume_damaged,
    store_replaced,
)
"""Every kind of fault and every role once, several together where neither hides the other."""

ALL: tuple[Fault, ...] = (
    *(killed(name) for name in EVERY_ROLE),
    *(stopped(name) for name in EVERY_ROLE),
    killed("s1", "directory-1"),
    stopped("s2", "directory-2"),
    killed("cache-1", "cache-2"),
    killed("directory-1", "directory-2"),
    killed("gateway", "s3"),
    stopped("s1", "similarity"),
    broker_away,
    postgres_restarted,
    postgres_killed,
    disk_full,
    volume_damaged,
    store_replaced,
    partition,
)
"""What ``make soak`` chooses from."""
