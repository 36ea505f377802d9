"""Reading a stored photo piece by piece: a seekable stream that mends itself.

Photos are immutable, so a connection that breaks half way is taken up again where it broke, with a
``Range`` request that is bound to the same photo by its ETag. The stream delivers exactly the photo's
bytes or raises; it never ends early in silence.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Final, Self

import aiohttp

from hayloft.client.transport import ServerUnreachable, Transport

CHUNK_BYTES: Final = 256 << 10
RESUMES_MAX: Final = 5
"""How often one stream is taken up again before it gives up."""


class PhotoStream:
    """A photo's bytes from ``position`` on; made by ``AsyncClient.open``, used as a context."""

    def __init__(self, transport: Transport, path: str, *, start: int = 0, end: int | None = None) -> None:
        self._transport = transport
        self._path = path
        self._end = end
        self._etag: str | None = None
        self._resumes = 0
        self._connection = AsyncExitStack()
        self._response: aiohttp.ClientResponse | None = None
        self.position = start
        """Offset of the next byte, counted from the photo's start."""
        self.size = 0
        """Bytes of the whole photo."""
        self.media_type = ""
        self.name = ""
        """The file name that the server tells; empty if it tells none."""

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            NotFound, Gone: there is no such photo, or no more.
            RangeNotSatisfiable: it is shorter than ``start``.
        """
        await self._connect()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Let the connection go."""
        await self._disconnect()

    def __aiter__(self) -> AsyncIterator[bytes]:
        """The rest of the bytes, in pieces."""
        return self._pieces()

    async def read(self, size: int = -1) -> bytes:
        """The next ``size`` bytes, fewer only at the end; all that are left by default."""
        pieces: list[bytes] = []
        while size != 0 and (piece := await self._next(size if size > 0 else CHUNK_BYTES)):
            pieces.append(piece)
            size -= len(piece) if size > 0 else 0
        return b"".join(pieces)

    async def seek(self, position: int) -> None:
        """Go on at this offset, counted from the photo's start."""
        if position != self.position:
            await self._disconnect()
            self.position = position

    async def _pieces(self) -> AsyncIterator[bytes]:
        while piece := await self._next(CHUNK_BYTES):
            yield piece

    async def _next(self, size: int) -> bytes:
        left = self._last - self.position
        while left > 0:
            try:
                if self._response is None:
                    await self._connect()
                assert self._response is not None
                piece = await self._response.content.read(min(size, left))
                if not piece:
                    raise aiohttp.ClientPayloadError("the photo ended early")
            except (aiohttp.ClientError, TimeoutError) as failure:
                await self._resume(failure)
                continue
            self.position += len(piece)
            return piece
        return b""

    @property
    def _last(self) -> int:
        return self.size if self._end is None else min(self._end, self.size)

    async def _resume(self, failure: Exception) -> None:
        await self._disconnect()
        self._resumes += 1
        if self._resumes > RESUMES_MAX:
            raise ServerUnreachable(f"The photo cannot be read to its end: {failure}.") from failure

    async def _connect(self) -> None:
        response = await self._connection.enter_async_context(
            self._transport.stream("GET", self._path, headers=self._headers())
        )
        self._response = response
        self._etag = response.headers.get("ETag")
        self.media_type = response.content_type
        disposition = response.content_disposition
        self.name = (disposition.filename if disposition else None) or ""
        if response.status == 206:
            self.size = int(response.headers["Content-Range"].rpartition("/")[2])
        else:
            self.size = response.content_length or 0
            await self._skip(response, self.position)

    async def _disconnect(self) -> None:
        if self._response is not None:
            # A response that is not read to its end must not go back into the pool.
            self._response.close()
            self._response = None
        await self._connection.aclose()
        self._connection = AsyncExitStack()

    def _headers(self) -> dict[str, str]:
        if self.position == 0 and self._end is None:
            return {}
        last = "" if self._end is None else str(max(self._end - 1, self.position))
        headers = {"Range": f"bytes={self.position}-{last}"}
        if self._etag is not None:
            headers["If-Range"] = self._etag
        return headers

    async def _skip(self, response: aiohttp.ClientResponse, size: int) -> None:
        """Pass over what a server without ranges sends again."""
        while size > 0 and (piece := await response.content.read(min(size, CHUNK_BYTES))):
            size -= len(piece)
