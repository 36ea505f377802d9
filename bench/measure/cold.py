"""Disk reads per cold photo read: the paper's one disk operation, counted by the kernel.

Caches are emptied, then every photo is read once over one connection in random order, and the counters of
the disk under the data directory (``/proc/diskstats``: requests as the device got them, after merging, and
sectors) are compared before and after. Whatever else reads from that disk meanwhile is counted too; a
control round, in which nobody is asked for anything for as long, shows how much that is. nginx reading the
same photos as files shows what the paper set out against: the directory's blocks and the inode besides the
data.
"""

from __future__ import annotations

import asyncio
import http.client
import random
import statistics
import time
import urllib.parse
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from hayloft.assembly.data_directory import DataDirectory
from hayloft.store.local import LocalStore
from hayloft.types import PhotoId, StoreId
from measure import contenders, fill, machine
from measure.bench import Bench
from measure.collection import Collection
from measure.contenders import Contender
from measure.load import LoadError
from measure.machine import SECTOR_BYTES, DiskCounters
from measure.photos import KIB
from measure.result import Measurement, PartResult, Target, Verdict, interleave

PAGE_BYTES = 4096
CONTROL = "nobody (control)"
CONTROL_SECONDS = 0.001
"""A cold read takes about this long."""
REQUESTS = Target(bound=1.05, side="at most")


@dataclass(frozen=True, slots=True, kw_only=True)
class ColdSample:
    """What the disk did for each photo."""

    requests: float
    bytes: float
    merged: float


def run(bench: Bench) -> PartResult:
    """Count for Hayloft and for nginx."""
    if not machine.may_drop_caches():
        return PartResult(
            part="cold", title="Cold reads", notes=("Not measured: emptying the page cache needs root.",)
        )
    work = bench.directory("cold")
    count = 300 if bench.quick else 1000
    photos = Collection(name="cold", root=work / "files", serials=range(count), size=64 * KIB)
    device = machine.block_device(work)
    bench.say(f"storing {count} photos of 64 KB")
    targets = fill.fill(work / "data", [(photos.serials, photos.size)])
    files = photos.write_files()
    with ExitStack() as stack:
        hayloft = stack.enter_context(contenders.hayloft(work / "data"))
        nginx = stack.enter_context(contenders.nginx(photos.root, work))
        samples = interleave(
            {
                "hayloft": lambda: read_all(hayloft, targets, photos.size, device),
                "nginx": lambda: read_all(nginx, files, photos.size, device),
                CONTROL: lambda: read_nothing(count, device),
            },
            rounds=3 if bench.quick else 7,
            progress=bench.say,
        )
    needle_bytes = record_bytes(work / "data", targets[0])
    bench.remove(work)
    return PartResult(
        part="cold",
        title="Disk reads per cold photo read",
        measurements=tuple(
            Measurement(
                what="cold reads, 64 KB",
                contender=name,
                unit="disk requests/photo",
                rounds=tuple(one.requests for one in values),
                extra={
                    "bytes_per_photo": statistics.median(one.bytes for one in values),
                    "merged_per_photo": statistics.median(one.merged for one in values),
                },
            )
            for name, values in samples.items()
        ),
        verdicts=_verdicts(samples, needle_bytes, photos.size),
        notes=(
            f"The counters are those of the device {device}. A needle takes {needle_bytes:,.0f} bytes of "
            f"the volume for a photo of {photos.size:,}; read in pages of {PAGE_BYTES}, it touches "
            f"{_pages_bytes(needle_bytes):,.0f} bytes on average.",
        ),
    )


def _verdicts(
    samples: dict[str, list[ColdSample]], needle_bytes: float, photo_bytes: int
) -> tuple[Verdict, ...]:
    verdicts = []
    for name, values in samples.items():
        if name == CONTROL:
            continue
        touched = _pages_bytes(needle_bytes if name == "hayloft" else photo_bytes)
        for what, rounds, how in (
            (
                "disk requests per cold photo",
                tuple(one.requests for one in values),
                "caches dropped, every photo read once, /proc/diskstats",
            ),
            (
                "bytes read per cold photo / bytes of the pages it lies on",
                tuple(one.bytes / touched for one in values),
                "the same reads: sectors against the needle's size"
                if name == "hayloft"
                else "the same reads",
            ),
        ):
            verdicts.append(
                Verdict(
                    what=f"{what}, {name}",
                    value=statistics.median(rounds),
                    unit="",
                    rounds=rounds,
                    how=how,
                    target=REQUESTS if name == "hayloft" else None,
                )
            )
    return tuple(verdicts)


def _pages_bytes(size: float) -> float:
    """Mean size of the whole pages that hold ``size`` bytes which start anywhere on an 8-byte border."""
    return size if size % PAGE_BYTES == 0 else size + PAGE_BYTES - 8


def read_all(contender: Contender, targets: list[str], size: int, device: str) -> ColdSample:
    """Empty the caches, read every photo once, and say what the disk did for it.

    Raises:
        LoadError: an answer was wrong.
    """
    order = random.sample(targets, len(targets))
    address = urllib.parse.urlsplit(contender.url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)
    machine.drop_caches()
    before = machine.disk_counters(device)
    for target in order:
        connection.request("GET", target)
        answer = connection.getresponse()
        if answer.status != 200 or len(answer.read()) != size:
            raise LoadError(f"{contender.name} answered {target} with {answer.status}")
    done = machine.disk_counters(device).since(before)
    connection.close()
    return _per_photo(done, len(order))


def read_nothing(count: int, device: str) -> ColdSample:
    """What the disk does, for others, in the time that ``count`` reads take about."""
    machine.drop_caches()
    before = machine.disk_counters(device)
    time.sleep(count * CONTROL_SECONDS)
    return _per_photo(machine.disk_counters(device).since(before), count)


def _per_photo(done: DiskCounters, count: int) -> ColdSample:
    return ColdSample(
        requests=done.reads / count,
        bytes=done.sectors_read * SECTOR_BYTES / count,
        merged=done.reads_merged / count,
    )


def record_bytes(data: Path, target: str) -> int:
    """Bytes that the needle of one photo takes on disk, as its store's index has it."""

    async def ask() -> int:
        store = LocalStore(DataDirectory(data).volumes, store=StoreId("bench"))
        existence = await store.stat(PhotoId(int(target.split("/")[2])))
        await store.close()
        return existence.size

    return asyncio.run(ask())
