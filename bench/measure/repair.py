"""Repair: a store replaced by an empty one, until all its replicas are whole again, beside a plain copy.

The pitchfork finds out by itself, copies the replicas from the other stores, verifies them and puts their
volumes back. The time counts from the first byte on the empty store until the directory knows of no failed
replica, and the bytes are those of the volumes that were lost. What it takes to notice does not depend on
how much was lost, and is told for itself. The copy is ``cp`` of the same files on the same disk, synced,
made before the store is lost and twice after it is whole again. The middle one counts: one copy may take
four times as long as the next.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import statistics
import subprocess
import time
from pathlib import Path

from hayloft.directory.client import DirectoryClient
from hayloft.types import ReplicaState
from measure import faults
from measure.bench import Bench
from measure.cluster import SECRET, Cluster, hayloft_cluster
from measure.contenders import ContenderError
from measure.photos import KIB, template
from measure.result import Measurement, PartResult, Target, Verdict

PHOTOS = 6000
PHOTOS_QUICK = 500
PHOTO_BYTES = 64 * KIB
SECONDS_MAX = 120.0
COPIED_BYTES_MIN = 64 * KIB
TARGET = Target(bound=0.3, side="at least")


def run(bench: Bench) -> PartResult:
    """Measure both."""
    work = bench.directory("cluster-repair")
    root = work / "hayloft"
    root.mkdir()
    with hayloft_cluster(root, pitchfork=True) as mine:
        count = PHOTOS_QUICK if bench.quick else PHOTOS
        bench.say(f"storing {count} photos on three replicas")
        kept = faults.fill(mine.gateway.url, template(PHOTO_BYTES), count)
        lost = mine.stores[0]
        size = _size_bytes(root / lost / "volumes")
        copies = [_copy_seconds(root / lost / "volumes", work / "copy")]
        bench.say(f"replacing {lost}, {len(kept)} photos, {size >> 20} MB, by an empty store")
        mine.empty_store(lost)
        noticing, mending = _mending_seconds(mine, lost, size)
        copies += [_copy_seconds(root / lost / "volumes", work / "copy") for _ in range(2)]
        wrong = faults.check(mine.gateway.url, kept[:: max(1, len(kept) // 500)])
    bench.remove(work)
    if wrong:
        raise ContenderError(f"a photo is not what it was: {wrong[0]}")
    copying = statistics.median(copies)
    rates = {
        "pitchfork": (size / mending / 1e6,),
        "cp, synced": tuple(size / seconds / 1e6 for seconds in copies),
    }
    return PartResult(
        part="repair",
        title="Repair of a replaced store",
        measurements=tuple(
            Measurement(what="bytes of volumes", contender=name, unit="MB/s", rounds=rounds)
            for name, rounds in rates.items()
        ),
        verdicts=(
            Verdict(
                what="repair of a replaced store / plain file copy",
                value=copying / mending,
                unit="×",
                rounds=(),
                how=f"{size / 1e6:.0f} MB in {mending:.1f} s, against {copying:.1f} s",
                target=TARGET,
            ),
            Verdict(
                what="until a replaced store's first byte is back",
                value=noticing,
                unit="s",
                rounds=(),
                how="from the empty store's start",
            ),
        ),
    )


def _size_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("*.log"))


def _copy_seconds(source: Path, target: Path) -> float:
    started = time.monotonic()
    subprocess.run(["cp", "-r", str(source), str(target)], check=True)
    for file in target.iterdir():
        with file.open("rb") as copied:
            os.fsync(copied.fileno())
    seconds = time.monotonic() - started
    shutil.rmtree(target)
    return seconds


def _mending_seconds(cluster: Cluster, store: str, size: int) -> tuple[float, float]:
    """Seconds until the first byte, and from then on until all is whole."""
    started = time.monotonic()
    noticed: float | None = None
    while time.monotonic() - started < SECONDS_MAX:
        there = _size_bytes(cluster.root / store / "volumes")
        # A new volume's log begins with a superblock; what is more has been copied.
        if noticed is None and there > COPIED_BYTES_MIN:
            noticed = time.monotonic()
        mended = noticed is not None and there >= 0.99 * size
        if noticed is not None and mended and not any(one.failure for one in _replicas(cluster)):
            return noticed - started, time.monotonic() - noticed
        time.sleep(0.1)
    failures = [one for one in _replicas(cluster) if one.failure]
    raise ContenderError(f"not mended in {SECONDS_MAX:.0f} s: {failures[:3]}")


def _replicas(cluster: Cluster) -> tuple[ReplicaState, ...]:
    async def ask() -> tuple[ReplicaState, ...]:
        directory = DirectoryClient(cluster.directory_url, secret=SECRET.encode())
        try:
            return await directory.replicas()
        finally:
            await directory.close()

    return asyncio.run(ask())
