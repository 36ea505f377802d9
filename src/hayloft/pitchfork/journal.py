"""What the pitchfork is doing, how far it is, what it did, and what went wrong lately.

For ``/status`` and ``/metrics``. It keeps no history beyond the last few errors, and decides nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from hayloft.clock import Clock
from hayloft.types import StoreId, VolumeId, volume_name

ERRORS_MAX: Final = 50
"""Errors that are remembered."""

_log = structlog.get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class Work:
    """Something that is under way."""

    what: str
    volume: VolumeId | None
    store: StoreId | None
    since_ms: int
    done: int = 0
    total: int = 0
    """In bytes, or 0 where there is no measure."""

    def to_json(self) -> dict[str, Any]:
        """For people."""
        return {"what": self.what, **_place(self.volume, self.store)} | {
            "since_ms": self.since_ms,
            "bytes": self.done,
            "bytes_total": self.total,
        }


class Journal:
    """See the module."""

    def __init__(self, clock: Clock) -> None:
        self.registry = CollectorRegistry()
        self._clock = clock
        self._works: dict[int, Work] = {}
        self._errors: deque[dict[str, Any]] = deque(maxlen=ERRORS_MAX)
        self._counts: dict[str, int] = {}
        self._counter = Counter(
            "hayloft_pitchfork_done", "What was done.", ["what"], registry=self.registry
        )
        self._error_counter = Counter(
            "hayloft_pitchfork_errors", "What went wrong.", ["what"], registry=self.registry
        )
        self._gauge = Gauge(
            "hayloft_pitchfork_replicas_failed",
            "Replicas that are not whole, as far as the directory knows.",
            registry=self.registry,
        )
        self.replicas_failed = 0
        """Replicas that are not whole, when last looked."""

    @contextmanager
    def doing(
        self, what: str, *, volume: VolumeId | None = None, store: StoreId | None = None, total: int = 0
    ) -> Iterator[Work]:
        """Something is under way while the context is open."""
        work = Work(what=what, volume=volume, store=store, since_ms=self._clock.now_ms(), total=total)
        self._works[id(work)] = work
        try:
            yield work
        finally:
            del self._works[id(work)]

    def did(self, what: str, count: int = 1) -> None:
        """Count what was done."""
        if count:
            self._counts[what] = self._counts.get(what, 0) + count
            self._counter.labels(what).inc(count)

    def failed(
        self,
        what: str,
        reason: str,
        *,
        volume: VolumeId | None = None,
        store: StoreId | None = None,
    ) -> None:
        """Remember what went wrong; it is tried again by itself."""
        place = _place(volume, store)
        _log.warning(what, reason=reason, **place)
        self._error_counter.labels(what).inc()
        self._errors.append({"at_ms": self._clock.now_ms(), "what": what, "reason": reason, **place})

    def count_failed_replicas(self, count: int) -> None:
        """How many replicas are not whole."""
        self.replicas_failed = count
        self._gauge.set(count)

    def done(self, what: str) -> int:
        """How often something was done."""
        return self._counts.get(what, 0)

    def to_json(self) -> dict[str, Any]:
        """All of it, for people."""
        return {
            "doing": [work.to_json() for work in list(self._works.values())],
            "done": dict(self._counts),
            "replicas_failed": self.replicas_failed,
            "errors": list(self._errors),
        }


def _place(volume: VolumeId | None, store: StoreId | None) -> dict[str, Any]:
    place: dict[str, Any] = {}
    if volume is not None:
        place["lv"] = volume_name(volume)
    if store is not None:
        place["store"] = store
    return place
