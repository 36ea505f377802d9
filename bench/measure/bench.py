"""One run of the benchmark: its working directory, how long to measure, and what to say meanwhile."""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from measure.load import Sample
from measure.result import Measurement

GIB = 1 << 30
DISK_BYTES_MAX = 20 * GIB
"""What the whole run may have on disk at once; the parts clean up after themselves."""


@dataclass(slots=True, kw_only=True)
class Bench:
    """What every part is given."""

    work: Path
    quick: bool
    console: Console
    rounds: int
    seconds: int
    """Length of one round of one contender."""
    photos: Path | None = None
    """A folder of photos that are ingested where a part ingests any; None for made ones."""
    disk_bytes_peak: int = 0
    _part: str = field(default="", init=False)

    def directory(self, name: str) -> Path:
        """A fresh, empty directory under the working one."""
        path = self.work / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        return path

    def remove(self, path: Path) -> None:
        """Note what is on disk now, then remove a directory."""
        self.note_disk()
        shutil.rmtree(path, ignore_errors=True)

    def note_disk(self) -> None:
        """Keep the peak of what the working directory takes on disk."""
        used = sum(file.stat().st_blocks * 512 for file in self.work.rglob("*") if file.is_file())
        self.disk_bytes_peak = max(self.disk_bytes_peak, used)

    def begin(self, part: str) -> None:
        """Name the part that says what follows."""
        self._part = part
        self.console.rule(part)

    def say(self, text: str) -> None:
        """Tell whoever waits what is going on."""
        self.console.print(f"[dim]{self._part}[/dim]  {text}", highlight=False)


def rate(what: str, contender: str, samples: Sequence[Sample]) -> Measurement:
    """The requests per second of one contender, with the latencies and the processor time."""
    return Measurement(
        what=what,
        contender=contender,
        unit="requests/s",
        rounds=tuple(sample.requests_per_second for sample in samples),
        extra=load_extra(samples),
    )


def load_extra(samples: Sequence[Sample]) -> dict[str, float]:
    """The medians of what a load run says beside its rate."""
    names = ("p50_ms", "p99_ms", "server_cpu_us", "server_cpu_share", "generator_cpu_share")
    return {name: statistics.median(getattr(sample, name) for sample in samples) for name in names}
