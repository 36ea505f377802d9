"""Runs an ASGI application inside the current event loop, on a TCP port or a Unix socket, with uvicorn.

Every server here is started this way: the gateway's workers, the roles that share a process with other work
(ingest serves similarity while it ingests), and tests. Signals are left to whoever started the loop.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from uvicorn import Config, Server
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from hayloft import limits
from hayloft.errors import RoleUnavailable
from hayloft.wire.asgi import App

START_SECONDS_MAX: Final = 10.0
BACKLOG: Final = 2048
"""Connections that may wait to be accepted; the kernel's own limit may be lower."""

KEEP_ALIVE_SECONDS: Final = 75
"""How long an idle connection is kept; longer than clients keep theirs, so that they close first."""

_POLL_SECONDS: Final = 0.005


class AppServer:
    """Serves ``app`` while the context is open; what is in flight when it closes is finished.

    Listens on the Unix socket ``uds`` when given (a stale file is replaced; the caller sees to it that no
    other server uses it), otherwise on ``host`` and ``port``; port 0 takes a free one. With ``shared``
    several processes may listen on one port, and the kernel spreads the connections.

    Raises:
        RoleUnavailable: it could not start listening.
    """

    def __init__(
        self,
        app: App,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        uds: Path | None = None,
        shared: bool = False,
        protocol: type[HttpToolsProtocol] = HttpToolsProtocol,
        stop_seconds_max: int = limits.SHUTDOWN_SECONDS_MAX,
    ) -> None:
        self._host, self._port, self._uds, self._shared = host, port, uds, shared
        config = Config(
            app,
            http=protocol,
            loop="none",
            ws="none",
            lifespan="auto",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=stop_seconds_max,
        )
        self._server = _QuietServer(config)
        self._task: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Where clients reach it; over a Unix socket the host is only a name."""
        if self._uds:
            return "http://localhost"
        return (
            f"http://[{self._host}]:{self._port}"
            if ":" in self._host
            else f"http://{self._host}:{self._port}"
        )

    async def __aenter__(self) -> Self:
        """Start, and wait until it listens."""
        try:
            listener = self._listen()
        except OSError as failure:
            raise RoleUnavailable(f"{self.url} cannot be listened on: {failure.strerror}.") from failure
        self._task = asyncio.create_task(self._server.serve(sockets=[listener]))
        try:
            async with asyncio.timeout(START_SECONDS_MAX):
                while not self._server.started:
                    if self._task.done():
                        self._task.result()
                        raise RoleUnavailable(f"{self.url} stopped while starting.")
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError as failure:
            raise RoleUnavailable(f"{self.url} did not start.") from failure
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop listening and let requests in flight finish."""
        assert self._task is not None
        self._server.should_exit = True
        await self._task
        if self._uds is not None:
            self._uds.unlink(missing_ok=True)

    def _listen(self) -> socket.socket:
        if self._uds is not None:
            self._uds.unlink(missing_ok=True)
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(self._uds))
        else:
            listener = socket.socket(socket.AF_INET6 if ":" in self._host else socket.AF_INET)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if self._shared:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            listener.bind((self._host, self._port))
            self._port = listener.getsockname()[1]
        listener.listen(BACKLOG)
        listener.setblocking(False)
        return listener


class _QuietServer(Server):
    """Uvicorn's server without its signal handlers, which would replace the ones set already."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Capture none."""
        yield


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nothing listens on right now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
