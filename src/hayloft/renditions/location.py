"""Takes the position out of a photo file without touching anything else, its length included. Pure.

The GPS directory of every EXIF block is emptied and its entry removed, and positions in XMP packets are
blanked, in place: pixels, profile and all other metadata stay, and byte ranges stay valid. Positions that a
camera hides in its private maker notes cannot be found. Layouts: TIFF 6.0 section 2, EXIF 2.32 section
4.6.6, PNG third edition section 5.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from typing import Final

_GPS_POINTER: Final = 0x8825
_ENTRY_BYTES: Final = 12
_ENTRIES_MAX: Final = 512
"""More entries than any camera writes in one directory; past it the bytes are not a directory."""
_TYPE_BYTES: Final = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}

_XMP_BEGIN: Final = b"<x:xmpmeta"
_XMP_END: Final = b"</x:xmpmeta>"
_POSITION_NAME: Final = rb"[A-Za-z][\w.-]*:(?:[Gg][Pp][Ss]\w*|\w*(?:L|l)(?:atitude|ongitude)\w*)"
_ATTRIBUTE: Final = re.compile(_POSITION_NAME + rb"\s*=\s*(?:\"([^\"]*)\"|'([^']*)')")
_ELEMENT: Final = re.compile(rb"<(" + _POSITION_NAME + rb")[^>]*>([^<]*)</\1>")

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_PNG_PRIVATE: Final = b"hlXx"
"""An ancillary chunk type that no decoder knows: what it held is skipped."""


def without_position(data: bytes | memoryview) -> bytes:
    """The same file, as long as before, without the position where it was taken."""
    changed = bytearray(data)
    if changed.startswith(_PNG):
        _clean_png(changed)
    else:
        _clean(changed, 0, len(changed))
    return bytes(changed)


def _clean_png(data: bytearray) -> None:
    """PNG checks each chunk by its CRC, and may have compressed metadata, which goes altogether."""
    for start, length, kind in _png_chunks(data):
        end = start + length
        if kind == b"eXIf" or (kind in (b"iTXt", b"tEXt") and not _is_packed_metadata(data[start:end])):
            _clean(data, start, end)
        elif kind in (b"zTXt", b"iTXt") and _is_packed_metadata(data[start:end]):
            data[start:end] = bytes(length)
            data[start - 4 : start] = _PNG_PRIVATE
        else:
            continue
        struct.pack_into(">I", data, end, zlib.crc32(data[start - 4 : end]))


def _png_chunks(data: bytearray) -> Iterator[tuple[int, int, bytes]]:
    """Where each chunk's content starts, how long it is, and its type."""
    at = len(_PNG)
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        if at + 12 + length > len(data):
            return
        yield at + 8, length, bytes(data[at + 4 : at + 8])
        at += 12 + length


def _is_packed_metadata(content: bytearray) -> bool:
    """Whether a text chunk holds compressed XMP or EXIF (the latter as ImageMagick writes it)."""
    keyword, _, rest = content.partition(b"\0")
    if keyword.startswith(b"Raw profile type"):
        return True
    return keyword == b"XML:com.adobe.xmp" and rest[:1] != b"\0"


def _clean(data: bytearray, start: int, end: int) -> None:
    for signature in (b"II*\0", b"MM\0*"):
        at = data.find(signature, start, end)
        while at >= 0:
            _clean_tiff(data, at, end, "<" if signature.startswith(b"II") else ">")
            at = data.find(signature, at + 1, end)
    at = data.find(_XMP_BEGIN, start, end)
    while at >= 0:
        until = data.find(_XMP_END, at, end)
        until = end if until < 0 else until
        _clean_xmp(data, at, until)
        at = data.find(_XMP_BEGIN, until, end)


def _clean_tiff(data: bytearray, base: int, end: int, order: str) -> None:
    """Empty the GPS directory of one TIFF structure, and take its entry out of the main directory."""
    main = _directory(data, base, end, order, base + 4)
    if main is None:
        return
    first, count = main
    for entry in range(first, first + count * _ENTRY_BYTES, _ENTRY_BYTES):
        if struct.unpack_from(f"{order}H", data, entry)[0] == _GPS_POINTER:
            _empty(data, base, end, order, entry + 8)
            _remove_entry(data, order, entry, first, count)
            return


def _directory(data: bytearray, base: int, end: int, order: str, pointer: int) -> tuple[int, int] | None:
    """Where the directory's entries start and how many there are, if ``pointer`` leads to one."""
    if pointer + 4 > end:
        return None
    at = base + int(struct.unpack_from(f"{order}I", data, pointer)[0])
    if at + 2 > end:
        return None
    count = int(struct.unpack_from(f"{order}H", data, at)[0])
    if not 0 < count <= _ENTRIES_MAX or at + 2 + count * _ENTRY_BYTES + 4 > end:
        return None
    return at + 2, count


def _empty(data: bytearray, base: int, end: int, order: str, pointer: int) -> None:
    found = _directory(data, base, end, order, pointer)
    if found is None:
        return
    first, count = found
    for entry in range(first, first + count * _ENTRY_BYTES, _ENTRY_BYTES):
        _, kind, values, offset = struct.unpack_from(f"{order}HHII", data, entry)
        length = _TYPE_BYTES.get(kind, 1) * values
        if 4 < length <= end - base - offset:
            data[base + offset : base + offset + length] = bytes(length)
    data[first - 2 : first + count * _ENTRY_BYTES] = bytes(2 + count * _ENTRY_BYTES)


def _remove_entry(data: bytearray, order: str, entry: int, first: int, count: int) -> None:
    """Close the gap: the later entries and the pointer to the next directory move up."""
    tail = first + count * _ENTRY_BYTES + 4
    data[entry : tail - _ENTRY_BYTES] = data[entry + _ENTRY_BYTES : tail]
    data[tail - _ENTRY_BYTES : tail] = bytes(_ENTRY_BYTES)
    struct.pack_into(f"{order}H", data, first - 2, count - 1)


def _clean_xmp(data: bytearray, start: int, end: int) -> None:
    packet = bytes(data[start:end])
    for match in _ATTRIBUTE.finditer(packet):
        group = 1 if match[1] is not None else 2
        _blank(data, start + match.start(group), start + match.end(group))
    for match in _ELEMENT.finditer(packet):
        _blank(data, start + match.start(2), start + match.end(2))


def _blank(data: bytearray, start: int, end: int) -> None:
    data[start:end] = b" " * (end - start)
