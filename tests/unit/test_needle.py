"""A needle's bytes: every flipped bit is noticed, no size is trusted, and nothing is copied."""

from __future__ import annotations

import contextlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hayloft import needle as codec
from hayloft.errors import InvalidRequest, NeedleCorrupt
from hayloft.types import NeedleMetadata

SALT = 0x1234_5678


def record_bytes(data: bytes, metadata: NeedleMetadata | None = None, **options: int) -> bytes:
    block = codec.encode_metadata(metadata) if metadata else b""
    fields = {"sequence": 9, "cookie": 77, **options}
    record = codec.encode(salt=SALT, data=data, metadata=block, **fields)
    header, body, block = (bytes(part) for part in record.body)
    whole = header + body + block + record.footer(replaced=5 << 32 | 64, batch_offset=4096)
    assert len(whole) == record.size
    return whole


metadata = st.builds(
    NeedleMetadata,
    media_type=st.text(max_size=40),
    name=st.text(max_size=60),
    sha256=st.sampled_from([b"", bytes(range(32))]),
    created_at_ms=st.integers(0, 1 << 50),
    first_created_at_ms=st.none() | st.integers(0, 1 << 50),
)


@given(
    data=st.binary(max_size=300),
    metadata=metadata,
    sequence=st.integers(0, (1 << 32) - 1),
    cookie=st.integers(0, (1 << 64) - 1),
    alternate_key=st.integers(0, 4),
)
def test_what_is_encoded_is_decoded(
    data: bytes, metadata: NeedleMetadata, sequence: int, cookie: int, alternate_key: int
) -> None:
    whole = record_bytes(data, metadata, sequence=sequence, cookie=cookie, alternate_key=alternate_key)
    assert len(whole) % 8 == 0
    assert codec.measure(whole) == len(whole)
    needle = codec.decode(whole, len(whole), salt=SALT)
    assert needle.data == data
    assert (needle.sequence, needle.cookie, needle.alternate_key) == (sequence, cookie, alternate_key)
    assert needle.metadata == metadata
    assert (needle.replaced, needle.batch_offset, needle.size) == (5 << 32 | 64, 4096, len(whole))


def test_every_flipped_bit_is_noticed() -> None:
    whole = record_bytes(b"photo", NeedleMetadata(name="a.jpg"))
    checked = codec.HEADER.size + 5 + len(codec.encode_metadata(NeedleMetadata(name="a.jpg")))
    for bit in range((checked + codec.FOOTER.size) * 8):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(NeedleCorrupt):
            codec.decode(damaged, len(damaged), salt=SALT)


def test_every_shorter_and_longer_record_is_noticed() -> None:
    whole = record_bytes(b"photo" * 10)
    for size in [*range(0, len(whole), 8), len(whole) + 8]:
        with pytest.raises(NeedleCorrupt):
            codec.decode(whole[:size].ljust(size, b"\0"), size, salt=SALT)


@given(st.binary(min_size=44, max_size=200))
def test_noise_is_no_needle(noise: bytes) -> None:
    with pytest.raises(NeedleCorrupt):
        codec.decode(noise, len(noise), salt=SALT)


@given(st.integers(0, (1 << 32) - 1), st.integers(0, (1 << 16) - 1))
def test_sizes_that_lie_are_noticed(data_size: int, metadata_size: int) -> None:
    whole = bytearray(record_bytes(b"x" * 100))
    codec.HEADER.pack_into(whole, 0, codec.HEADER_MAGIC, 0, 0, metadata_size, data_size, 9, 77)
    if (data_size, metadata_size) != (100, 0):
        with pytest.raises(NeedleCorrupt):
            codec.decode(whole, len(whole), salt=SALT)


def test_a_needle_of_another_log_is_none_of_this_one() -> None:
    whole = record_bytes(b"photo")
    with pytest.raises(NeedleCorrupt):
        codec.decode(whole, len(whole), salt=SALT + 1)


def test_data_is_a_view_into_the_buffer() -> None:
    buffer = bytearray(record_bytes(b"photo"))
    needle = codec.decode(buffer, len(buffer), salt=SALT)
    buffer[codec.HEADER.size] = ord("P")
    assert needle.data == b"Photo"


def test_data_may_be_a_view() -> None:
    data = random.Random(0).randbytes(1000)
    record = codec.encode(salt=SALT, sequence=1, cookie=1, data=memoryview(data)[100:900])
    assert record.checksum == codec.encode(salt=SALT, sequence=1, cookie=1, data=data[100:900]).checksum


def test_tombstones_carry_what_they_delete() -> None:
    deleted = [(45, 9 << 32 | 80), (46, 0)]
    record = codec.encode_tombstone(salt=SALT, sequence=9, deleted=deleted)
    whole = b"".join(map(bytes, record.body)) + record.footer(replaced=0, batch_offset=0)
    needle = codec.decode(whole, len(whole), salt=SALT)
    assert needle.kind == codec.Kind.TOMBSTONE
    assert needle.deleted == deleted


@pytest.mark.parametrize("field", [{"name": "n" * 1025}, {"media_type": "m" * 256}])
def test_metadata_that_is_too_long_is_refused(field: dict[str, str]) -> None:
    with pytest.raises(InvalidRequest):
        codec.encode_metadata(NeedleMetadata(**field))  # type: ignore[arg-type]


def test_a_name_that_is_not_unicode_survives() -> None:
    name = b"caf\xe9.jpg".decode("utf-8", "surrogateescape")
    block = codec.encode_metadata(NeedleMetadata(name=name))
    assert codec.decode_metadata(block).name == name


@given(st.binary(min_size=1, max_size=60))
def test_a_metadata_block_of_noise_is_refused_or_read(noise: bytes) -> None:
    with contextlib.suppress(NeedleCorrupt):
        codec.decode_metadata(noise)
