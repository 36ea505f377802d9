"""Reading on after a refusal, so that the client gets to see it.

A connection closed with unread bytes is reset by the kernel, and a client that is still sending loses
the answer that was already on its way. So the rest of a refused body is read and thrown away, within
bounds; past them the connection is closed after all.
"""

from __future__ import annotations

import asyncio
from typing import Final

from hayloft import limits
from hayloft.wire.asgi import Receive

DISCARD_BYTES_MAX: Final = 4 * limits.UPLOAD_BYTES_MAX
DISCARD_SECONDS_MAX: Final = 10.0


async def discard(receive: Receive) -> None:
    """Read and forget what is left of a body."""
    try:
        async with asyncio.timeout(DISCARD_SECONDS_MAX):
            left = DISCARD_BYTES_MAX
            while left > 0:
                message = await receive()
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    return
                left -= len(message.get("body", b""))
    except (TimeoutError, RuntimeError):
        return
