"""A bare ASGI callable that answers photos from a dictionary: what the HTTP server alone allows.

Hayloft's own work is what lies between this and its own rate. Loaded by uvicorn in a process of its
own; the files to serve are named by ``BENCH_PATHS`` (one request target a line) and ``BENCH_ROOT``.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

_PHOTOS = {
    target: (Path(os.environ["BENCH_ROOT"]) / target.lstrip("/")).read_bytes()
    for target in Path(os.environ["BENCH_PATHS"]).read_text().splitlines()
}
_HEADERS = {
    target: [(b"content-type", b"image/jpeg"), (b"content-length", str(len(photo)).encode())]
    for target, photo in _PHOTOS.items()
}


async def application(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],  # noqa: ARG001 - ASGI's signature
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    """Answer with the photo of this path, or 404."""
    path = scope["path"]
    if path not in _PHOTOS:
        await send({"type": "http.response.start", "status": 404, "headers": []})
        await send({"type": "http.response.body", "body": b""})
        return
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS[path]})
    await send({"type": "http.response.body", "body": _PHOTOS[path]})
