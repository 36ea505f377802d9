"""A process that ingests is killed again and again, and records in the end what a calm run records.

Events come at least once, so the killed process gets all of them again each time; nothing may be lost,
doubled or half there, and no decoder process may outlive it.
"""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from hayloft.similarity.embedders.builtin import BuiltinEmbedder
from hayloft.similarity.ingest import Ingest
from hayloft.types import EventKind, PhotoId, Relation
from postgres_server import PostgresServer
from similarity_ingester import EVENTS, WORLD, acknowledged, ingest_all

KILLS = 3


def recorded(folder: Path) -> dict[str, list[tuple]]:
    engine = create_engine(f"sqlite:///{folder}/similarity.sqlite")
    queries = {
        "photos": "SELECT photo, state, original, group_id, sha256, width FROM seen_photos ORDER BY photo",
        "fingerprints": "SELECT photo, method, quality, data FROM fingerprints ORDER BY photo, method",
        "links": "SELECT a, b, relation, score, method, evidence, announced FROM links ORDER BY a, b",
    }
    with engine.connect() as connection:
        found = {name: [tuple(r) for r in connection.execute(text(q))] for name, q in queries.items()}
    engine.dispose()
    return found


def start(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    script = Path(__file__).parent.parent / "similarity_ingester.py"
    return subprocess.Popen([sys.executable, str(script), str(folder), *arguments], stdout=subprocess.PIPE)


def children(pid: int) -> list[int]:
    told = Path(f"/proc/{pid}/task")
    return [int(c) for task in told.iterdir() for c in (task / "children").read_text().split()]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def kill(process: subprocess.Popen[bytes]) -> None:
    """End a process at once; its decoders end with it."""
    assert process.stdout is not None
    decoders = children(process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    for _ in range(1500):
        if not any(alive(decoder) for decoder in decoders):
            break
        await asyncio.sleep(0.02)
    assert not any(alive(decoder) for decoder in decoders)


@pytest.mark.timeout(300)
async def test_killed_at_any_moment_it_records_what_a_calm_run_records(tmp_path: Path) -> None:
    calm, killed = tmp_path / "calm", tmp_path / "killed"
    calm.mkdir()
    killed.mkdir()
    seed = random.randrange(1 << 32)
    sys.stdout.write(f"seed {seed}\n")
    choice = random.Random(seed)
    await ingest_all(calm)
    for _ in range(KILLS):
        process = start(killed)
        assert process.stdout is not None
        # After so many events, and a moment more, so that the kill falls inside one.
        for _ in range(choice.randrange(1, len(EVENTS))):
            if not process.stdout.readline():
                break
        await asyncio.sleep(choice.random() * 0.05)
        await kill(process)
    await ingest_all(killed)
    assert recorded(killed) == recorded(calm)
    assert acknowledged(killed) == len(EVENTS)


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    return postgres.empty_database()


@pytest.mark.timeout(300)
async def test_one_of_two_that_share_a_database_is_killed_and_nothing_is_lost(
    tmp_path: Path, url: str
) -> None:
    seed = random.randrange(1 << 32)
    sys.stdout.write(f"seed {seed}\n")
    choice = random.Random(seed)
    halves = [start(tmp_path / str(half), url, str(half)) for half in (0, 1)]
    doomed, other = choice.sample(halves, 2)
    assert doomed.stdout is not None
    for _ in range(choice.randrange(1, len(EVENTS) // 2)):
        doomed.stdout.readline()
    await asyncio.sleep(choice.random() * 0.1)
    await kill(doomed)
    assert await asyncio.to_thread(other.communicate)
    assert other.returncode == 0
    # What the killed one had not acknowledged comes again, to another; so may the rest, in any order.
    events = choice.sample(EVENTS, len(EVENTS))
    heir = await WORLD.open(tmp_path / "heir", url=url, embedder=BuiltinEmbedder())
    for event in events:
        await Ingest(heir).handle(event)
    gone = {event.photo for event in EVENTS if event.kind is EventKind.DELETED}
    same = {event.photo for event in EVENTS if event.kind is EventKind.UPLOADED} - gone - {31, 32}
    assert set((await heir.group_of(min(same))).photos) == same
    assert set((await heir.group_of(PhotoId(31))).photos) == {31, 32}
    found = await heir.all_links(relation=None, cursor=None, limit=1000)
    assert not {end for link in found.links for end in (link.a, link.b)} & gone
    for photo in same:
        near = await heir.similar(photo, k=50)
        assert not {one.photo for one in near} & gone
        assert {one.photo for one in near if one.relation is not Relation.SIMILAR} <= same
    status = await heir.status()
    assert (status.total_indexed, status.undecodable) == (len(same) + 2, 0)
    await heir.close()
