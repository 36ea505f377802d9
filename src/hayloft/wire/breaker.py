"""A circuit breaker: a peer that keeps failing is left alone for a while (Nygard, Release It!, chapter 5).

After ``failures_max`` failures in a row the breaker opens, and nobody asks the peer. When its pause is over
one request may try; if that works the breaker closes, otherwise the pause doubles, up to a bound. A trial
that is never reported (its task was cancelled) just lets the next one try a pause later. Pure but for the
clock.
"""

from __future__ import annotations

from typing import Final

from hayloft.clock import Clock, SystemClock

FAILURES_MAX: Final = 3
PAUSE_SECONDS: Final = 1.0
PAUSE_SECONDS_MAX: Final = 30.0


class Breaker:
    """Says whether one peer is worth asking."""

    def __init__(
        self,
        *,
        failures_max: int = FAILURES_MAX,
        pause_seconds: float = PAUSE_SECONDS,
        pause_seconds_max: float = PAUSE_SECONDS_MAX,
        clock: Clock | None = None,
    ) -> None:
        self._failures_max = failures_max
        self._pause_seconds_min = self._pause_seconds = pause_seconds
        self._pause_seconds_max = pause_seconds_max
        self._clock = clock or SystemClock()
        self._failures = 0
        self._trial_at: float | None = None

    @property
    def is_open(self) -> bool:
        """Whether the peer failed too often and has not worked since."""
        return self._trial_at is not None

    @property
    def is_shut_out(self) -> bool:
        """Whether the peer is being left alone: it is open, and its next trial is not due yet."""
        return self._trial_at is not None and self._clock.monotonic_seconds() < self._trial_at

    def allows(self) -> bool:
        """Whether to ask the peer now; True is a promise to report how it went."""
        if self._trial_at is None:
            return True
        now = self._clock.monotonic_seconds()
        if now < self._trial_at:
            return False
        self._trial_at = now + self._pause_seconds
        return True

    def succeeded(self) -> None:
        """The peer answered."""
        self._failures = 0
        self._trial_at = None
        self._pause_seconds = self._pause_seconds_min

    def failed(self) -> None:
        """The peer did not answer, or not sensibly."""
        self._failures += 1
        if self._trial_at is not None:
            self._pause_seconds = min(2 * self._pause_seconds, self._pause_seconds_max)
        if self._failures >= self._failures_max:
            self._trial_at = self._clock.monotonic_seconds() + self._pause_seconds

    def trip(self) -> None:
        """The peer failed in a way that nobody is to meet again soon: open at once."""
        self._failures = max(self._failures, self._failures_max - 1)
        self.failed()
