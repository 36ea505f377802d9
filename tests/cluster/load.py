"""Uploads, reads and deletions against a gateway, all the time, with a history of what was acknowledged.

Runs in a thread with an event loop of its own. Whatever has no answer is done again with the same
idempotency key until it has one, as a careful client would. A read that gives other bytes, or says that an
acknowledged photo is not there, is a violation at once; being told to come back is not.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import logging
import random
import threading
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

import aio_pika
import aiohttp
import numpy as np
from PIL import Image

ANSWER_SECONDS_MAX = 30.0
logging.getLogger("aiormq").setLevel(logging.CRITICAL)  # brokers are away here all the time
PAUSE_SECONDS = 0.2


@dataclass
class Photo:
    """One acknowledged upload."""

    photo: int
    path: str
    data: bytes
    delete_asked: bool = False
    deleted: bool = False


@dataclass
class History:
    """What happened."""

    photos: list[Photo] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    reads: int = 0
    refusals: dict[str, int] = field(default_factory=dict)
    uploaded_events: set[int] = field(default_factory=set)
    deleted_events: set[int] = field(default_factory=set)

    @property
    def live(self) -> list[Photo]:
        return [photo for photo in self.photos if not photo.delete_asked]

    @property
    def deleted(self) -> list[Photo]:
        return [photo for photo in self.photos if photo.deleted]

    def refused(self, what: str) -> None:
        self.refusals[what] = self.refusals.get(what, 0) + 1


@dataclass(frozen=True)
class Rates:
    """How many a second are aimed at."""

    uploads: float = 6.0
    reads: float = 20.0
    deletes: float = 1.0


class Load:
    """The load on one gateway; ``start`` and ``stop`` may be called once each."""

    def __init__(self, url: str, broker_url: str, *, seed: int, rates: Rates | None = None) -> None:
        self.history = History()
        self._url = url
        self._broker_url = broker_url
        self._random = random.Random(seed)
        self._seed = seed
        self._rates = rates or Rates()
        self._numbers = 0
        self._stopping = threading.Event()
        self._listening = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._still_listening = threading.Event()
        self._going = threading.Event()
        self._going.set()
        self._busy = 0
        self.failure: BaseException | None = None

    def start(self) -> Load:
        self._thread.start()
        assert self._listening.wait(60), "no queue for the events"
        return self

    def stop(self) -> None:
        """Finish what is asked for; events are listened to until ``close``."""
        self._stopping.set()

    def pause(self) -> None:
        """Finish what is asked for and ask for nothing more, until ``go_on``."""
        self._going.clear()
        deadline = time.monotonic() + 4 * ANSWER_SECONDS_MAX
        while self._busy:
            assert time.monotonic() < deadline, "the load does not come to rest"
            time.sleep(0.05)

    def go_on(self) -> None:
        self._going.set()

    def close(self) -> None:
        self._stopping.set()
        self._going.set()
        self._still_listening.set()
        self._thread.join(120)
        assert not self._thread.is_alive()

    async def _run(self) -> None:
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS_MAX)
        async with aiohttp.ClientSession(self._url, timeout=timeout) as session:
            events = asyncio.create_task(self._follow_events())
            await asyncio.to_thread(self._listening.wait)
            work = [
                self._repeat(self._rates.uploads / 2, self._upload, session),
                self._repeat(self._rates.uploads / 2, self._upload, session),
                self._repeat(self._rates.reads / 2, self._read, session),
                self._repeat(self._rates.reads / 2, self._read, session),
                self._repeat(self._rates.deletes, self._delete, session),
            ]
            await asyncio.gather(*work)
            await asyncio.to_thread(self._still_listening.wait)
            events.cancel()
            await asyncio.gather(events, return_exceptions=True)

    async def _repeat(self, rate: float, do: Any, session: aiohttp.ClientSession) -> None:
        while not self._stopping.is_set():
            if self._going.is_set():
                self._busy += 1
                try:
                    await do(session)
                except Exception as error:  # a mistake of the test itself
                    self.history.violations.append(f"{do.__name__}: {error!r}")
                finally:
                    self._busy -= 1
            await asyncio.sleep(self._random.expovariate(rate))

    # What it does --------------------------------------------------------------------------------

    async def _upload(self, session: aiohttp.ClientSession) -> None:
        self._numbers += 1
        data = picture(self._seed * 1_000_003 + self._numbers)
        headers = {"content-type": "image/jpeg", "idempotency-key": str(uuid.uuid4())}
        while True:
            try:
                async with session.post("/upload", data=data, headers=headers) as answer:
                    if answer.status in (200, 201):
                        told = await answer.json()
                        path = "/" + told["url"].split("/", 3)[3]
                        self.history.photos.append(Photo(told["photo_id"], path, data))
                        if told["sha256"] != hashlib.sha256(data).hexdigest():
                            self.history.violations.append(f"upload of {told['photo_id']}: other bytes")
                        return
                    await self._note("upload", answer)
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                self.history.refused(f"upload {type(error).__name__}")
            if self._stopping.is_set():
                return
            await asyncio.sleep(PAUSE_SECONDS)

    async def _read(self, session: aiohttp.ClientSession) -> None:
        if not self.history.photos:
            return
        recent = self.history.photos[-50:] if self._random.random() < 0.5 else self.history.photos
        photo = self._random.choice(recent)
        if photo.delete_asked:
            return
        self.history.reads += 1
        try:
            async with session.get(photo.path) as answer:
                body = await answer.read()
                if photo.delete_asked:  # meanwhile
                    return
                if answer.status == 200 and body != photo.data:
                    self.history.violations.append(f"read of {photo.photo}: other bytes")
                elif answer.status in (404, 410):
                    self.history.violations.append(
                        f"read of {photo.photo}: {answer.status}, and it is there"
                    )
                elif answer.status != 200:
                    await self._note("read", answer)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            self.history.refused(f"read {type(error).__name__}")

    async def _delete(self, session: aiohttp.ClientSession) -> None:
        live = self.history.live
        if len(live) < 20:
            return
        photo = self._random.choice(live)
        photo.delete_asked = True
        while True:
            try:
                async with session.delete(f"/photo/{photo.photo}") as answer:
                    if answer.status == 200:
                        photo.deleted = True
                        return
                    await self._note("delete", answer)
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                self.history.refused(f"delete {type(error).__name__}")
            if self._stopping.is_set():
                return
            await asyncio.sleep(PAUSE_SECONDS)

    async def _note(self, what: str, answer: aiohttp.ClientResponse) -> None:
        """An answer that is no success: being told to come back is all right, nonsense is not."""
        text = (await answer.read()).decode("utf-8", "replace")
        code = json.loads(text).get("code", "") if text.startswith("{") else text[:80]
        self.history.refused(f"{what} {answer.status} {code}")
        if answer.status not in (503, 507):
            self.history.violations.append(f"{what}: {answer.status} {text[:200]}")

    # Events --------------------------------------------------------------------------------------

    async def _follow_events(self) -> None:
        """A consumer of its own, on a durable queue: whatever the broker goes through, it hears of all."""
        while not self._still_listening.is_set():
            try:
                connection = await aio_pika.connect(self._broker_url, timeout=5, heartbeat=10)
                async with connection:
                    channel = await connection.channel()
                    await channel.set_qos(prefetch_count=200)
                    exchange = await channel.declare_exchange("photo.events", "topic", durable=True)
                    queue = await channel.declare_queue("test_history", durable=True)
                    await queue.bind(exchange, routing_key="photo.*")
                    self._listening.set()
                    async with queue.iterator() as messages:
                        async for message in messages:
                            self._heard(json.loads(message.body))
                            await message.ack()
            except (aio_pika.exceptions.AMQPError, OSError, TimeoutError, RuntimeError):
                await asyncio.sleep(0.5)

    def _heard(self, event: dict[str, Any]) -> None:
        if event["event"] == "photo.uploaded":
            self.history.uploaded_events.add(event["photo_id"])
        elif event["event"] == "photo.deleted":
            self.history.deleted_events.add(event["photo_id"])


def picture(seed: int) -> bytes:
    """A small photo-like picture, another one for each seed."""
    noise = np.random.default_rng(seed).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).resize((96, 96)).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()
