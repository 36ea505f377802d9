"""Cuts off clients that stop sending in the middle of an upload.

One timer per upload, looked at when it fires: waiting for a piece costs two assignments. Only silence
while the server waits for the client counts, never the time that storing takes.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Final, Self

from hayloft import limits
from hayloft.errors import UploadStalled

_NOT_WAITING: Final = float("inf")


class Silence:
    """A context in which waiting, between ``begin`` and ``end``, takes at most ``seconds_max``.

    Raises:
        UploadStalled: when the context is left because of it.
    """

    def __init__(self, seconds_max: float = limits.UPLOAD_IDLE_SECONDS_MAX) -> None:
        self._seconds_max = seconds_max
        self._loop = asyncio.get_running_loop()
        self._waiting_since = _NOT_WAITING
        self._expired = False
        self._task: asyncio.Task[object] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> Self:
        """Start watching the current task."""
        self._task = asyncio.current_task()
        self._timer = self._loop.call_later(self._seconds_max, self._look)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop watching; turn the interruption into its error."""
        if self._timer is not None:
            self._timer.cancel()
        if self._expired and kind is asyncio.CancelledError and self._task is not None:
            self._task.uncancel()
            raise UploadStalled(f"Nothing came for {self._seconds_max:g} seconds.") from error

    def begin(self) -> None:
        """The client is being waited for."""
        self._waiting_since = self._loop.time()

    def end(self) -> None:
        """It sent something."""
        self._waiting_since = _NOT_WAITING

    def _look(self) -> None:
        waited = self._loop.time() - self._waiting_since
        if waited >= self._seconds_max and self._task is not None:
            self._expired = True
            self._task.cancel()
            return
        left = self._seconds_max - max(0.0, waited)
        self._timer = self._loop.call_later(max(left, 0.01), self._look)
