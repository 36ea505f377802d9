"""Two data directories that differ in nothing but how much is in them: a thousand photos, and a million.

Photos of 1 KB, because a million of them must fit beside everything else; what is measured on them (memory
for each stored image, and whether rates depend on how much is stored) does not depend on their size. Made
once for all parts of a run, by ``measure.fill``.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from measure import fill
from measure.bench import Bench
from measure.photos import KIB

PHOTO_BYTES = KIB
FEW = 1000
MANY = 1_000_000
MANY_QUICK = 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """A data directory, and the request targets of all its photos."""

    data: Path
    targets: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Both directories. Parts that upload work on a copy of the small one."""

    few: Filled
    many: Filled


_made: dict[Path, Pair] = {}


def pair(bench: Bench) -> Pair:
    """The two directories, made at the first call."""
    if bench.work not in _made:
        work = bench.directory("million")
        _made[bench.work] = Pair(
            few=_filled(bench, work / "few", FEW),
            many=_filled(bench, work / "many", MANY_QUICK if bench.quick else MANY),
        )
        bench.note_disk()
    return _made[bench.work]


def forget(bench: Bench) -> None:
    """Remove them."""
    if _made.pop(bench.work, None) is not None:
        bench.remove(bench.work / "million")


def _filled(bench: Bench, data: Path, count: int) -> Filled:
    bench.say(f"storing {count:,} photos of {PHOTO_BYTES} bytes")
    started = time.monotonic()
    targets = fill.fill(data, [(range(count), PHOTO_BYTES)])
    bench.say(f"stored {count:,} photos in {time.monotonic() - started:.0f} s")
    return Filled(data=data, targets=tuple(targets))
