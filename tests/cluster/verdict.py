"""What must be so once the faults are over, within a bounded time; each check names what is not so yet."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp

from cluster.load import History, Photo
from cluster.running import RunningCluster
from hayloft.directory.client import DirectoryClient
from hayloft.errors import HayloftError
from hayloft.roles import Directory, Store
from hayloft.store.client import StoreClient
from hayloft.types import (
    AlternateKey,
    NeedleEntry,
    PhotoId,
    PhotoQuery,
    Placement,
    StoreId,
    volume_name,
    volume_of,
)

SHOWN = 5
IN_FLIGHT = 16


@dataclass
class Wrong:
    """What is not so yet."""

    findings: list[str]

    def say(self, what: str, which: Sequence[object]) -> None:
        if which:
            self.findings.append(f"{what}: {len(which)}, e.g. {list(which)[:SHOWN]}")


def until_right(cluster: RunningCluster, history: History, *, seconds: float) -> float:
    """Check again and again until everything is so; how long it took. An assertion if it takes too long."""
    started = time.monotonic()
    while True:
        findings = asyncio.run(_findings(cluster, history))
        took = time.monotonic() - started
        if not findings:
            return took
        assert took < seconds, f"not so after {took:.0f} s:\n" + "\n".join(findings)
        time.sleep(1.0)


async def _findings(cluster: RunningCluster, history: History) -> list[str]:
    wrong = Wrong([])
    try:
        async with _clients(cluster) as (directory, stores), aiohttp.ClientSession(cluster.url) as session:
            await _photos(session, history, wrong)
            await _records(directory, history, wrong)
            _events(history, wrong)
            await _replicas(session, directory, stores, history, wrong)
    except HayloftError as error:
        wrong.findings.append(f"{error.code}: {error.message}")
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        wrong.findings.append(repr(error))
    return wrong.findings


@asynccontextmanager
async def _clients(cluster: RunningCluster) -> AsyncIterator[tuple[Directory, dict[StoreId, Store]]]:
    secret = cluster.secret
    directory = DirectoryClient(cluster.directories, secret=secret)
    stores: dict[StoreId, Store] = {}
    try:
        for known in await directory.stores():
            assert known.url is not None
            stores[known.store] = StoreClient(known.url, secret=secret)
        yield directory, stores
    finally:
        for store in stores.values():
            await store.close()
        await directory.close()


async def _photos(session: aiohttp.ClientSession, history: History, wrong: Wrong) -> None:
    """Every acknowledged photo is readable byte for byte, no deleted one is."""
    limit = asyncio.Semaphore(IN_FLIGHT)

    async def read(photo: Photo) -> tuple[int, bytes]:
        async with limit, session.get(photo.path) as answer:
            return answer.status, await answer.read()

    live, deleted = history.live, history.deleted
    answers = await asyncio.gather(*(read(photo) for photo in [*live, *deleted]))
    unreadable = [
        (photo.photo, status)
        for photo, (status, body) in zip(live, answers, strict=False)
        if status != 200 or body != photo.data
    ]
    back = [
        (photo.photo, status)
        for photo, (status, _body) in zip(deleted, answers[len(live) :], strict=True)
        if status not in (404, 410)
    ]
    wrong.say("acknowledged photos cannot be read", unreadable)
    wrong.say("deleted photos are back", back)


async def _records(directory: Directory, history: History, wrong: Wrong) -> None:
    """Every upload made one photo, however often it had to be sent."""
    known: dict[bytes, list[PhotoId]] = {}
    cursor = None
    while True:
        page = await directory.photos(PhotoQuery(cursor=cursor, limit=1000))
        for record in page.photos:
            known.setdefault(record.sha256, []).append(record.photo)
        cursor = page.next_cursor
        if cursor is None:
            break
    live = {hashlib.sha256(photo.data).digest(): photo.photo for photo in history.live}
    wrong.say("uploads are recorded wrongly", [p for sha, p in live.items() if known.get(sha) != [p]])
    dead = [hashlib.sha256(photo.data).digest() for photo in history.deleted]
    wrong.say("deleted photos are recorded as active", [known[sha] for sha in dead if sha in known])


def _events(history: History, wrong: Wrong) -> None:
    """Every event was delivered at least once."""
    uploaded = {photo.photo for photo in history.photos}
    wrong.say("uploads that nobody heard of", sorted(uploaded - history.uploaded_events))
    deleted = {photo.photo for photo in history.deleted}
    wrong.say("deletions that nobody heard of", sorted(deleted - history.deleted_events))


async def _replicas(
    session: aiohttp.ClientSession,
    directory: Directory,
    stores: dict[StoreId, Store],
    history: History,
    wrong: Wrong,
) -> None:
    """All replicas of a volume hold the same, and each of them has every photo whole."""
    placements = await directory.placements()
    failed = [
        f"{volume_name(state.volume)} on {state.store}: {state.failure}"
        for state in await directory.replicas()
        if state.failure is not None
    ]
    wrong.say("replicas have failed", failed)
    full = min(3, len(stores))
    wrong.say(
        "volumes lack replicas",
        [f"{volume_name(p.volume)} {p.replicas}" for p in placements if len(p.replicas) < full],
    )
    used = {volume_of(PhotoId(photo.photo)) for photo in history.photos}
    for placement in placements:
        if placement.volume not in used:
            continue
        digests = {name: await stores[name].digest(placement.volume) for name in placement.replicas}
        if len({digest.digest for digest in digests.values()}) != 1:
            differences = await _differences(directory, stores, placement)
            wrong.say(f"needles of {volume_name(placement.volume)} are not on all replicas", differences)
            await _look_at_lost_renditions(session, history, differences)
    replicas = {placement.volume: placement.replicas for placement in placements}
    limit = asyncio.Semaphore(IN_FLIGHT)

    async def check(photo: Photo, name: StoreId) -> str | None:
        async with limit:
            try:
                needle = await stores[name].read(PhotoId(photo.photo))
            except HayloftError as error:
                return f"{photo.photo} on {name}: {error.code}"
        return None if bytes(needle.data) == photo.data else f"{photo.photo} on {name}: other bytes"

    checks = [
        check(photo, name)
        for photo in history.live
        for name in replicas.get(volume_of(PhotoId(photo.photo)), ())
    ]
    wrong.say("replicas lack photos", [said for said in await asyncio.gather(*checks) if said])


async def _look_at_lost_renditions(
    session: aiohttp.ClientSession, history: History, differences: list[tuple[NeedleEntry, list[StoreId]]]
) -> None:
    """Ask for renditions that are whole nowhere, as their viewers would: that makes them anew, everywhere.

    A rendition is kept where a store answers, and bytes of the only one can change before it is copied.
    """
    paths = {PhotoId(photo.photo): photo.path for photo in history.live}
    whole = {entry.key for entry, _names in differences if not entry.damaged}
    for entry, _names in differences:
        if (
            entry.key.alternate_key is not AlternateKey.ORIG
            and entry.key not in whole
            and entry.key.photo in paths
        ):
            name = entry.key.alternate_key.name.lower()
            async with session.get(f"{paths[entry.key.photo]}/{name}") as answer:
                await answer.read()


async def _differences(
    directory: Directory, stores: dict[StoreId, Store], placement: Placement
) -> list[tuple[NeedleEntry, list[StoreId]]]:
    """What only some replicas hold. What no photo needs, the rest of an upload that was cut off before it
    was acknowledged, does not count: it is swept away when it is old enough."""
    holders: dict[NeedleEntry, list[StoreId]] = {}
    for name in placement.replicas:
        after = None
        while page := await stores[name].needles(placement.volume, after=after, limit=1000):
            for entry in page:
                holders.setdefault(entry, []).append(name)
            after = page[-1].key
    known = {entry.photo for entry in await directory.volume_photos(placement.volume, limit=10_000)}
    return [
        (entry, names)
        for entry, names in holders.items()
        if len(names) < len(placement.replicas) and entry.key.photo in known
    ]
