"""Opening a store of ten million needles.

Two volumes of five million tiny needles each are written through the volume engine, by two processes. Then
fresh processes open the store (all its volumes, and their state), as it is found: with everything in the
page cache, with the caches emptied, after a restart of the machine, and after a power cut while photos of
64 KB were being written, when the log from the last checkpoint on has to be read again. A restart is played
by a disk that says that the machine's memory is another one since: the store then distrusts what it shared.
Timed from the store's first call to its answer; starting Python is not in it.
"""

from __future__ import annotations

import json
import multiprocessing
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from hayloft import limits
from hayloft.disk import SystemDisk
from hayloft.types import Cookie, NewNeedle, VolumeId, photo_id
from hayloft.types import Sequence as SequenceNumber
from hayloft.volume import Append, Volume
from measure import machine
from measure.bench import Bench
from measure.photos import KIB, template
from measure.result import PartResult, Target, Verdict, interleave

TARGET = Target(bound=1.0, side="at most")
VOLUMES = 2
NEEDLES = 10_000_000
NEEDLES_QUICK = 200_000
BATCH = 5000
DATA = b"a tiny photo"
_CUT_SHORT_BYTES = limits.CHECKPOINT_INTERVAL_BYTES * 9 // 10
"""Written before the power cut: nearly all that may lie between two checkpoints."""


def run(bench: Bench) -> PartResult:
    """Build the store and open it in all ways."""
    store = bench.directory("opening")
    needles = NEEDLES_QUICK if bench.quick else NEEDLES
    bench.say(f"writing {needles:,} needles")
    started = time.monotonic()
    build(store, needles)
    bench.say(f"written in {time.monotonic() - started:.0f} s")
    ways: dict[str, Callable[[], float]] = {"page cache warm": partial(open_once, store, needles)}
    if machine.may_drop_caches():
        ways["page cache emptied"] = partial(open_cold, store, needles)
        ways["after a restart, page cache emptied"] = partial(open_cold, store, needles, restarted=True)
    ways["after a power cut"] = partial(open_cut, store, needles)
    samples = interleave(ways, rounds=max(3, bench.rounds), progress=bench.say)
    bench.remove(store)
    return PartResult(
        part="opening",
        title="Opening a large store",
        verdicts=tuple(
            Verdict(
                what=f"opening {needles:,} needles, {way}",
                value=statistics.median(seconds),
                unit="s",
                rounds=tuple(seconds),
                how=f"{VOLUMES} volumes, a fresh process each time"
                + (
                    f"; {_CUT_SHORT_BYTES >> 20} MiB of 64 KB photos past the last checkpoint of one volume"
                    if way == "after a power cut"
                    else ""
                ),
                target=None if way == "after a power cut" else TARGET,
            )
            for way, seconds in samples.items()
        ),
    )


def build(store: Path, needles: int) -> None:
    """Write the volumes, side by side."""
    each = needles // VOLUMES
    context = multiprocessing.get_context("spawn")
    with context.Pool(VOLUMES) as pool:
        pool.starmap(_build_volume, [(store, volume, each) for volume in range(1, VOLUMES + 1)])


def _build_volume(store: Path, number: int, needles: int) -> None:
    volume = _open_volume(store, number)
    for first in range(0, needles, BATCH):
        volume.commit(
            [_needle(number, first + place, DATA) for place in range(min(BATCH, needles - first))]
        )
    volume.checkpoint()


def _open_volume(store: Path, number: int) -> Volume:
    size_max = limits.VOLUME_SIZE_BYTES_MAX
    return Volume.open(SystemDisk(), store, VolumeId(number), create_size_bytes_max=size_max)


def _needle(volume: int, sequence: int, data: bytes) -> Append:
    return Append(
        needle=NewNeedle(
            photo=photo_id(VolumeId(volume), SequenceNumber(sequence)), cookie=Cookie(sequence), data=data
        )
    )


def open_once(store: Path, needles: int, *, restarted: bool = False) -> float:
    """Seconds that a fresh process takes to open the store.

    Raises:
        RuntimeError: it did not find all the needles.
    """
    command = [
        sys.executable,
        "-m",
        "measure.open_store",
        str(store),
        *(["--restarted"] if restarted else []),
    ]
    ran = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[1])
    answer = json.loads(ran.stdout)
    if answer["needles"] < needles:
        raise RuntimeError(f"the store opened with {answer['needles']} needles of {needles}")
    return float(answer["seconds"])


def open_cold(store: Path, needles: int, *, restarted: bool = False) -> float:
    """The same with the caches emptied first."""
    machine.drop_caches()
    return open_once(store, needles, restarted=restarted)


def open_cut(store: Path, needles: int) -> float:
    """The same after a power cut: photos written, no checkpoint, and memory lost."""
    photo = template(64 * KIB).photo(0)
    volume = _open_volume(store, 1)
    volume.checkpoint()
    count = _CUT_SHORT_BYTES // len(photo)
    # The same sequence numbers every time: the store stays as large as it was.
    volume.commit([_needle(1, sequence, photo) for sequence in range(count)])
    del volume
    if machine.may_drop_caches():
        machine.drop_caches()
    return open_once(store, needles, restarted=True)
