"""Reclaims the space of deleted photos, volume by volume, beside a running server or without one.

Opens the volumes itself: locks and shared indexes see to it that servers go on reading and writing
meanwhile (``volume/compaction.py``). It decides which volumes are worth it; the rest is theirs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from hayloft.assembly.data_directory import DataDirectory
from hayloft.config import Settings
from hayloft.disk import SystemDisk
from hayloft.errors import HayloftError, PhotoNotFound
from hayloft.types import CompactionReport, VolumeId
from hayloft.volume import Volume
from hayloft.volume.superblock import SUPERBLOCK_BYTES

WASTE_PERCENT_MIN: Final = 20
"""Below it, a volume is copied for little: at a fifth, four bytes are written for each one won."""

Progress = Callable[[int, int], None]
"""Told volumes dealt with so far and volumes in all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compaction:
    """What was done."""

    volumes: int
    """Volumes that were looked at."""
    reports: tuple[CompactionReport, ...]
    """Those that were compacted."""
    failures: tuple[tuple[VolumeId, HayloftError], ...]
    """Those that could not be; they are as they were."""

    @property
    def reclaimed_bytes(self) -> int:
        """Disk space won."""
        return sum(report.size_bytes_before - report.size_bytes_after for report in self.reports)


async def compact(
    settings: Settings,
    *,
    waste_percent_min: int = WASTE_PERCENT_MIN,
    progress: Progress = lambda _done, _total: None,
) -> Compaction:
    """Compact every volume of ``settings.data`` of which so much is deleted or replaced.

    Raises:
        NotFound: there is no data there.
        FormatTooNew: a newer Hayloft wrote it.
    """
    data = DataDirectory(settings.data)
    if not data.marker.exists():
        raise PhotoNotFound(f"{data.path} holds no Hayloft data.")
    data.check_format()
    return await asyncio.to_thread(_compact, settings, data, waste_percent_min, progress)


def _compact(settings: Settings, data: DataDirectory, percent: int, progress: Progress) -> Compaction:
    reports: list[CompactionReport] = []
    failures: list[tuple[VolumeId, HayloftError]] = []
    numbers = data.volume_numbers()
    candidates = []
    for number in numbers:
        try:
            volume = _open(settings, data, number)
        except HayloftError as error:
            failures.append((number, error))
            continue
        if waste_bytes(volume) * 100 >= percent * volume.state().size_bytes and waste_bytes(volume) > 0:
            candidates.append(volume)
    # Whatever keeps least needs least room, and makes room for the next: on a full disk that decides.
    for done, volume in enumerate(sorted(candidates, key=lambda volume: volume.live_bytes)):
        progress(done, len(candidates))
        try:
            reports.append(volume.compact())
        except HayloftError as error:
            failures.append((volume.number, error))
    progress(len(candidates), len(candidates))
    return Compaction(volumes=len(numbers), reports=tuple(reports), failures=tuple(failures))


def waste_bytes(volume: Volume) -> int:
    """Bytes of deleted and replaced needles; tombstones, which stay in part, count as waste too."""
    return max(0, volume.state().size_bytes - SUPERBLOCK_BYTES - volume.live_bytes)


def _open(settings: Settings, data: DataDirectory, number: VolumeId) -> Volume:
    reserve_bytes = settings.volume.free_space_reserve_bytes
    return Volume.open(SystemDisk(), data.volumes, number, reserve_bytes=reserve_bytes)
