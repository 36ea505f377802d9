"""What ``hayloft doctor`` looks at: one function a subject, each returning findings.

Nothing is changed: the one file that is written, to time the disk, is taken away again.
"""

from __future__ import annotations

import os
import platform
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from hayloft import __version__
from hayloft.cli.output import bytes_text
from hayloft.errors import HayloftError, Unauthorized
from hayloft.limits import FREE_SPACE_RESERVE_BYTES, GIB, KIB

if TYPE_CHECKING:
    from hayloft.client import Client

OPEN_FILES_MIN: Final = 1024
"""Per process: two files for each volume, and a socket for each client."""

SYNCS: Final = 25
SYNC_BYTES: Final = 64 * KIB
SYNC_MILLISECONDS_GOOD: Final = 20.0
"""A disk with slower flushes than this is a network disk or a worn-out card."""

CLOCK_SECONDS_MAX: Final = 5.0

REMOTE_FILE_SYSTEMS: Final = frozenset({"nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "9p", "fuse.s3fs"})
"""File systems whose locks, memory maps or flushes do not promise what volumes rely on."""

Level = Literal["good", "note", "wrong"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one check found."""

    subject: str
    level: Level
    text: str
    advice: str = ""


def check_machine() -> Iterator[Finding]:
    """Python, the operating system, processors, the limit of open files, the checksum's speed."""
    yield _python()
    yield _system()
    yield _open_files()
    yield _checksum()


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


def check_server(url: str, api_key: str | None) -> Iterator[Finding]:
    """Whether a server answers, knows the key, is the same version and agrees about the time."""
    from hayloft.client import Client, Patience, ServerUnreachable

    with Client(url, api_key=api_key, patience=Patience(attempts=1, connect_seconds=2)) as client:
        try:
            health = client.health()
        except ServerUnreachable:
            yield Finding(
                subject="server",
                level="note",
                text=f"none answers at {url}",
                advice="Start one with: hayloft serve, or give another address with --url.",
            )
            return
        except HayloftError as error:
            yield Finding(subject="server", level="wrong", text=error.message)
            return
        yield _version(url, health.version)
        yield _clock(health.answered_at)
        yield _key(client)


def _python() -> Finding:
    version = platform.python_version()
    return Finding(subject="Python", level="good", text=f"{version}, Hayloft {__version__}")


def _system() -> Finding:
    cores = len(os.sched_getaffinity(0))
    text = f"{platform.system()} {platform.release()}, {cores} cores"
    if platform.system() != "Linux":
        return Finding(
            subject="system",
            level="wrong",
            text=text,
            advice="Serve from Linux.",
        )
    return Finding(subject="system", level="good", text=text)


def _open_files() -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= OPEN_FILES_MIN:
        return Finding(subject="open files", level="good", text=f"{soft:,} allowed to a process")
    return Finding(
        subject="open files",
        level="wrong",
        text=f"only {soft:,} allowed to a process",
        advice=f"Allow {OPEN_FILES_MIN:,} or more (up to {hard:,} now): ulimit -n {OPEN_FILES_MIN}, "
        "or LimitNOFILE= in a systemd unit.",
    )


def _checksum() -> Finding:
    import google_crc32c

    if google_crc32c.implementation == "c":
        return Finding(subject="checksum", level="good", text="CRC-32C in hardware")
    return Finding(
        subject="checksum",
        level="wrong",
        text=f"CRC-32C runs in {google_crc32c.implementation}, hundreds of times slower",
        advice="Reinstall google-crc32c from a wheel for this platform.",
    )


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
    raise NotImplementedError


def _version(url: str, version: str) -> Finding:
    if version in ("", __version__):
        return Finding(subject="server", level="good", text=f"{version} answers at {url}")
    return Finding(
        subject="server",
        level="note",
        text=f"{version} answers at {url}, and this is {__version__}",
        advice="Use the same version on both sides.",
    )


def _clock(server: datetime | None) -> Finding:
    if server is None:
        return Finding(subject="clock", level="note", text="the server does not tell the time")
    apart = abs((datetime.now(UTC) - server).total_seconds())
    if apart <= CLOCK_SECONDS_MAX:
        return Finding(subject="clock", level="good", text="the server's and this machine's agree")
    return Finding(
        subject="clock",
        level="note",
        text=f"the server's is {apart:.0f} s away from this machine's",
        advice="Switch on time synchronisation (timedatectl set-ntp true) on both.",
    )


def _key(client: Client) -> Finding:
    try:
        client.stats()
    except Unauthorized:
        return Finding(
            subject="API key",
            level="wrong",
            text="the server wants one, or another one",
            advice="Give it with --api-key, or set HAYLOFT_API_KEY.",
        )
    except HayloftError as error:
        return Finding(subject="statistics", level="wrong", text=error.message)
    return Finding(subject="API key", level="good", text="the server takes requests from here")
