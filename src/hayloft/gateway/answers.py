"""What is sent back for a photo: status, headers, bytes, under the conditions the client set.

Pure: a representation's facts and the request's headers in, an answer out. Nothing is kept between
answers: making the head of one costs less than finding it among a million.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final, NamedTuple

from hayloft.errors import PreconditionFailed
from hayloft.gateway.conditions import lists_tag, lists_tag_strongly, requested_span
from hayloft.gateway.names import to_disposition
from hayloft.types import PhotoId

Headers = list[tuple[bytes, bytes]]

CACHE_CONTROL: Final = b"public, max-age=31536000, immutable"
"""A photo never changes and its address is unguessable: caches may keep it for a year (RFC 8246)."""

CACHE_CONTROL_PRIVATE: Final = b"private, max-age=31536000, immutable"
"""Where a key was needed, only the client's own cache may keep the photo."""


class Answer(NamedTuple):
    """What to send back for a photo. A tuple, because one is made for every read."""

    status: int
    headers: Headers
    body: bytes | memoryview


class Representation(NamedTuple):
    """One photo's facts at one address. A tuple, because one is made for every read."""

    media_type: str
    name: str
    size: int
    tag: str
    cache_control: bytes

    def headers(self) -> Headers:
        """The headers of a whole answer, ``content-length`` included."""
        return [
            (b"content-type", self.media_type.encode("latin-1", "replace")),
            (b"content-length", b"%d" % self.size),
            (b"etag", self.tag.encode()),
            (b"cache-control", self.cache_control),
            (b"accept-ranges", b"bytes"),
            (b"content-disposition", to_disposition(self.name).encode()),
            (b"x-content-type-options", b"nosniff"),
        ]

    def head(self) -> bytes:
        """The same as they stand on the wire, status line first, without the empty line."""
        return b"%b%bcontent-length: %d\r\netag: %b\r\n" % (
            _constant_head(self.media_type, self.cache_control),
            _disposition_line(self.name),
            self.size,
            self.tag.encode(),
        )


@lru_cache(maxsize=64)
def _constant_head(media_type: str, cache_control: bytes) -> bytes:
    """What all answers for photos of one kind begin with."""
    return (
        b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncache-control: %b\r\n"
        b"accept-ranges: bytes\r\nx-content-type-options: nosniff\r\n"
        % (media_type.encode("latin-1", "replace"), cache_control)
    )


@lru_cache(maxsize=4096)
def _disposition_line(name: str) -> bytes:
    return b"content-disposition: %b\r\n" % to_disposition(name).encode()


def conditional(
    photo: PhotoId,
    shown: Representation,
    data: bytes | memoryview,
    head: bool,
    asked: Mapping[bytes, bytes],
) -> Answer:
    """The answer under the request's conditions, in the order of RFC 9110, section 13.2.2."""
    if b"if-match" in asked and not lists_tag_strongly(text(asked[b"if-match"]), shown.tag):
        raise PreconditionFailed(photo_id=photo)
    unless = asked.get(b"if-none-match")
    if unless is not None and (unless.strip() == b"*" or lists_tag(text(unless), shown.tag)):
        return not_modified(shown.tag, shown.cache_control)
    if b"range" in asked and not head:
        return _ranged(shown, data, asked)
    return Answer(200, shown.headers(), b"" if head else data)


def _ranged(shown: Representation, data: bytes | memoryview, asked: Mapping[bytes, bytes]) -> Answer:
    """The range asked for; a HEAD never gets here, because ranges are for GET alone (section 14.2)."""
    if_range = asked.get(b"if-range")
    span = requested_span(
        text(asked[b"range"]), None if if_range is None else text(if_range), shown.tag, shown.size
    )
    if span is None:
        return Answer(200, shown.headers(), data)
    headers = [header for header in shown.headers() if header[0] != b"content-length"]
    headers.append((b"content-length", b"%d" % (span.stop - span.start)))
    headers.append((b"content-range", b"bytes %d-%d/%d" % (span.start, span.stop - 1, shown.size)))
    return Answer(206, headers, memoryview(data)[span.start : span.stop])


def not_modified(tag: str, cache_control: bytes) -> Answer:
    """The client has it already."""
    return Answer(304, [(b"etag", tag.encode()), (b"cache-control", cache_control)], b"")


def text(value: bytes) -> str:
    """A header's value; whatever bytes it has, it is some text."""
    return value.decode("latin-1")
