"""Strangers that share what is laid over them, set around them or printed beside them.

Every kind is one thing (a logo, a watermark, a frame, a screen) that many photos are given, as an agency,
a program or a shop does it: at a size that goes by the photo's own, and saved anew. The photos are no
copies of each other: any link is the fault of what they share.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from similarity.disguises import Picture, fit, phone_screen, write

SIDE_PIXELS: Final = 800
"""Longer side of a photo before it is given anything."""
QUALITY: Final = 85

Paint = NDArray[np.uint8]
"""``uint8[height, width, 4]``: blue, green, red, and how far it covers what is below."""


def corner_logo(picture: Picture) -> Picture:
    """An agency's emblem and name in the lower right corner, a quarter of the width."""
    return _laid(picture, _scaled(_emblem(), round(picture.shape[1] * 0.25)), (0.97, 0.97), 0.9)


def large_logo(picture: Picture) -> Picture:
    """The same in the middle, half of the shorter side, half transparent."""
    return _laid(picture, _scaled(_emblem(), round(min(picture.shape[:2]) * 0.5)), (0.5, 0.5), 0.5)


def tiled_words(picture: Picture) -> Picture:
    """Slanted words all over, a third opaque."""
    height, width = picture.shape[:2]
    side = 2 * max(height, width)
    sheet = np.zeros((side, side, 4), np.uint8)
    size = max(height, width) / 800
    for row in range(0, side, round(90 * size)):
        for column in range(-(row % 3) * round(70 * size), side, round(300 * size)):
            _print(sheet, "agency.example", (column, row), 1.1 * size, (255, 255, 255))
    turned = cv2.warpAffine(
        sheet, cv2.getRotationMatrix2D((side / 2, side / 2), 30, 1.0), (side, side), flags=cv2.INTER_LINEAR
    )
    top, left = (side - height) // 2, (side - width) // 2
    return _laid(picture, np.asarray(turned[top : top + height, left : left + width]), (0, 0), 0.35)


def words_across(picture: Picture) -> Picture:
    """Three lines of large opaque letters and an emblem."""
    for baseline in (0.3, 0.6, 0.9):
        picture = write(picture, "SAMPLE ONLY", 0.05, baseline, 0.09, (255, 255, 255))
    return _laid(picture, _scaled(_emblem(), round(picture.shape[1] * 0.18)), (0.97, 0.03), 1.0)


def headline(picture: Picture) -> Picture:
    """A news channel's lower third: two bars with words, a badge in the corner above."""
    height, width = picture.shape[:2]
    picture = picture.copy()
    picture[round(height * 0.74) : round(height * 0.86), : round(width * 0.92)] = (40, 20, 160)
    picture[round(height * 0.86) : round(height * 0.95), : round(width * 0.92)] = (235, 235, 235)
    picture = write(picture, "BREAKING: LIVE FROM THE SCENE", 0.03, 0.82, 0.05, (255, 255, 255))
    picture = write(picture, "more at nine, and on channel.example", 0.03, 0.925, 0.04, (30, 30, 30))
    return _laid(picture, _scaled(_emblem(), round(width * 0.14)), (0.03, 0.04), 1.0)


def ornate_frame(picture: Picture) -> Picture:
    """A carved frame around it, an eighth of the longer side wide, and a passe-partout within."""
    height, width = picture.shape[:2]
    wide, mat = max(height, width) // 8, max(height, width) // 30
    picture = _bordered(picture, mat, (228, 236, 240))
    height, width = picture.shape[0] + 2 * wide, picture.shape[1] + 2 * wide
    canvas = _carving(height, width, wide)
    canvas[wide:-wide, wide:-wide] = picture
    return canvas


def phone(picture: Picture) -> Picture:
    """A screenshot of one phone, always the same bars and buttons."""
    return phone_screen(picture, np.random.default_rng(1))


def leaflet(picture: Picture) -> Picture:
    """A shop's leaflet: the photo in half of its width, printed matter beside and below it."""
    canvas = np.full((900, 700, 3), (205, 232, 246), np.uint8)
    rng = np.random.default_rng(3)
    for _ in range(160):
        centre = (int(rng.integers(0, 700)), int(rng.integers(0, 900)))
        cv2.circle(canvas, centre, int(rng.integers(3, 10)), (170, 205, 235), -1, cv2.LINE_AA)
    canvas = write(canvas, "THIS WEEK ONLY", 0.06, 0.1, 0.055, (30, 30, 190))
    for i, line in enumerate(("two for one", "fresh today", "no more than", "three a head")):
        canvas = write(canvas, line, 0.62, 0.26 + 0.08 * i, 0.032, (60, 60, 60))
    for i, line in enumerate(("open from eight to ten", "corner of mill lane", "shop.example")):
        canvas = write(canvas, line, 0.08, 0.82 + 0.06 * i, 0.035, (60, 90, 60))
    canvas = _laid(canvas, _scaled(_emblem(), 150), (0.93, 0.93), 1.0)
    shown = fit(picture, 380)
    canvas[150 : 150 + shown.shape[0], 35 : 35 + shown.shape[1]] = shown
    return canvas


KINDS: Final[dict[str, Callable[[Picture], Picture]]] = {
    "corner logo": corner_logo,
    "large logo": large_logo,
    "tiled words": tiled_words,
    "words across": words_across,
    "headline": headline,
    "ornate frame": ornate_frame,
    "phone screen": phone,
    "leaflet": leaflet,
}


def given(picture: Picture, kind: str) -> Picture:
    """A photo with what all photos of this kind share, saved anew."""
    seen = KINDS[kind](fit(picture, SIDE_PIXELS))
    ok, data = cv2.imencode(".jpg", seen, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    assert ok
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), dtype=np.uint8)


def _emblem() -> Paint:
    """A ring with a star, rays, and a name below."""
    paint = np.zeros((420, 400, 4), np.uint8)
    middle = (200, 180)
    cv2.circle(paint, middle, 160, (255, 255, 255, 255), 14, cv2.LINE_AA)
    cv2.circle(paint, middle, 128, (60, 60, 200, 255), -1, cv2.LINE_AA)
    angles = np.arange(10) * np.pi / 5 - np.pi / 2
    reach = np.where(np.arange(10) % 2, 45, 110)
    star = np.column_stack([200 + reach * np.cos(angles), 180 + reach * np.sin(angles)])
    cv2.fillPoly(paint, [star.astype(np.int32)], (240, 240, 240, 255), cv2.LINE_AA)
    for angle in np.arange(24) * np.pi / 12:
        ends = [(round(200 + r * np.cos(angle)), round(180 + r * np.sin(angle))) for r in (138, 150)]
        cv2.line(paint, ends[0], ends[1], (255, 255, 255, 255), 5, cv2.LINE_AA)
    _print(paint, "AGENCY", (45, 405), 2.6, (255, 255, 255))
    return paint


def _print(
    paint: Paint, text: str, place: tuple[int, int], size: float, colour: tuple[int, int, int]
) -> None:
    thick = max(1, round(2.6 * size))
    font = cv2.FONT_HERSHEY_SIMPLEX
    cv2.putText(paint, text, place, font, size, (0, 0, 0, 255), thick + max(1, thick // 2), cv2.LINE_AA)
    cv2.putText(paint, text, place, font, size, (*colour, 255), thick, cv2.LINE_AA)


def _scaled(paint: Paint, width: int) -> Paint:
    size = (width, round(paint.shape[0] * width / paint.shape[1]))
    return np.asarray(cv2.resize(paint, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _laid(picture: Picture, paint: Paint, place: tuple[float, float], opacity: float) -> Picture:
    """Paint over a picture; ``place`` shares out what the paint leaves of the width and of the height."""
    height, width = paint.shape[:2]
    left, top = (
        round(share * (picture.shape[1 - i] - paint.shape[1 - i])) for i, share in enumerate(place)
    )
    picture = picture.copy()
    below = picture[top : top + height, left : left + width].astype(np.float32)
    covers = paint[:, :, 3:] * np.float32(opacity / 255)
    picture[top : top + height, left : left + width] = below * (1 - covers) + paint[:, :, :3] * covers
    return picture


def _bordered(picture: Picture, margin: int, colour: tuple[int, int, int]) -> Picture:
    bordered = cv2.copyMakeBorder(picture, *(margin,) * 4, cv2.BORDER_CONSTANT, value=colour)
    return np.asarray(bordered, dtype=np.uint8)


def _carving(height: int, width: int, wide: int) -> Picture:
    """Wood with a row of rosettes in it, as many as fit."""
    rng = np.random.default_rng(5)
    grain = cv2.GaussianBlur(rng.normal(0, 60, (height, width)).astype(np.float32), (0, 0), 9, sigmaY=1)
    canvas = np.clip(np.array([40, 85, 130]) + np.asarray(grain)[:, :, None], 0, 255).astype(np.uint8)
    along, down = round(width / wide), round(height / wide)
    places = [(x, y) for x in np.linspace(0.5, along - 0.5, along) for y in (0.5, down - 0.5)]
    places += [(x, y) for x in (0.5, along - 0.5) for y in np.linspace(1.5, down - 1.5, down - 2)]
    for x, y in places:
        centre = (round(x * width / along), round(y * height / down))
        for turn in range(8):
            angle = turn * np.pi / 4
            leaf = (
                round(centre[0] + wide / 4 * np.cos(angle)),
                round(centre[1] + wide / 4 * np.sin(angle)),
            )
            cv2.ellipse(
                canvas,
                leaf,
                (wide // 6, wide // 14),
                np.degrees(angle),
                0,
                360,
                (70, 150, 205),
                -1,
                cv2.LINE_AA,
            )
        cv2.circle(canvas, centre, wide // 9, (30, 60, 95), -1, cv2.LINE_AA)
        cv2.circle(canvas, centre, wide // 16, (90, 190, 235), -1, cv2.LINE_AA)
    return canvas
