"""HTTP/1.1 for the gateway: photos by their capability links take the short way (``wire.protocol``).

One that lies in the page cache of this machine's own store is answered from within the parser's callback;
one that a store, its disk or a cache has to be asked for is answered from a task, past ASGI all the same.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, ClassVar

from hayloft.gateway.front import Front, named_photo
from hayloft.wire.protocol import NOT_PLAIN, Direct, DirectProtocol


def photo_protocol(front: Front) -> type[DirectProtocol]:
    """The protocol class for a server of this gateway."""

    class PhotoProtocol(_PhotoProtocol):
        pass

    PhotoProtocol.front = front
    return PhotoProtocol


class _PhotoProtocol(DirectProtocol):
    prefix = b"/photo/"
    not_plain = NOT_PLAIN | {b"x-request-id"}
    front: ClassVar[Front]

    def answer(self) -> Direct | Coroutine[Any, Any, Direct] | None:
        """The photo of a capability link."""
        photo, cookie = named_photo(self.url.decode("latin-1")) or (None, None)
        if photo is None or cookie is None:
            return None
        return self.front.hot(photo, cookie) or self.front.cold(photo, cookie)
