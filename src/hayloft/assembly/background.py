"""Work that goes on beside a context, for as long as the process serves.

Work that fails unexpectedly takes its process with it, in an orderly way: a service that looks alive and
has lost a part of itself helps nobody, and whoever started it starts it again.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import structlog

_log = structlog.get_logger(__name__)


@asynccontextmanager
async def background(work: Coroutine[Any, Any, None], *, cancel: bool = True) -> AsyncIterator[None]:
    """Run ``work`` beside the context; at its end cancel it, or wait for it to finish."""
    task = asyncio.create_task(work)
    task.add_done_callback(_end_with)
    try:
        yield
    finally:
        if cancel:
            task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _end_with(task: asyncio.Task[None]) -> None:
    if task.cancelled() or (failure := task.exception()) is None:
        return
    _log.critical("background work failed; ending", exc_info=failure)
    os.kill(os.getpid(), signal.SIGTERM)
