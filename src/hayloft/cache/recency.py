"""What goes first when there is no room: least recently used, and expired.

Keeps values of given sizes under caps on their bytes and their number. Every use moves a value's end
``ttl_seconds`` into the future and the value to the back of one queue, so the queue is in order of expiry
as well, and a sweep touches only what it removes. Pure: the time is the caller's.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from typing import Generic, NamedTuple, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Held(NamedTuple, Generic[V]):
    """A value with its size in bytes and its end, in the caller's seconds."""

    value: V
    size: int
    expires_at: float


class Recency(Generic[K, V]):
    """Values in the order of their last use."""

    def __init__(self, *, bytes_max: int, items_max: int) -> None:
        self.bytes_max = bytes_max
        self.items_max = items_max
        self.size_bytes = 0
        self._held: OrderedDict[K, Held[V]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, key: object) -> bool:
        return key in self._held

    def __iter__(self) -> Iterator[K]:
        return iter(self._held)

    def peek(self, key: K, *, now: float) -> Held[V] | None:
        """The value, unless it has expired, without using it."""
        held = self._held.get(key)
        return held if held is not None and held.expires_at > now else None

    def use(self, key: K, *, now: float, expires_at: float) -> Held[V] | None:
        """The value, unless it has expired; it lasts until ``expires_at`` now."""
        held = self.peek(key, now=now)
        if held is None:
            return None
        self._held[key] = used = Held(held.value, held.size, expires_at)
        self._held.move_to_end(key)
        return used

    def put(self, key: K, value: V, size: int, *, expires_at: float) -> list[tuple[K, Held[V]]]:
        """Hold a value; returns what had to go for it, oldest first: the value itself if it cannot fit."""
        self.pop(key)
        held = Held(value, size, expires_at)
        if size > self.bytes_max or self.items_max < 1:
            return [(key, held)]
        gone = []
        while self.size_bytes + size > self.bytes_max or len(self._held) >= self.items_max:
            oldest, dropped = self._held.popitem(last=False)
            self.size_bytes -= dropped.size
            gone.append((oldest, dropped))
        self._held[key] = held
        self.size_bytes += size
        return gone

    def pop(self, key: K) -> Held[V] | None:
        """Let go of a value."""
        held = self._held.pop(key, None)
        if held is not None:
            self.size_bytes -= held.size
        return held

    def expire(self, *, now: float) -> list[Held[V]]:
        """Let go of what has expired, as far as it stands at the front."""
        gone = []
        while self._held:
            oldest = next(iter(self._held.values()))
            if oldest.expires_at > now:
                break
            _key, held = self._held.popitem(last=False)
            self.size_bytes -= held.size
            gone.append(held)
        return gone
