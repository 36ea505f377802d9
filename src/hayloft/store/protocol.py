"""HTTP/1.1 for a store: hot needles take the short way (``wire.protocol``).

A read as our clients send it, of a needle that lies in the page cache, is answered from within the parser's
callback. Everything else, errors included, goes through the ASGI application, which answers it the same.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from functools import lru_cache
from typing import ClassVar, Final, NamedTuple

from hayloft.errors import HayloftError
from hayloft.roles import Store
from hayloft.types import (
    PHOTO_ID_BITS,
    SEQUENCE_BITS,
    SEQUENCE_MASK,
    AlternateKey,
    NeedleMetadata,
    PhotoId,
    format_cookie,
)
from hayloft.wire import needles
from hayloft.wire.asgi import REQUEST_ID
from hayloft.wire.protocol import Direct, DirectProtocol, Headers

_READ: Final = re.compile(rb"/volume/lv-(\d{1,10})/read\?photo_id=(\d{1,16})&alt_key=([a-z]{1,10})")
_REQUEST_ID: Final = REQUEST_ID.encode()
_ACCEPTABLE_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")

Admits = Callable[[bytes, Headers], bool]
"""Whether a GET for this address with these headers may be answered."""


def needle_protocol(
    store: Store, *, admits: Admits | None, answered: Callable[[], None]
) -> type[DirectProtocol]:
    """The protocol class for a server of this store; ``answered`` is told of every answer it gives."""

    class NeedleProtocol(_NeedleProtocol):
        pass

    NeedleProtocol.way = _Way(store, admits, answered)
    return NeedleProtocol


class _Way(NamedTuple):
    """What the short way leads to, and past whom."""

    store: Store
    admits: Admits | None
    answered: Callable[[], None]


class _NeedleProtocol(DirectProtocol):
    prefix = b"/volume/"
    way: ClassVar[_Way]

    def answer(self) -> Direct | None:
        """The needle, if it takes no waiting and whoever asks may have it."""
        match = _READ.fullmatch(self.url)
        if match is None:
            return None
        volume, number, label = match.groups()
        key = AlternateKey.parse(label.decode())
        photo = int(number)
        request_id = next((value for name, value in self.headers if name == _REQUEST_ID), None)
        if request_id is None:
            request_id = secrets.token_hex(8).encode()
        if key is None or photo >> PHOTO_ID_BITS or not _ACCEPTABLE_REQUEST_ID.fullmatch(request_id):
            return None
        store, admits, answered = self.way
        if admits is not None and not admits(self.url, self.headers):
            return None
        try:
            # The volume is the address's, whatever the id says.
            found = store.read_cached(PhotoId(int(volume) << SEQUENCE_BITS | photo & SEQUENCE_MASK), key)
        except HayloftError:
            return None
        if found is None:
            return None
        answered()
        data = found.data
        head = b"%bx-cookie: %b\r\ncontent-length: %d\r\nx-crc32c: %b\r\nx-request-id: %b\r\n" % (
            _described(found.metadata, key),
            format_cookie(found.cookie).encode(),
            len(data),
            needles.checksum(data).encode(),
            request_id,
        )
        return Direct(head, data)


@lru_cache(maxsize=1024)
def _described(metadata: NeedleMetadata, key: AlternateKey) -> bytes:
    headers = {needles.ALTERNATE_KEY: key.label, **needles.write_metadata(metadata)}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return b"HTTP/1.1 200 OK\r\n" + lines.encode()
