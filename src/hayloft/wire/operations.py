"""What operators ask every role's server: ``/ready``, and ``/metrics`` for Prometheus.

Wrapped around a role's application, which itself answers ``/health`` (the process is alive). Ready means
that the role can do its work now, as far as the question given for it finds out. Requests are counted by
method and status, and timed until their answer's last byte; methods that clients make up count as one. It
knows nothing of what is served.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from hayloft.errors import HayloftError, RoleUnavailable
from hayloft.wire.asgi import App, Message, Receive, Scope, Send, request_id_of, send_error, send_json
from hayloft.wire.asgi import send_response as send_whole

READY_SECONDS_MAX: Final = 2.0
"""How long a role may take to say that it is ready."""

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE"})
_SECONDS_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60)
_UNANSWERED: Final = "none"

_log = structlog.get_logger(__name__)

Question = Callable[[], Awaitable[Any]]
"""Raises when the role cannot do its work; what it returns does not matter (``store.health``)."""


class Operated:
    """The application ``app`` of the role called ``role``, with ``/ready`` and ``/metrics``."""

    def __init__(self, app: App, *, role: str, ready: Question) -> None:
        self._app = app
        self._ready = ready
        self._registry = CollectorRegistry()
        self._requests = Counter(
            f"hayloft_{role}_requests", "Requests answered.", ["method", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            f"hayloft_{role}_request_seconds",
            "Time to answer.",
            ["method"],
            buckets=_SECONDS_BUCKETS,
            registry=self._registry,
        )
        self._in_flight = Gauge(
            f"hayloft_{role}_requests_in_flight", "Requests being answered.", registry=self._registry
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif scope["path"] == "/ready" and scope["method"] == "GET":
            await self._answer_ready(scope, send)
        elif scope["path"] == "/metrics" and scope["method"] == "GET":
            await send_whole(send, 200, generate_latest(self._registry), [("content-type", CONTENT_TYPE)])
        else:
            await self._count(scope, receive, send)

    async def _answer_ready(self, scope: Scope, send: Send) -> None:
        request_id = request_id_of(scope)
        try:
            async with asyncio.timeout(READY_SECONDS_MAX):
                await self._ready()
        except HayloftError as error:
            await send_error(send, RoleUnavailable(error.message), request_id)
        except Exception as error:
            _log.warning("role is not ready", error=repr(error))
            await send_error(send, RoleUnavailable("The role is not ready."), request_id)
        else:
            await send_json(send, 200, {"status": "ready"}, request_id)

    async def _count(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = scope["method"] if scope["method"] in _METHODS else "other"
        status = _UNANSWERED
        started = time.perf_counter()

        async def send_noting_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
            await send(message)

        self._in_flight.inc()
        try:
            await self._app(scope, receive, send_noting_status)
        finally:
            self._in_flight.dec()
            self._requests.labels(method, status).inc()
            self._seconds.labels(method).observe(time.perf_counter() - started)
