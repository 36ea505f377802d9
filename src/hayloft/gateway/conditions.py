"""Conditional and range requests, decided from the headers alone (RFC 9110, sections 13 and 14).

Pure: header texts and an entity tag in, a decision out. Photos never change, so there is no modification
date: conditions on dates never hold for a range and are otherwise ignored, as the RFC has it for
resources that have none.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final, NamedTuple

from hayloft.errors import RangeNotSatisfiable
from hayloft.types import AlternateKey, Cookie, PhotoId

TAG_BYTES: Final = 12

_BYTE_RANGE: Final = re.compile(r"[ \t]*(\d*)-(\d*)[ \t]*", re.ASCII)
_OFFSET_DIGITS_MAX: Final = 19


class Span(NamedTuple):
    """Bytes ``start`` to ``stop``, the latter exclusive."""

    start: int
    stop: int


class EntityTags:
    """Strong, unguessable entity tags: BLAKE2b keyed with the server's secret.

    A tag covers photo, rendition and the cookie in the address (None: an address without one). So whoever
    sends the right tag proves to have been shown that address's photo before, and ``304 Not Modified``
    needs neither disk nor directory.
    """

    def __init__(self, secret: bytes) -> None:
        self._keyed = hashlib.blake2b(key=secret[:64], digest_size=TAG_BYTES)

    def tag(
        self,
        photo: PhotoId,
        cookie: Cookie | None,
        alternate_key: AlternateKey = AlternateKey.ORIG,
        *,
        form: str = "",
    ) -> str:
        """The tag, with its quotes; ``form`` tells other forms of the same photo apart."""
        keyed = self._keyed.copy()
        keyed.update(b"%d/%d/%d" % (photo, alternate_key, -1 if cookie is None else cookie))
        if form:
            keyed.update(b"/" + form.encode())
        return f'"{keyed.hexdigest()}"'


def lists_tag(header: str, tag: str) -> bool:
    """Whether an ``If-None-Match`` field lists the tag (weak comparison); ``*`` is the caller's."""
    return tag in header and any(one.strip().removeprefix("W/") == tag for one in header.split(","))


def lists_tag_strongly(header: str, tag: str) -> bool:
    """Whether an ``If-Match`` field lists the tag (strong comparison) or is ``*``."""
    return header.strip() == "*" or any(one.strip() == tag for one in header.split(","))


def requested_span(range_header: str, if_range: str | None, tag: str, size: int) -> Span | None:
    """The one span of bytes that a ``Range`` field asks for; None when the whole is to be sent.

    The whole is sent for a unit other than bytes, for several ranges, and when ``If-Range`` names another
    representation. A range that is malformed is refused like one that lies outside, which the RFC
    (section 14.2) leaves open, so that a client learns of its mistake.

    Raises:
        RangeNotSatisfiable: the range is malformed or lies outside.
    """
    unit, equals, ranges = range_header.partition("=")
    if not equals or unit.strip().lower() != "bytes" or "," in ranges:
        return None
    if if_range is not None and if_range.strip() != tag:
        return None
    span = _span(ranges, size)
    if span is None:
        raise RangeNotSatisfiable(f"The photo has {size} bytes.", size=size)
    return span


def _span(text: str, size: int) -> Span | None:
    match = _BYTE_RANGE.fullmatch(text)
    if match is None or max(map(len, match.groups())) > _OFFSET_DIGITS_MAX:
        return None
    first, last = match.groups()
    if first:
        start = int(first)
        stop = min(int(last) + 1, size) if last else size
        return Span(start, stop) if start < stop else None
    if last and int(last) > 0 and size > 0:
        return Span(max(0, size - int(last)), size)
    return None
