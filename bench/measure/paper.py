"""The paper's workloads A to G (Beaver et al., "Finding a needle in Haystack", OSDI 2010, 4.4.2, Table 4).

========  ==========================================================================================
workload  requests
========  ==========================================================================================
A         random reads of 64 KB images, over so many that nearly every one is a disk operation
B         the same, but 70 % of the reads are of 8 KB images
C, D, E   multi-writes of 1, 4 and 16 images
F         98 % reads, 2 % multi-writes of 16 images
G         96 % reads, 4 % multi-writes of 16 images
========  ==========================================================================================

The paper compares A with Randomio, random direct reads of 64 KB by many threads (A reached 85 % of it), and
D and E with C (1.30 and 1.78 times its images per second). The text gives no size for written images; they
are 64 KB here. fio stands for Randomio; next to C, D and E it writes and syncs 1, 4 and 16 times 64 KB;
nginx serves the photos of A and B as files. One worker, 32 connections. The photos that are read are put
there by ``measure.fill``, the caches are emptied before every round of reads, and a round reads no photo
twice unless a note says so. A multi-write is one multipart form.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from measure import collection, contenders, disk, fill, load, machine, uploads
from measure.bench import Bench
from measure.collection import Collection
from measure.contenders import Contender
from measure.disk import DiskSample
from measure.load import Reads, Sample, Writes
from measure.photos import KIB, template
from measure.result import Measurement, PartResult, Verdict, interleave, ratio_verdict, ratios

IMAGES = {"C": 1, "D": 4, "E": 16}
WRITE_SHARES = {"F": 0.02, "G": 0.04}
SMALL_SHARE = 0.7
PAPER_A_OF_RAW = 0.85
PAPER_OF_C = {"D": 1.30, "E": 1.78}
RAW = "raw device"

AnySample = Sample | DiskSample


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadStage:
    """Two servers that hold the same photos, and what to ask them for in A and in B."""

    hayloft: Contender
    nginx: Contender
    hayloft_reads: dict[str, Reads]
    nginx_reads: dict[str, Reads]
    work: Path


def run(bench: Bench) -> PartResult:
    """Run all seven."""
    measurements: list[Measurement] = []
    verdicts: list[Verdict] = []
    notes: list[str] = []
    if not machine.may_drop_caches():
        notes.append("Emptying the page cache needs root: the reads of A, B, F and G were hot.")
    with read_stage(bench) as stage:
        reads(bench, stage, measurements, verdicts, notes)
        mixes(bench, stage, measurements)
    writes(bench, measurements, verdicts)
    return PartResult(
        part="paper",
        title="The paper's workloads",
        measurements=tuple(measurements),
        verdicts=tuple(verdicts),
        notes=tuple(notes),
    )


@contextmanager
def read_stage(bench: Bench) -> Iterator[ReadStage]:
    """Fill both servers with 64 KB and 8 KB photos and list what to read."""
    work = bench.directory("paper")
    large_count, small_count = (3000, 5000) if bench.quick else (30_000, 50_000)
    root = work / "files"
    large = Collection(name="large", root=root, serials=range(large_count), size=64 * KIB)
    small = Collection(name="small", root=root, serials=range(small_count), size=8 * KIB)
    bench.say(f"storing {large_count} photos of 64 KB and {small_count} of 8 KB, twice")
    filled = fill.fill(work / "data", [(large.serials, large.size), (small.serials, small.size)])
    targets = (filled[:large_count], filled[large_count:])
    files = (large.write_files(), small.write_files())
    bench.note_disk()
    with ExitStack() as stack:
        hayloft = stack.enter_context(contenders.hayloft(work / "data"))
        nginx = stack.enter_context(contenders.nginx(root, work))
        collection.check(large, hayloft, targets[0])
        collection.check(small, hayloft, targets[1])
        yield ReadStage(
            hayloft=hayloft,
            nginx=nginx,
            hayloft_reads=read_lists(work, "photos", *targets),
            nginx_reads=read_lists(work, "files", *files),
            work=work,
        )
    bench.remove(work)


def read_lists(work: Path, name: str, large: list[str], small: list[str]) -> dict[str, Reads]:
    """The targets of A and of B, in an order that is the same for every server."""
    mixed_large = large[: round(len(small) / SMALL_SHARE * (1 - SMALL_SHARE))]
    mixed = [*small, *mixed_large]
    mean = (len(small) * 8 + len(mixed_large) * 64) * KIB / len(mixed)
    return {
        "A": collection.target_list(work / f"{name}-a.txt", large, size_mean=64 * KIB, once=True),
        "B": collection.target_list(work / f"{name}-b.txt", mixed, size_mean=mean, once=True),
    }


def reads(
    bench: Bench,
    stage: ReadStage,
    measurements: list[Measurement],
    verdicts: list[Verdict],
    notes: list[str],
) -> None:
    """Workloads A and B: Hayloft, nginx and the raw device."""
    for workload in ("A", "B"):
        what = f"{workload}: random reads" + (" of 64 KB" if workload == "A" else ", 70 % of 8 KB")
        runs: dict[str, Callable[[], AnySample]] = {
            "hayloft": partial(cold_run, bench, stage.hayloft, stage.hayloft_reads[workload]),
            "nginx": partial(cold_run, bench, stage.nginx, stage.nginx_reads[workload]),
            RAW: partial(
                disk.random_reads,
                stage.work / "fio.read",
                size_bytes=(1 << 28) if bench.quick else (2 << 30),
                jobs=load.CONNECTIONS,
                seconds=bench.seconds,
                small_share=SMALL_SHARE if workload == "B" else 0.0,
            ),
        }
        samples = interleave(runs, rounds=rounds_of(bench), progress=bench.say)
        rates = {name: read_rates(values) for name, values in samples.items()}
        measurements += [
            uploads.read_measurement(what, name, values, rates[name]) for name, values in samples.items()
        ]
        for rival in (RAW, "nginx"):
            how = "cold, one worker, 32 connections, reads/s"
            if workload == "A" and rival == RAW:
                how += f"; the paper's machine reached {PAPER_A_OF_RAW}"
            verdicts.append(
                ratio_verdict(f"{workload} / {rival}", ratios(rates["hayloft"], rates[rival]), how=how)
            )
        notes += repeated_notes(workload, samples, stage)
    (stage.work / "fio.read").unlink(missing_ok=True)


def cold_run(bench: Bench, contender: Contender, reads: Reads) -> Sample:
    """One round of reads with the caches emptied."""
    if machine.may_drop_caches():
        machine.drop_caches()
    return load.run(contender.url, contender.pid, seconds=bench.seconds, reads=reads)


def repeated_notes(workload: str, samples: dict[str, list[AnySample]], stage: ReadStage) -> list[str]:
    """Rounds that came round to photos which they had read before."""
    listed = len(stage.nginx_reads[workload].paths.read_text().splitlines())
    return [
        f"{workload}: {name} read more than the {listed} photos there are in one round; "
        "what came after was hot."
        for name, values in samples.items()
        if any(isinstance(one, Sample) and one.requests > listed for one in values)
    ]


def mixes(bench: Bench, stage: ReadStage, measurements: list[Measurement]) -> None:
    """Workloads F and G: reads with a few multi-writes among them."""
    writes = Writes(template=template(64 * KIB), directory=stage.work, images=16)
    for workload, share in WRITE_SHARES.items():
        samples: list[Sample] = []
        for number in range(rounds_of(bench)):
            bench.say(f"{workload}: round {number + 1}/{rounds_of(bench)}")
            if machine.may_drop_caches():
                machine.drop_caches()
            samples.append(
                load.run(
                    stage.hayloft.url,
                    stage.hayloft.pid,
                    seconds=bench.seconds,
                    reads=stage.hayloft_reads["A"],
                    writes=writes,
                    write_share=share,
                )
            )
        what = f"{workload}: {1 - share:.0%} reads, {share:.0%} multi-writes of 16"
        measurements.append(
            uploads.read_measurement(f"{what}, reads", "hayloft", samples, read_rates(samples))
        )
        measurements.append(
            uploads.upload_measurement(f"{what}, writes", "hayloft", samples, unit="images/s")
        )


def writes(bench: Bench, measurements: list[Measurement], verdicts: list[Verdict]) -> None:
    """Workloads C, D and E: multi-writes, against the device writing as much and syncing as often."""
    rates: dict[str, list[float]] = {}
    for workload, images in IMAGES.items():
        runs: dict[str, Callable[[], AnySample]] = {
            "hayloft": partial(uploads.uploads, bench, images=images),
            RAW: partial(uploads.device, bench, block_bytes=images * 64 * KIB),
        }
        samples = interleave(runs, rounds=rounds_of(bench), progress=bench.say)
        what = f"{workload}: multi-writes of {images}"
        rates[workload] = uploads.rates_of(samples["hayloft"])
        raw = [images * operations for operations in uploads.rates_of(samples[RAW])]
        measurements += [
            uploads.upload_measurement(what, "hayloft", samples["hayloft"], unit="images/s"),
            Measurement(what=what, contender=RAW, unit="images/s", rounds=tuple(raw)),
        ]
        verdicts.append(
            ratio_verdict(
                f"{workload} / {RAW}",
                ratios(rates[workload], raw),
                how=f"images/s; fio writes and syncs {images * 64} KB at a time",
            )
        )
    verdicts += [
        ratio_verdict(
            f"{workload} / C",
            ratios(rates[workload], rates["C"]),
            how=f"images/s, in rounds of their own; the paper's machine reached {expected}",
        )
        for workload, expected in PAPER_OF_C.items()
    ]


def read_rates(samples: Sequence[AnySample]) -> list[float]:
    """Reads per second, of a server or of the device."""
    return [
        one.operations_per_second if isinstance(one, DiskSample) else one.reads_per_second
        for one in samples
    ]


def rounds_of(bench: Bench) -> int:
    """Seven workloads are many: three rounds each are enough."""
    return min(bench.rounds, 3)
