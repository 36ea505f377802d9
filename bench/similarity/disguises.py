"""Disguises: what people and programs do to a photo before it comes back.

Every disguise takes a photo (BGR, uint8), a random generator and a few other photos (for collages), and
returns a new picture. The same seed gives the same picture. Disguises come in three groups: ``EVERYDAY``
(those that the target is stated for), ``HARDER`` and ``OPEN`` (those no method here solves).
Nothing here knows how photos are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

Picture: TypeAlias = NDArray[np.uint8]
Disguise: TypeAlias = Callable[[Picture, np.random.Generator, Sequence[Picture]], Picture]

WORDS: Final = (
    "sale today",
    "best of 2024",
    "look at this",
    "new arrivals",
    "happy birthday",
    "breaking news",
)


def _recode(picture: Picture, quality: int) -> Picture:
    ok, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert ok
    return _as_picture(cv2.imdecode(data, cv2.IMREAD_COLOR))


def _as_picture(pixels: Any) -> Picture:
    return np.ascontiguousarray(np.clip(np.asarray(pixels), 0, 255).astype(np.uint8))


def resize_to(picture: Picture, width: int, height: int) -> Picture:
    """The picture at exactly this size in pixels; averages when it shrinks."""
    shrinks = width < picture.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return _as_picture(cv2.resize(picture, (max(width, 8), max(height, 8)), interpolation=method))


def fit(picture: Picture, side: int) -> Picture:
    """The picture with its longer side ``side`` pixels long."""
    height, width = picture.shape[:2]
    scale = side / max(height, width)
    return resize_to(picture, round(width * scale), round(height * scale))


def _fill(picture: Picture, width: int, height: int) -> Picture:
    """Scale and centre-crop to fill a rectangle, as collages do."""
    scale = max(width / picture.shape[1], height / picture.shape[0])
    scaled = resize_to(picture, round(picture.shape[1] * scale) + 1, round(picture.shape[0] * scale) + 1)
    top, left = (scaled.shape[0] - height) // 2, (scaled.shape[1] - width) // 2
    return scaled[top : top + height, left : left + width].copy()


def crop_area(picture: Picture, rng: np.random.Generator, share: float) -> Picture:
    """A crop somewhere in the picture that keeps ``share`` of its area; the aspect changes a little."""
    height, width = picture.shape[:2]
    stretch = rng.uniform(0.9, 1.1)
    h = min(height, round(height * np.sqrt(share) * stretch))
    w = min(width, round(width * np.sqrt(share) / stretch))
    top, left = int(rng.integers(0, height - h + 1)), int(rng.integers(0, width - w + 1))
    return picture[top : top + h, left : left + w].copy()


def _rotate(picture: Picture, degrees: float, fill: int) -> Picture:
    """Rotate about the centre; the canvas grows so that nothing is lost."""
    height, width = picture.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
    cos, sin = abs(matrix[0, 0]), abs(matrix[0, 1])
    w, h = round(width * cos + height * sin), round(width * sin + height * cos)
    matrix[:, 2] += ((w - width) / 2, (h - height) / 2)
    return _as_picture(
        cv2.warpAffine(picture, matrix, (w, h), flags=cv2.INTER_LINEAR, borderValue=(fill,) * 3)
    )


def write(
    picture: Picture, text: str, left: float, baseline: float, height_share: float, colour: tuple[int, ...]
) -> Picture:
    """The picture with a line of text; places and height are shares of the picture's own size."""
    height, width = picture.shape[:2]
    scale = height * height_share / 22
    origin = (round(width * left), round(height * baseline))
    thickness = max(1, round(scale * 2.4))
    canvas = picture.copy()
    cv2.putText(
        canvas, text, origin, cv2.FONT_HERSHEY_SIMPLEX, scale, (0, 0, 0), thickness + 2, cv2.LINE_AA
    )
    cv2.putText(canvas, text, origin, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, thickness, cv2.LINE_AA)
    return canvas


def _perspective(picture: Picture, rng: np.random.Generator, strength: float) -> Picture:
    height, width = picture.shape[:2]
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    inwards = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]], np.float32)
    moved = corners + inwards * rng.uniform(0, strength, (4, 2)).astype(np.float32) * (width, height)
    matrix = cv2.getPerspectiveTransform(corners, moved.astype(np.float32))
    return _as_picture(cv2.warpPerspective(picture, matrix, (width, height), borderValue=(30, 30, 30)))


def _tone(picture: Picture, gain: float, offset: float, gamma: float = 1.0) -> Picture:
    scale = np.clip(np.arange(256) / 255.0, 0, 1) ** gamma * 255
    return _as_picture(cv2.LUT(picture, _as_picture(scale * gain + offset)))


def _tile(cells: Sequence[Picture], columns: int, rows: int, side: int, gap: int) -> Picture:
    width, height = columns * side + (columns + 1) * gap, rows * side + (rows + 1) * gap
    canvas = np.full((height, width, 3), 245, np.uint8)
    for i, cell in enumerate(cells):
        top, left = gap + (i // columns) * (side + gap), gap + (i % columns) * (side + gap)
        canvas[top : top + side, left : left + side] = _fill(cell, side, side)
    return canvas


# Everyday disguises ---------------------------------------------------------------------------------


def jpeg30(picture: Picture, _rng: np.random.Generator, _others: Sequence[Picture]) -> Picture:
    """Saved again at JPEG quality 30."""
    return _recode(picture, 30)


def quarter(picture: Picture, _rng: np.random.Generator, _others: Sequence[Picture]) -> Picture:
    """A quarter of the width and height."""
    return resize_to(picture, picture.shape[1] // 4, picture.shape[0] // 4)


def crop80(picture: Picture, rng: np.random.Generator, _others: Sequence[Picture]) -> Picture:
    """A crop to 80 % of the area."""
    return crop_area(picture, rng, 0.8)


def crop50(picture: Picture, rng: np.random.Generator, _others: Sequence[Picture]) -> Picture:
    """A crop to half of the area."""
    return crop_area(picture, rng, 0.5)


def crop25(picture: Picture, rng: np.random.Generator, _others: Sequence[Picture]) -> Picture:
    """A crop to a quarter of the area."""
    return crop_area(picture, rng, 0.25)


def rotate5(picture: Picture, rng: np.random.Generator, _others: Sequence[Picture]) -> Picture:
    """Turned by 5°, corners filled."""
    return _rotate(picture, 5 * rng.choice([-1, 1]), int(rng.choice([0, 255])))


def rotate90(picture: Picture, rng: np.random.Generator, _others: Sequence[Picture]) -> Picture:
    """Turned by 90°, either way."""
    return np.ascontiguousarray(np.rot90(picture, int(rng.choice([1, 3]))))


def mirrored(picture: Picture, _rng: np.random.Generator, _others: Sequence[Picture]) -> Picture:
    """Left and right exchanged."""
    return np.ascontiguousarray(picture[:, ::-1])


def text(picture: Picture, rng: np.random.Generator, _others: Sequence[Picture]) -> Picture:
    """Two lines of large text across it."""
    for baseline in (0.35, 0.85):
        picture = write(picture, str(rng.choice(WORDS)), 0.05, baseline, 0.1, (255, 255, 255))
    return picture


def brightness_contrast(picture: Picture, rng: np.random.Generator, _others: Sequence[Picture]) -> Picture:
    """Brighter or darker, more or less contrast."""
    return _tone(picture, rng.uniform(0.65, 1.5), rng.uniform(-35, 35))


def grey(picture: Picture, _rng: np.random.Generator, _others: Sequence[Picture]) -> Picture:
    """Without colour."""
    return _as_picture(cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR))


def blurred(picture: Picture, _rng: np.random.Generator, _others: Sequence[Picture]) -> Picture:
    """Blurred by a Gaussian of 0.6 % of the longer side."""
    return _as_picture(cv2.GaussianBlur(picture, (0, 0), 0.006 * max(picture.shape[:2])))


def bordered(picture: Picture, rng: np.random.Generator, _others: Sequence[Picture]) -> Picture:
    """A plain border, 8 to 15 % of the size on each side."""
    margin = round(rng.uniform(0.08, 0.15) * max(picture.shape[:2]))
    colour = tuple(int(c) for c in rng.integers(0, 256, 3))
    return _as_picture(cv2.copyMakeBorder(picture, *(margin,) * 4, cv2.BORDER_CONSTANT, value=colour))


def filtered(picture: Picture, rng: np.random.Generator, _others: Sequence[Picture]) -> Picture:
    """A social network's filter: tinted, curved, vignetted."""
    tint = np.array([rng.uniform(0.7, 1.0), rng.uniform(0.85, 1.05), rng.uniform(0.95, 1.2)])
    height, width = picture.shape[:2]
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    vignette = 1 - 0.35 * np.clip(x**2 + y**2, 0, 1.6) / 1.6
    return _as_picture(_tone(picture, 0.95, 12, rng.uniform(0.7, 1.3)) * tint * vignette[:, :, None])


def perspective(picture: Picture, rng: np.random.Generator, _others: Sequence[Picture]) -> Picture:
    """Seen at an angle: corners moved by up to 10 % of the size."""
    return _perspective(picture, rng, 0.10)


def collage(picture: Picture, rng: np.random.Generator, others: Sequence[Picture]) -> Picture:
    """One of four in a 2×2 collage, each cut to a square."""
    cells = [*others[:3]]
    cells.insert(int(rng.integers(0, 4)), picture)
    return _tile(cells, 2, 2, 320, 6)


def screenshot(picture: Picture, rng: np.random.Generator, _others: Sequence[Picture]) -> Picture:
    """Inside the screenshot of a phone: status bar, header, photo, lines of text, buttons."""
    return phone_screen(picture, rng)


def several(picture: Picture, rng: np.random.Generator, _others: Sequence[Picture]) -> Picture:
    """Cropped, turned a little, toned, captioned, shrunk and saved again."""
    picture = _rotate(crop_area(picture, rng, 0.7), rng.uniform(-4, 4), 255)
    picture = write(
        _tone(picture, rng.uniform(0.8, 1.2), rng.uniform(-20, 20)),
        str(rng.choice(WORDS)),
        0.05,
        0.92,
        0.07,
        (0, 220, 255),
    )
    return _recode(fit(picture, max(picture.shape[:2]) * 2 // 3), 50)


def phone_screen(picture: Picture, rng: np.random.Generator) -> Picture:
    """A phone's screen, 540×960, that shows the photo; the frame is the same for every photo."""
    dark = bool(rng.integers(0, 2))
    paper, ink = (24, 240) if dark else (250, 30)
    canvas = np.full((960, 540, 3), paper, np.uint8)
    ink_colour = (ink,) * 3
    cv2.putText(canvas, "12:41", (24, 34), cv2.FONT_HERSHEY_SIMPLEX, 0.7, ink_colour, 2, cv2.LINE_AA)
    cv2.putText(canvas, "LTE  87%", (410, 34), cv2.FONT_HERSHEY_SIMPLEX, 0.6, ink_colour, 2, cv2.LINE_AA)
    cv2.circle(canvas, (44, 88), 24, (60, 120, 220), -1, cv2.LINE_AA)
    cv2.putText(
        canvas, "photo.of.the.day", (82, 96), cv2.FONT_HERSHEY_SIMPLEX, 0.65, ink_colour, 2, cv2.LINE_AA
    )
    shown = resize_to(picture, 540, min(640, round(540 * picture.shape[0] / picture.shape[1])))
    canvas[130 : 130 + shown.shape[0]] = shown
    below = 130 + shown.shape[0]
    for i, label in enumerate(("Like", "Comment", "Share")):
        cv2.putText(
            canvas,
            label,
            (24 + 150 * i, below + 40),
            cv2.FONT_HERSHEY_SIMPLEX,
            0.6,
            ink_colour,
            2,
            cv2.LINE_AA,
        )
    cv2.putText(
        canvas, "1,204 likes", (24, below + 80), cv2.FONT_HERSHEY_SIMPLEX, 0.6, ink_colour, 1, cv2.LINE_AA
    )
    return canvas


# Harder ones ---------------------------------------------------------------------------------------


def thumbnail64(picture: Picture, _rng: np.random.Generator, _others: Sequence[Picture]) -> Picture:
    """A thumbnail, 64 pixels on its longer side."""
    return fit(picture, 64)


def jpeg8(picture: Picture, _rng: np.random.Generator, _others: Sequence[Picture]) -> Picture:
    """Saved again at JPEG quality 8."""
    return _recode(picture, 8)


def stickers(picture: Picture, rng: np.random.Generator, _others: Sequence[Picture]) -> Picture:
    """Six bright discs and stars on it."""
    canvas = picture.copy()
    height, width = picture.shape[:2]
    for _ in range(6):
        centre = (int(rng.integers(0, width)), int(rng.integers(0, height)))
        radius = int(rng.uniform(0.05, 0.1) * max(height, width))
        cv2.circle(canvas, centre, radius, tuple(int(c) for c in rng.integers(0, 256, 3)), -1, cv2.LINE_AA)
        eye = (centre[0] - radius // 3, centre[1] - radius // 4)
        cv2.circle(canvas, eye, max(1, radius // 6), (0, 0, 0), -1, cv2.LINE_AA)
        cv2.ellipse(
            canvas,
            centre,
            (radius // 2, radius // 2),
            0,
            20,
            160,
            (0, 0, 0),
            max(1, radius // 10),
            cv2.LINE_AA,
        )
    return canvas


def rotate45(picture: Picture, rng: np.random.Generator, _others: Sequence[Picture]) -> Picture:
    """Turned by 45°, corners filled."""
    return _rotate(picture, 45 * rng.choice([-1, 1]), int(rng.choice([0, 255])))


def squeezed(picture: Picture, rng: np.random.Generator, _others: Sequence[Picture]) -> Picture:
    """One side shortened to two thirds."""
    height, width = picture.shape[:2]
    return (
        resize_to(picture, width * 2 // 3, height)
        if rng.integers(0, 2)
        else resize_to(picture, width, height * 2 // 3)
    )


def noise(picture: Picture, rng: np.random.Generator, _others: Sequence[Picture]) -> Picture:
    """Gaussian noise, standard deviation 25 of 255."""
    return _as_picture(picture + rng.normal(0, 25, picture.shape))


def moire(picture: Picture, rng: np.random.Generator, _others: Sequence[Picture]) -> Picture:
    """Photographed from a screen: slanted beats of the pixel grid, a colour cast, a soft lens."""
    height, width = picture.shape[:2]
    y, x = np.mgrid[:height, :width]
    angle, period = rng.uniform(0.1, 0.5), rng.uniform(4, 9)
    beats = np.sin((x * np.cos(angle) + y * np.sin(angle)) * 2 * np.pi / period)
    beats = beats + np.sin((y * np.cos(angle) - x * np.sin(angle)) * 2 * np.pi / (period * 1.15))
    soft = cv2.GaussianBlur(picture, (0, 0), 0.8)
    return _as_picture(soft * np.array([1.06, 1.0, 0.92]) + 13 * beats[:, :, None])


def strong_perspective(picture: Picture, rng: np.random.Generator, _others: Sequence[Picture]) -> Picture:
    """Seen from far aside: corners moved by up to 28 % of the size."""
    return _perspective(picture, rng, 0.28)


def posterised(picture: Picture, _rng: np.random.Generator, _others: Sequence[Picture]) -> Picture:
    """Four levels a channel."""
    return _as_picture(picture // 64 * 85)


def mirrored_cropped_captioned(
    picture: Picture, rng: np.random.Generator, _others: Sequence[Picture]
) -> Picture:
    """Mirrored, cut to 60 % and captioned."""
    return write(
        mirrored(crop_area(picture, rng, 0.6), rng, ()),
        str(rng.choice(WORDS)),
        0.05,
        0.9,
        0.09,
        (255, 255, 255),
    )


def heavy_blur(picture: Picture, _rng: np.random.Generator, _others: Sequence[Picture]) -> Picture:
    """Blurred by a Gaussian of 2 % of the longer side."""
    return _as_picture(cv2.GaussianBlur(picture, (0, 0), 0.02 * max(picture.shape[:2])))


# Open ones -----------------------------------------------------------------------------------------


def crop10(picture: Picture, rng: np.random.Generator, _others: Sequence[Picture]) -> Picture:
    """A crop to a tenth of the area."""
    return crop_area(picture, rng, 0.10)


def grid_cell(picture: Picture, rng: np.random.Generator, others: Sequence[Picture]) -> Picture:
    """One of nine in a 3×3 grid, each cut to a square of 200 pixels."""
    cells = [*others[:8]]
    cells.insert(int(rng.integers(0, 9)), picture)
    return _tile(cells, 3, 3, 200, 4)


def sketch(picture: Picture, _rng: np.random.Generator, _others: Sequence[Picture]) -> Picture:
    """A pencil sketch: the picture divided by its blurred self."""
    pale = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY).astype(np.float32)
    soft = cv2.GaussianBlur(255 - pale, (0, 0), 0.012 * max(picture.shape[:2]))
    drawn = _as_picture(pale * 255 / np.maximum(255 - soft, 1))
    return _as_picture(cv2.cvtColor(drawn, cv2.COLOR_GRAY2BGR))


def inverted(picture: Picture, _rng: np.random.Generator, _others: Sequence[Picture]) -> Picture:
    """A negative: dark and light exchanged."""
    return _as_picture(255 - picture)


EVERYDAY: Final[dict[str, Disguise]] = {
    "jpeg quality 30": jpeg30,
    "a quarter": quarter,
    "crop 80 %": crop80,
    "crop 50 %": crop50,
    "crop 25 %": crop25,
    "rotated 5°": rotate5,
    "rotated 90°": rotate90,
    "mirrored": mirrored,
    "text": text,
    "brightness, contrast": brightness_contrast,
    "grey": grey,
    "blurred": blurred,
    "bordered": bordered,
    "filtered": filtered,
    "perspective": perspective,
    "collage": collage,
    "screenshot": screenshot,
    "several at once": several,
}
"""The everyday disguises; a collage and a screenshot count as two."""

HARDER: Final[dict[str, Disguise]] = {
    "thumbnail 64": thumbnail64,
    "jpeg quality 8": jpeg8,
    "stickers": stickers,
    "rotated 45°": rotate45,
    "squeezed": squeezed,
    "noise": noise,
    "moiré": moire,
    "strong perspective": strong_perspective,
    "posterised": posterised,
    "mirrored, cropped, captioned": mirrored_cropped_captioned,
    "heavy blur": heavy_blur,
}

OPEN: Final[dict[str, Disguise]] = {
    "crop 10 %": crop10,
    "grid cell": grid_cell,
    "pencil sketch": sketch,
    "inverted": inverted,
}

ALL: Final[dict[str, Disguise]] = {**EVERYDAY, **HARDER, **OPEN}
