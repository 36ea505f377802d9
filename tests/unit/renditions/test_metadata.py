"""What EXIF says is believed field by field; nonsense is left out and never an error."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import rendition_samples as samples
from hayloft.config import RenditionSettings
from hayloft.renditions.jobs import make_renditions
from hayloft.renditions.metadata import details
from hayloft.types import PhotoDetails


def of(exif: Image.Exif) -> PhotoDetails:
    return details(exif.tobytes().removeprefix(b"Exif\0\0"), width=1, height=1)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "HEIF", "AVIF"])
def test_a_whole_block_in_every_format(form: str) -> None:
    data = samples.saved(samples.quadrants(), form, exif=samples.exif_block())
    found = make_renditions(data, RenditionSettings()).details
    assert found.camera_make == "Canon"
    assert found.camera_model == "Canon EOS R5"
    assert found.lens == "Canon RF35mm F1.8 MACRO IS STM"
    assert found.taken_at == "2024-05-17T18:42:03.250+02:00"
    assert found.exposure_seconds == pytest.approx(1 / 250)
    assert (found.f_number, found.iso, found.focal_length_mm, found.focal_length_35mm) == (2.8, 400, 35, 35)
    assert (found.latitude, found.longitude) == (pytest.approx(52.52), pytest.approx(-13.41))
    assert found.altitude_m == 34.5


def test_no_block() -> None:
    assert details(b"", width=7, height=5) == PhotoDetails(width=7, height=5)


def test_without_an_offset_the_time_is_local() -> None:
    exif = Image.Exif()
    exif[0x0132] = "2019:12:31 23:59:59"
    assert of(exif).taken_at == "2019-12-31T23:59:59"


@pytest.mark.parametrize(
    "text", ["0000:00:00 00:00:00", "2024:13:01 00:00:00", "yesterday", "", "2024:05:17"]
)
def test_a_time_that_is_none_is_left_out(text: str) -> None:
    exif = Image.Exif()
    exif[0x0132] = text
    assert of(exif).taken_at == ""


@pytest.mark.parametrize(
    "position",
    [
        {},
        {1: "N", 2: (52.0, 0.0, 0.0)},
        {1: "N", 2: (0.0, 0.0, 0.0), 3: "E", 4: (0.0, 0.0, 0.0)},
        {1: "N", 2: (152.0, 0.0, 0.0), 3: "E", 4: (13.0, 0.0, 0.0)},
        {1: "N", 2: (52.0, 0.0), 3: "E", 4: (13.0, 0.0, 0.0)},
    ],
)
def test_a_position_that_is_none_is_left_out(position: dict[int, Any]) -> None:
    exif = Image.Exif()
    exif[0x8825] = {**position, 6: 10.0}
    found = of(exif)
    assert (found.latitude, found.longitude, found.altitude_m) == (None, None, None)


def test_the_south_and_the_west_are_negative() -> None:
    exif = Image.Exif()
    exif[0x8825] = {1: "S", 2: (33.0, 30.0, 0.0), 3: "W", 4: (70.0, 0.0, 36.0), 5: b"\x01", 6: 12.0}
    found = of(exif)
    assert (found.latitude, found.longitude, found.altitude_m) == (-33.5, -70.01, -12.0)


def test_text_is_cleaned_and_cut() -> None:
    exif = Image.Exif()
    exif[0x0110] = "  Ca\x07mera\n\tX " + "y" * 500
    model = of(exif).camera_model
    assert model.startswith("Ca mera X y")
    assert len(model) == 128


@given(st.binary(max_size=400))
def test_any_bytes_say_something_or_nothing(data: bytes) -> None:
    assert isinstance(details(data, width=1, height=1), PhotoDetails)
    assert isinstance(details(b"II*\0\x08\0\0\0" + data, width=1, height=1), PhotoDetails)


@given(st.data())
def test_a_damaged_block_never_raises(data: st.DataObject) -> None:
    block = bytearray(samples.exif_block().tobytes().removeprefix(b"Exif\0\0"))
    for _ in range(4):
        block[data.draw(st.integers(0, len(block) - 1))] = data.draw(st.integers(0, 255))
    assert isinstance(details(bytes(block), width=1, height=1), PhotoDetails)
