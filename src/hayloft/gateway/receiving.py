"""The bodies of uploads, read as they arrive: raw or multipart, one file in memory at a time.

``Body`` is the body itself, ``files`` the files of a multipart one, each once it is complete. Everything
is bounded while it is read, not afterwards: bytes of a file, of the body, of headers; number of parts;
memory over all uploads of the worker; how long a client may stay silent. A body that ends early raises
``ClientDisconnected``, so a file is never taken for whole when it is not.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from hayloft import limits
from hayloft.errors import HayloftError, InvalidRequest, UnsupportedMedia, UploadTooLarge
from hayloft.gateway import names
from hayloft.gateway.budget import Budget
from hayloft.gateway.multipart import FileParser
from hayloft.gateway.silence import Silence
from hayloft.gateway.sniff import Data
from hayloft.wire.asgi import ClientDisconnected, Receive

RESERVE_STEP_BYTES: Final = 256 * limits.KIB
"""How much more is reserved at a time when the client does not say how much will come."""


@dataclass(frozen=True, slots=True)
class Received:
    """One file of an upload: its bytes, or why they cannot be taken."""

    name: str
    data: Data
    error: HayloftError | None = None


@dataclass(frozen=True, slots=True)
class Form:
    """What an upload's headers say of its body."""

    media_type: str
    boundary: bytes
    declared_bytes: int | None
    name: str

    @property
    def multipart(self) -> bool:
        """Whether the body may hold several files."""
        return self.media_type == "multipart/form-data"


def form_of(headers: Mapping[bytes, bytes], name: str) -> Form:
    """How the body is to be read; ``name`` is what the address says the file is called.

    Raises:
        UnsupportedMedia: the body cannot hold an image.
        InvalidRequest: a header makes no sense.
    """
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise UnsupportedMedia("Send the image as it is, without a content encoding.")
    content_type = headers.get(b"content-type", b"").decode("latin-1")
    media_type, options = parse_options_header(content_type)
    kind = media_type.decode("latin-1")
    boundary = options.get(b"boundary", b"")
    if kind == "multipart/form-data" and not boundary:
        raise InvalidRequest("The multipart boundary is missing.")
    raw = kind.startswith("image/") or kind in ("", "application/octet-stream")
    if kind != "multipart/form-data" and not raw:
        raise UnsupportedMedia(
            f"Send multipart/form-data with the field file, or an image; this is {kind}."
        )
    if not name and b"content-disposition" in headers:
        name = names.from_disposition(headers[b"content-disposition"].decode("latin-1"))
    return Form(kind, boundary, _declared_bytes(headers), name)


def _declared_bytes(headers: Mapping[bytes, bytes]) -> int | None:
    declared = headers.get(b"content-length")
    return int(declared) if declared is not None and declared.isdigit() else None


class Body:
    """A request's body, read piece by piece while this context is open.

    Its bytes are counted against the worker's memory until the context closes, so close it when the
    files are stored, not when they are read.

    Raises:
        UploadTooLarge: the client announces more than is allowed.
        Overloaded: too many bytes are in flight already.
    """

    def __init__(self, form: Form, receive: Receive, *, budget: Budget, bytes_max: int) -> None:
        self._receive = receive
        self._declared = form.declared_bytes
        self._bytes_max = limits.UPLOAD_BODY_BYTES_MAX if form.multipart else bytes_max
        if self._declared is not None and self._declared > self._bytes_max:
            raise _too_large(self._bytes_max)
        self._size = 0
        self._more = True
        self._silence = Silence()
        self._reservation = budget.reservation()
        if self._declared is not None:
            self._reservation.cover(min(self._declared, bytes_max))

    def __enter__(self) -> Self:
        """Start listening to the client."""
        self._silence.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give the memory back."""
        self._reservation.release()
        self._silence.__exit__(kind, error, traceback)

    def cover(self, size: int) -> None:
        """Count ``size`` bytes as held, if that is more than was announced.

        Raises:
            Overloaded: too many bytes are in flight already.
        """
        self._reservation.cover(size)

    async def piece(self) -> bytes:
        """The next piece; empty at the end, which is reached only when the whole body was seen.

        Raises:
            UploadTooLarge: more came than is allowed.
            ClientDisconnected: the body ended early.
            UploadStalled: the client stopped sending (raised when the context closes).
        """
        while self._more:
            self._silence.begin()
            message = await self._receive()
            self._silence.end()
            if message["type"] == "http.disconnect":
                raise ClientDisconnected
            self._more = message.get("more_body", False)
            if piece := message.get("body", b""):
                self._size += len(piece)
                if self._size > self._bytes_max:
                    raise _too_large(self._bytes_max)
                return bytes(piece)
        if self._declared is not None and self._size != self._declared:
            raise ClientDisconnected
        return b""

    async def whole(self) -> Data:
        """Everything. One piece is taken as it is; several are gathered without a second copy.

        Raises:
            As ``piece``, and Overloaded when unannounced bytes become too many.
        """
        first = await self._counted_piece()
        second = await self._counted_piece() if first else b""
        if not second:
            return first
        gathered = bytearray(first)
        while second:
            gathered += second
            second = await self._counted_piece()
        return gathered

    async def _counted_piece(self) -> bytes:
        """The next piece, its bytes counted if they were not announced."""
        piece = await self.piece()
        if self._declared is None:
            self.cover(-(-self._size // RESERVE_STEP_BYTES) * RESERVE_STEP_BYTES)
        return piece


async def files(form: Form, body: Body, *, bytes_max: int) -> AsyncGenerator[Received, None]:
    """The files of a multipart body, each as soon as it is complete.

    Raises:
        InvalidRequest: the body is malformed, has too many parts or no file.
        As ``Body.piece``.
    """
    try:
        parser = FileParser(form.boundary, bytes_max=bytes_max)
        while piece := await body.piece():
            parser.feed(piece)
            body.cover(parser.bytes_held)
            while parser.complete:
                part = parser.complete.popleft()
                yield Received(part.name, part.data, part.error)
        parser.finish()
    except FormParserError as error:
        raise InvalidRequest(f"The multipart body is malformed: {error}") from error


def _too_large(bytes_max: int) -> UploadTooLarge:
    return UploadTooLarge(f"At most {bytes_max} bytes are allowed.", limit_bytes=bytes_max)
