"""The machine: Python, the environment, the system, the limit of open files, the checksum's speed."""

from __future__ import annotations

import os
import platform
import resource
from collections.abc import Iterator
from typing import Final

from hayloft import __version__
from hayloft.cli.checks import Finding
from hayloft.cli.output import safe
from hayloft.cli.variables import unread

OPEN_FILES_MIN: Final = 1024
"""Per process: two files for each volume, and a socket for each client."""


def check_machine() -> Iterator[Finding]:
    """Python, misspelt variables, the operating system, the limit of open files, the checksum's speed."""
    yield _python()
    yield from _variables()
    yield _system()
    yield _open_files()
    yield _checksum()


def _python() -> Finding:
    version = platform.python_version()
    return Finding(subject="Python", level="good", text=f"{version}, Hayloft {__version__}")


def _variables() -> Iterator[Finding]:
    for variable in unread():
        yield Finding(
            subject="environment", level="wrong", text=safe(variable.text), advice=variable.advice
        )


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
