"""A bare proxy: an ASGI callable that fetches every photo with one pooled aiohttp client and passes it on.

What is left out is all that a gateway is for: no directory, no cookies, no checksums, no second replica, no
signatures. Loaded by uvicorn in a process of its own; ``BENCH_UPSTREAM`` is the server behind it.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp

_UPSTREAM = os.environ.get("BENCH_UPSTREAM", "")
_sessions: list[aiohttp.ClientSession] = []


async def application(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],  # noqa: ARG001 - ASGI's signature
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    """Answer with what the server behind answers."""
    if not _sessions:
        _sessions.append(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=64)))
    async with _sessions[0].get(_UPSTREAM + scope["path"]) as response:
        body = await response.read()
        headers = [(b"content-type", b"image/jpeg"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
