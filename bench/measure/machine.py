"""The machine under the benchmark: what it is, what its disk did, what its processes hold.

Everything is read from ``/proc`` and ``/sys``. The disk is the whole block device that the file system
of the working directory lies on: found through the device number that ``stat`` gives for the directory,
or, where a file system hides that number (btrfs, overlay), through the source of its mount.
"""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import psutil

DROP_SECONDS = 1.0
"""Time for everybody else on the machine to read back what they need of what was dropped."""

SECTOR_BYTES = 512
"""The unit of ``/proc/diskstats``, whatever the device's own sectors are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskCounters:
    """What a block device has done since it was attached (kernel's admin-guide/iostats)."""

    reads: int
    reads_merged: int
    sectors_read: int
    writes: int
    writes_merged: int
    sectors_written: int
    flushes: int

    def since(self, earlier: DiskCounters) -> DiskCounters:
        """What happened between ``earlier`` and now."""
        return DiskCounters(
            **{name: getattr(self, name) - getattr(earlier, name) for name in self.__slots__}
        )


def block_device(path: Path) -> str:
    """The name of the whole disk under ``path``, as ``/proc/diskstats`` writes it.

    Raises:
        LookupError: the file system lies on no block device of this machine (a network or memory one).
    """
    number = path.stat().st_dev
    if os.major(number) == 0:
        number = _mount_source(path).stat().st_rdev
    entry = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}")
    if not entry.exists():
        raise LookupError(f"no block device under {path}")
    device = entry.resolve()
    return device.parent.name if (device / "partition").exists() else device.name


def _mount_of(path: Path) -> list[str]:
    """The fields of ``/proc/self/mountinfo`` for the mount that holds ``path``."""
    resolved = path.resolve()
    best: list[str] = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        if resolved.is_relative_to(fields[4]) and (not best or len(fields[4]) >= len(best[4])):
            best = fields
    return best


def _mount_source(path: Path) -> Path:
    fields = _mount_of(path)
    return Path(fields[fields.index("-") + 2])


def file_system(path: Path) -> str:
    """The type of the file system that holds ``path``, e.g. ``ext4``."""
    fields = _mount_of(path)
    return fields[fields.index("-") + 1]


def disk_counters(device: str) -> DiskCounters:
    """The counters of a block device, now."""
    for line in Path("/proc/diskstats").read_text().splitlines():
        fields = line.split()
        if fields[2] == device:
            numbers = [int(field) for field in fields[3:]]
            return DiskCounters(
                reads=numbers[0],
                reads_merged=numbers[1],
                sectors_read=numbers[2],
                writes=numbers[4],
                writes_merged=numbers[5],
                sectors_written=numbers[6],
                flushes=numbers[15] if len(numbers) > 15 else 0,
            )
    raise LookupError(f"no {device} in /proc/diskstats")


def may_drop_caches() -> bool:
    """Whether this user may empty the page cache."""
    return os.access("/proc/sys/vm/drop_caches", os.W_OK)


def drop_caches() -> None:
    """Write everything back and empty the page cache, the directory entries and the inodes."""
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3\n")
    time.sleep(DROP_SECONDS)


def family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    parent = psutil.Process(pid)
    return [pid, *(child.pid for child in parent.children(recursive=True))]


def cpu_seconds(pid: int) -> dict[int, float]:
    """Processor time, in user and kernel mode, that a process and its descendants have used so far."""
    used = {}
    for member in family(pid):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = psutil.Process(member).cpu_times()
            used[member] = times.user + times.system
    return used


def cpu_seconds_since(pid: int, earlier: Mapping[int, float]) -> float:
    """What they have used since ``cpu_seconds`` gave ``earlier``; those that have ended are not counted."""
    return sum(used - earlier.get(member, 0.0) for member, used in cpu_seconds(pid).items())


def pss_bytes(pid: int) -> int:
    """Proportional set size of one process: its private pages, and its share of the shared ones."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise LookupError(f"no Pss in smaps_rollup of {pid}")


def describe(directory: Path) -> dict[str, str]:
    """The machine and the versions, in the order in which a reader wants them."""
    device = block_device(directory)
    queue = Path(f"/sys/block/{device}/queue")
    memory_gib = psutil.virtual_memory().total / (1 << 30)
    rotational = (queue / "rotational").read_text().strip() == "1"
    return {
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "memory": f"{memory_gib:.0f} GiB",
        "kernel": platform.release(),
        "system": platform.freedesktop_os_release().get("PRETTY_NAME", platform.system()),
        "disk": (
            f"{device} ({'rotational' if rotational else 'not rotational'} by its own account, "
            f"cache {(queue / 'write_cache').read_text().strip()}), {file_system(directory)}"
        ),
        "load average at the start": " ".join(f"{load:.2f}" for load in os.getloadavg()),
        "python": platform.python_version(),
        **{package: version(package) for package in ("hayloft", "uvicorn", "httptools", "uvloop")},
        "nginx": _first_line("nginx", "-v").removeprefix("nginx version: nginx/"),
        "fio": _first_line("fio", "--version"),
        "wrk": _first_line("wrk", "-v").split(" [")[0].removeprefix("wrk "),
        "revision": _first_line("git", "describe", "--always", "--dirty"),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def _first_line(*command: str) -> str:
    if shutil.which(command[0]) is None:
        return "not installed"
    run = subprocess.run(command, check=False, capture_output=True, text=True, timeout=10)
    text = (run.stdout or run.stderr).strip()
    return text.splitlines()[0] if text else "unknown"
