"""How each store has been doing lately, as this gateway has met it.

It says in which order the replicas of a photo are asked: healthy stores by turns, so that every photo has
its own first one and the page caches of all are used; those that failed a moment ago after them; those that
keep failing last, but for a trial now and then. It says how long a store usually takes, and which stores a
writer had better avoid. Pure but for the clock: it asks nobody.
"""

from __future__ import annotations

from typing import Final

from hayloft.clock import Clock
from hayloft.types import PhotoId, StoreId
from hayloft.wire.breaker import Breaker

FAILURES_MAX: Final = 3
PAUSE_SECONDS: Final = 1.0
PAUSE_SECONDS_MAX: Final = 15.0

LATELY_SECONDS: Final = 2.0
"""A store that failed within this time is asked after those that did not."""

USUAL_SECONDS_MIN: Final = 0.01
"""An answer within this time is never late: below it, the waiting is for the processor."""
USUAL_SECONDS_MAX: Final = 0.25
USUAL_SECONDS_AT_FIRST: Final = 0.05

_ANSWERS_REMEMBERED: Final = 128
_ANSWERS_BETWEEN: Final = 32
_PERCENTILE: Final = 0.95


class Standing:
    """One store's."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._breaker = Breaker(
            failures_max=FAILURES_MAX,
            pause_seconds=PAUSE_SECONDS,
            pause_seconds_max=PAUSE_SECONDS_MAX,
            clock=clock,
        )
        self._failed_at: float | None = None
        self._answers: list[float] = []
        self._counted = 0
        self.usual_seconds = USUAL_SECONDS_AT_FIRST
        """The time in which 95 of 100 recent reads were answered, within bounds."""

    def answered(self, seconds: float) -> None:
        """It answered a read in this time."""
        self.worked()
        self._note(seconds)

    def worked(self) -> None:
        """It did what it was asked for."""
        if self._failed_at is not None or self._breaker.is_open:
            self._failed_at = None
            self._breaker.succeeded()

    def overtaken(self, seconds: float) -> None:
        """Another replica's answer came first, though this one had so much time."""
        self._failed_at = self._clock.monotonic_seconds()
        self._breaker.failed()
        self._note(seconds)

    def failed(self) -> None:
        """It did not answer, or not sensibly."""
        self._failed_at = self._clock.monotonic_seconds()
        self._breaker.failed()

    def hung(self) -> None:
        """It held a write up until that was given up: no other one is to meet the same."""
        self._failed_at = self._clock.monotonic_seconds()
        self._breaker.trip()

    @property
    def is_sound(self) -> bool:
        """Whether nothing has gone wrong since it last worked."""
        return self._failed_at is None

    @property
    def is_avoided(self) -> bool:
        """Whether it keeps failing, and its next trial is not due yet."""
        return self._breaker.is_shut_out

    def rank(self) -> int:
        """Its place among the replicas, lower ones first; taking a place of -1 is the trial."""
        if self._failed_at is None:
            return 0
        if self._breaker.is_open:
            return -1 if self._breaker.allows() else 2
        return 1 if self._clock.monotonic_seconds() - self._failed_at < LATELY_SECONDS else 0

    def _note(self, seconds: float) -> None:
        if len(self._answers) < _ANSWERS_REMEMBERED:
            self._answers.append(seconds)
        else:
            self._answers[self._counted % _ANSWERS_REMEMBERED] = seconds
        self._counted += 1
        if self._counted % _ANSWERS_BETWEEN == 0:
            usual = sorted(self._answers)[int(len(self._answers) * _PERCENTILE)]
            self.usual_seconds = min(max(usual, USUAL_SECONDS_MIN), USUAL_SECONDS_MAX)


class Standings:
    """All stores'."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: dict[StoreId, Standing] = {}

    def of(self, store: StoreId) -> Standing:
        """One store's standing; a store not met yet is thought well of."""
        standing = self._known.get(store)
        if standing is None:
            standing = self._known[store] = Standing(self._clock)
        return standing

    def order(self, replicas: tuple[StoreId, ...], photo: PhotoId) -> list[StoreId]:
        """The stores in the order in which they are to be asked for a photo."""
        first = photo % len(replicas)
        turned = [*replicas[first:], *replicas[:first]]
        if all(self.of(store).is_sound for store in turned):
            return turned
        return sorted(turned, key=lambda store: self.of(store).rank())

    def avoided(self) -> frozenset[StoreId]:
        """The stores that a writer had better avoid."""
        return frozenset(store for store, standing in self._known.items() if standing.is_avoided)
