"""A position is taken out of a file; everything else stays, byte for byte where it was."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import PngImagePlugin

import rendition_samples as samples
from hayloft.config import RenditionSettings
from hayloft.renditions.jobs import make_renditions
from hayloft.renditions.location import without_position

XMP = (
    b'<?xpacket begin=""?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description dc:format="i/x" '
    b'exif:GPSLatitude="52,31.2N" exif:GPSLongitude=\'13,24.6E\' drone-dji:GpsLatitude="+52.52">'
    b"<exif:GPSAltitude>345/10</exif:GPSAltitude><dc:title>Berlin wall</dc:title>"
    b"</rdf:Description></rdf:RDF></x:xmpmeta>"
)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "HEIF", "AVIF"])
def test_only_the_position_goes(form: str) -> None:
    data = samples.saved(samples.quadrants(), form, exif=samples.exif_block())
    cleaned = without_position(data)
    before = make_renditions(data, RenditionSettings()).details
    after = make_renditions(cleaned, RenditionSettings()).details
    assert len(cleaned) == len(data)
    assert before.latitude is not None
    assert (after.latitude, after.longitude, after.altitude_m) == (None, None, None)
    assert after.camera_model == before.camera_model
    assert after.taken_at == before.taken_at
    assert after.lens == before.lens
    assert np.array_equal(samples.opened(data), samples.opened(cleaned))
    assert 0x8825 not in samples.opened(cleaned).getexif()


def test_a_file_without_a_position_is_left_alone() -> None:
    data = samples.saved(samples.photo(), "JPEG", exif=samples.exif_block(gps=False))
    assert without_position(data) == data
    assert without_position(b"") == b""


@pytest.mark.parametrize("form", ["JPEG", "WEBP"])
def test_positions_in_xmp_are_blanked(form: str) -> None:
    data = samples.saved(samples.quadrants(), form, xmp=XMP)
    cleaned = without_position(data)
    assert XMP in data
    for secret in (b"52,31.2N", b"13,24.6E", b"345/10", b"+52.52"):
        assert secret not in cleaned
    assert b"Berlin wall" in cleaned
    assert b'dc:format="i/x"' in cleaned
    assert len(cleaned) == len(data)


@pytest.mark.parametrize("packed", [False, True])
def test_positions_in_png_text(packed: bool) -> None:
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", XMP.decode(), zip=packed)
    text.add_text("Comment", "kept", zip=True)
    data = samples.saved(samples.quadrants(), "PNG", pnginfo=text)
    cleaned = samples.opened(without_position(data))
    assert "52,31.2N" not in str(cleaned.info)
    assert cleaned.info["Comment"] == "kept"


@given(st.data())
def test_damaged_files_never_raise_or_change_length(data: st.DataObject) -> None:
    form = data.draw(st.sampled_from(["JPEG", "PNG", "TIFF"]))
    original = bytearray(samples.saved(samples.quadrants(16, 16), form, exif=samples.exif_block()))
    for _ in range(5):
        original[data.draw(st.integers(0, len(original) - 1))] = data.draw(st.integers(0, 255))
    assert len(without_position(bytes(original))) == len(original)
