"""Fills a data directory with many photos, fast: in this process, not over HTTP, with no server running.

The photos go through the volume engine's own group commits and the directory's own transactions, only with
far more of them in each than clients would bring together; every needle, row and event is real, durable and
as a server would have written it. One thing is different: the consumers of the event log are told that they
have dealt with all of it, so that no server spends the benchmark fingerprinting what it was filled with.
Similarity therefore knows nothing of these photos.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import random
import time
import urllib.error
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from hayloft import limits
from hayloft.assembly import embedded
from hayloft.assembly.data_directory import DataDirectory
from hayloft.assembly.ingest import DELETES_CONSUMER, SIMILARITY_CONSUMER
from hayloft.clock import SystemClock
from hayloft.config import Settings
from hayloft.database import Database, open_database
from hayloft.directory.commits import Commits
from hayloft.disk import SystemDisk
from hayloft.errors import HayloftError
from hayloft.renditions.ingest import CONSUMER as RENDITIONS_CONSUMER
from hayloft.types import (
    Cookie,
    Lease,
    NeedleMetadata,
    NewNeedle,
    NewPhoto,
    PhotoId,
    format_cookie,
    photo_id,
)
from hayloft.types import Sequence as SequenceNumber
from hayloft.volume import Append, Volume
from measure import contenders
from measure.photos import Template, template

BATCH_PHOTOS = 2000
MEDIA_TYPE = "image/jpeg"
CONSUMERS = (SIMILARITY_CONSUMER, RENDITIONS_CONSUMER, DELETES_CONSUMER)


def fill(data: Path, groups: Sequence[tuple[range, int]]) -> list[str]:
    """Store photos with these serial numbers and sizes; returns their request targets, in order."""
    _lay_out(data)
    count = sum(len(serials) for serials, _size in groups)
    directory = DataDirectory(data)
    with directory.lock():
        directory.prepare()
        return asyncio.run(_fill(directory, groups, count))


def _lay_out(data: Path) -> None:
    """Have Hayloft make all its files, by starting it once until similarity answers.

    A consumer whose own files are missing would read the whole log again.

    Raises:
        ContenderError: similarity did not come up.
    """
    deadline = time.monotonic() + contenders.START_SECONDS_MAX
    with contenders.hayloft(data) as server:
        while time.monotonic() < deadline:
            with contextlib.suppress(urllib.error.HTTPError):
                server.get("/similarity/status")
                return
            time.sleep(0.2)
    raise contenders.ContenderError("similarity did not come up")


async def _fill(data: DataDirectory, groups: Sequence[tuple[range, int]], count: int) -> list[str]:
    database = open_database(data.directory_url, name="directory")
    try:
        async with embedded.roles(Settings(data=data.path, workers=1), data) as roles:
            lease = await roles.directory.lease(holder="bench", count=count)
            if lease.count < count:
                raise RuntimeError(f"the directory leased {lease.count} ids of {count}")
            targets = await _store(data, lease, groups, database)
            last = (await roles.directory.statistics()).last_event
            for consumer in CONSUMERS:
                await roles.directory.advance(consumer, last)
    finally:
        await database.close()
    return targets


async def _store(
    data: DataDirectory, lease: Lease, groups: Sequence[tuple[range, int]], database: Database
) -> list[str]:
    volume = Volume.open(
        SystemDisk(), data.volumes, lease.volume, create_size_bytes_max=limits.VOLUME_SIZE_BYTES_MAX
    )
    commit = Commits(SystemClock())
    targets: list[str] = []
    for batch in _batches(lease, groups):
        await asyncio.to_thread(_append, volume, batch)
        rows = [new for new, _bytes in batch]
        answers = await database.write(partial(commit, batch=rows))
        _raise_refusals(answers)
        targets += [f"/photo/{new.photo}/{format_cookie(new.cookie)}" for new in rows]
    volume.checkpoint()
    return targets


def _batches(lease: Lease, groups: Sequence[tuple[range, int]]) -> Iterator[list[tuple[NewPhoto, bytes]]]:
    now_ms = SystemClock().now_ms()
    sequences = itertools.count(int(lease.first))
    cookies = random.Random(0)
    for serials, size in groups:
        source = template(size)
        for first in range(0, len(serials), BATCH_PHOTOS):
            yield [
                _photo(
                    source,
                    serial,
                    photo_id(lease.volume, SequenceNumber(next(sequences))),
                    Cookie(cookies.getrandbits(64)),
                    now_ms,
                )
                for serial in serials[first : first + BATCH_PHOTOS]
            ]


def _photo(
    source: Template, serial: int, photo: PhotoId, cookie: Cookie, now_ms: int
) -> tuple[NewPhoto, bytes]:
    data = source.photo(serial)
    new = NewPhoto(
        photo=photo,
        cookie=cookie,
        size=len(data),
        sha256=hashlib.sha256(data).digest(),
        media_type=MEDIA_TYPE,
        width=source.width,
        height=source.height,
        name="photo.jpg",
        created_at_ms=now_ms,
    )
    return new, data


def _append(volume: Volume, batch: list[tuple[NewPhoto, bytes]]) -> None:
    operations = [
        Append(
            needle=NewNeedle(
                photo=new.photo,
                cookie=new.cookie,
                data=data,
                metadata=NeedleMetadata(
                    media_type=new.media_type,
                    name=new.name,
                    sha256=new.sha256,
                    created_at_ms=new.created_at_ms,
                ),
            )
        )
        for new, data in batch
    ]
    _raise_refusals(volume.commit(operations))


def _raise_refusals(answers: Sequence[Any]) -> None:
    for answer in answers:
        if isinstance(answer, HayloftError):
            raise answer
