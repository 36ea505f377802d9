"""What a commit costs the directory: commits a second, and CPU time for each, at several concurrencies.

    python bench/directory_micro.py [--seconds 3] [--concurrency 1 8 32 128] [--processes 1] [--busy]
    [--profile]

Every client leases ids, commits photos one after the other, and waits for each to be durable. CPU time
is the whole process's, the clients' own loop included. ``--busy`` keeps the event loop busy beside it,
as a gateway under load does.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import hashlib
import os
import pstats
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from hayloft.directory.leases import WritePolicy
from hayloft.directory.local import LocalDirectory
from hayloft.directory.migrations import upgrade
from hayloft.types import NewPhoto, Sequence, StoreHealth, StoreId, new_cookie, photo_id

LEASE_COUNT = 1024


async def client(directory: LocalDirectory, holder: str, until: float) -> int:
    """Commit photos until the time is over; returns how many."""
    done = 0
    while True:
        lease = await directory.lease(holder=holder, count=LEASE_COUNT)
        for number in range(lease.count):
            if time.monotonic() >= until:
                return done
            photo = photo_id(lease.volume, Sequence(lease.first + number))
            await directory.commit(
                NewPhoto(
                    photo=photo,
                    cookie=new_cookie(),
                    size=64 * 1024,
                    sha256=hashlib.sha256(b"%d" % photo).digest(),
                    media_type="image/jpeg",
                    width=1600,
                    height=1200,
                    name="IMG_0001.jpeg",
                )
            )
            done += 1


async def keep_busy(until: float) -> None:
    """Leave the event loop never idle: 100 µs of work in each of its rounds."""
    while time.monotonic() < until:
        end = time.perf_counter() + 100e-6
        while time.perf_counter() < end:
            pass
        await asyncio.sleep(0)


async def measure(url: str, concurrency: int, seconds: float, *, busy: bool, writable: int) -> str:
    """One line of the result."""
    directory = LocalDirectory.open(url, policy=WritePolicy(writable_max=writable))
    await directory.register(
        StoreHealth(store=StoreId("local"), volumes=(), free_bytes=1 << 45, capacity_bytes=1 << 45)
    )
    cpu, started = time.process_time(), time.monotonic()
    until = started + seconds
    others = [asyncio.create_task(keep_busy(until))] if busy else []
    counts = await asyncio.gather(
        *(client(directory, f"{os.getpid()}-{number}", until) for number in range(concurrency))
    )
    elapsed, used = time.monotonic() - started, time.process_time() - cpu
    await asyncio.gather(*others)
    await directory.close()
    commits = sum(counts)
    return (
        f"{concurrency:5d} concurrent  {commits / elapsed:8.0f} commits/s  "
        f"{used / commits * 1e6:6.1f} µs CPU/commit  {elapsed / commits * concurrency * 1e3:7.2f} ms each"
    )


def main() -> None:
    """Measure what the flags say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 8, 32, 128])
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--busy", action="store_true")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--directory", type=Path, help="where the database is made (default: a new one)")
    parser.add_argument("--url", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.url:
        run(options, options.url)
        return
    with tempfile.TemporaryDirectory(dir=options.directory) as folder:
        url = f"sqlite:///{folder}/directory.sqlite"
        upgrade(url)
        if options.processes == 1:
            run(options, url)
            return
        again = [sys.executable, __file__, *sys.argv[1:], "--url", url]
        children = [subprocess.Popen(again) for _ in range(options.processes)]
        sys.exit(max(child.wait() for child in children))


def run(options: argparse.Namespace, url: str) -> None:
    """Measure in this process."""
    for concurrency in options.concurrency:
        profile = cProfile.Profile()
        if options.profile:
            profile.enable()
        line = asyncio.run(
            measure(url, concurrency, options.seconds, busy=options.busy, writable=options.processes)
        )
        profile.disable()
        print(line, flush=True)
        if options.profile:
            pstats.Stats(profile).sort_stats("tottime").print_stats(25)


if __name__ == "__main__":
    main()
