"""A peer that does not answer is repeated, then left alone; one that answers with an error is not."""

from __future__ import annotations

import pytest

from hayloft.clock import SystemClock
from hayloft.errors import PhotoNotFound, RoleUnavailable
from hayloft.wire.asgi import application
from hayloft.wire.breaker import Breaker
from hayloft.wire.serving import AppServer, free_port
from hayloft.wire.session import Patience, Session


class Clock(SystemClock):
    """Time that passes when told to."""

    now = 0.0

    def monotonic_seconds(self) -> float:
        return self.now


ONCE = Patience(connect_seconds=1.0, total_seconds=5.0, attempts=1)


async def test_peer_that_does_not_answer_is_left_alone_and_tried_again_later() -> None:
    port = free_port()
    clock = Clock()
    breaker = Breaker(failures_max=2, pause_seconds=10.0, clock=clock)
    app = application(title="peer", version="1")

    @app.get("/here")
    async def here() -> str:
        return "yes"

    async with Session(f"http://127.0.0.1:{port}", patience=ONCE, breaker=breaker) as session:
        for _ in range(2):
            with pytest.raises(RoleUnavailable, match="does not answer"):
                await session.request("GET", "/here")
        async with AppServer(app, port=port):
            with pytest.raises(RoleUnavailable, match="has not answered lately"):
                await session.request("GET", "/here")
            clock.now += 11.0
            assert (await session.request("GET", "/here")).json() == "yes"
            assert not breaker.is_open


async def test_errors_that_a_peer_answers_with_do_not_open_its_breaker() -> None:
    breaker = Breaker(failures_max=1)
    app = application(title="peer", version="1")

    @app.get("/missing")
    async def missing() -> None:
        raise PhotoNotFound

    async with (
        AppServer(app) as server,
        Session(server.url, patience=ONCE, breaker=breaker) as session,
    ):
        for _ in range(3):
            with pytest.raises(PhotoNotFound):
                await session.request("GET", "/missing")
    assert not breaker.is_open
