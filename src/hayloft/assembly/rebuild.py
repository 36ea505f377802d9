"""Makes a lost directory anew from the volumes: every photo comes back with its id, link, name and time.

Reads all logs from beginning to end into a database beside the lost one's place, and puts it there only
when it is whole: cut off at any moment, it changes nothing and is started again. A database that is still
there is kept under another name. What cannot come back is told in ``directory/rebuild.py``; an upload
that was cut off before it was acknowledged comes back as a photo, because only the directory knew better.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hayloft.assembly.data_directory import DataDirectory
from hayloft.assembly.embedded import STORE
from hayloft.clock import SystemClock
from hayloft.database import open_database
from hayloft.directory import migrations
from hayloft.directory.rebuild import FoundNeedle, Rebuilt
from hayloft.directory.rebuild import rebuild as fill
from hayloft.disk import SystemDisk
from hayloft.errors import Conflict, HayloftError, PhotoNotFound
from hayloft.gateway import sniff
from hayloft.needle import Kind, Needle
from hayloft.types import AlternateKey, Cookie, NeedleMetadata, Sequence, VolumeId, photo_id
from hayloft.volume import Volume
from hayloft.volume.index import DELETED, TAIL, pack_entry
from hayloft.volume.log import Damage
from hayloft.volume.superblock import SUPERBLOCK_BYTES

Progress = Callable[[int, int], None]
"""Told bytes read so far and bytes in all."""

_SUFFIXES: Final = ("", "-wal", "-shm")
"""A SQLite database's files. Its log must never stay behind for another database to find."""

_WRITE_LOCK: Final = "-write-lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came back."""

    photos: int
    deleted: int
    """Photos that come back as deleted."""
    volumes: int
    damaged_stretches: int
    """Places in the logs at which nothing can be read; photos that stood there did not come back."""
    kept: Path | None
    """Where the database is that was there before."""


async def rebuild(
    path: Path, *, replace: bool = False, progress: Progress = lambda _read, _total: None
) -> Outcome:
    """Make the directory's database of the data directory ``path`` anew. No server may run on it.

    Raises:
        NotFound: there is no data there.
        AlreadyServed: a server is running.
        Conflict: there is a directory, and ``replace`` is not set.
        FormatTooNew: a newer Hayloft wrote the data.
    """
    data = DataDirectory(path)
    if not data.marker.exists():
        raise PhotoNotFound(f"{data.path} holds no Hayloft data.")
    with data.lock():
        data.check_format()
        if data.directory_file.exists() and not replace:
            raise Conflict(f"{data.directory_file} is there; rebuilding would replace it.")
        scan = _Scan(data, progress)
        draft = data.path / "directory.rebuilding.sqlite"
        counted = await _fill(draft, data, scan)
        kept = _set_aside(data)
        SystemDisk().rename(draft, data.directory_file)
    return Outcome(
        photos=counted.photos,
        deleted=counted.deleted,
        volumes=counted.volumes,
        damaged_stretches=scan.damaged_stretches,
        kept=kept,
    )


async def _fill(draft: Path, data: DataDirectory, scan: _Scan) -> Rebuilt:
    _remove(draft)
    url = f"sqlite:///{draft}"
    await asyncio.to_thread(migrations.upgrade, url)
    database = open_database(url, name="directory")
    try:
        placements = dict.fromkeys(data.volume_numbers(), (STORE,))
        counted = await fill(database, scan.needles(), placements=placements)
    finally:
        await database.close()
    await asyncio.to_thread(_move_log_into, draft)
    return counted


def _move_log_into(database: Path) -> None:
    """Leave nothing in SQLite's own log: only the database itself is renamed."""
    connection = sqlite3.connect(database)
    try:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        connection.close()
    for suffix in (*_SUFFIXES[1:], _WRITE_LOCK):
        _beside(database, suffix).unlink(missing_ok=True)


def _remove(database: Path) -> None:
    for suffix in (*_SUFFIXES, _WRITE_LOCK):
        _beside(database, suffix).unlink(missing_ok=True)


def _set_aside(data: DataDirectory) -> Path | None:
    """Rename what is there of the old database, its log included."""
    kept = data.path / f"directory.before-{SystemClock().now_ms()}.sqlite"
    for suffix in _SUFFIXES:
        old = _beside(data.directory_file, suffix)
        if old.exists():
            SystemDisk().rename(old, _beside(kept, suffix))
    return kept if kept.exists() else None


def _beside(database: Path, suffix: str) -> Path:
    return database.with_name(database.name + suffix)


class _Scan:
    """Every needle of every volume, read from the logs in order."""

    def __init__(self, data: DataDirectory, progress: Progress) -> None:
        self._data = data
        self._progress = progress
        self._volumes = data.volume_numbers()
        self._read = 0
        self._total = sum((data.volumes / f"lv-{volume}.log").stat().st_size for volume in self._volumes)
        self.damaged_stretches = 0

    def needles(self) -> Iterator[FoundNeedle]:
        """What is live, and what was deleted. Blocks; for a thread."""
        for number in self._volumes:
            yield from self._needles_in(number)

    def _needles_in(self, number: VolumeId) -> Iterator[FoundNeedle]:
        volume = Volume.open(SystemDisk(), self._data.volumes, number)
        log, index = volume.current.generation.log, volume.current.generation.index
        slots = log.superblock.slots
        end = index.words[TAIL]
        for found in log.walk(SUPERBLOCK_BYTES, end):
            if isinstance(found, Damage):
                self.damaged_stretches += 1
                continue
            offset, needle = found
            self._progress(self._read + offset, self._total)
            if needle.kind == Kind.TOMBSTONE:
                deleted = [slot for slot, _entry in needle.deleted if index.load(slot) == DELETED]
                yield from (_buried(number, *divmod(slot, slots)) for slot in deleted)
            elif needle.kind == Kind.PHOTO:
                entry = index.load(needle.sequence * slots + needle.alternate_key)
                if entry in (DELETED, pack_entry(offset, needle.size)):
                    yield _found(number, needle, deleted=entry == DELETED)
        self._read += end
        self._progress(self._read, self._total)


def _found(volume: VolumeId, needle: Needle, *, deleted: bool) -> FoundNeedle:
    width, height = (0, 0) if deleted or needle.alternate_key else _size(needle)
    return FoundNeedle(
        photo=photo_id(volume, Sequence(needle.sequence)),
        alternate_key=AlternateKey(needle.alternate_key),
        cookie=needle.cookie,
        size=len(needle.data),
        metadata=needle.metadata,
        deleted=deleted,
        width=width,
        height=height,
    )


def _buried(volume: VolumeId, sequence: int, key: int) -> FoundNeedle:
    """A deleted needle of which compaction may have left nothing but its deletion."""
    return FoundNeedle(
        photo=photo_id(volume, Sequence(sequence)),
        alternate_key=AlternateKey(key),
        cookie=Cookie(0),
        size=0,
        metadata=NeedleMetadata(),
        deleted=True,
    )


def _size(needle: Needle) -> tuple[int, int]:
    """Width and height as the image's header says; needles do not carry them."""
    try:
        inspected = sniff.inspect(bytes(needle.data))
    except HayloftError:
        return 0, 0
    return inspected.width, inspected.height
