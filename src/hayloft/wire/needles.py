"""A needle's bytes in an HTTP message: what stands in the headers beside them. Pure.

Stores and caches speak this alike. The wire contract's own headers are always understood; what is more is
ours, and a peer that leaves it out is understood too. A cookie that is not 16 hexadecimal digits comes from
a service with another notion of cookies; 64 bits are derived from it, so that the same text always names
the same cookie.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, unquote

import google_crc32c
import numpy as np

from hayloft.errors import InvalidRequest
from hayloft.roles import StoredNeedle
from hayloft.types import (
    PHOTO_ID_BITS,
    AlternateKey,
    Cookie,
    NeedleMetadata,
    PhotoId,
    format_cookie,
    new_cookie,
    parse_cookie,
)

PHOTO: Final = "x-photo-id"
COOKIE: Final = "x-cookie"
ALTERNATE_KEY: Final = "x-alt-key"
NAME: Final = "x-name"
CREATED: Final = "x-created-at-ms"
FIRST_CREATED: Final = "x-first-created-at-ms"
DIGEST: Final = "x-sha256"
MEDIA_TYPE: Final = "content-type"

CHECKSUM: Final = "x-crc32c"
"""CRC-32C of the body, eight hexadecimal digits."""
LEASE: Final = "x-lease"
"""A cache's lease (``types.CacheMiss``), shown when filling it."""

COOKIE_UNKNOWN: Final = Cookie(-1)
"""The cookie of a needle whose store does not tell it; equal to no cookie in any URL."""


def parse_photo(text: str | None) -> PhotoId:
    """A photo id out of a header or a query.

    Raises:
        InvalidRequest: there is none, or it is no integer below 2**53.
    """
    if text is None or not (text.isascii() and text.isdigit()) or len(text) > 16:
        raise InvalidRequest("A photo id is needed: an integer below 2**53.")
    if int(text) >> PHOTO_ID_BITS:
        raise InvalidRequest("A photo id is an integer below 2**53.")
    return PhotoId(int(text))


def parse_alternate_key(label: str | None) -> AlternateKey:
    """The alternate key of a header or a query; the original if there is none.

    Raises:
        InvalidRequest: there is no such alternate key.
    """
    key = AlternateKey.parse(label or "orig")
    if key is None:
        known = ", ".join(each.label for each in AlternateKey)
        raise InvalidRequest(f"There is no alternate key of this name, only {known}.")
    return key


def read_cookie(text: str | None) -> Cookie:
    """The cookie in a header; one that nobody knows if there is none."""
    if not text:
        return new_cookie()
    cookie = parse_cookie(text)
    if cookie is not None:
        return cookie
    return Cookie(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]))


def read_metadata(headers: Mapping[str, str], digest: bytes) -> NeedleMetadata:
    """The metadata in an append's headers, for data with this SHA-256.

    Raises:
        InvalidRequest: a header is malformed, or says that the data should be other than it is.
    """
    if (told := headers.get(DIGEST)) and told.lower() != digest.hex():
        raise InvalidRequest("The data's SHA-256 is not the one announced: it was damaged on its way.")
    if any(_time(headers[name]) is None for name in (CREATED, FIRST_CREATED) if name in headers):
        raise InvalidRequest("The time of creation is milliseconds since the Unix epoch.")
    return NeedleMetadata(
        media_type=headers.get(MEDIA_TYPE) or NeedleMetadata().media_type,
        name=unquote(headers.get(NAME, ""), errors="surrogateescape"),
        sha256=digest,
        created_at_ms=_time(headers.get(CREATED)) or 0,
        first_created_at_ms=_time(headers.get(FIRST_CREATED)),
    )


def write_metadata(metadata: NeedleMetadata) -> dict[str, str]:
    """Metadata as headers."""
    headers = {
        MEDIA_TYPE: _printable(metadata.media_type),
        NAME: quote(metadata.name, errors="surrogateescape"),
        CREATED: str(max(0, metadata.created_at_ms)),
        DIGEST: metadata.sha256.hex(),
    }
    if metadata.first_created_at_ms is not None:
        headers[FIRST_CREATED] = str(metadata.first_created_at_ms)
    return {name: value for name, value in headers.items() if value}


def write_needle(needle: StoredNeedle, alternate_key: AlternateKey) -> dict[str, str]:
    """What stands beside a needle's data, as headers."""
    return {
        COOKIE: format_cookie(needle.cookie),
        ALTERNATE_KEY: alternate_key.label,
        **write_metadata(needle.metadata),
    }


def read_needle_metadata(headers: Mapping[str, str]) -> NeedleMetadata:
    """The metadata in a read's answer, as far as the peer tells it."""
    digest = headers.get(DIGEST, "")
    return NeedleMetadata(
        media_type=headers.get(MEDIA_TYPE) or NeedleMetadata().media_type,
        name=unquote(headers.get(NAME, ""), errors="surrogateescape"),
        sha256=bytes.fromhex(digest) if len(digest) == 64 else b"",
        created_at_ms=_time(headers.get(CREATED)) or 0,
        first_created_at_ms=_time(headers.get(FIRST_CREATED)),
    )


def _time(text: str | None) -> int | None:
    """A time in a header; None if there is none, or none that can be."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) <= 15 else None


def _printable(value: str) -> str:
    """A value that a header can carry: a media type with anything else in it tells nothing anyway."""
    return value if value.isascii() and value.isprintable() else NeedleMetadata().media_type


def checksum(data: bytes | memoryview) -> str:
    """The data's CRC-32C, for the header."""
    # The checksum library takes bytes or an array, but no view.
    flat = data if isinstance(data, bytes) else np.frombuffer(data, np.uint8)
    return f"{google_crc32c.value(flat):08x}"


def check(data: bytes, told: str | None) -> None:
    """Compare data with the CRC-32C that came with it, if any did.

    Raises:
        InvalidRequest: they differ.
    """
    if told is not None and told.lower() != checksum(data):
        raise InvalidRequest("The data's CRC-32C is not the one announced: it was damaged on its way.")
