"""Files out of a multipart body, by python-multipart's streaming parser: bytes in, whole files out.

No I/O. Holds the file being received and those completed by the last piece fed, nothing else: fields
that are not files named ``file`` are parsed over, a file past its limit is dropped as it grows and
comes out with its error.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from python_multipart.multipart import MultipartParser, parse_options_header

from hayloft import limits
from hayloft.errors import HayloftError, InvalidRequest, UploadTooLarge
from hayloft.gateway import names
from hayloft.gateway.sniff import Data

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

FIELD: Final = "file"
PARTS_MAX: Final = 2 * limits.UPLOAD_FILES_MAX
HEADERS_PER_PART_MAX: Final = 8
HEADER_BYTES_MAX: Final = 8 * limits.KIB


@dataclass(frozen=True, slots=True)
class Part:
    """A file that is complete."""

    name: str
    data: Data
    error: HayloftError | None


class FileParser:
    """Takes a body's pieces, gives its files: those complete stand in ``complete``."""

    def __init__(self, boundary: bytes, *, bytes_max: int) -> None:
        self.complete: deque[Part] = deque()
        self._bytes_max = bytes_max
        self._parser = MultipartParser(
            boundary,
            self._callbacks(),
            max_header_count=HEADERS_PER_PART_MAX,
            max_header_size=HEADER_BYTES_MAX,
        )
        self._parts = 0
        self._files = 0
        self._header = bytearray()
        self._value = bytearray()
        self._disposition = ""
        self._name: str | None = None
        self._data = bytearray()
        self._size = 0
        self._ended = False

    @property
    def bytes_held(self) -> int:
        """Bytes of files in memory, complete or not."""
        return len(self._data) + sum(len(part.data) for part in self.complete)

    def feed(self, piece: bytes) -> None:
        """Parse one piece.

        Raises:
            FormParserError: the body is malformed.
            InvalidRequest: it has too many parts.
        """
        self._parser.write(piece)

    def finish(self) -> None:
        """Say that the body is at its end.

        Raises:
            InvalidRequest: it ends before the closing boundary, or holds no file.
        """
        if not self._ended:
            raise InvalidRequest("The multipart body ends before its closing boundary.")
        if not self._files:
            raise InvalidRequest(f"The multipart body has no file in a field named {FIELD}.")

    def _callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self._on_part_begin,
            "on_header_field": self._on_header_field,
            "on_header_value": self._on_header_value,
            "on_header_end": self._on_header_end,
            "on_headers_finished": self._on_headers_finished,
            "on_part_data": self._on_part_data,
            "on_part_end": self._on_part_end,
            "on_end": self._on_end,
        }

    def _on_part_begin(self) -> None:
        self._parts += 1
        if self._parts > PARTS_MAX:
            raise InvalidRequest(f"At most {PARTS_MAX} parts are allowed.", limit=PARTS_MAX)
        self._disposition = ""
        self._name = None
        self._data = bytearray()
        self._size = 0

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value.decode("utf-8", "replace")
        self._header.clear()
        self._value.clear()

    def _on_headers_finished(self) -> None:
        _, options = parse_options_header(_as_latin1(self._disposition))
        if options.get(b"name") != FIELD.encode():
            return
        self._files += 1
        if self._files > limits.UPLOAD_FILES_MAX:
            raise InvalidRequest(
                f"At most {limits.UPLOAD_FILES_MAX} files are allowed.", limit=limits.UPLOAD_FILES_MAX
            )
        self._name = names.clean(options.get(b"filename", b"").decode("utf-8", "replace"))

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._name is None:
            return
        self._size += end - start
        if self._size <= self._bytes_max:
            self._data += memoryview(data)[start:end]
        elif self._data:
            self._data = bytearray()

    def _on_part_end(self) -> None:
        if self._name is None:
            return
        error = None
        if self._size > self._bytes_max:
            error = UploadTooLarge(
                f"At most {self._bytes_max} bytes are allowed.", limit_bytes=self._bytes_max
            )
        self.complete.append(Part(self._name, self._data, error))
        self._name = None
        self._data = bytearray()

    def _on_end(self) -> None:
        self._ended = True


def _as_latin1(text: str) -> str:
    """The parser of options encodes as Latin-1; browsers send names as UTF-8, which passes through so."""
    return text.encode("utf-8").decode("latin-1")
