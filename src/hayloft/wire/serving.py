"""Runs an ASGI application inside the current event loop, on a TCP port or a Unix socket.

For roles that share a process with other work (ingest serves similarity while it ingests) and for tests.
The gateway's worker processes are granian's own and do not use this.
"""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from granian.constants import HTTPModes, Interfaces
from granian.server.embed import Server

from hayloft.errors import RoleUnavailable
from hayloft.wire.asgi import App

START_SECONDS_MAX: Final = 10.0
_POLL_SECONDS: Final = 0.01


class AppServer:
    """Serves ``app`` while the context is open.

    Listens on the Unix socket ``uds`` when given (a stale file is replaced; the caller sees to it that no
    other server uses it), otherwise on ``host`` and ``port``; port 0 takes a free one.

    Raises:
        RoleUnavailable: it could not start listening.
    """

    def __init__(
        self, app: App, *, host: str = "127.0.0.1", port: int = 0, uds: Path | None = None
    ) -> None:
        self._uds = uds
        self._host = host
        self._port = port or (0 if uds else free_port(host))
        self._server = Server(
            app,
            address=host,
            port=self._port,
            uds=uds,
            interface=Interfaces.ASGI,
            http=HTTPModes.http1,
            websockets=False,
            log_enabled=False,
        )
        self._task: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Where clients reach it; over a Unix socket the host is only a name."""
        return "http://localhost" if self._uds else f"http://{self._host}:{self._port}"

    async def __aenter__(self) -> Self:
        """Start, and wait until it listens."""
        if self._uds is not None:
            self._uds.unlink(missing_ok=True)
        self._task = asyncio.create_task(self._server.serve())
        try:
            async with asyncio.timeout(START_SECONDS_MAX):
                while not self._listens():
                    if self._task.done():
                        self._task.result()
                        raise RoleUnavailable(f"{self.url} stopped while starting.")
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError as failure:
            raise RoleUnavailable(f"{self.url} did not start listening.") from failure
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop listening and let requests in flight finish."""
        assert self._task is not None
        self._server.stop()  # type: ignore[no-untyped-call]
        await self._task
        if self._uds is not None:
            self._uds.unlink(missing_ok=True)

    def _listens(self) -> bool:
        family = socket.AF_UNIX if self._uds else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.settimeout(_POLL_SECONDS)
            address = str(self._uds) if self._uds else (self._host, self._port)
            return probe.connect_ex(address) == 0


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nothing listens on right now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
