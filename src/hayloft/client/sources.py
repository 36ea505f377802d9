"""Where a photo's bytes come from: a path, bytes, or a file object, each readable again for a retry.

A source knows its file name and, once it was read, the SHA-256 of exactly what was handed out, so that
the answer of a server can be compared with what was sent. It knows nothing of servers.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import mimetypes
import os
import stat
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import BinaryIO, Final

from hayloft.client.transport import Chunks
from hayloft.errors import InvalidRequest
from hayloft.limits import MIB, NAME_BYTES_MAX

PhotoSource = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO
"""What can be uploaded: a path, the bytes themselves, or a file object opened for reading bytes."""

WHOLE_BYTES_MAX: Final = 4 * MIB
"""Files up to this size are read in one go; larger ones are streamed, to bound memory."""

CHUNK_BYTES: Final = MIB

WATCHED_BYTES: Final = 128 * 1024
"""Piece after which a watched source tells how far it is."""

Progress = Callable[[int], None]
"""Is told how many bytes of a photo are on their way; from 0 again when it has to be sent once more."""


class FileSource:
    """The bytes of a file."""

    def __init__(self, path: Path, name: str | None = None) -> None:
        self.path = path
        self.name = clean_name(path.name if name is None else name)
        self.failure: OSError | None = None
        self._digest = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """Of what the last reading handed out, in hexadecimal digits."""
        return self._digest.hexdigest()

    async def open(self) -> bytes | Chunks:
        """The file's bytes, from the start.

        Raises:
            OSError: it cannot be read.
            InvalidRequest: it is not a regular file.
        """
        self.failure = None
        file = await asyncio.to_thread(open_regular, self.path)
        size = os.fstat(file.fileno()).st_size
        if size > WHOLE_BYTES_MAX:
            self._digest = hashlib.sha256()
            return Chunks(size=size, chunks=self._chunks(file, size))
        return await asyncio.to_thread(self._read_whole, file)

    def _read_whole(self, file: BinaryIO) -> bytes:
        with file:
            data = file.read()
        self._digest = hashlib.sha256(data)
        return data

    async def _chunks(self, file: BinaryIO, size: int) -> AsyncIterator[bytes]:
        """Exactly ``size`` bytes, which the request has already announced."""
        digest = self._digest
        try:
            with file:
                while size > 0:
                    chunk = await asyncio.to_thread(_read_and_digest, file, min(size, CHUNK_BYTES), digest)
                    if not chunk:
                        raise OSError(f"{self.path} became shorter while it was being read")
                    size -= len(chunk)
                    yield chunk
        except OSError as failure:
            self.failure = failure
            raise


class BytesSource:
    """Bytes in memory."""

    def __init__(self, data: bytes, name: str = "") -> None:
        self.name = clean_name(name)
        self.failure: OSError | None = None
        self._data = data

    @property
    def sha256(self) -> str:
        """In hexadecimal digits."""
        return hashlib.sha256(self._data).hexdigest()

    async def open(self) -> bytes | Chunks:
        """The bytes."""
        return self._data


class WatchedSource:
    """Another source's bytes, in small pieces, with word of how many have been handed out."""

    def __init__(self, source: FileSource | BytesSource, on_progress: Progress) -> None:
        self.name = source.name
        self._source = source
        self._on_progress = on_progress

    @property
    def failure(self) -> OSError | None:
        """What went wrong with the last reading."""
        return self._source.failure

    @property
    def sha256(self) -> str:
        """Of what the last reading handed out, in hexadecimal digits."""
        return self._source.sha256

    async def open(self) -> bytes | Chunks:
        """The bytes, from the start."""
        self._on_progress(0)
        body = await self._source.open()
        if isinstance(body, Chunks):
            return Chunks(size=body.size, chunks=self._told(body.chunks))
        return Chunks(size=len(body), chunks=self._told(_one(body))) if body else body

    async def _told(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        sent = 0
        async for chunk in chunks:
            for start in range(0, len(chunk), WATCHED_BYTES):
                piece = chunk[start : start + WATCHED_BYTES]
                yield piece
                # The next piece is asked for when the connection has room for it again.
                sent += len(piece)
                self._on_progress(sent)


async def _one(chunk: bytes) -> AsyncIterator[bytes]:
    yield chunk


Source = FileSource | BytesSource | WatchedSource


async def source_of(
    photo: PhotoSource, name: str | None = None, *, on_progress: Progress | None = None
) -> Source:
    """The source that ``photo`` stands for. A file object is read to its end, into memory.

    Raises:
        OSError: it cannot be read.
    """
    source = await _source_of(photo, name)
    return source if on_progress is None else WatchedSource(source, on_progress)


async def _source_of(photo: PhotoSource, name: str | None) -> FileSource | BytesSource:
    if isinstance(photo, bytes | bytearray | memoryview):
        return BytesSource(bytes(photo), name or "")
    if isinstance(photo, str | os.PathLike):
        return FileSource(Path(photo), name)
    data = await asyncio.to_thread(photo.read)
    given = getattr(photo, "name", "")
    own = os.path.basename(given) if isinstance(given, str) else ""  # noqa: PTH119 - may be no path
    return BytesSource(data, own if name is None else name)


def open_regular(path: Path) -> io.BufferedReader:
    """Open a file for reading; never waits, as opening a pipe would.

    Raises:
        OSError: it cannot be opened.
        InvalidRequest: it is a folder, a pipe, a device or the like.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise InvalidRequest(f"{path} is not a regular file.")
    return path.open("rb")


def digest_file(path: Path) -> tuple[bytes, int]:
    """A file's SHA-256, and how many bytes it was made of.

    Raises:
        OSError, InvalidRequest: as ``open_regular``.
    """
    with open_regular(path) as file:
        digest = hashlib.file_digest(file, "sha256")
        return digest.digest(), file.tell()


def media_type_of(name: str) -> str:
    """The image type that a file name suggests; the server looks at the bytes and decides itself."""
    guessed = mimetypes.guess_type(name, strict=False)[0]
    return guessed if guessed and guessed.startswith("image/") else "image/*"


def clean_name(name: str) -> str:
    """A name as valid UTF-8 of bounded length: file systems allow bytes that are not."""
    valid = os.fsencode(name).decode("utf-8", "replace")
    return valid.encode()[:NAME_BYTES_MAX].decode("utf-8", "ignore")


def _read_and_digest(file: BinaryIO, size: int, digest: hashlib._Hash) -> bytes:
    chunk = file.read(size)
    digest.update(chunk)
    return chunk
