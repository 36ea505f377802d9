"""The store alone, without HTTP: durable appends against fio, hot and cold reads, opening, memory.

``python bench/store_micro.py [--directory DIR]`` prints one line for each figure. Everything happens on
the file system that holds DIR, and is removed afterwards; fio (Debian's package) is optional. The
requests of cold reads are the whole machine's, so they are only worth something when it is idle.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import json
import os
import pstats
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from hayloft.config import VolumeSettings
from hayloft.disk import SystemDisk
from hayloft.store.local import LocalStore
from hayloft.types import (
    AlternateKey,
    Cookie,
    NeedleMetadata,
    NewNeedle,
    PhotoId,
    Sequence,
    StoreId,
    VolumeId,
    photo_id,
)
from hayloft.volume import Volume
from hayloft.volume.index import APPLIED, TAIL, pack_entry

VOLUME = VolumeId(1)
PHOTO_BYTES = 64 << 10
METADATA = NeedleMetadata(
    media_type="image/jpeg", name="DSC01234.jpg", sha256=bytes(32), created_at_ms=1_700_000_000_000
)


def photo(sequence: int) -> PhotoId:
    return photo_id(VOLUME, Sequence(sequence))


def report(what: str, figure: float, unit: str) -> None:
    print(f"{what:<58} {figure:>12,.1f} {unit}", flush=True)


def fio(directory: Path, seconds: int) -> float | None:
    """Operations per second of 64 KiB writes, each followed by fdatasync."""
    if shutil.which("fio") is None:
        return None
    command = ["fio", "--name=sync", f"--directory={directory}", "--rw=write", "--bs=64k", "--fdatasync=1"]
    command += ["--ioengine=psync", "--size=512m", f"--runtime={seconds}", "--time_based"]
    done = subprocess.run([*command, "--output-format=json"], capture_output=True, check=True)
    for path in directory.glob("sync.*"):
        path.unlink()
    return float(json.loads(done.stdout)["jobs"][0]["write"]["iops"])


async def appends(
    store: LocalStore, *, seconds: float, in_flight: int, size: int, first: int
) -> tuple[float, int]:
    """Durable appends per second, and how many there were."""
    data = os.urandom(size)
    deadline = time.perf_counter() + seconds
    sequence = first

    async def client() -> None:
        nonlocal sequence
        while time.perf_counter() < deadline:
            sequence += 1
            needle = NewNeedle(photo=photo(sequence), cookie=Cookie(7), data=data, metadata=METADATA)
            await store.append(VOLUME, needle)

    start = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(in_flight)))
    return (sequence - first) / (time.perf_counter() - start), sequence - first


async def hot_reads(store: LocalStore, sequences: range, rounds: int) -> float:
    """Microseconds for one hot read, as one caller after the other sees it; the best of several rounds."""
    best = float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        for sequence in sequences:
            await store.read(photo(sequence))
        best = min(best, (time.perf_counter() - start) / len(sequences) * 1e6)
    return best


def kernel_copy(directory: Path, size: int, count: int) -> float:
    """Microseconds of one bare preadv of that size from the page cache, into fresh memory."""
    log = os.open(directory / f"lv-{VOLUME}.log", os.O_RDONLY)
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        for place in range(count):
            os.pread(log, size, 4096 + place * size)
        best = min(best, (time.perf_counter() - start) / count * 1e6)
    os.close(log)
    return best


def disk_reads() -> tuple[int, int]:
    """Completed read requests and sectors read so far, over all whole devices that are not loops."""
    requests = sectors = 0
    for line in Path("/proc/diskstats").read_text().splitlines():
        fields = line.split()
        if Path("/sys/block", fields[2]).exists() and not fields[2].startswith("loop"):
            requests, sectors = requests + int(fields[3]), sectors + int(fields[5])
    return requests, sectors


def drop_caches() -> bool:
    """Whether the kernel has forgotten what it had read."""
    os.sync()
    try:
        Path("/proc/sys/vm/drop_caches").write_text("3")
    except OSError:
        return False
    return True


async def cold_reads(store: LocalStore, sequences: range) -> None:
    if not drop_caches():
        print("cold reads: dropping the caches needs root, skipped")
        return
    await store.read(photo(sequences[0]))  # Superblock, index and file system metadata come in here.
    requests, sectors = disk_reads()
    for sequence in sequences[1:]:
        await store.read(photo(sequence))
    after_requests, after_sectors = disk_reads()
    count = len(sequences) - 1
    report("cold reads: requests to the disk for each", (after_requests - requests) / count, "")
    report("cold reads: KiB from the disk for each", (after_sectors - sectors) / 2 / count, "KiB")


def fill_index(directory: Path, needles: int) -> Volume:
    """A volume whose index says that it holds so many needles; its log stays small."""
    volume = Volume.open(SystemDisk(), directory, VOLUME, create_size_bytes_max=16 << 30)
    index = volume.current.generation.index
    slots = volume.current.generation.log.superblock.slots
    for sequence in range(needles):
        slot = sequence * slots
        index.reserve((slot,))
        index.store(slot, pack_entry(4096 + sequence * 64, 64))
    volume.current.generation.log.file.truncate(4096 + needles * 64)
    index.words[TAIL] = index.words[APPLIED] = 4096 + needles * 64
    index.write_checkpoint()
    return volume


def proportional_bytes() -> int:
    """This process's PSS."""
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) << 10
    raise AssertionError("the kernel tells no PSS")


def opening(directory: Path, needles: int) -> None:
    fill_index(directory, needles)
    before = proportional_bytes()
    start = time.perf_counter()
    volume = Volume.open(SystemDisk(), directory, VOLUME)
    report(f"opening a volume of {needles:,} needles", (time.perf_counter() - start) * 1000, "ms")
    for sequence in range(needles):
        volume.exists(Sequence(sequence), AlternateKey.ORIG)
    slots = needles * volume.current.generation.log.superblock.slots
    report(
        "memory (PSS) for each slot, every entry looked at",
        (proportional_bytes() - before) / slots,
        "bytes",
    )


async def main(arguments: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory(dir=arguments.directory, prefix="store-micro-") as name:
        directory = Path(name)
        for part in ("store", "small", "open"):
            (directory / part).mkdir()
        settings = VolumeSettings(free_space_reserve_bytes=0)
        store = LocalStore(directory / "store", store=StoreId("local"), settings=settings)
        await store.append(VOLUME, NewNeedle(photo=photo(0), cookie=Cookie(7), data=b"first"))
        raw = [fio(directory, arguments.seconds)]
        count = 0
        for in_flight in (1, 32):
            rate, more = await appends(
                store, seconds=arguments.seconds, in_flight=in_flight, size=PHOTO_BYTES, first=count
            )
            count += more
            report(f"durable appends of 64 KiB, {in_flight} in flight", rate, "/s")
        raw.append(fio(directory, arguments.seconds))
        measured = [figure for figure in raw if figure is not None]
        if measured:
            mean = sum(measured) / len(measured)
            report("fio: 64 KiB writes, fdatasync=1 (mean of before and after)", mean, "/s")
            report("appends against fio", rate / mean, "×")
        sequences = range(1, min(count, 1000))
        if arguments.profile:
            profile = cProfile.Profile()
            profile.enable()
            await hot_reads(store, sequences, 5)
            profile.disable()
            pstats.Stats(profile).sort_stats("tottime").print_stats(15)
        took, copy = (
            await hot_reads(store, sequences, 10),
            kernel_copy(directory / "store", PHOTO_BYTES, 500),
        )
        report("hot reads of 64 KiB, one after the other", took, "µs")
        report("of which the kernel's copy (bare pread)", copy, "µs")
        await cold_reads(store, sequences)
        await store.close()
        small = LocalStore(directory / "small", store=StoreId("local"), settings=settings)
        rate, count = await appends(small, seconds=arguments.seconds, in_flight=32, size=8 << 10, first=0)
        report("durable appends of 8 KiB, 32 in flight", rate, "/s")
        report("hot reads of 8 KiB", await hot_reads(small, range(1, min(count, 1000)), 10), "µs")
        await small.close()
        opening(directory / "open", arguments.needles)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", type=Path, default=Path.cwd(), help="where to measure")
    parser.add_argument("--seconds", type=int, default=5, help="for each figure that takes time")
    parser.add_argument("--needles", type=int, default=1_000_000, help="in the volume that is opened")
    parser.add_argument("--profile", action="store_true", help="profile hot reads")
    asyncio.run(main(parser.parse_args()))
