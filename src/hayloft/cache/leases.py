"""Which fills of the cache come too late (Nishtala et al., Scaling Memcache at Facebook, section 3.2.1).

A reader that met a miss reads the photo from a store and then fills the cache. If the photo is deleted in
between, that fill would bring it back. So every miss comes with a lease, the number of deletions so far,
and a fill whose photo was deleted after its lease is refused. Pure, and bounded: when too many deletions
came since a lease, it is not honoured any more, and neither is one from before a restart.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict

from hayloft import limits
from hayloft.types import PhotoId


class Leases:
    """The deletions that a cache has seen, and what they make void."""

    def __init__(self, *, deletions_max: int = limits.CACHE_DELETIONS_MAX) -> None:
        self._cache = secrets.token_hex(8)
        self._deletions_max = deletions_max
        self._deletions = 0
        self._forgotten = 0
        self._deleted: OrderedDict[PhotoId, int] = OrderedDict()

    def give(self) -> str:
        """A lease as of now."""
        return f"{self._cache}.{self._deletions}"

    def void(self, photo: PhotoId) -> None:
        """A photo was deleted: no lease given so far is good for it."""
        self._deletions += 1
        self._deleted[photo] = self._deletions
        self._deleted.move_to_end(photo)
        if len(self._deleted) > self._deletions_max:
            _photo, self._forgotten = self._deleted.popitem(last=False)

    def honours(self, lease: str, photo: PhotoId) -> bool:
        """Whether a fill for this photo with this lease may be kept."""
        cache, _, number = lease.partition(".")
        if cache != self._cache or not (number.isascii() and number.isdigit()) or len(number) > 18:
            return False
        return self._forgotten <= int(number) and self._deleted.get(photo, 0) <= int(number)
