"""The same photos twice: as files for nginx, and uploaded to Hayloft over HTTP.

The lists of request targets are written beside them, one a line, in one shuffled order for both, so that
the contenders are asked for the same photos.
"""

from __future__ import annotations

import asyncio
import random
import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from measure.contenders import Contender
from measure.load import LoadError, Reads
from measure.photos import template

_FOLDERS = 100
_UPLOADS_AT_ONCE = 32
_CHECKED = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """Photos by size: where the files are, and which serial numbers they have."""

    name: str
    root: Path
    serials: range
    size: int

    def photo(self, serial: int) -> bytes:
        return template(self.size).photo(serial)

    def file_target(self, serial: int) -> str:
        """The request target of the photo as a file."""
        return f"/{self.name}/{serial % _FOLDERS:02d}/{serial:016x}.jpg"

    def write_files(self) -> list[str]:
        """Write every photo as a file; returns their request targets, in the serials' order."""
        for folder in range(_FOLDERS):
            (self.root / self.name / f"{folder:02d}").mkdir(parents=True, exist_ok=True)
        targets = [self.file_target(serial) for serial in self.serials]
        for serial, target in zip(self.serials, targets, strict=True):
            (self.root / target[1:]).write_bytes(self.photo(serial))
        return targets

    def upload(self, contender: Contender) -> list[str]:
        """Upload every photo; returns their request targets (capability links), in the same order."""
        return asyncio.run(_upload_all(self, contender.url))


async def _upload_all(collection: Collection, url: str) -> list[str]:
    waiting = asyncio.Semaphore(_UPLOADS_AT_ONCE)
    headers = {"Content-Type": "image/jpeg"}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=_UPLOADS_AT_ONCE)) as session:

        async def upload(serial: int) -> str:
            async with (
                waiting,
                session.post(f"{url}/upload", data=collection.photo(serial), headers=headers) as response,
            ):
                answer = await response.json()
                if response.status != 201:
                    raise LoadError(f"an upload was answered {response.status}: {answer}")
                return urllib.parse.urlsplit(str(answer["url"])).path

        return list(await asyncio.gather(*(upload(serial) for serial in collection.serials)))


def check(collection: Collection, contender: Contender, targets: Sequence[str]) -> None:
    """Read some of the photos back and compare every byte.

    Raises:
        LoadError: one was not what it should be.
    """
    chosen = random.Random(0).sample(range(len(targets)), min(_CHECKED, len(targets)))
    for place in chosen:
        if contender.get(targets[place]) != collection.photo(collection.serials[place]):
            raise LoadError(f"{contender.name} answered {targets[place]} with other bytes")


def target_list(file: Path, targets: Sequence[str], *, size_mean: float, once: bool = False) -> Reads:
    """Write the targets to ``file`` in an order that depends on their places only."""
    shuffled = list(targets)
    random.Random(len(shuffled)).shuffle(shuffled)
    file.write_text("\n".join(shuffled) + "\n")
    return Reads(paths=file, size_mean=size_mean, once=once)


def warm(directory: Path) -> None:
    """Read every file under a directory once, so that the page cache holds what memory allows."""
    for file in directory.rglob("*"):
        if file.is_file():
            with file.open("rb") as source:
                while source.read(1 << 20):
                    pass
