"""What operators ask every role's server: ``/ready``, and ``/metrics`` for Prometheus.

Wrapped around a role's application, which itself answers ``/health`` (the process is alive). Ready means
that the role can do its work now, as far as the question given for it finds out. Requests are counted by
method and status, and timed until their answer's last byte; methods that clients make up count as one. It
knows nothing of what is served.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from itertools import accumulate
from typing import Any, Final

import structlog
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

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
    """The application ``app`` of the role called ``role``, with ``/ready`` and ``/metrics``.

    What the role itself counts in ``registry`` is told by ``/metrics`` too.
    """

    def __init__(
        self, app: App, *, role: str, ready: Question, registry: CollectorRegistry | None = None
    ) -> None:
        self._app = app
        self._ready = ready
        self._counts = _Counts(role)
        self._registry = registry or CollectorRegistry()
        self._registry.register(self._counts)

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

    def count_direct(self) -> None:
        """A GET was answered past the application, in no time."""
        self._counts.answered("GET", "200", 0.0)

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

        self._counts.in_flight += 1
        try:
            await self._app(scope, receive, send_noting_status)
        finally:
            self._counts.in_flight -= 1
            self._counts.answered(method, status, time.perf_counter() - started)


class _Counts(Collector):
    """Plain integers, made into metrics when asked for: counting costs less than a needle's checksum."""

    def __init__(self, role: str) -> None:
        self._role = role
        self._requests: defaultdict[tuple[str, str], int] = defaultdict(int)
        self._within: defaultdict[str, list[int]] = defaultdict(lambda: [0] * (len(_SECONDS_BUCKETS) + 1))
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self.in_flight = 0

    def answered(self, method: str, status: str, seconds: float) -> None:
        """A request was answered in this time."""
        self._requests[method, status] += 1
        self._within[method][bisect_left(_SECONDS_BUCKETS, seconds)] += 1
        self._seconds[method] += seconds

    def collect(self) -> Iterator[Metric]:
        """The metrics, as of now."""
        name = f"hayloft_{self._role}"
        requests = CounterMetricFamily(
            f"{name}_requests", "Requests answered.", labels=["method", "status"]
        )
        for (method, status), count in self._requests.items():
            requests.add_metric([method, status], count)
        seconds = HistogramMetricFamily(f"{name}_request_seconds", "Time to answer.", labels=["method"])
        for method, within in self._within.items():
            bounds = [*(str(float(bound)) for bound in _SECONDS_BUCKETS), "+Inf"]
            buckets = list(zip(bounds, accumulate(within), strict=True))
            seconds.add_metric([method], buckets, self._seconds[method])
        in_flight = GaugeMetricFamily(
            f"{name}_requests_in_flight", "Requests being answered.", value=self.in_flight
        )
        yield from (requests, seconds, in_flight)
