"""Events through a real RabbitMQ: every one arrives, whatever happens to the broker in between."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pika
import pytest

from cluster.rabbitmq_node import EPMD, SERVER, RabbitNode
from hayloft.cli.application import run
from hayloft.errors import RoleUnavailable
from hayloft.events.consumer import EventConsumer, Persistence
from hayloft.events.rabbitmq.dead_letters import DeadLetters
from hayloft.events.rabbitmq.relay import CONSUMER, OutboxRelay
from hayloft.events.rabbitmq.source import RabbitEventSource
from hayloft.testing.memory import MemoryDirectory
from hayloft.types import Event, EventKind, PhotoId

pytestmark = pytest.mark.skipif(
    not SERVER.exists() or EPMD is None, reason="Debian's rabbitmq-server is not installed"
)
PAYLOAD = {"logical_volume": "lv-3", "replicas": ["a", "b"], "alt_key": "orig"}
FAST = Persistence(pause_seconds=0.01, pause_seconds_max=0.02)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitNode]:
    running = RabbitNode(tmp_path_factory.mktemp("rabbitmq"))
    try:
        running.start()
        yield running
    finally:
        running.close()


@pytest.fixture(autouse=True)
def empty_queues(node: RabbitNode) -> None:
    with pika.BlockingConnection(pika.URLParameters(node.url)) as connection:
        channel = connection.channel()
        for name in ("similarity_queue", "similarity_queue.dead"):
            channel.queue_delete(name)


@asynccontextmanager
async def relaying(directory: MemoryDirectory, node: RabbitNode) -> AsyncIterator[OutboxRelay]:
    relay = OutboxRelay(directory, node.url, pause_seconds_max=0.3)
    running = asyncio.create_task(relay.run())
    try:
        yield relay
    finally:
        await relay.close()
        await asyncio.wait_for(running, 20)


class Handler:
    """Notes what it gets; fails for the photos it is told to."""

    def __init__(self) -> None:
        self.seen: list[PhotoId] = []
        self.failing: set[PhotoId] = set()

    async def __call__(self, event: Event) -> None:
        if event.photo in self.failing:
            raise ValueError("cannot be dealt with")
        self.seen.append(event.photo)

    async def until(self, count: int) -> None:
        async with asyncio.timeout(40):
            while len(set(self.seen)) < count:  # noqa: ASYNC110 - another process's doing
                await asyncio.sleep(0.02)


@asynccontextmanager
async def consuming(node: RabbitNode, handler: Handler, **options: int) -> AsyncIterator[RabbitEventSource]:
    source = RabbitEventSource(node.url, pause_seconds_max=0.3, **options)
    consumer = EventConsumer(source, handler, name="similarity", persistence=FAST)
    running = asyncio.create_task(consumer.run())
    try:
        yield source
    finally:
        consumer.stop()
        await source.close()
        await asyncio.wait_for(running, 20)


async def upload(directory: MemoryDirectory, *photos: int) -> None:
    for photo in photos:
        await directory.append_event(EventKind.UPLOADED, PhotoId(photo), PAYLOAD)


async def until_relayed(directory: MemoryDirectory, position: int) -> None:
    async with asyncio.timeout(40):
        while await directory.position(CONSUMER) < position:  # noqa: ASYNC110 - another process's doing
            await asyncio.sleep(0.02)


def drain(url: str) -> list[tuple[object, object, bytes]]:
    """All that is on the contract's queue, taken the way any other service would."""
    found = []
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        channel.exchange_declare("photo.events", "topic", durable=True)
        channel.queue_declare("similarity_queue", durable=True)
        channel.queue_bind("similarity_queue", "photo.events", "photo.uploaded")
        while True:
            method, properties, body = channel.basic_get("similarity_queue")
            if method is None:
                return found
            channel.basic_ack(method.delivery_tag)
            found.append((method, properties, body))


def publish(url: str, *bodies: bytes) -> None:
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        for body in bodies:
            channel.basic_publish(
                "photo.events", "photo.uploaded", body, pika.BasicProperties(delivery_mode=2)
            )


async def test_a_foreign_consumer_gets_the_contracts_messages_in_order(node: RabbitNode) -> None:
    directory = MemoryDirectory()
    await upload(directory, *range(1, 251))
    await directory.append_event(EventKind.DELETED, PhotoId(1), {})
    async with relaying(directory, node):
        await until_relayed(directory, 251)
    found = await asyncio.to_thread(drain, node.url)
    told = [json.loads(body) for _method, _properties, body in found]
    assert [each["photo_id"] for each in told] == list(range(1, 251))
    assert told[0] | {"at_ms": 0} == {
        "event": "photo.uploaded",
        "photo_id": 1,
        "logical_volume": "lv-3",
        "replicas": ["a", "b"],
        "alt_key": "orig",
        "position": 1,
        "at_ms": 0,
    }
    method, properties, _body = found[0]
    assert method.routing_key == "photo.uploaded"
    assert (properties.delivery_mode, properties.content_type) == (2, "application/json")


async def test_a_foreign_publishers_events_are_dealt_with_and_rubbish_is_not(
    node: RabbitNode,
) -> None:
    handler = Handler()
    async with consuming(node, handler):
        dead = DeadLetters(node.url)
        async with asyncio.timeout(40):
            while not await asyncio.to_thread(_is_declared, node.url):  # noqa: ASYNC110 - another process's doing
                await asyncio.sleep(0.02)
        rubbish = [b"", b"[1]", b"{", b'{"event":"photo.uploaded","photo_id":"7"}', b'{"photo_id":7}']
        event = b'{"event":"photo.uploaded","photo_id":7,"logical_volume":"lv-1","replicas":["x"]}'
        await asyncio.to_thread(publish, node.url, *rubbish, event)
        await handler.until(1)
        letters = await dead.list()
    assert handler.seen == [7]
    assert [letter.body for letter in letters] == rubbish
    assert all(letter.event is None and letter.reason and letter.times == 1 for letter in letters)


def _is_declared(url: str) -> bool:
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        try:
            connection.channel().queue_declare("similarity_queue", passive=True)
        except pika.exceptions.ChannelClosedByBroker:
            return False
        return True


async def test_what_keeps_failing_is_put_aside_listed_and_replayed(node: RabbitNode) -> None:
    directory, handler = MemoryDirectory(), Handler()
    handler.failing = {PhotoId(2), PhotoId(4)}
    await upload(directory, *range(1, 6))
    dead = DeadLetters(node.url)
    async with relaying(directory, node), consuming(node, handler):
        await handler.until(3)
        async with asyncio.timeout(40):
            while len(await dead.list()) < 2:  # noqa: ASYNC110 - another process's doing
                await asyncio.sleep(0.02)
        for _ in range(2):  # looking takes nothing away
            letters = await dead.list()
            assert [letter.event.photo for letter in letters if letter.event] == [2, 4]
        assert letters[0].reason == "ValueError: cannot be dealt with"
        handler.failing = {PhotoId(4)}
        assert await dead.replay() == 2
        await handler.until(4)
        async with asyncio.timeout(40):
            while not (letters := await dead.list()) or letters[0].times < 2:  # noqa: ASYNC110 - another process's doing
                await asyncio.sleep(0.02)
        assert [letter.event.photo for letter in letters if letter.event] == [4]
    assert handler.seen == [1, 3, 5, 2]


async def test_what_keeps_killing_its_consumer_is_put_aside(node: RabbitNode) -> None:
    directory = MemoryDirectory()
    await upload(directory, 1)
    dead = DeadLetters(node.url)
    async with relaying(directory, node):
        await until_relayed(directory, 1)
    deliveries = 0
    async with asyncio.timeout(30):
        while not await dead.list():
            source = RabbitEventSource(node.url, deliveries_max=3)
            waiting = asyncio.create_task(source.next(limit=1))
            while not waiting.done() and not await dead.list():  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            deliveries += waiting.done()
            await source.close()  # never acknowledged
            await asyncio.gather(waiting, return_exceptions=True)
    assert deliveries == 3
    assert "delivered 3 times" in (await dead.list())[0].reason


async def test_competing_consumers_share_the_work(node: RabbitNode) -> None:
    directory, one, two = MemoryDirectory(), Handler(), Handler()
    async with (
        consuming(node, one, prefetch=5),
        consuming(node, two, prefetch=5),
        relaying(directory, node),
    ):
        await upload(directory, *range(1, 201))
        async with asyncio.timeout(40):
            while len(one.seen) + len(two.seen) < 200:  # noqa: ASYNC110 - another process's doing
                await asyncio.sleep(0.02)
    assert sorted(one.seen + two.seen) == list(range(1, 201))
    assert one.seen
    assert two.seen


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
async def test_a_broker_that_ends_in_between_loses_nothing(node: RabbitNode, how: signal.Signals) -> None:
    directory, handler = MemoryDirectory(), Handler()
    async with relaying(directory, node), consuming(node, handler):
        await upload(directory, *range(1, 301))
        await handler.until(50)
        await asyncio.to_thread(node.stop, how)
        await upload(directory, *range(301, 601))  # uploads go on without it
        with pytest.raises(RoleUnavailable):
            await DeadLetters(node.url).list()
        await asyncio.to_thread(node.start)
        await handler.until(600)
        await until_relayed(directory, 600)
    assert set(handler.seen) == set(range(1, 601))


def test_dead_letters_on_the_command_line(node: RabbitNode, capsys: pytest.CaptureFixture[str]) -> None:
    def hayloft(*arguments: str) -> str:
        with pytest.raises(SystemExit) as ended:
            run(["events", "dead", "--broker-url", node.url, *arguments])
        assert not ended.value.code
        printed = capsys.readouterr()
        return printed.out + printed.err

    assert hayloft() == "Nothing has been given up.\n"
    event = {"event": "photo.uploaded", "photo_id": 7, "logical_volume": "lv-1", "replicas": ["x"]}
    with pika.BlockingConnection(pika.URLParameters(node.url)) as connection:
        channel = connection.channel()
        channel.queue_declare("similarity_queue.dead", durable=True)
        for body in (json.dumps(event).encode(), b"rubbish"):
            channel.basic_publish("", "similarity_queue.dead", body)
    first, second = (json.loads(line) for line in hayloft("--json").splitlines())
    assert (first["from"], first["kind"], first["photo_id"]) == ("similarity_queue", "photo.uploaded", 7)
    assert (second["photo_id"], second["body"]) == (None, "rubbish")
    assert "not an event" in hayloft("--queue", "similarity_queue")
    assert hayloft("--replay", "--limit", "1") == "1 event will be tried again.\n"
    assert [body for *_, body in drain(node.url)] == [json.dumps(event).encode()]
    assert "rubbish" in hayloft("--json")
