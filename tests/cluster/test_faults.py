"""A cluster of real processes under load, and everything that may happen to it, one thing after the other.

The order matters: one cluster, one load, one history; the last tests say what must be so in the end. A
short version of what ``make soak`` does for as long as it is told to.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster import faults
from cluster.faults import Scene
from cluster.load import Load
from cluster.rabbitmq_node import EPMD, SERVER
from cluster.running import RunningCluster, gone
from cluster.verdict import until_right
from hayloft.wire.serving import free_port

pytestmark = [
    pytest.mark.skipif(not SERVER.exists() or EPMD is None, reason="Debian's rabbitmq-server is missing"),
    pytest.mark.timeout(400),
]

SEED = int(os.environ.get("HAYLOFT_TEST_SEED", "0")) or random.SystemRandom().randrange(1 << 32)
RIGHT_SECONDS_MAX = 120.0


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    sys.stderr.write(f"HAYLOFT_TEST_SEED={SEED}\n")
    # Not under pytest's folder: that is closed to the user that PostgreSQL runs as when we are root.
    folder = Path(tempfile.mkdtemp(prefix="hayloft-cluster-"))
    data = folder / "data"
    small_disk = faults.small_disk(data / "stores" / faults.FULL_STORE)
    cluster = RunningCluster(data)
    scene = Scene(cluster, random.Random(SEED), pause_seconds=3.0, small_disk=small_disk)
    try:
        cluster.start()
        faults.add_store(scene, data.parent / "s4")
        yield scene
    finally:
        cluster.close()
        if scene.proxy is not None:
            scene.proxy.close()
        if small_disk is not None:
            faults.unmount(small_disk)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def load(scene: Scene) -> Iterator[Load]:
    load = Load(scene.cluster.url, scene.cluster.broker_url, seed=SEED)
    load.start()
    yield load
    load.close()


def test_load_alone(scene: Scene, load: Load) -> None:
    scene.cluster.wait_for("some photos are there", lambda: len(load.history.photos) >= 20)
    assert load.history.violations == []


@pytest.mark.parametrize("fault", faults.IN_SHORT, ids=lambda fault: fault.__name__)
def test_fault(scene: Scene, load: Load, fault: faults.Fault) -> None:
    before = len(load.history.photos)
    fault(scene)
    scene.cluster.wait_for("uploads go on", lambda: len(load.history.photos) > before)
    assert load.history.violations == []


def test_everything_is_right_in_the_end(scene: Scene, load: Load) -> None:
    load.stop()
    took = until_right(scene.cluster, load.history, seconds=RIGHT_SECONDS_MAX)
    history = load.history
    sys.stderr.write(
        f"{len(history.photos)} uploads, {history.reads} reads, {len(history.deleted)} deletions; "
        f"right after {took:.0f} s; refused meanwhile: {history.refusals}\n"
    )
    assert history.violations == []
    assert history.deleted


def test_it_stops_leaving_nothing_behind_and_starts_again_with_everything(scene: Scene, load: Load) -> None:
    cluster = scene.cluster
    load.close()
    processes, parts = cluster.processes(), set(cluster.parts)
    assert len(processes) > 10
    assert cluster.stop() == 0
    assert set(re.findall(r"^(\S+) \S+ stopped$", cluster.said, re.MULTILINE)) == parts
    assert "\x1b" not in cluster.said
    strangers = [stranger.pid for stranger in cluster.strangers]
    deadline = time.monotonic() + 10
    own = [pid for pid in processes if pid not in strangers]
    while not gone(own):
        assert time.monotonic() < deadline, [pid for pid in own if not gone([pid])]
        time.sleep(0.1)
    assert cluster.status() == []
    port = free_port()
    cluster.start("--port", str(port))
    assert cluster.url == f"http://127.0.0.1:{port}"
    until_right(cluster, load.history, seconds=RIGHT_SECONDS_MAX)


def test_one_that_is_killed_takes_its_processes_with_it(scene: Scene) -> None:
    cluster = scene.cluster
    pids = [part["pid"] for part in cluster.parts.values()]
    assert cluster.process is not None
    cluster.process.send_signal(signal.SIGKILL)
    cluster.process.wait()
    deadline = time.monotonic() + 60
    while not gone(pids):
        assert time.monotonic() < deadline
        time.sleep(0.1)
