"""Nothing acknowledged is ever lost: servers killed under upload load, again and again.

Every round kills the whole process group while several clients upload and delete, starts the server on
the same data, and reads back, byte for byte, everything that any earlier round was told is kept.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time

import pytest

from hayloft.assembly.verify import Fault, verify
from hayloft.config import Settings
from hayloft.directory.local import LocalDirectory
from served import picture

ROUNDS = 5
CLIENTS = 6


class Client(threading.Thread):
    """Uploads until its server is gone, deleting some; remembers what it was told."""

    def __init__(self, server, seed):
        super().__init__()
        self.server = server
        self.seed = seed
        self.kept = {}
        self.deleted = []
        self.unsure = set()
        """Photos whose deletion was asked for and not answered."""

    def run(self):
        choice = random.Random(self.seed)
        number = 0
        while True:
            data = picture(self.seed * 100_000 + number, side=choice.choice([8, 64, 200]))
            number += 1
            try:
                reply = self.server.upload(data)
                assert reply.status == 201, reply
                photo = reply.json["photo_id"]
                self.kept[photo] = data
                if choice.random() < 0.2:
                    self.unsure.add(photo)
                    assert self.server.delete(f"/photo/{photo}").status == 200
                    self.deleted.append(photo)
                    self.unsure.discard(photo)
                    del self.kept[photo]
            except OSError:
                return
            except Exception as error:  # http.client's own, when the answer ends early
                if type(error).__module__ != "http.client":
                    raise
                return


@pytest.mark.timeout(600)
def test_every_acknowledged_photo_survives_sigkill_under_load(start_server):
    kept, deleted, unsure = {}, [], set()
    choice = random.Random(20101004)  # the day Haystack was published
    for number in range(ROUNDS):
        server = start_server(workers=2, SIMILARITY__ENABLED="false", RENDITIONS__ENABLED="false")
        for photo, data in kept.items():
            reply = server.get(f"/photo/{photo}")
            if photo in unsure and reply.status == 410:
                continue
            assert (reply.status, reply.body) == (200, data), photo
        for photo in deleted:
            assert server.get(f"/photo/{photo}").status == 410
        clients = [Client(server, number * CLIENTS + index) for index in range(CLIENTS)]
        for client in clients:
            client.start()
        while sum(len(client.kept) for client in clients) < 30:
            assert any(client.is_alive() for client in clients), server.log
            time.sleep(0.01)
        time.sleep(choice.random())
        server.kill()
        for client in clients:
            client.join()
            kept.update(client.kept)
            deleted.extend(client.deleted)
            unsure |= client.unsure
    server = start_server(SIMILARITY__ENABLED="false", RENDITIONS__ENABLED="false")
    listed = set()
    cursor = ""
    while cursor is not None:
        page = server.get(f"/photos?limit=1000{cursor and '&cursor=' + cursor}").json
        listed |= {photo["photo_id"] for photo in page["photos"]}
        cursor = page["next_cursor"]
    assert set(kept) - unsure <= listed
    assert not listed & set(deleted)
    asyncio.run(interrupted_deletions_finished(server))
    assert server.stop() == 0
    check_with_verify(server, set(kept) | set(deleted))


async def interrupted_deletions_finished(server, *, seconds_max=90.0):
    """Wait until ingest has followed the event log to its end: it finishes what a kill interrupted."""
    directory = LocalDirectory.open(f"sqlite:///{server.data / 'directory.sqlite'}")
    try:
        last = (await directory.statistics()).last_event
        deadline = time.monotonic() + seconds_max
        while await directory.position("deletes") < last:
            assert time.monotonic() < deadline, server.log
            await asyncio.sleep(0.1)
    finally:
        await directory.close()


def check_with_verify(server, acknowledged):
    """What an interrupted upload leaves behind is found, is none of the acknowledged, and goes away."""
    settings = Settings(data=server.data)
    found = asyncio.run(verify(settings, repair=True))
    assert {finding.fault for finding in found.findings} <= {Fault.ORPHAN}
    assert all(finding.repaired for finding in found.findings)
    assert not {finding.photo for finding in found.findings} & acknowledged
    assert asyncio.run(verify(settings)).findings == []
