"""Work that goes on beside a context."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any


@asynccontextmanager
async def background(work: Coroutine[Any, Any, None], *, cancel: bool = True) -> AsyncIterator[None]:
    """Run ``work`` beside the context; at its end cancel it, or wait for it to finish."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        if cancel:
            task.cancel()
        await asyncio.gather(task, return_exceptions=True)
