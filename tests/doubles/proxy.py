"""A TCP proxy that can be told to misbehave, for what happens between two services.

Connections are passed on until ``fault`` says otherwise; it applies to what arrives from then on, also on
connections that are open already. ``reset`` breaks those.
"""

from __future__ import annotations

import asyncio
import contextlib
from enum import Enum
from urllib.parse import urlsplit


class Fault(Enum):
    """What becomes of the connections."""

    NONE = "none"
    REFUSE = "refuse"
    """They are closed at once."""
    DROP = "drop"
    """Nothing gets through, and nobody is told."""
    FLIP = "flip"
    """One bit of every answer's last byte arrives wrong."""
    CUT = "cut"
    """Answers end before their last byte."""


class Proxy:
    """A context that listens on a port of its own, in front of ``url``."""

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        self._host, self._port = address.hostname, address.port
        self.fault = Fault.NONE
        self.url = ""
        self.requests = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task] = set()

    async def __aenter__(self) -> Proxy:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.reset()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def reset(self) -> None:
        """Break all connections."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.add(asyncio.current_task())
        self._writers.add(writer)
        try:
            if self.fault is Fault.REFUSE:
                return
            there, back = await asyncio.open_connection(self._host, self._port)
            self._writers.add(back)
            await asyncio.gather(self._pass(reader, back, answers=False), self._pass(there, writer))
        except OSError:
            pass
        finally:
            writer.transport.abort()
            self._writers.discard(writer)
            self._tasks.discard(asyncio.current_task())

    async def _pass(self, source, sink, *, answers: bool = True) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(1 << 20):
                self.requests += not answers
                if self.fault is Fault.DROP:
                    await asyncio.Event().wait()  # until the connection is broken, or the test over
                if self.fault is Fault.REFUSE:
                    break
                if answers and self.fault is Fault.FLIP:
                    data = data[:-1] + bytes([data[-1] ^ 1])
                if answers and self.fault is Fault.CUT:
                    sink.write(data[:-1])
                    await sink.drain()
                    break
                sink.write(data)
                await sink.drain()
        sink.close()
