"""Durable uploads of 64 KB photos against the raw device writing and syncing 64 KB at a time.

An upload is answered when its bytes are on stable storage and its record is committed; fio's operation is
a write and an fdatasync. Hayloft shares one sync among the uploads that wait for it, which is how it can
pass the device's own rate. Every round starts a server of its own on an empty data directory, so that no
round pays for fingerprinting what the one before it stored. The target is held against Hayloft as it comes,
fingerprinting while it takes uploads; a second row shows it with linking switched off.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from measure import contenders, disk, load
from measure.bench import Bench, load_extra
from measure.disk import DiskSample
from measure.load import Sample, Writes
from measure.photos import KIB, template
from measure.result import Measurement, PartResult, Target, interleave, ratio_verdict, ratios

TARGET = Target(bound=0.8, side="at least")
WITHOUT_LINKING = {"HAYLOFT_SIMILARITY__ENABLED": "false"}
PHOTO_KIB = 64


def run(bench: Bench) -> PartResult:
    """Measure all three."""
    runs: dict[str, Callable[[], Sample | DiskSample]] = {
        "hayloft": partial(uploads, bench, images=0),
        "hayloft, linking off": partial(uploads, bench, images=0, settings=WITHOUT_LINKING),
        "fio": partial(device, bench, block_bytes=PHOTO_KIB * KIB),
    }
    samples = interleave(runs, rounds=bench.rounds, progress=bench.say)
    what = f"durable uploads, {PHOTO_KIB} KB"
    rates = {name: rates_of(values) for name, values in samples.items()}
    measurements = tuple(
        upload_measurement(what, name, values, unit="photos/s") for name, values in samples.items()
    )
    verdicts = tuple(
        ratio_verdict(
            f"{what} / fio 64k write, fdatasync" + ("" if name == "hayloft" else ", linking off"),
            ratios(rates[name], rates["fio"]),
            how="one worker, 32 connections, raw bodies: photos/s over fio's operations/s",
            target=TARGET if name == "hayloft" else None,
        )
        for name in ("hayloft", "hayloft, linking off")
    )
    return PartResult(part="uploads", title="Durable uploads", measurements=measurements, verdicts=verdicts)


def uploads(bench: Bench, *, images: int, settings: Mapping[str, str] | None = None) -> Sample:
    """One round of uploads, ``images`` to a request, on an empty server."""
    work = bench.directory("uploads")
    writes = Writes(template=template(PHOTO_KIB * KIB), directory=work, images=images)
    # A request of many images takes long, and those cut off at a round's end do not count: longer rounds.
    length = bench.seconds * (2 if images > 1 else 1)
    with contenders.hayloft(work / "data", settings=settings) as server:
        for seconds in (1, length):  # the first run warms up and is forgotten
            sample = load.run(server.url, server.pid, seconds=seconds, writes=writes)
    bench.remove(work)
    return sample


def device(bench: Bench, *, block_bytes: int) -> DiskSample:
    """One round of the raw device."""
    work = bench.directory("device")
    sample = disk.durable_writes(work, block_bytes=block_bytes, seconds=bench.seconds)
    bench.remove(work)
    return sample


def rates_of(samples: Sequence[Sample | DiskSample]) -> list[float]:
    """Photos per second of a server, operations per second of the device."""
    return [
        one.operations_per_second if isinstance(one, DiskSample) else one.images_written_per_second
        for one in samples
    ]


def upload_measurement(
    what: str, contender: str, samples: Sequence[Sample | DiskSample], *, unit: str
) -> Measurement:
    """The rounds' rates of writing, with what a load run says beside them."""
    return _measurement(what, contender, samples, rates_of(samples), unit)


def read_measurement(
    what: str, contender: str, samples: Sequence[Sample | DiskSample], rates: Sequence[float]
) -> Measurement:
    """The rounds' rates of reading, with what a load run says beside them."""
    return _measurement(what, contender, samples, rates, "reads/s")


def _measurement(
    what: str,
    contender: str,
    samples: Sequence[Sample | DiskSample],
    rates: Sequence[float],
    unit: str,
) -> Measurement:
    loads = [sample for sample in samples if isinstance(sample, Sample)]
    return Measurement(
        what=what,
        contender=contender,
        unit=unit,
        rounds=tuple(rates),
        extra=load_extra(loads) if loads else {},
    )
