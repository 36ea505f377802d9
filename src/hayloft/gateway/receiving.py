"""The bodies of uploads, read as they arrive: raw or multipart, one file in memory at a time.

``files`` yields each file of a request once it is complete. Everything is bounded while it is read, not
afterwards: bytes of a file, of the body, of headers; number of parts; memory over all uploads of the
worker; how long a client may stay silent. A body that ends early raises ``ClientDisconnected``, so a file
is never taken for whole when it is not.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from hayloft import limits
from hayloft.errors import HayloftError, InvalidRequest, UnsupportedMedia, UploadTooLarge
from hayloft.gateway import names
from hayloft.gateway.budget import Budget, Reservation
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


async def files(
    form: Form, receive: Receive, *, budget: Budget, bytes_max: int
) -> AsyncGenerator[Received, None]:
    """The files of an upload, each as soon as it is complete.

    Raises:
        UploadTooLarge: the body is larger than is allowed.
        Overloaded: too many bytes are in flight already.
        UploadStalled: the client stopped sending.
        InvalidRequest: the multipart body is malformed, or has too many parts.
        ClientDisconnected: the body ended early.
    """
    body_bytes_max = limits.UPLOAD_BODY_BYTES_MAX if form.multipart else bytes_max
    if form.declared_bytes is not None and form.declared_bytes > body_bytes_max:
        raise _too_large(body_bytes_max)
    with budget.reservation() as reservation, Silence() as silence:
        if form.declared_bytes is not None:
            reservation.cover(min(form.declared_bytes, bytes_max))
        chunks = _chunks(receive, silence, form.declared_bytes, body_bytes_max)
        if form.multipart:
            async for received in _parts(form, chunks, reservation, bytes_max):
                yield received
        else:
            yield Received(form.name, await _whole(chunks, form.declared_bytes, reservation))


async def _chunks(
    receive: Receive, silence: Silence, declared: int | None, bytes_max: int
) -> AsyncIterator[bytes]:
    """The body's pieces, counted; ends only when the whole of it was seen."""
    size = 0
    more = True
    while more:
        silence.begin()
        message = await receive()
        silence.end()
        if message["type"] == "http.disconnect":
            raise ClientDisconnected
        more = message.get("more_body", False)
        if chunk := message.get("body", b""):
            size += len(chunk)
            if size > bytes_max:
                raise _too_large(bytes_max)
            yield chunk
    if declared is not None and size != declared:
        raise ClientDisconnected


async def _whole(chunks: AsyncIterator[bytes], declared: int | None, reservation: Reservation) -> Data:
    """The whole body. One piece is taken as it is; several are gathered without a second copy."""
    only: bytes = b""
    gathered: bytearray | None = None
    async for chunk in chunks:
        if gathered is not None:
            gathered += chunk
        elif only:
            gathered = bytearray(only)
            gathered += chunk
        else:
            only = chunk
        if declared is None:
            size = len(gathered) if gathered is not None else len(only)
            reservation.cover(-(-size // RESERVE_STEP_BYTES) * RESERVE_STEP_BYTES)
    return only if gathered is None else gathered


async def _parts(
    form: Form, chunks: AsyncIterator[bytes], reservation: Reservation, bytes_max: int
) -> AsyncGenerator[Received, None]:
    """The files among a multipart body's parts."""
    try:
        parser = FileParser(form.boundary, bytes_max=bytes_max)
        async for chunk in chunks:
            parser.feed(chunk)
            reservation.cover(min(parser.bytes_held, 2 * bytes_max))
            while parser.complete:
                part = parser.complete.popleft()
                yield Received(part.name, part.data, part.error)
        parser.finish()
    except FormParserError as error:
        raise InvalidRequest(f"The multipart body is malformed: {error}") from error


def _too_large(bytes_max: int) -> UploadTooLarge:
    return UploadTooLarge(f"At most {bytes_max} bytes are allowed.", limit_bytes=bytes_max)
