"""Runs one role as a service of its own: logs, signals, and what every service has around its application.

``run`` is what every role's command calls. SIGTERM or Ctrl-C stops listening, finishes what is in flight,
and returns; a second one ends at once. ``serve`` puts around an application the cluster's secret (all but
``/health``, ``/ready`` and ``/metrics`` is for those who know it), readiness and metrics, and a bound on
the requests in flight, past which callers are told to come back.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final, Protocol, TypeVar

import structlog
import uvloop
from prometheus_client import CollectorRegistry
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from hayloft import limits
from hayloft.assembly.logs import configure_logs
from hayloft.assembly.settings import MemberSettings
from hayloft.errors import HayloftError, Overloaded
from hayloft.wire.asgi import App, Receive, Scope, Send, request_id_of, send_error
from hayloft.wire.authentication import OPEN_PATHS, Authenticated
from hayloft.wire.operations import Operated, Question
from hayloft.wire.protocol import Headers
from hayloft.wire.serving import AppServer

OPEN: Final = OPEN_PATHS | {"/metrics"}
"""What may be asked without the secret: Prometheus cannot sign, and counts give nothing away."""

REQUESTS_IN_FLIGHT_MAX: Final = 1024
"""Requests that one service answers at the same time: sixteen busy callers with all their connections."""

ABSENCE_PAUSE_SECONDS_MAX: Final = 2.0
"""The longest pause between two attempts at something that is away."""

S = TypeVar("S", bound=MemberSettings)
T = TypeVar("T")

Service = Callable[[S, asyncio.Event], Coroutine[Any, Any, None]]
"""A role at work: opens what it needs, serves until the event is set, closes everything."""


class MakeProtocol(Protocol):
    """Makes the protocol class of a server (``store.protocol.needle_protocol``)."""

    def __call__(
        self, *, admits: Callable[[bytes, Headers], bool] | None, answered: Callable[[], None]
    ) -> type[HttpToolsProtocol]:
        """The class, which answers only what ``admits`` lets through and tells ``answered`` of it."""
        ...


_log = structlog.get_logger(__name__)


def run(service: Service[S], settings: S, *, name: str, interruptible: bool = True) -> int:
    """Run a role until it is told to stop; returns the process's exit code.

    A process that is started by another one leaves Ctrl-C to that: it is not ``interruptible``.

    Raises:
        HayloftError: it could not be started.
    """
    configure_logs(settings.log_level, process=name)
    if not interruptible:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    signals = (signal.SIGTERM, signal.SIGINT) if interruptible else (signal.SIGTERM,)
    _spare_what_stays()
    uvloop.run(_until_told(service, settings, name, signals))
    return 0


def _spare_what_stays() -> None:
    """Keep Python's search for cycles away from what was imported, which lives as long as the process.

    Searched through every time, it would stop all of the process's threads for a tenth of a second whenever
    much is made anew, as the listings of a repair are.
    """
    gc.collect()
    gc.freeze()


async def _until_told(
    service: Service[S], settings: S, name: str, signals: tuple[signal.Signals, ...]
) -> None:
    stopping = asyncio.Event()

    def told() -> None:
        if stopping.is_set():
            os._exit(1)
        stopping.set()

    loop = asyncio.get_running_loop()
    for number in signals:
        loop.add_signal_handler(number, told)
    _log.info("starting", host=settings.host, port=settings.port)
    await service(settings, stopping)
    _log.info("stopped", role=name)


@asynccontextmanager
async def serve(
    app: App,
    settings: MemberSettings,
    *,
    role: str,
    ready: Question,
    direct: MakeProtocol | None = None,
    registry: CollectorRegistry | None = None,
) -> AsyncIterator[AppServer]:
    """Serve a role's application while the context is open.

    ``direct`` makes the protocol by which a role answers some requests past its application; ``registry``
    holds what the role itself counts.

    Raises:
        RoleUnavailable: it could not listen.
    """
    operated = Operated(app, role=role, ready=ready, registry=registry)
    bounded = Bounded(operated, requests_max=REQUESTS_IN_FLIGHT_MAX)
    key = settings.key()
    guarded = None if key is None else Authenticated(bounded, [key], open_paths=OPEN)
    protocol: type[HttpToolsProtocol] = HttpToolsProtocol
    if direct is not None:
        protocol = direct(
            admits=None if guarded is None else guarded.admits, answered=operated.count_direct
        )
    if key is None:
        _log.warning("no secret is set: whoever reaches this port may do everything", port=settings.port)
    async with AppServer(
        guarded or bounded, host=settings.host, port=settings.port, protocol=protocol
    ) as server:
        yield server


class Bounded:
    """The application ``app`` for at most ``requests_max`` requests at a time, operators' not counted."""

    def __init__(self, app: App, *, requests_max: int) -> None:
        self._app = app
        self._requests_max = requests_max
        self._in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or say that there are too many."""
        if scope["type"] != "http" or scope["path"] in OPEN:
            await self._app(scope, receive, send)
            return
        if self._in_flight >= self._requests_max:
            busy = Overloaded(retry_after_seconds=limits.RETRY_AFTER_SECONDS)
            await send_error(send, busy, request_id_of(scope))
            return
        self._in_flight += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._in_flight -= 1


async def until_there(what: str, attempt: Callable[[], Awaitable[T]], stopping: asyncio.Event) -> T | None:
    """What ``attempt`` returns once it works, tried for ever; None when told to stop before that."""
    pause = 0.1
    while not stopping.is_set():
        try:
            return await attempt()
        except (HayloftError, OSError) as error:
            _log.warning("still waiting", what=what, error=getattr(error, "message", repr(error)))
        try:
            await asyncio.wait_for(stopping.wait(), pause)
        except TimeoutError:
            pause = min(2 * pause, ABSENCE_PAUSE_SECONDS_MAX)
    return None
