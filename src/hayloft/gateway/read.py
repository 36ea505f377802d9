"""Reading a photo: from the store that has it whole, under the conditions the client set.

``Reads.answer`` returns a complete answer for one request, status, headers and bytes, ready to be sent. A
replica that fails, is damaged or has lost the needle is passed over and reported; the client learns of
it only when no replica is left. Hot reads touch no thread, no directory and build no header: what never
changes about a photo's answer is kept, bounded, in memory.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hmac import compare_digest
from typing import Final, NamedTuple

from hayloft import limits
from hayloft.errors import (
    HayloftError,
    PhotoDeleted,
    PhotoNotFound,
    PreconditionFailed,
    ReplicasFailed,
    RoleUnavailable,
    VolumeNotFound,
)
from hayloft.gateway.conditions import (
    EntityTags,
    lists_tag,
    lists_tag_strongly,
    requested_span,
)
from hayloft.gateway.names import to_disposition
from hayloft.gateway.placements import Placements
from hayloft.gateway.reports import Reports
from hayloft.roles import Directory, Store, StoredNeedle
from hayloft.types import (
    SEQUENCE_BITS,
    AlternateKey,
    Cookie,
    PhotoId,
    PhotoStatus,
    StoreId,
    VolumeId,
    volume_of,
)

Headers = list[tuple[bytes, bytes]]

CACHE_CONTROL: Final = b"public, max-age=31536000, immutable"
"""A photo never changes and its address is unguessable: caches may keep it for a year (RFC 8246)."""

CACHE_CONTROL_PRIVATE: Final = b"private, max-age=31536000, immutable"
"""Where a key was needed, only the client's own cache may keep the photo."""

_CONDITIONS: Final = frozenset({b"if-match", b"if-none-match", b"range"})
"""Headers that make an answer other than the plain one; ``If-Range`` means nothing without ``Range``."""

_ORIG: Final = AlternateKey.ORIG


class Answer(NamedTuple):
    """What to send back for a photo. A tuple, because one is made for every read."""

    status: int
    headers: Headers
    body: bytes | memoryview


@dataclass(frozen=True, slots=True)
class _Frame:
    """What never changes about the answers for one photo at one kind of address."""

    cookie: Cookie
    size: int
    tag: str
    cache_control: bytes
    headers: Headers
    """Of a whole answer, ``content-length`` included."""
    head: bytes
    """The same as they stand on the wire, status line first."""


class Reads:
    """Reads of photos over the roles."""

    def __init__(
        self,
        *,
        directory: Directory,
        stores: Mapping[StoreId, Store],
        placements: Placements,
        reports: Reports,
        tags: EntityTags,
        public_view: Callable[[bytes | memoryview], bytes] | None = None,
        without_key: bool = False,
    ) -> None:
        self._directory = directory
        self._stores = stores
        self._placements = placements
        self._reports = reports
        self._tags = tags
        self._public_view = public_view
        self._without_key = without_key
        self._frames: OrderedDict[tuple[PhotoId, bool], _Frame] = OrderedDict()

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
        needle = await self.needle(photo)
        if cookie is not None and not _same_cookie(cookie, needle.cookie):
            raise PhotoNotFound(photo_id=photo)
        data = needle.data
        frame = self._frames.get((photo, cookie is None))
        if frame is None or frame.size != len(data) or frame.cookie != needle.cookie:
            frame = self._frame(photo, cookie, needle)
        if self._public_view is not None and (cookie is not None or self._without_key):
            data = self._public_view(data)
            assert len(data) == frame.size
        if conditional:
            return _conditional(photo, frame, data, head, asked)
        return Answer(200, frame.headers, b"" if head else data)

    def hot(self, photo: PhotoId, cookie: Cookie) -> tuple[bytes, memoryview | bytes] | None:
        """The plain answer to a GET by capability link, if it takes no waiting: head and body.

        The head lacks only the headers that differ from one answer to the next, and the empty line. None
        means that ``answer`` has to be asked, and also that it would raise.
        """
        replicas = self._placements.cached(VolumeId(photo >> SEQUENCE_BITS))
        frame = self._frames.get((photo, False))
        if replicas is None or frame is None or self._public_view is not None:
            return None
        store = self._stores.get(replicas[photo % len(replicas)])
        try:
            needle = store.read_cached(photo, _ORIG) if store else None
        except HayloftError:
            return None
        if needle is None or not _same_cookie(cookie, needle.cookie) or frame.cookie != needle.cookie:
            return None
        data = needle.data
        return (frame.head, data) if len(data) == frame.size else None

    async def needle(self, photo: PhotoId) -> StoredNeedle:
        """A photo's needle, verified, from the first replica that has it whole.

        Raises:
            PhotoNotFound, PhotoDeleted: there is none, or no more.
            ReplicasFailed: no replica could answer.
        """
        replicas = self._placements.cached(VolumeId(photo >> SEQUENCE_BITS))
        if replicas is None:
            replicas = await self._replicas(photo)
        first = replicas[photo % len(replicas)]
        store = self._stores.get(first)
        if store is None:
            return await self._elsewhere(photo, _ORIG, replicas, {first: _unknown(first)})
        try:
            return await store.read(photo, _ORIG)
        except PhotoDeleted:
            raise
        except HayloftError as error:
            failures = {first: error}
        return await self._elsewhere(photo, _ORIG, replicas, failures)

    async def _replicas(self, photo: PhotoId) -> tuple[StoreId, ...]:
        try:
            replicas = await self._placements.replicas(volume_of(photo))
        except VolumeNotFound as error:
            raise PhotoNotFound(photo_id=photo) from error
        if not replicas:
            raise ReplicasFailed(photo_id=photo)
        return replicas

    async def _elsewhere(
        self,
        photo: PhotoId,
        key: AlternateKey,
        replicas: tuple[StoreId, ...],
        failures: dict[StoreId, HayloftError],
    ) -> StoredNeedle:
        """Try the replicas that have not failed yet; report those that have, once that is certain."""
        for name in replicas:
            if name in failures:
                continue
            store = self._stores.get(name)
            if store is None:
                failures[name] = _unknown(name)
                continue
            try:
                needle = await store.read(photo, key)
            except PhotoDeleted:
                raise
            except HayloftError as error:
                failures[name] = error
            else:
                self._reports.damage(photo, failures)
                return needle
        return await self._nowhere(photo, key, replicas, failures)

    async def _nowhere(
        self,
        photo: PhotoId,
        key: AlternateKey,
        replicas: tuple[StoreId, ...],
        failures: dict[StoreId, HayloftError],
    ) -> StoredNeedle:
        """No store has it: the directory knows whether there is anything to be had."""
        record = await self._directory.photo(photo)
        if record.status is PhotoStatus.DELETED:
            raise PhotoDeleted(photo_id=photo)
        if record.status is PhotoStatus.ALLOC:
            raise PhotoNotFound(photo_id=photo)
        if record.alternate_key is not key:
            return await self._elsewhere(photo, record.alternate_key, replicas, {})
        self._reports.damage(photo, failures)
        self._placements.forget(volume_of(photo))
        raise ReplicasFailed(
            f"None of the {len(failures)} replica(s) of this photo could answer.",
            retry_after_seconds=limits.RETRY_AFTER_SECONDS,
            photo_id=photo,
            failures={name: failure.code for name, failure in failures.items()},
        )

    async def _unchanged(
        self, photo: PhotoId, cookie: Cookie | None, asked: Mapping[bytes, bytes]
    ) -> Answer | None:
        """304 if the client has this address's photo, from the index in memory alone."""
        if b"if-none-match" not in asked or b"if-match" in asked:
            return None
        tag = self._tags.tag(photo, cookie)
        if not lists_tag(_text(asked[b"if-none-match"]), tag):
            return None
        replicas = self._placements.cached(volume_of(photo)) or await self._replicas(photo)
        for name in replicas:
            store = self._stores.get(name)
            existence = store.exists(photo) if store else None
            if existence is None:
                continue
            if existence.deleted:
                raise PhotoDeleted(photo_id=photo)
            return _not_modified(tag, self._cache_control(cookie)) if existence.exists else None
        return None

    def _cache_control(self, cookie: Cookie | None) -> bytes:
        return CACHE_CONTROL if cookie is not None or self._without_key else CACHE_CONTROL_PRIVATE

    def _frame(self, photo: PhotoId, cookie: Cookie | None, needle: StoredNeedle) -> _Frame:
        metadata = needle.metadata
        tag = self._tags.tag(photo, cookie)
        size = len(needle.data)
        cache_control = self._cache_control(cookie)
        headers = [
            (b"content-type", metadata.media_type.encode("latin-1", "replace")),
            (b"content-length", b"%d" % size),
            (b"etag", tag.encode()),
            (b"cache-control", cache_control),
            (b"accept-ranges", b"bytes"),
            (b"content-disposition", to_disposition(metadata.name).encode()),
            (b"x-content-type-options", b"nosniff"),
        ]
        head = b"HTTP/1.1 200 OK\r\n" + b"".join(b"%b: %b\r\n" % header for header in headers)
        frame = _Frame(needle.cookie, size, tag, cache_control, headers, head)
        self._frames[photo, cookie is None] = frame
        if len(self._frames) > limits.ANSWER_FRAMES_MAX:
            self._frames.popitem(last=False)
        return frame


def _unknown(name: StoreId) -> HayloftError:
    return RoleUnavailable(f"The store {name} is not known here.")


def _same_cookie(given: Cookie, stored: Cookie) -> bool:
    """Compared in constant time: how long it takes tells nothing about the right one."""
    return compare_digest(given.to_bytes(8), stored.to_bytes(8))


def _conditional(
    photo: PhotoId,
    frame: _Frame,
    data: bytes | memoryview,
    head: bool,
    asked: Mapping[bytes, bytes],
) -> Answer:
    """The answer under the request's conditions, in the order of RFC 9110, section 13.2.2."""
    if b"if-match" in asked and not lists_tag_strongly(_text(asked[b"if-match"]), frame.tag):
        raise PreconditionFailed(photo_id=photo)
    unless = asked.get(b"if-none-match")
    if unless is not None and (unless.strip() == b"*" or lists_tag(_text(unless), frame.tag)):
        return _not_modified(frame.tag, frame.cache_control)
    if b"range" in asked and not head:
        return _ranged(frame, data, asked)
    return Answer(200, frame.headers, b"" if head else data)


def _ranged(frame: _Frame, data: bytes | memoryview, asked: Mapping[bytes, bytes]) -> Answer:
    """The range asked for; a HEAD never gets here, because ranges are for GET alone (section 14.2)."""
    if_range = asked.get(b"if-range")
    span = requested_span(
        _text(asked[b"range"]), None if if_range is None else _text(if_range), frame.tag, frame.size
    )
    if span is None:
        return Answer(200, frame.headers, data)
    headers = [header for header in frame.headers if header[0] != b"content-length"]
    headers.append((b"content-length", b"%d" % (span.stop - span.start)))
    headers.append((b"content-range", b"bytes %d-%d/%d" % (span.start, span.stop - 1, frame.size)))
    return Answer(206, headers, memoryview(data)[span.start : span.stop])


def _not_modified(tag: str, cache_control: bytes) -> Answer:
    return Answer(304, [(b"etag", tag.encode()), (b"cache-control", cache_control)], b"")


def _text(value: bytes) -> str:
    return value.decode("latin-1")
