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

from similarity_ingester import EVENTS, acknowledged, ingest_all

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


def start(folder: Path) -> subprocess.Popen[bytes]:
    script = Path(__file__).parent.parent / "similarity_ingester.py"
    return subprocess.Popen([sys.executable, str(script), str(folder)], stdout=subprocess.PIPE)


def children(pid: int) -> list[int]:
    told = Path(f"/proc/{pid}/task")
    return [int(c) for task in told.iterdir() for c in (task / "children").read_text().split()]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


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
        decoders = children(process.pid)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        for _ in range(1500):
            if not any(alive(decoder) for decoder in decoders):
                break
            await asyncio.sleep(0.02)
        assert not any(alive(decoder) for decoder in decoders)
    await ingest_all(killed)
    assert recorded(killed) == recorded(calm)
    assert acknowledged(killed) == len(EVENTS)
