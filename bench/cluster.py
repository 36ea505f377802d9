"""The cluster's benchmark: proxied reads, replicated uploads, faults and repair, as ratios, in one run.

Every figure stands beside something on the same machine at the same time: reads beside a bare aiohttp proxy
in front of a bare ASGI server, uploads beside Hayloft on one machine, both beside the same topology written
plainly (``measure/plain.py``); repair beside a plain copy of the same files. A full run takes about five
minutes and writes ``bench/results/cluster``; a run of some parts, or a quick one, writes
``bench/work/results``. bench/README.md says how to read the results.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from rich.console import Console

from hayloft.errors import HayloftError
from measure import cluster, contenders, faults, load, machine, repair, report
from measure.bench import Bench, rate
from measure.collection import Collection, target_list
from measure.contenders import ContenderError
from measure.load import LoadError, Reads, Sample, Writes
from measure.photos import KIB, template
from measure.result import (
    PartResult,
    Target,
    Verdict,
    interleave,
    ratio_verdict,
    ratios,
)

HERE = Path(__file__).parent
PHOTO_BYTES = 64 * KIB
PHOTOS = 500
PLAIN_PHOTOS = 50
"""The plain cluster takes seconds for each ten."""

ALONE = {"HAYLOFT_SIMILARITY__ENABLED": "false", "HAYLOFT_RENDITIONS__ENABLED": "false"}
"""One machine's server without what the measured cluster is without, too."""


def reads(bench: Bench) -> PartResult:
    """Photos through gateway and store, all in the page cache."""
    work = bench.directory("cluster-reads")
    files = Collection(name="k64", root=work / "files", serials=range(PHOTOS), size=PHOTO_BYTES)
    targets = files.write_files()
    with ExitStack() as stack:
        bench.say(f"storing {PHOTOS} photos in the cluster")
        mine = stack.enter_context(cluster.hayloft_cluster(_made(work / "hayloft")))
        photos = faults.fill(mine.gateway.url, template(PHOTO_BYTES), PHOTOS)
        plain = stack.enter_context(cluster.plain_cluster(work / "plain"))
        plain_photos = faults.fill(plain.url, template(PHOTO_BYTES), PLAIN_PHOTOS)
        bare_files = target_list(work / "files.txt", targets, size_mean=PHOTO_BYTES)
        bare = stack.enter_context(contenders.bare_asgi(bare_files.paths, files.root, work))
        proxy = stack.enter_context(cluster.bare_proxy(bare, work, targets[0]))
        sources: dict[contenders.Contender, Reads] = {
            mine.gateway: _targets(work / "mine.txt", photos),
            proxy: bare_files,
            plain: _targets(work / "plain.txt", plain_photos),
        }
        if wrong := faults.check(mine.gateway.url, photos[:50]):
            raise LoadError(wrong[0])
        runs = {
            one.name: partial(load.run, one.url, one.pid, seconds=bench.seconds, reads=source)
            for one, source in sources.items()
        }
        samples = _warm_samples(bench, runs)
    what = "proxied reads, 64 KB"
    rates = {name: [sample.requests_per_second for sample in some] for name, some in samples.items()}
    bench.remove(work)
    against_proxy = ratio_verdict(
        f"{what} / bare aiohttp proxy",
        ratios(rates["hayloft cluster"], rates["bare proxy"]),
        how="one gateway worker, three stores, signed and verified; 32 connections, requests/s",
        target=Target(bound=0.6, side="at least"),
    )
    return PartResult(
        part="reads",
        title="Proxied reads",
        measurements=tuple(rate(what, name, some) for name, some in samples.items()),
        verdicts=(against_proxy, _against_plain(what, rates)),
    )


def uploads(bench: Bench) -> PartResult:
    """Durable uploads on three replicas, beside one machine's."""
    work = bench.directory("cluster-uploads")
    with ExitStack() as stack:
        mine = stack.enter_context(cluster.hayloft_cluster(_made(work / "hayloft")))
        alone = stack.enter_context(contenders.hayloft(work / "alone", settings=ALONE, name="one machine"))
        plain = stack.enter_context(cluster.plain_cluster(work / "plain"))
        writes = Writes(template=template(PHOTO_BYTES), directory=work)
        runs = {
            one.name: partial(load.run, one.url, one.pid, seconds=bench.seconds, writes=writes)
            for one in (mine.gateway, alone, plain)
        }
        samples = _warm_samples(bench, runs)
    what = "durable uploads, 64 KB"
    rates = {name: [one.images_written_per_second for one in some] for name, some in samples.items()}
    bench.remove(work)
    against_one_machine = ratio_verdict(
        f"{what}, three replicas / one machine",
        ratios(rates["hayloft cluster"], rates["one machine"]),
        how="one gateway worker, 32 connections; all replicas share this machine's disk and cores",
        target=Target(bound=0.25, side="at least"),
    )
    return PartResult(
        part="uploads",
        title="Uploads to three replicas",
        measurements=tuple(rate(what, name, some) for name, some in samples.items()),
        verdicts=(against_one_machine, _against_plain(what, rates)),
    )


def _warm_samples(bench: Bench, runs: Mapping[str, Callable[..., Sample]]) -> dict[str, list[Sample]]:
    """Every contender's samples in turn, after a second for each that does not count."""
    for run in runs.values():
        run(seconds=1)
    return interleave(runs, rounds=bench.rounds, progress=bench.say)


def _against_plain(what: str, rates: Mapping[str, Sequence[float]]) -> Verdict:
    return ratio_verdict(
        f"{what} / written plainly",
        ratios(rates["hayloft cluster"], rates["written plainly"]),
        how="the same topology, 32 connections, photos/s",
    )


def struck(bench: Bench) -> PartResult:
    """A store killed, and one stopped, under reads and under uploads."""
    work = bench.directory("cluster-faults")
    verdicts: list[Verdict] = []
    notes: list[str] = []
    with cluster.hayloft_cluster(_made(work / "hayloft"), pitchfork=True) as mine:
        url = mine.gateway.url
        bench.say("storing photos")
        kept = faults.fill(url, template(PHOTO_BYTES), PHOTOS)
        for number, verb in ((signal.SIGKILL, "killed"), (signal.SIGSTOP, "stopped")):
            for what, bound in (("reads", 1.0), ("uploads", 3.0)):
                bench.say(f"{what} while a store is {verb}")
                request = (
                    faults.reading(url, list(kept))
                    if what == "reads"
                    else faults.uploading(url, template(PHOTO_BYTES), kept)
                )
                noticed = faults.under_load(mine, request, number=number)
                verdicts += _noticed(f"{what} while one of three stores is {verb}", noticed, bound)
                notes += [f"{what}, {verb}: {failure}" for failure in noticed.failures[:3]]
        bench.say(f"reading back all {len(kept)} photos that were acknowledged")
        wrong = faults.check(url, kept)
    verdicts.append(
        Verdict(
            what="acknowledged photos lost",
            value=len(wrong),
            unit="",
            rounds=(),
            how=f"all {len(kept)} read back and compared",
            target=Target(bound=0, side="at most"),
        )
    )
    bench.remove(work)
    return PartResult(
        part="faults", title="A store goes away", verdicts=tuple(verdicts), notes=tuple(notes)
    )


def repaired(bench: Bench) -> PartResult:
    """A store replaced by an empty one, beside a plain copy of its files."""
    return repair.run(bench)


PARTS: dict[str, Callable[[Bench], PartResult]] = {
    "reads": reads,
    "uploads": uploads,
    "faults": struck,
    "repair": repaired,
}


def main() -> int:
    """Run the parts asked for; returns the exit status: 1 if a part failed, whatever targets are missed."""
    options = _options()
    # Ended from outside, it still ends what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    console = Console()
    if shutil.which("wrk") is None:
        console.print("Missing: wrk. `make bench-cluster` installs it on Debian.")
        return 1
    work = HERE / "work"
    work.mkdir(exist_ok=True)
    bench = Bench(
        work=work,
        quick=options.quick,
        console=console,
        rounds=3,
        seconds=1 if options.quick else options.seconds,
    )
    started = time.monotonic()
    described = machine.describe(work)
    parts: list[PartResult] = []
    failed = False
    for name in options.only:
        bench.begin(name)
        try:
            part = PARTS[name](bench)
        except (LoadError, ContenderError, HayloftError, OSError, subprocess.SubprocessError) as error:
            failed = True
            part = PartResult(part=name, title=name.capitalize(), notes=(f"Failed: {error}",))
            bench.say(f"failed: {error}")
        parts.append(part)
        for verdict in part.verdicts:
            target = f"  target {verdict.target}: {verdict.outcome.strip('*')}" if verdict.target else ""
            bench.say(f"{verdict.what}: {verdict.value:.3g} {verdict.unit}{target}")
        for one in part.measurements:
            bench.say(f"{one.what}, {one.contender}: {one.median:.0f} {one.unit}")
        for note in part.notes:
            bench.say(note)
    minutes = (time.monotonic() - started) / 60
    described["load average at the end"] = " ".join(f"{each:.2f}" for each in os.getloadavg())
    about = (
        f"One run of {minutes:.1f} minutes on {time.strftime('%Y-%m-%d')}: `bench/cluster.py "
        f"{' '.join(sys.argv[1:])}".rstrip()
        + f"`, {bench.rounds} rounds of {bench.seconds} s. Ratios are medians of the rounds' ratios. A "
        "target missed is a finding, not an error.",
    )
    complete = not options.quick and options.only == list(PARTS) and not failed
    out = HERE / "results" / "cluster" if complete else work / "results"
    settings = {"only": options.only, "quick": bench.quick}
    report.write(out, described, parts, command="make bench-cluster", about=about, options=settings)
    console.print(f"\nWritten: {out}/results.md, results.json")
    return 1 if failed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The cluster's benchmark. Parts: " + ", ".join(PARTS))
    parser.add_argument("--only", help="run only these parts, separated by commas", default=",".join(PARTS))
    parser.add_argument("--quick", action="store_true", help="short rounds: a trial")
    parser.add_argument("--seconds", type=int, default=3, help="seconds of each round (default 3)")
    options = parser.parse_args()
    options.only = options.only.split(",")
    if unknown := [part for part in options.only if part not in PARTS]:
        parser.error(f"unknown parts: {', '.join(unknown)}")
    return options


def _made(path: Path) -> Path:
    path.mkdir(parents=True)
    return path


def _targets(path: Path, photos: list[tuple[str, bytes]]) -> Reads:
    return target_list(path, [target for target, _ in photos], size_mean=PHOTO_BYTES)


def _noticed(what: str, noticed: faults.Noticed, bound: float) -> list[Verdict]:
    how = f"{noticed.requests:,} requests, {faults.CONNECTIONS} connections"
    return [
        Verdict(
            what=f"{what}: failed",
            value=len(noticed.failures),
            unit="",
            rounds=(),
            how=how,
            target=Target(bound=0, side="at most"),
        ),
        Verdict(
            what=f"{what}: slowest",
            value=noticed.slowest_seconds,
            unit="s",
            rounds=(),
            how=how,
            target=Target(bound=bound, side="at most"),
        ),
    ]


if __name__ == "__main__":
    sys.exit(main())
