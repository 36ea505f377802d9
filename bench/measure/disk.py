"""The raw device, through fio, on the same file system as the contenders' data."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskSample:
    """One run of fio."""

    operations_per_second: float
    mean_ms: float
    """Mean time of one operation, its sync included."""


def durable_writes(directory: Path, *, block_bytes: int, seconds: int) -> DiskSample:
    """Sequential writes, each followed by fdatasync, into a new file that is removed again.

    fio's own defaults otherwise: one job, buffered, extents preallocated by fallocate.
    """
    file = directory / "fio.write"
    job = _fio(
        file,
        "--rw=write",
        f"--bs={block_bytes}",
        "--fdatasync=1",
        "--size=4g",
        "--time_based",
        f"--runtime={seconds}",
    )
    file.unlink(missing_ok=True)
    writes = job["write"]
    operations = float(writes["iops"])
    return DiskSample(operations_per_second=operations, mean_ms=1000 / operations if operations else 0.0)


def random_reads(
    file: Path, *, size_bytes: int, jobs: int, seconds: int, small_share: float = 0.0
) -> DiskSample:
    """Random direct reads of 64 KB, and of 8 KB for ``small_share`` of them, by ``jobs`` threads at once.

    This is what the paper's Randomio does. ``file`` is written first if it is not there yet.
    """
    blocks = "--bs=64k"
    if small_share:
        small = round(small_share * 100)
        blocks = f"--bssplit=8k/{small}:64k/{100 - small}"
    job = _fio(
        file,
        "--rw=randread",
        blocks,
        "--direct=1",
        "--thread",
        f"--numjobs={jobs}",
        "--group_reporting",
        f"--size={size_bytes}",
        "--time_based",
        f"--runtime={seconds}",
    )
    reads = job["read"]
    return DiskSample(
        operations_per_second=float(reads["iops"]), mean_ms=float(reads["clat_ns"]["mean"]) / 1e6
    )


def _fio(file: Path, *options: str) -> Any:
    command = ["fio", "--name=bench", f"--filename={file}", "--output-format=json", *options]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    # Notes to the user may stand before the JSON.
    report = json.loads(run.stdout[run.stdout.index("{") :])
    job = report["jobs"][0]
    if job["error"]:
        raise RuntimeError(f"fio failed with error {job['error']}")
    return job
