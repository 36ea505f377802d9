"""The data directory: who may write it, its format, the disk's space, kind and speed."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from hayloft.cli.checks import Finding
from hayloft.cli.output import bytes_text
from hayloft.limits import FREE_SPACE_RESERVE_BYTES, GIB, KIB

SYNCS: Final = 25
SYNC_BYTES: Final = 64 * KIB
SYNC_MILLISECONDS_GOOD: Final = 20.0
"""A disk with slower flushes than this is a network disk or a worn-out card."""

REMOTE_FILE_SYSTEMS: Final = frozenset({"nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "9p", "fuse.s3fs"})
"""File systems whose locks, memory maps or flushes do not promise what volumes rely on."""


def check_data(folder: Path) -> Iterator[Finding]:
    """Where the data is, or will be: writable, space, kind of file system, speed of flushes, format."""
    place = _existing(folder)
    if not os.access(place, os.W_OK | os.X_OK):
        yield Finding(
            subject="data",
            level="wrong",
            text=f"{place} cannot be written by user {os.getuid()}",
            advice="Give that user the folder (chown), or choose another one with --data.",
        )
        return
    yield _format(folder)
    yield _space(place)
    yield _file_system(place)
    yield _flushes(place)


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists: where it would be made."""
    return next(place for place in (folder.absolute(), *folder.absolute().parents) if place.is_dir())


def _space(place: Path) -> Finding:
    usage = shutil.disk_usage(place)
    text = f"{bytes_text(usage.free)} free of {bytes_text(usage.total)}"
    if usage.free < FREE_SPACE_RESERVE_BYTES:
        return Finding(
            subject="disk space",
            level="wrong",
            text=f"{text}: uploads are refused",
            advice="Make room, or move the data to a larger disk. Reads go on.",
        )
    if usage.free < GIB:
        return Finding(subject="disk space", level="note", text=text, advice="Make room soon.")
    return Finding(subject="disk space", level="good", text=text)


def _file_system(place: Path) -> Finding:
    kind = _file_system_type(place)
    if kind in REMOTE_FILE_SYSTEMS:
        return Finding(
            subject="file system",
            level="wrong",
            text=f"{kind}, over a network",
            advice="Put the data on a local disk: volumes rely on its locks, memory maps and flushes.",
        )
    if kind in ("tmpfs", "ramfs"):
        return Finding(
            subject="file system",
            level="note",
            text=f"{kind}: everything is gone when the machine stops",
            advice="Put the data on a disk, unless this is a trial.",
        )
    return Finding(subject="file system", level="good", text=kind)


def _file_system_type(place: Path) -> str:
    """From the mount that is nearest above the place."""
    mounts = (line.split() for line in Path("/proc/self/mounts").read_text().splitlines())
    above = [(len(mount[1]), mount[2]) for mount in mounts if place.is_relative_to(_unescaped(mount[1]))]
    return max(above)[1] if above else "unknown"


def _unescaped(mount: str) -> str:
    return mount.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")


def _flushes(place: Path) -> Finding:
    milliseconds = _sync_milliseconds(place)
    middle, worst = statistics.median(milliseconds), max(milliseconds)
    text = f"a 64 kB write is on the disk after {middle:.2f} ms, {worst:.2f} ms at worst"
    if middle <= SYNC_MILLISECONDS_GOOD:
        return Finding(subject="disk flushes", level="good", text=text)
    return Finding(
        subject="disk flushes",
        level="note",
        text=text,
        advice="Uploads wait for this: upload many at a time (--parallel 16), or use a faster disk.",
    )


def _sync_milliseconds(place: Path) -> list[float]:
    block = os.urandom(SYNC_BYTES)
    taken = []
    with tempfile.TemporaryFile(dir=place) as file:
        for _ in range(SYNCS):
            begun = time.perf_counter()
            os.write(file.fileno(), block)
            os.fdatasync(file.fileno())
            taken.append((time.perf_counter() - begun) * 1000)
    return taken


def _format(folder: Path) -> Finding:
    from hayloft.assembly.data_directory import DataDirectory
    from hayloft.assembly.locked_directory import FORMAT

    data = DataDirectory(folder)
    if not data.marker.exists():
        return Finding(
            subject="data",
            level="note",
            text=f"none at {data.path} yet",
            advice="Start with: hayloft serve",
        )
    try:
        marker = json.loads(data.marker.read_bytes())
        found = int(marker["format"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        return Finding(
            subject="data",
            level="wrong",
            text=f"{data.marker} is damaged: {error}",
            advice="Take that file from a backup; the photos themselves are in the volumes.",
        )
    if found > FORMAT:
        return Finding(
            subject="data",
            level="wrong",
            text=f"{data.path} has format {found}; this Hayloft knows formats up to {FORMAT}",
            advice=f"Use Hayloft {marker.get('hayloft', '(a later one)')}, which wrote it, or a newer one.",
        )
    served = "in use by a server" if _is_locked(data.lock_file) else "not in use"
    return Finding(subject="data", level="good", text=f"{data.path}, format {found}, {served}")


def _is_locked(lock_file: Path) -> bool:
    try:
        with lock_file.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        pass
    return False
