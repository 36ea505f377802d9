"""Whether rates depend on how much is stored: reads and uploads at a million photos against a thousand.

Reads are random over all photos of the one server and over a hundred thousand, evenly spread, of the other;
all of them are in the page cache. For uploads both servers are started afresh each round, the small one
on a fresh copy of its thousand photos, so that it stays small. Linking and renditions are off for both:
what earlier rounds uploaded would otherwise still be dealt with in the later ones.
"""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from measure import contenders, load
from measure.bench import Bench, rate
from measure.collection import target_list, warm
from measure.load import Sample, Writes
from measure.million import PHOTO_BYTES, Filled, Pair, pair
from measure.photos import KIB, template
from measure.result import PartResult, Target, interleave, ratio_verdict, ratios
from measure.uploads import upload_measurement

TARGET = Target(bound=0.95, side="at least")
TARGETS_READ_MAX = 100_000
QUIET = {"HAYLOFT_SIMILARITY__ENABLED": "false", "HAYLOFT_RENDITIONS__ENABLED": "false"}


def run(bench: Bench) -> PartResult:
    """Measure reads, then uploads."""
    both = pair(bench)
    names = {"few": f"{len(both.few.targets):,} photos", "many": f"{len(both.many.targets):,} photos"}
    reads = _reads(bench, both)
    uploads = interleave(
        {
            "few": partial(_uploads, bench, both.few, copied=True),
            "many": partial(_uploads, bench, both.many, copied=False),
        },
        rounds=bench.rounds,
        progress=bench.say,
    )
    read_rates = {name: [one.requests_per_second for one in values] for name, values in reads.items()}
    upload_rates = {
        name: [one.images_written_per_second for one in values] for name, values in uploads.items()
    }
    what = f"at {names['many']} / at {names['few']}"
    return PartResult(
        part="scale",
        title="Much stored against little",
        measurements=(
            *(rate("hot reads, 1 KB", names[name], values) for name, values in reads.items()),
            *(
                upload_measurement("durable uploads, 64 KB", names[name], values, unit="photos/s")
                for name, values in uploads.items()
            ),
        ),
        verdicts=(
            ratio_verdict(
                f"read rate {what}",
                ratios(read_rates["many"], read_rates["few"]),
                how="1 KB photos, hot, one worker, 32 connections",
                target=TARGET,
            ),
            ratio_verdict(
                f"upload rate {what}",
                ratios(upload_rates["many"], upload_rates["few"]),
                how="64 KB photos, raw bodies, one worker, 32 connections, linking off",
                target=TARGET,
            ),
        ),
    )


def _reads(bench: Bench, both: Pair) -> dict[str, list[Sample]]:
    work = bench.directory("scale")
    with ExitStack() as stack:
        runs = {}
        for name, filled in (("few", both.few), ("many", both.many)):
            server = stack.enter_context(contenders.hayloft(filled.data, settings=QUIET))
            step = max(1, len(filled.targets) // TARGETS_READ_MAX)
            reads = target_list(work / f"{name}.txt", filled.targets[::step], size_mean=PHOTO_BYTES)
            runs[name] = partial(load.run, server.url, server.pid, reads=reads)
            warm(filled.data)
        for one in runs.values():
            one(seconds=1)
        timed = {name: partial(one, seconds=bench.seconds) for name, one in runs.items()}
        samples = interleave(timed, rounds=bench.rounds, progress=bench.say)
    bench.remove(work)
    return samples


def _uploads(bench: Bench, filled: Filled, *, copied: bool) -> Sample:
    work = bench.directory("scale")
    data: Path = filled.data
    if copied:
        data = work / "data"
        shutil.copytree(filled.data, data)
    writes = Writes(template=template(64 * KIB), directory=work, images=0)
    with contenders.hayloft(data, settings=QUIET) as server:
        for seconds in (1, bench.seconds):  # the first run warms up and is forgotten
            sample = load.run(server.url, server.pid, seconds=seconds, writes=writes)
    bench.remove(work)
    return sample
