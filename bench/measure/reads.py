"""Hot reads: photos that the page cache holds, 64 KB and 8 KB, against nginx serving the same as files.

One worker each, 32 connections, every photo as likely as any other. Hayloft runs as it comes, linking on,
but with nothing left to be linked: its photos were put there by ``measure.fill``. Two more rows put the
numbers in their place: nginx that keeps its files open, and a bare ASGI callable, answering from memory,
on the same HTTP server as Hayloft's.
"""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial

from measure import collection, contenders, fill, load
from measure.bench import Bench, rate
from measure.collection import Collection, target_list
from measure.photos import KIB
from measure.result import Measurement, PartResult, Target, Verdict, interleave, ratio_verdict, ratios

TARGETS = {64: Target(bound=0.9, side="at least"), 8: Target(bound=0.45, side="at least")}


def run(bench: Bench) -> PartResult:
    """Measure both sizes."""
    measurements: list[Measurement] = []
    verdicts: list[Verdict] = []
    notes: list[str] = []
    for size_kib, count in ((64, 2000), (8, 10_000)):
        one_size(bench, size_kib, count, measurements, verdicts, notes)
    return PartResult(
        part="reads",
        title="Hot reads",
        measurements=tuple(measurements),
        verdicts=tuple(verdicts),
        notes=tuple(notes),
    )


def one_size(
    bench: Bench,
    size_kib: int,
    count: int,
    measurements: list[Measurement],
    verdicts: list[Verdict],
    notes: list[str],
) -> None:
    """Measure the reads of one size and add what was found to the lists."""
    work = bench.directory("reads")
    what = f"hot reads, {size_kib} KB"
    photos = Collection(name=f"k{size_kib}", root=work / "files", serials=range(count), size=size_kib * KIB)
    bench.say(f"storing {count} photos of {size_kib} KB")
    targets = fill.fill(work / "data", [(photos.serials, photos.size)])
    files = photos.write_files()
    with ExitStack() as stack:
        hayloft = stack.enter_context(contenders.hayloft(work / "data"))
        file_reads = target_list(work / "files.txt", files, size_mean=photos.size)
        photo_reads = target_list(work / "photos.txt", targets, size_mean=photos.size)
        rivals = [
            stack.enter_context(contenders.nginx(photos.root, work)),
            stack.enter_context(contenders.nginx(photos.root, work, file_cache=True)),
            stack.enter_context(contenders.bare_asgi(file_reads.paths, photos.root, work)),
        ]
        for contender in (hayloft, *rivals):
            collection.check(photos, contender, targets if contender is hayloft else files)
        collection.warm(work)
        runs = {
            contender.name: partial(
                load.run,
                contender.url,
                contender.pid,
                seconds=bench.seconds,
                reads=photo_reads if contender is hayloft else file_reads,
            )
            for contender in (hayloft, *rivals)
        }
        for one in runs.values():
            one(seconds=1)  # warms the allocator, the interpreter and nginx's table of open files
        samples = interleave(runs, rounds=bench.rounds, progress=bench.say)
    measurements += [rate(what, name, samples[name]) for name in runs]
    mine = [sample.requests_per_second for sample in samples["hayloft"]]
    for rival in rivals:
        theirs = [sample.requests_per_second for sample in samples[rival.name]]
        verdicts.append(
            ratio_verdict(
                f"{what} / {rival.name}",
                ratios(mine, theirs),
                how="one worker each, 32 connections, requests/s",
                target=TARGETS[size_kib] if rival.name == "nginx" else None,
            )
        )
    notes += generator_notes(what, measurements[-len(runs) :])
    bench.remove(work)


def generator_notes(what: str, measurements: list[Measurement]) -> list[str]:
    """Where wrk itself used its whole core: the contender's real rate is higher, then."""
    return [
        f"{what}, {one.contender}: wrk used {one.extra['generator_cpu_share']:.0%} of a core and the "
        f"server {one.extra['server_cpu_share']:.0%}: wrk, not the server, may be the limit."
        for one in measurements
        if one.extra["generator_cpu_share"] > 0.9 > one.extra["server_cpu_share"]
    ]
