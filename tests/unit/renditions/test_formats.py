"""The first bytes decide what decodes a file; everything else is refused before a decoder sees it."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

import rendition_samples as samples
from hayloft.errors import UnsupportedMedia
from hayloft.renditions.formats import Decoder, decoder_of


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "AVIF"])
def test_what_libvips_decodes(form: str) -> None:
    assert decoder_of(samples.saved(samples.quadrants(), form)) is Decoder.LIBVIPS


@pytest.mark.parametrize("form", ["HEIF", "BMP", "JPEG2000", "PPM"])
def test_what_pillow_decodes(form: str) -> None:
    assert decoder_of(samples.saved(samples.quadrants(), form)) is Decoder.PILLOW


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%PDF-1.7",
        b"%!PS-Adobe",
        b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom",
        b"\x00\x00\x00\x00ftyp",
    ],
)
def test_other_files_are_refused(data: bytes) -> None:
    with pytest.raises(UnsupportedMedia):
        decoder_of(data)


@given(st.binary(max_size=200))
def test_any_bytes_are_either_decided_or_refused(data: bytes) -> None:
    with contextlib.suppress(UnsupportedMedia):
        assert decoder_of(data) in Decoder
