"""Several processes on one database, in a file or on a server: no lock errors, one order of events, one
truth about duplicates.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from hayloft.directory.leases import WritePolicy
from hayloft.directory.local import LocalDirectory
from hayloft.directory.migrations import upgrade
from hayloft.types import EventKind, PhotoQuery, StoreHealth, StoreId

COMMITTER = Path(__file__).with_name("committer.py")


@pytest.fixture(params=["sqlite", "postgres"])
async def url(request, tmp_path: Path, postgres_database) -> str:
    if request.param == "postgres":
        return await asyncio.to_thread(postgres_database)
    url = f"sqlite:///{tmp_path / 'directory.sqlite'}"
    await asyncio.to_thread(upgrade, url)
    return url


@pytest.fixture
async def directory(url: str):
    directory = LocalDirectory.open(url, policy=WritePolicy(writable_max=4))
    await directory.register(
        StoreHealth(store=StoreId("local"), volumes=(), free_bytes=1 << 40, capacity_bytes=1 << 40)
    )
    yield directory
    await directory.close()


def start(url: str, holder: str, count: int, *flags: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(COMMITTER), url, holder, str(count), *flags]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


async def finish(processes) -> list[list[list[str]]]:
    outputs = await asyncio.gather(*(asyncio.to_thread(one.communicate) for one in processes))
    for process, (_, errors) in zip(processes, outputs, strict=True):
        assert process.returncode == 0, errors
    return [[line.split() for line in out.splitlines()] for out, _ in outputs]


async def events_of(directory) -> list:
    found = []
    while more := await directory.events(after=len(found), limit=1000):
        found += more
    return found


async def test_processes_commit_side_by_side(directory, url):
    """A reader follows the log meanwhile and must see every position once, in order."""
    processes = [start(url, f"p{n}", 400) for n in range(3)]
    seen = []
    while len(seen) < 1200:
        more = await directory.events(after=len(seen), limit=100, wait_seconds=30)
        assert more, "the log stopped growing"
        seen += more
    lines = await finish(processes)
    assert [event.position for event in seen] == list(range(1, 1201))
    acknowledged = [int(line[0]) for lines_of_one in lines for line in lines_of_one]
    assert sorted(event.photo for event in seen) == sorted(acknowledged)
    assert len(set(acknowledged)) == 1200
    assert (await directory.photos(PhotoQuery(limit=1))).total == 1200


async def test_the_same_uploads_in_two_processes_race(directory, url):
    """Numbers with a key become one photo; the others two photos, one the duplicate of the other."""
    count = 300
    one, two = await finish([start(url, f"p{n}", count, "same") for n in range(2)])
    answers = {}
    for photo, duplicate_of, repeated, number in one + two:
        answers.setdefault(int(number), []).append((int(photo), duplicate_of, repeated))
    for number, ((a, a_of, a_again), (b, b_of, b_again)) in answers.items():
        if number % 2:
            assert a == b
            assert Counter((a_again, b_again)) == {"True": 1, "False": 1}
        else:
            assert a != b
            assert {a_of, b_of} in ({"None", str(a)}, {"None", str(b)})
            assert (a_of == str(b)) != (b_of == str(a))
    assert (await directory.statistics()).photos == count // 2 + count


@pytest.mark.parametrize("attempt", range(3))
async def test_a_process_killed_in_the_middle_of_commits_loses_nothing(directory, url, attempt):
    process = start(url, "victim", 1_000_000)
    lines_before = 300 + 137 * attempt
    acknowledged = [await asyncio.to_thread(process.stdout.readline) for _ in range(lines_before)]
    os.kill(process.pid, signal.SIGKILL)
    rest, _ = await asyncio.to_thread(process.communicate)
    acknowledged += rest.splitlines(keepends=True)
    photos = {int(line.split()[0]) for line in acknowledged if line.endswith("\n")}
    assert len(photos) >= 300
    events = await events_of(directory)
    assert [event.position for event in events] == list(range(1, len(events) + 1))
    uploaded = Counter(event.photo for event in events if event.kind is EventKind.UPLOADED)
    assert set(uploaded.values()) == {1}
    assert photos <= set(uploaded)
    statistics = await directory.statistics()
    assert statistics.photos == len(uploaded) == statistics.last_event
    for photo in list(photos)[-20:]:
        assert (await directory.photo(photo)).status == "active"
    # The lock went with its holder: others go on at once.
    lines = await finish([start(url, "survivor", 50)])
    assert len(lines[0]) == 50
