"""Breaks a cluster for as long as it is asked to, and says what was done and what was found.

``make soak MINUTES=30`` runs it. Faults are drawn at random from a seed, which is printed and can be given
again; now and then the load pauses, and everything must become right within a bounded time. The exit code
is 1 if anything was ever wrong; then the directory with data and logs is kept.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from cluster import faults
from cluster.faults import Scene
from cluster.load import Load, Rates
from cluster.running import RunningCluster
from cluster.verdict import until_right

FAULTS_BETWEEN_CHECKS = 6
RIGHT_SECONDS_MAX = 300.0
CALM_SECONDS_MAX = 4.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--uploads", type=float, default=6.0, help="uploads a second that are aimed at")
    options = parser.parse_args()
    say(f"seed {options.seed}, {options.minutes:g} minutes")
    folder = Path(tempfile.mkdtemp(prefix="hayloft-soak-"))
    small_disk = faults.small_disk(folder / "data" / "stores" / faults.FULL_STORE)
    cluster = RunningCluster(folder / "data")
    scene = Scene(cluster, random.Random(options.seed), pause_seconds=5.0, small_disk=small_disk)
    soak = Soak(scene, options.minutes, Rates(uploads=options.uploads))
    try:
        cluster.start()
        faults.add_store(scene, folder / "s4")
        right = soak.run(options.seed)
    except AssertionError as failure:
        say(f"WRONG: {failure}")
        right = False
    finally:
        cluster.close()
        if scene.proxy is not None:
            scene.proxy.close()
        soak.report()
    if not right:
        say(f"data and logs are in {folder}")
        return 1
    if small_disk is not None:
        faults.unmount(small_disk)
    shutil.rmtree(folder, ignore_errors=True)
    return 0


class Soak:
    """Faults one after the other under one load."""

    def __init__(self, scene: Scene, minutes: float, rates: Rates) -> None:
        self._scene = scene
        self._until = time.monotonic() + 60 * minutes
        self._rates = rates
        self._started = time.monotonic()
        self._done: Counter[str] = Counter()
        self._slowest_right = 0.0
        self._load: Load | None = None

    def run(self, seed: int) -> bool:
        """Whether nothing was ever wrong."""
        cluster = self._scene.cluster
        self._load = load = Load(cluster.url, cluster.broker_url, seed=seed, rates=self._rates).start()
        try:
            while time.monotonic() < self._until:
                for _ in range(FAULTS_BETWEEN_CHECKS):
                    self._break(load)
                    if time.monotonic() > self._until:
                        break
                self._check(load)
            return not load.history.violations
        finally:
            load.close()

    def _break(self, load: Load) -> None:
        scene = self._scene
        fault = scene.choice.choice(faults.ALL)
        before, started = len(load.history.photos), time.monotonic()
        fault(scene)
        scene.cluster.wait_for("uploads go on", lambda: len(load.history.photos) > before)
        self._done[fault.__name__] += 1
        self._say(f"{fault.__name__}: ready again after {time.monotonic() - started:.1f} s")
        for said in scene.said:
            self._say(f"  {said}")
        scene.said.clear()
        assert not load.history.violations, "\n".join(load.history.violations)
        time.sleep(scene.choice.uniform(0, CALM_SECONDS_MAX))

    def _check(self, load: Load) -> None:
        load.pause()
        try:
            took = until_right(self._scene.cluster, load.history, seconds=RIGHT_SECONDS_MAX)
        finally:
            load.go_on()
        self._slowest_right = max(self._slowest_right, took)
        history = load.history
        self._say(
            f"all right after {took:.0f} s: {len(history.live)} photos, {len(history.deleted)} deleted, "
            f"{history.reads} reads"
        )

    def _say(self, text: str) -> None:
        say(f"{time.monotonic() - self._started:6.0f} s  {text}")

    def report(self) -> None:
        """What was done and found."""
        if self._load is None:
            return
        history = self._load.history
        say(f"{len(history.photos)} uploads, {history.reads} reads, {len(history.deleted)} deletions")
        say(f"{self._done.total()} faults; the longest until all was right: {self._slowest_right:.0f} s")
        for name, times in sorted(self._done.items()):
            say(f"  {times:3} × {name}")
        for what, times in sorted(history.refusals.items()):
            say(f"  refused {times:5} × {what}")
        for violation in history.violations:
            say(f"  VIOLATION {violation}")


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
