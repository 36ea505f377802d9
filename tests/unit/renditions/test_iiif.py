"""IIIF requests: what the specification's tables say, the bounds, and forms that mean the same."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hayloft.errors import InvalidRequest
from hayloft.renditions.iiif import Bounds, Picture, Region, information, parse

BOUNDS = Bounds(side_max=4096, pixels_max=16_000_000)


def order(
    region: str = "full",
    size: str = "max",
    rotation: str = "0",
    rest: str = "default.jpg",
    *,
    width: int = 600,
    height: int = 400,
    bounds: Bounds = BOUNDS,
) -> Picture:
    return parse(region, size, rotation, rest, width=width, height=height, bounds=bounds)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("full", (0, 0, 600, 400)),
        ("square", (100, 0, 400, 400)),
        ("10,20,30,40", (10, 20, 30, 40)),
        ("590,390,100,100", (590, 390, 10, 10)),
        ("pct:10,10,50,50", (60, 40, 300, 200)),
        ("pct:41.6,7.5,40,70", (250, 30, 240, 280)),
        ("pct:50,50,100,100", (300, 200, 300, 200)),
    ],
)
def test_regions(text: str, place: tuple[int, int, int, int]) -> None:
    x, y, width, height = place
    assert order(region=text).region == Region(x=x, y=y, width=width, height=height)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Full",
        "0,0,0,10",
        "0,0,10,0",
        "600,0,10,10",
        "0,400,10,10",
        "-1,0,10,10",
        "1,2,3",
        "1,2,3,4,5",
        "1.5,0,10,10",
        "pct:0,0,0,10",
        "pct:100,0,10,10",
        "pct:a,0,10,10",
        "٣,0,10,10",
        "9" * 30 + ",0,1,1",
    ],
)
def test_regions_that_are_none(text: str) -> None:
    with pytest.raises(InvalidRequest):
        order(region=text)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("max", (600, 400)),
        ("300,", (300, 200)),
        (",100", (150, 100)),
        ("pct:50", (300, 200)),
        ("pct:33.333", (200, 133)),
        ("100,300", (100, 300)),
        ("!300,300", (300, 200)),
        ("!600,100", (150, 100)),
        ("600,400", (600, 400)),
        ("1,", (1, 1)),
        ("^1200,", (1200, 800)),
        ("^,800", (1200, 800)),
        ("^pct:200", (1200, 800)),
        ("^1200,100", (1200, 100)),
        ("^!1200,2000", (1200, 800)),
        ("^300,", (300, 200)),
    ],
)
def test_sizes(text: str, size: tuple[int, int]) -> None:
    picture = order(size=text)
    assert (picture.width, picture.height) == size


@pytest.mark.parametrize(
    "text",
    [
        "",
        ",",
        "full",
        "0,",
        ",0",
        "0,0",
        "pct:0",
        "pct:-1",
        "pct:",
        "601,",
        ",401",
        "601,400",
        "pct:101",
        "!700,700",
        "!10,",
        "^",
        "^4097,",
        "^4096,4096",
        "^pct:9999",
        "1e2,",
        "^^10,",
        "10;20",
    ],
)
def test_sizes_that_are_none(text: str) -> None:
    with pytest.raises(InvalidRequest):
        order(size=text)


def test_max_keeps_to_the_bounds() -> None:
    picture = order(width=10_000, height=5_000)
    assert (picture.width, picture.height) == (4096, 2048)
    assert picture.canonical == "full/max/0/default.jpg"
    square = order(width=10_000, height=10_000)
    assert square.width * square.height <= BOUNDS.pixels_max
    assert square.width == square.height == 4000


def test_enlarged_max_goes_to_the_bounds() -> None:
    picture = order(size="^max")
    assert picture.width == 4096
    assert picture.width * picture.height <= BOUNDS.pixels_max


@pytest.mark.parametrize(
    ("text", "mirrored", "degrees"),
    [("0", False, 0), ("90", False, 90), ("!180", True, 180), ("22.5", False, 22.5), ("360", False, 0)],
)
def test_rotations(text: str, mirrored: bool, degrees: float) -> None:
    picture = order(rotation=text)
    assert (picture.mirrored, picture.degrees) == (mirrored, degrees)


@pytest.mark.parametrize("text", ["", "-1", "361", "nan", "!", "!!0", "1e1", "90deg"])
def test_rotations_that_are_none(text: str) -> None:
    with pytest.raises(InvalidRequest):
        order(rotation=text)


@pytest.mark.parametrize(
    "text", ["", "default", "default.", ".jpg", "native.jpg", "default.gif", "default.jpg.jpg"]
)
def test_qualities_and_formats_that_are_none(text: str) -> None:
    with pytest.raises(InvalidRequest):
        order(rest=text)


@pytest.mark.parametrize(
    ("segments", "canonical"),
    [
        (("full", "max", "0", "default.jpg"), "full/max/0/default.jpg"),
        (("0,0,600,400", "600,", "0.0", "color.jpg"), "full/max/0/default.jpg"),
        (("pct:0,0,100,100", "pct:50", "360", "gray.png"), "full/300,200/0/gray.png"),
        (("square", "!100,200", "!90.50", "bitonal.webp"), "100,0,400,400/100,100/!90.5/bitonal.webp"),
        (("full", "^1200,", "0", "default.jpg"), "full/^1200,800/0/default.jpg"),
    ],
)
def test_canonical_forms(segments: tuple[str, str, str, str], canonical: str) -> None:
    picture = order(*segments)
    assert picture.canonical == canonical
    again = order(*canonical.split("/"))
    assert (again.region, again.width, again.height) == (picture.region, picture.width, picture.height)
    assert again.canonical == canonical


NUMBERS = st.integers(0, 9000).map(str)
SIZES = st.one_of(
    st.sampled_from(["max", "^max"]),
    st.tuples(st.sampled_from(["", "^", "!", "^!"]), NUMBERS, NUMBERS).map(
        lambda t: f"{t[0]}{t[1]},{t[2]}"
    ),
    st.tuples(st.sampled_from(["", "^"]), NUMBERS).map(lambda t: f"{t[0]}{t[1]},"),
    st.tuples(st.sampled_from(["", "^"]), st.floats(0, 900)).map(lambda t: f"{t[0]}pct:{t[1]:.3f}"),
)
REGIONS = st.one_of(
    st.sampled_from(["full", "square"]),
    st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS).map(",".join),
)


@given(REGIONS, SIZES, st.integers(1, 20_000), st.integers(1, 20_000))
def test_no_order_is_beyond_the_bounds(region: str, size: str, width: int, height: int) -> None:
    try:
        picture = order(region, size, width=width, height=height)
    except InvalidRequest:
        return
    place = picture.region
    assert 0 <= place.x < place.x + place.width <= width
    assert 0 <= place.y < place.y + place.height <= height
    assert 1 <= picture.width <= BOUNDS.side_max
    assert 1 <= picture.height <= BOUNDS.side_max
    assert picture.width * picture.height <= BOUNDS.pixels_max
    if "^" not in size:
        assert picture.width <= place.width
        assert picture.height <= place.height
    again = order(*picture.canonical.split("/"), width=width, height=height)
    assert (again.region, again.width, again.height) == (place, picture.width, picture.height)


@given(st.text(max_size=20), st.text(max_size=20), st.text(max_size=20), st.text(max_size=20))
def test_any_text_is_an_order_or_an_error(region: str, size: str, rotation: str, rest: str) -> None:
    with contextlib.suppress(InvalidRequest):
        order(region, size, rotation, rest)


def test_the_information_document() -> None:
    info = information(
        address="http://x/iiif/3/7",
        width=3000,
        height=2000,
        sizes=((256, 171), (2048, 1365)),
        bounds=BOUNDS,
    )
    assert info["profile"] == "level2"
    assert info["type"] == "ImageService3"
    assert (info["width"], info["height"]) == (3000, 2000)
    assert info["sizes"] == [{"width": 256, "height": 171}, {"width": 2048, "height": 1365}]
    assert info["tiles"] == [{"width": 512, "height": 512, "scaleFactors": [1, 2, 4, 8]}]
    assert (info["maxWidth"], info["maxHeight"], info["maxArea"]) == (4096, 4096, 16_000_000)
