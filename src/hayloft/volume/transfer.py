"""Needles on their way from one replica to another: records without their log's secrets. Pure.

A record travels as it stands on disk, but that its checksum starts from zero instead of the log's salt and
that its footer names neither what it replaced nor a group commit. The deletion of one needle travels as a
tombstone with that needle's sequence and alternate key and without data. Every record is verified when it
is taken off the wire. It does not know what either side holds.
"""

from __future__ import annotations

from typing import Final

from hayloft import needle as codec
from hayloft.errors import InvalidRequest, NeedleCorrupt
from hayloft.needle import Bytes, Kind, Needle
from hayloft.types import AlternateKey

SALT: Final = 0
"""Where checksums start on the wire."""


def pack(needle: Needle, record: memoryview) -> int:
    """Turn a verified needle's ``record``, where it stands, into one that travels; its body's checksum."""
    packed = codec.adopt(needle, salt=SALT)
    record[packed.body_size :] = packed.footer(replaced=0, batch_offset=0)
    return packed.checksum


def pack_deletion(sequence: int, alternate_key: int) -> bytes:
    """The record that says that a needle was deleted."""
    record = codec.encode(
        salt=SALT, sequence=sequence, cookie=0, data=b"", alternate_key=alternate_key, kind=Kind.TOMBSTONE
    )
    return b"".join((*record.body, record.footer(replaced=0, batch_offset=0)))


def unpack(records: Bytes) -> list[Needle]:
    """All records, verified; their data are views into ``records``.

    Raises:
        InvalidRequest: one of them is not what was sent.
    """
    view = memoryview(records)
    found: list[Needle] = []
    while view:
        if len(view) < codec.HEADER.size:
            raise InvalidRequest("The records end in the middle of one.")
        try:
            size = codec.measure(view)
            if size > len(view):
                raise InvalidRequest("The records end in the middle of one.")
            needle = codec.decode(view[:size], size, salt=SALT)
        except NeedleCorrupt as damage:
            raise InvalidRequest(f"A record was damaged on its way: {damage.message}") from damage
        if needle.kind == Kind.SEAL or needle.alternate_key >= len(AlternateKey):
            raise InvalidRequest("A record is neither a needle nor a deletion.")
        found.append(needle)
        view = view[size:]
    return found
