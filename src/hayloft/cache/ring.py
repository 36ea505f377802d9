"""Photos spread over several caches, by rendezvous hashing (Thaler and Ravishankar, 1998).

Every node has a score for every photo, and the photo belongs to the node with the highest: when a node
comes or goes, only its own photos move. All renditions of a photo are on one node. A node that fails or is
slow costs hits and nothing else: questions end soon, and after a few failures it is left out, its photos
going to the others, until a trial finds it back. Deleting is different: it asks all nodes, because a photo
may be on a node that it belonged to earlier, and it says so when one of them could not be asked.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Mapping
from typing import Final, TypeVar

import structlog

from hayloft.clock import Clock
from hayloft.errors import EmptyUpload, RoleUnavailable, UploadTooLarge
from hayloft.roles import Cache, StoredNeedle
from hayloft.types import AlternateKey, CacheMiss, CacheStatistics, NewNeedle, PhotoId
from hayloft.wire.breaker import Breaker

ANSWER_SECONDS_MAX: Final = 0.5
"""How long a node may take: a store answers well within it, disk and all."""

T = TypeVar("T")

_log = structlog.get_logger(__name__)


class CacheRing:
    """``roles.Cache`` over several, by name. Their names decide where photos are; keep them stable."""

    def __init__(
        self,
        nodes: Mapping[str, Cache],
        *,
        answer_seconds_max: float = ANSWER_SECONDS_MAX,
        clock: Clock | None = None,
    ) -> None:
        assert nodes
        self._nodes = dict(nodes)
        self._answer_seconds_max = answer_seconds_max
        self._breakers = {name: Breaker(clock=clock) for name in nodes}
        self._hashes = {
            name: hashlib.blake2b(key=hashlib.sha256(name.encode()).digest(), digest_size=8)
            for name in nodes
        }

    def order(self, photo: PhotoId) -> list[str]:
        """The nodes' names, the photo's own first, the one that would take over from it next."""
        return sorted(self._nodes, key=lambda name: self._score(name, photo), reverse=True)

    async def get(
        self, photo: PhotoId, alternate_key: AlternateKey = AlternateKey.ORIG
    ) -> StoredNeedle | CacheMiss:
        """A rendition from the photo's node; a miss that must not be filled if no node answers."""
        name = self._node_of(photo)
        if name is None:
            return CacheMiss(lease=None)
        found = await self._ask(name, self._nodes[name].get(photo, alternate_key))
        return CacheMiss(lease=None) if found is None else found

    async def put(self, needle: NewNeedle, *, lease: str | None = None) -> bool:
        """Keep a rendition on the photo's node; False if it does not answer, or refuses.

        A node refuses another node's lease, so that a fill cannot go astray when nodes come and go.
        """
        name = self._node_of(needle.photo)
        if name is None:
            return False
        return bool(await self._ask(name, self._nodes[name].put(needle, lease=lease)))

    async def size(self, photo: PhotoId, alternate_key: AlternateKey = AlternateKey.ORIG) -> int | None:
        """A rendition's bytes on the photo's node, or None."""
        name = self._node_of(photo)
        return None if name is None else await self._ask(name, self._nodes[name].size(photo, alternate_key))

    async def delete(self, photo: PhotoId) -> bool:
        """Forget a photo on all nodes.

        Raises:
            RoleUnavailable: a node did not say that it has; it was asked even if it is being left out.
        """
        answers = await asyncio.gather(
            *(self._ask(name, node.delete(photo)) for name, node in self._nodes.items())
        )
        silent = [name for name, answer in zip(self._nodes, answers, strict=True) if answer is None]
        if silent:
            raise RoleUnavailable("A cache could not be told to forget a photo.", caches=silent)
        return any(answers)

    async def statistics(self) -> CacheStatistics:
        """All nodes that answer, together; the shortest time to live."""
        answers = await asyncio.gather(
            *(self._ask(name, node.statistics()) for name, node in self._nodes.items())
        )
        told = [answer for answer in answers if answer is not None]
        if not told:
            raise RoleUnavailable("No cache answers.")
        return CacheStatistics(
            items=sum(each.items for each in told),
            size_bytes=sum(each.size_bytes for each in told),
            items_max=sum(each.items_max for each in told),
            size_bytes_max=sum(each.size_bytes_max for each in told),
            ttl_seconds=min(each.ttl_seconds for each in told),
            hits=sum(each.hits for each in told),
            misses=sum(each.misses for each in told),
            memory_items=sum(each.memory_items for each in told),
            disk_items=sum(each.disk_items for each in told),
        )

    async def close(self) -> None:
        """Close all nodes."""
        await asyncio.gather(*(node.close() for node in self._nodes.values()))

    def _node_of(self, photo: PhotoId) -> str | None:
        return next((name for name in self.order(photo) if self._breakers[name].allows()), None)

    async def _ask(self, name: str, question: Awaitable[T]) -> T | None:
        """A node's answer, or None if there is none in time, or none that makes sense."""
        breaker = self._breakers[name]
        try:
            async with asyncio.timeout(self._answer_seconds_max):
                answer = await question
        except (EmptyUpload, UploadTooLarge):  # the node is fine, the question was not
            breaker.succeeded()
            raise
        except Exception as error:
            if not breaker.is_open:
                _log.warning("cache failed", cache=name, error=repr(error))
            breaker.failed()
            return None
        breaker.succeeded()
        return answer

    def _score(self, name: str, photo: PhotoId) -> bytes:
        hashed = self._hashes[name].copy()
        hashed.update(photo.to_bytes(8))
        return hashed.digest()
