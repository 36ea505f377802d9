"""Haystress: Hayloft under the paper's workloads, next to the raw device and nginx, in one run.

The workloads A to G are those of "Finding a needle in Haystack: Facebook's photo storage" (Beaver, Kumar,
Li, Sobel, Vajgel; OSDI 2010), section 4.4.2 and Table 4: random reads of 64 KB (A), 70 % of them of 8 KB
(B), multi-writes of 1, 4 and 16 images (C, D, E), 98 % reads with 2 % multi-writes (F) and 96 % with 4 %
(G). Beside them it measures what Hayloft promises of itself: hot reads, durable uploads, disk requests per
cold read, memory per stored image, the time to open a store, and that none of it depends on how much is
stored. ``measure/`` holds one module for each part; bench/README.md says how to read the results.

It starts every server itself, on free ports and fresh directories under ``bench/work``, and removes them.
A full run writes ``bench/results``; a run of some parts, or a quick one, writes ``bench/work/results``.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from measure import cold, ingest, machine, memory, million, opening, paper, reads, report, scale, uploads
from measure.bench import DISK_BYTES_MAX, GIB, Bench
from measure.contenders import ContenderError
from measure.load import LoadError
from measure.result import PartResult

HERE = Path(__file__).parent
PARTS: dict[str, Callable[[Bench], PartResult]] = {
    "reads": reads.run,
    "uploads": uploads.run,
    "ingest": ingest.run,
    "cold": cold.run,
    "memory": memory.run,
    "opening": opening.run,
    "scale": scale.run,
    "paper": paper.run,
}
TOOLS = ("nginx", "fio", "wrk")


def main() -> int:
    """Run the parts asked for; returns the exit status: 1 if a part failed, whatever targets are missed."""
    options = _options()
    console = Console()
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        console.print(f"Missing: {', '.join(missing)}. `make bench` installs them on Debian.")
        return 1
    work = HERE / "work"
    work.mkdir(exist_ok=True)
    if shutil.disk_usage(work).free < DISK_BYTES_MAX:
        console.print(f"The benchmark needs {DISK_BYTES_MAX // GIB} GiB free under {work}.")
        return 1
    bench = Bench(
        work=work,
        quick=options.quick,
        console=console,
        rounds=3 if options.quick else options.rounds,
        seconds=1 if options.quick else options.seconds,
        photos=options.photos,
    )
    return _run(bench, options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Hayloft's benchmark. Parts: " + ", ".join(PARTS))
    parser.add_argument("--only", help="run only these parts, separated by commas", default=",".join(PARTS))
    parser.add_argument("--quick", action="store_true", help="small collections, short rounds: a trial")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each contender (default 5)")
    parser.add_argument("--seconds", type=int, default=3, help="seconds of each round (default 3)")
    parser.add_argument("--photos", type=Path, help="a folder of JPEGs to ingest, instead of made ones")
    parser.add_argument("--out", type=Path, help="where the results go")
    options = parser.parse_args()
    options.only = options.only.split(",")
    unknown = [part for part in options.only if part not in PARTS]
    if unknown:
        parser.error(f"unknown parts: {', '.join(unknown)}")
    if options.rounds < 3:
        parser.error("a median needs three rounds at least")
    if options.out is None:
        complete = not options.quick and options.only == list(PARTS)
        options.out = HERE / "results" if complete else HERE / "work" / "results"
    return options


def _run(bench: Bench, options: argparse.Namespace) -> int:
    started = time.monotonic()
    described = machine.describe(bench.work)
    parts: list[PartResult] = []
    failed: list[str] = []
    for name in options.only:
        bench.begin(name)
        part_started = time.monotonic()
        try:
            part = PARTS[name](bench)
        except (LoadError, ContenderError, OSError, subprocess.SubprocessError) as error:
            failed.append(name)
            part = PartResult(part=name, title=name.capitalize(), notes=(f"Failed: {error}",))
            bench.say(f"failed: {error}")
        parts.append(part)
        for verdict in part.verdicts:
            target = f"  target {verdict.target}: {verdict.outcome.strip('*')}" if verdict.target else ""
            bench.say(f"{verdict.what}: {verdict.value:.3g} {verdict.unit}{target}")
        bench.say(f"done in {time.monotonic() - part_started:.0f} s")
    million.forget(bench)
    minutes = (time.monotonic() - started) / 60
    described["load average at the end"] = " ".join(f"{load:.2f}" for load in os.getloadavg())
    about = (
        f"One run of {minutes:.0f} minutes on {time.strftime('%Y-%m-%d')}: `bench/haystress.py "
        f"{' '.join(sys.argv[1:])}".rstrip()
        + f"`, {bench.rounds} rounds of {bench.seconds} s, at most "
        f"{bench.disk_bytes_peak / GIB:.1f} GiB on disk. Ratios are medians of the rounds' ratios; "
        "*rounds* gives the smallest, the largest and their number. A target missed is a finding, not "
        "an error.",
    )
    settings = {
        "only": options.only,
        "quick": bench.quick,
        "rounds": bench.rounds,
        "seconds": bench.seconds,
    }
    out = HERE / "work" / "results" if failed else options.out
    report.write(out, described, parts, command="make bench", about=about, options=settings)
    bench.console.print(f"\nWritten: {out}/results.md, results.json, results.png")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
