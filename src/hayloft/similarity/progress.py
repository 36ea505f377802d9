"""How far ingest has got, and how fast it goes.

The rate is that of the last minute. Where the event log stands is known to whoever feeds ingest; it is
asked when somebody wants to know.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from hayloft.clock import Clock

WINDOW_SECONDS: Final = 60.0

Tell = Callable[[float], None]
"""Hears how far something is, 0 to 1."""


def nobody(share: float) -> None:
    """Does not care."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogState:
    """Where the consumer of the event log stands."""

    position: int = 0
    """The last event dealt with."""
    last: int = 0
    """The last event there is."""
    parked: int = 0
    """Events set aside after repeated failures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressReport:
    """What can be told of ingest."""

    position: int
    pending: int
    parked: int
    photos_per_second: float
    seconds_left: float | None
    """What is pending at that rate; None while nothing is going on."""
    rebuilding: float | None
    """How far work in the background is, 0 to 1."""


class Progress:
    """Counts photos; asks ``log_state``, once somebody sets it, where the log stands."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._moments: deque[float] = deque()
        self._started = clock.monotonic_seconds()
        self.rebuilding: float | None = None
        self.log_state: Callable[[], Awaitable[LogState]] | None = None

    def count(self) -> None:
        """A photo has been dealt with."""
        self._moments.append(self._clock.monotonic_seconds())
        self._trim()

    async def now(self) -> ProgressReport:
        """The report."""
        state = await self.log_state() if self.log_state is not None else LogState()
        pending, rate = max(0, state.last - state.position), self.photos_per_second()
        return ProgressReport(
            position=state.position,
            pending=pending,
            parked=state.parked,
            photos_per_second=rate,
            seconds_left=pending / rate if pending and rate > 0 else None,
            rebuilding=self.rebuilding,
        )

    def photos_per_second(self) -> float:
        """Over the last minute, or since the start if that is shorter."""
        self._trim()
        seconds = min(WINDOW_SECONDS, self._clock.monotonic_seconds() - self._started)
        return len(self._moments) / seconds if seconds > 0 else 0.0

    def _trim(self) -> None:
        until = self._clock.monotonic_seconds() - WINDOW_SECONDS
        while self._moments and self._moments[0] < until:
            self._moments.popleft()
