"""Reading a photo: from a cache or a store that has it whole, under the conditions the client set.

``Reads.answer`` returns a complete answer for one request, status, headers and bytes, ready to be sent. A
replica that fails, is damaged or has lost the needle is passed over and reported; the client learns of
it only when no replica is left. Hot reads touch no thread and no directory. Needles of stores and caches
that tell no cookies are compared with what the directory has recorded.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Callable, Mapping
from hmac import compare_digest
from typing import Final, NamedTuple

from hayloft import limits
from hayloft.clock import Clock
from hayloft.errors import (
    HayloftError,
    NeedleCorrupt,
    PhotoDeleted,
    PhotoNotFound,
    ReplicasFailed,
    VolumeNotFound,
)
from hayloft.gateway import answers
from hayloft.gateway.answers import CACHE_CONTROL, CACHE_CONTROL_PRIVATE, Answer, Representation
from hayloft.gateway.cached import Cached
from hayloft.gateway.conditions import EntityTags, lists_tag
from hayloft.gateway.placements import Placements
from hayloft.gateway.replicas import Exhausted, Replicas
from hayloft.gateway.reports import Reports
from hayloft.gateway.standing import Standings
from hayloft.roles import Directory, Store, StoredNeedle
from hayloft.types import (
    SEQUENCE_BITS,
    AlternateKey,
    CacheMiss,
    Cookie,
    NeedleMetadata,
    PhotoId,
    PhotoStatus,
    StoreId,
    VolumeId,
    volume_of,
)
from hayloft.wire.needles import COOKIE_UNKNOWN

_CONDITIONS: Final = frozenset({b"if-match", b"if-none-match", b"range"})
"""Headers that make an answer other than the plain one; ``If-Range`` means nothing without ``Range``."""

_ORIG: Final = AlternateKey.ORIG


class Reads:
    """Reads of photos over the roles."""

    def __init__(
        self,
        *,
        directory: Directory,
        stores: Mapping[StoreId, Store],
        placements: Placements,
        reports: Reports,
        standings: Standings,
        tags: EntityTags,
        clock: Clock,
        cached: Cached | None = None,
        public_view: Callable[[bytes | memoryview], bytes] | None = None,
        without_key: bool = False,
    ) -> None:
        self._directory = directory
        self._stores = stores
        self._placements = placements
        self._reports = reports
        self._tags = tags
        self._cached = cached
        self.over = Replicas(stores, standings, clock, vouch=self._vouched)
        self._public_view = public_view
        self._without_key = without_key

    async def answer(
        self, photo: PhotoId, cookie: Cookie | None, *, head: bool, asked: Mapping[bytes, bytes]
    ) -> Answer:
        """The answer to a GET or HEAD for a photo; ``cookie`` is None for an address without one.

        ``asked`` holds the request's headers, names in lower case.

        Raises:
            PhotoNotFound: there is no such photo, or the cookie is wrong.
            PhotoDeleted: it was deleted.
            PreconditionFailed: ``If-Match`` names another representation.
            RangeNotSatisfiable: the range lies outside.
            ReplicasFailed: no replica could answer.
        """
        conditional = not _CONDITIONS.isdisjoint(asked)
        if conditional and (unchanged := await self._unchanged(photo, cookie, asked)):
            return unchanged
        needle = await self._wanted(photo)
        if cookie is not None and not _same_cookie(cookie, needle.cookie):
            raise PhotoNotFound(photo_id=photo)
        data = needle.data
        shown = self._representation(photo, cookie, needle, len(data))
        if self._public_view is not None and (cookie is not None or self._without_key):
            data = self._public_view(data)
            assert len(data) == shown.size
        if conditional:
            return answers.conditional(photo, shown, data, head, asked)
        return Answer(200, shown.headers(), b"" if head else data)

    def hot(self, photo: PhotoId, cookie: Cookie) -> tuple[bytes, memoryview | bytes] | None:
        """The plain answer to a GET by capability link, if it takes no waiting: head and body.

        The head lacks only the headers that differ from one answer to the next, and the empty line. None
        means that ``answer`` has to be asked, and also that it would raise.
        """
        replicas = self._placements.cached(VolumeId(photo >> SEQUENCE_BITS))
        if replicas is None or self._public_view is not None:
            return None
        store = self._stores.get(replicas[photo % len(replicas)])
        try:
            needle = store.read_cached(photo, _ORIG) if store else None
        except HayloftError:
            return None
        if needle is None or not _same_cookie(cookie, needle.cookie):
            return None
        data = needle.data
        return self._representation(photo, cookie, needle, len(data)).head(), data

    async def plain(self, photo: PhotoId, cookie: Cookie) -> tuple[bytes, memoryview | bytes]:
        """What ``hot`` gives, with as much waiting as it takes.

        Raises:
            PhotoNotFound, PhotoDeleted, ReplicasFailed: as for ``answer``.
        """
        needle = await self._wanted(photo)
        if not _same_cookie(cookie, needle.cookie):
            raise PhotoNotFound(photo_id=photo)
        data = needle.data
        head = self._representation(photo, cookie, needle, len(data)).head()
        return head, data if self._public_view is None else self._public_view(data)

    async def needle(self, photo: PhotoId) -> StoredNeedle:
        """A photo's needle, verified, from a replica that has it whole.

        Raises:
            PhotoNotFound, PhotoDeleted: there is none, or no more.
            ReplicasFailed: no replica could answer.
        """
        replicas = self._placements.cached(VolumeId(photo >> SEQUENCE_BITS))
        if replicas is None:
            replicas = await self._replicas(photo)
        try:
            needle, failures = await self.over.read(photo, _ORIG, replicas)
        except Exhausted as exhausted:
            return await self._nowhere(photo, replicas, exhausted.failures)
        if failures:
            self._reports.damage(photo, failures)
        return needle

    async def _wanted(self, photo: PhotoId) -> StoredNeedle:
        """A photo's needle for a client: from the cache if that has it."""
        if self._cached is None:
            return await self.needle(photo)
        found = await self._cached.get(photo, _ORIG)
        if not isinstance(found, CacheMiss):
            if found.cookie != COOKIE_UNKNOWN:
                return found
            with contextlib.suppress(NeedleCorrupt):
                return await self._vouched(photo, _ORIG, found)
        needle = await self.needle(photo)
        if isinstance(found, CacheMiss):
            self._cached.fill(photo, _ORIG, needle, found)
        return needle

    async def _replicas(self, photo: PhotoId) -> tuple[StoreId, ...]:
        try:
            replicas = await self._placements.replicas(volume_of(photo))
        except VolumeNotFound as error:
            raise PhotoNotFound(photo_id=photo) from error
        if not replicas:
            raise ReplicasFailed(photo_id=photo)
        return replicas

    async def _nowhere(
        self, photo: PhotoId, replicas: tuple[StoreId, ...], failures: Mapping[StoreId, HayloftError]
    ) -> StoredNeedle:
        """No store has the original: the directory knows whether there is anything to be had."""
        record = await self._directory.photo(photo)
        if record.status is PhotoStatus.DELETED:
            raise PhotoDeleted(photo_id=photo)
        if record.status is PhotoStatus.ALLOC:
            raise PhotoNotFound(photo_id=photo)
        if record.alternate_key is not _ORIG:
            try:
                needle, _failures = await self.over.read(photo, record.alternate_key, replicas)
            except Exhausted as exhausted:
                failures = exhausted.failures
            else:
                return needle
        self._reports.damage(photo, failures)
        self._placements.forget(volume_of(photo))
        raise ReplicasFailed(
            f"None of the {len(failures)} replica(s) of this photo could answer.",
            retry_after_seconds=limits.RETRY_AFTER_SECONDS,
            photo_id=photo,
            failures={name: failure.code for name, failure in failures.items()},
        )

    async def _vouched(self, photo: PhotoId, key: AlternateKey, needle: StoredNeedle) -> StoredNeedle:
        """A needle that came without its cookie, completed and checked with what was committed.

        Raises:
            PhotoNotFound, PhotoDeleted: the directory does not know it, or not any more.
            NeedleCorrupt: the bytes are not the committed ones.
        """
        record = await self._directory.photo(photo)
        if record.status is PhotoStatus.DELETED:
            raise PhotoDeleted(photo_id=photo)
        if record.alternate_key is not key:
            return _Vouched(record.cookie, needle.data, needle.metadata)
        if record.sha256 and await asyncio.to_thread(_digest, needle.data) != record.sha256:
            raise NeedleCorrupt("The bytes are not the committed ones.", photo_id=photo)
        metadata = NeedleMetadata(
            media_type=record.media_type or needle.metadata.media_type,
            name=record.name,
            sha256=record.sha256,
            created_at_ms=record.created_at_ms,
        )
        return _Vouched(record.cookie, needle.data, metadata)

    async def _unchanged(
        self, photo: PhotoId, cookie: Cookie | None, asked: Mapping[bytes, bytes]
    ) -> Answer | None:
        """304 if the client has this address's photo, from the index in memory alone."""
        if b"if-none-match" not in asked or b"if-match" in asked:
            return None
        tag = self._tags.tag(photo, cookie)
        if not lists_tag(answers.text(asked[b"if-none-match"]), tag):
            return None
        replicas = self._placements.cached(volume_of(photo)) or await self._replicas(photo)
        for name in replicas:
            store = self._stores.get(name)
            existence = store.exists(photo) if store else None
            if existence is None:
                continue
            if existence.deleted:
                raise PhotoDeleted(photo_id=photo)
            return answers.not_modified(tag, self._cache_control(cookie)) if existence.exists else None
        return None

    def _cache_control(self, cookie: Cookie | None) -> bytes:
        return CACHE_CONTROL if cookie is not None or self._without_key else CACHE_CONTROL_PRIVATE

    def _representation(
        self, photo: PhotoId, cookie: Cookie | None, needle: StoredNeedle, size: int
    ) -> Representation:
        metadata = needle.metadata
        return Representation(
            metadata.media_type,
            metadata.name,
            size,
            self._tags.tag(photo, cookie),
            self._cache_control(cookie),
        )


class _Vouched(NamedTuple):
    """A needle that the directory speaks for."""

    cookie: Cookie
    data: bytes | memoryview
    metadata: NeedleMetadata


def _digest(data: bytes | memoryview) -> bytes:
    return hashlib.sha256(data).digest()


def _same_cookie(given: Cookie, stored: Cookie) -> bool:
    """Compared in constant time: how long it takes tells nothing about the right one."""
    return compare_digest(given.to_bytes(8), stored.to_bytes(8))
