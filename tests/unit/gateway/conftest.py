"""A gateway over roles in memory, spoken to without a socket."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from hayloft.config import Settings
from hayloft.gateway import routes
from hayloft.gateway.front import Front
from hayloft.gateway.gateway import Gateway
from hayloft.testing.memory import MemoryDirectory, MemorySimilarity, MemoryStore
from hayloft.types import StoreId
from served import Reply

SECRET = b"s" * 32


@dataclass
class World:
    """A gateway, the roles behind it, and a client."""

    directory: MemoryDirectory
    stores: dict[StoreId, MemoryStore]
    similarity: MemorySimilarity
    gateway: Gateway
    front: Front
    sent: list[Any] = field(default_factory=list)

    async def request(
        self, method: str, path: str, *pieces: bytes, cut: bool = False, **headers: str
    ) -> Reply:
        """One request; ``cut`` ends the body with the client going away."""
        address, _, query = path.partition("?")
        messages = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
        messages.append(
            {"type": "http.disconnect"}
            if cut
            else {"type": "http.request", "body": b"", "more_body": False}
        )
        answer: list[Any] = []

        async def receive() -> Any:
            return messages.pop(0) if messages else {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            answer.append(message)

        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "path": address,
            "raw_path": address.encode(),
            "root_path": "",
            "query_string": query.encode(),
            "scheme": "http",
            "headers": [
                (b"host", b"test"),
                *((n.replace("_", "-").encode(), v.encode()) for n, v in headers.items()),
            ],
        }
        await self.front(scope, receive, send)
        if not answer:
            return Reply(0, {}, b"")
        got = {name.decode(): value.decode() for name, value in answer[0]["headers"]}
        return Reply(answer[0]["status"], got, b"".join(part.get("body", b"") for part in answer[1:]))

    async def upload(self, data: bytes, **headers: str) -> Reply:
        return await self.request("POST", "/upload", data, **{"content_type": "image/jpeg", **headers})


@pytest.fixture
async def make_world():
    """Makes worlds; closes their gateways."""
    made = []

    async def make(*, stores=1, replicas=1, capacity_bytes=1 << 30, **settings):
        names = [StoreId(f"store-{number}") for number in range(stores)]
        held = {name: MemoryStore(name, capacity_bytes=capacity_bytes) for name in names}
        directory = MemoryDirectory(replicas=replicas)
        for store in held.values():
            await directory.register(await store.health())
        similarity = MemorySimilarity()
        gateway = Gateway(
            directory=directory,
            stores=held,
            similarity=similarity,
            settings=Settings(**settings),
            secret=SECRET,
            worker="worker",
        )
        made.append(gateway)
        return World(directory, held, similarity, gateway, Front(gateway, routes.application(gateway)))

    yield make
    for gateway in made:
        await gateway.close()
