"""Real photos from scikit-image and scikit-learn, grey, and disguises for them."""

from __future__ import annotations

import functools
from collections.abc import Callable

import cv2
import numpy as np
import skimage.data
from numpy.typing import NDArray
from sklearn.datasets import load_sample_image

Grey = NDArray[np.uint8]

NAMES = (
    "astronaut",
    "chelsea",
    "coffee",
    "rocket",
    "motorcycle_left",
    "hubble_deep_field",
    "china.jpg",
    "flower.jpg",
)


@functools.cache
def photo(name: str) -> Grey:
    """A sample as grey pixels, at most 640 on a side."""
    rgb = load_sample_image(name) if name.endswith(".jpg") else _from_skimage(name)
    grey = cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2GRAY)
    scale = 640 / max(grey.shape)
    return cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else grey


def _from_skimage(name: str) -> NDArray[np.uint8]:
    if name.startswith("motorcycle"):
        left, right, _ = skimage.data.stereo_motorcycle()
        return left if name.endswith("left") else right
    return getattr(skimage.data, name)()


def crop(grey: Grey, top: float, left: float, bottom: float, right: float) -> Grey:
    """The part between shares of the height and width."""
    h, w = grey.shape
    return np.ascontiguousarray(grey[int(top * h) : int(bottom * h), int(left * w) : int(right * w)])


def turned(grey: Grey, degrees: float) -> Grey:
    h, w = grey.shape
    matrix = cv2.getRotationMatrix2D((w / 2, h / 2), degrees, 0.9)
    return cv2.warpAffine(grey, matrix, (w, h), borderValue=255)


def recoded(grey: Grey, quality: int) -> Grey:
    return cv2.imdecode(cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], 0)


def scaled(grey: Grey, scale: float) -> Grey:
    return cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def captioned(grey: Grey) -> Grey:
    canvas = grey.copy()
    cv2.putText(canvas, "look at this", (20, grey.shape[0] // 2), cv2.FONT_HERSHEY_SIMPLEX, 2.0, 255, 5)
    return canvas


def headlined(grey: Grey) -> Grey:
    """A channel's two bars with words and a badge, on 480 x 640 pixels."""
    grey = grey.copy()
    grey[350:410, :590], grey[410:455, :590] = 60, 235
    cv2.putText(grey, "BREAKING: LIVE FROM THE SCENE", (20, 392), 0, 1.0, 255, 2, cv2.LINE_AA)
    cv2.putText(grey, "more at nine, and on channel.example", (20, 440), 0, 0.8, 30, 2, cv2.LINE_AA)
    cv2.circle(grey, (60, 60), 40, 255, 5, cv2.LINE_AA)
    return grey


def bordered(grey: Grey) -> Grey:
    return cv2.copyMakeBorder(grey, 60, 60, 60, 60, cv2.BORDER_CONSTANT, value=200)


def seen_aside(grey: Grey) -> Grey:
    h, w = grey.shape
    corners = np.array([[0, 0], [w, 0], [w, h], [0, h]], np.float32)
    moved = np.array([[0.1 * w, 0.05 * h], [w, 0], [0.9 * w, h], [0.05 * w, 0.9 * h]], np.float32)
    return cv2.warpPerspective(grey, cv2.getPerspectiveTransform(corners, moved), (w, h), borderValue=30)


def again(grey: Grey, *, depth_share: float, seed: int = 3) -> Grey:
    """The scene once more: other light and noise, and near things displaced against far ones."""
    rng = np.random.default_rng(seed)
    height, width = grey.shape
    relief = cv2.GaussianBlur(rng.normal(size=(height, width)).astype(np.float32), (0, 0), width / 16)
    relief *= depth_share * width / np.abs(relief).max()
    y, x = np.mgrid[:height, :width].astype(np.float32)
    seen = cv2.remap(grey, x + relief, y + relief / 2, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    noisy = seen * 0.95 + 6 + rng.normal(0, 3, grey.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def watermarked(grey: Grey) -> Grey:
    """A photo agency's mark: large letters and a logo, the same on each photo."""
    canvas = cv2.resize(grey, (640, 480), interpolation=cv2.INTER_AREA)
    for y in (160, 420):
        cv2.putText(canvas, "SAMPLE photo agency", (20, y), cv2.FONT_HERSHEY_SIMPLEX, 1.6, 255, 4)
    cv2.circle(canvas, (560, 80), 50, 255, 6)
    cv2.circle(canvas, (560, 80), 22, 0, -1)
    return canvas


def framed(grey: Grey) -> Grey:
    """Inside the screen of a phone: the same bars and buttons around each photo."""
    screen = np.full((960, 540), 245, np.uint8)
    cv2.putText(screen, "12:41   LTE 87%", (20, 40), cv2.FONT_HERSHEY_SIMPLEX, 1.0, 20, 2)
    cv2.putText(screen, "photo.of.the.day", (90, 110), cv2.FONT_HERSHEY_SIMPLEX, 1.1, 20, 2)
    cv2.circle(screen, (45, 95), 30, 90, -1)
    for i, word in enumerate(("Like", "Comment", "Share")):
        cv2.putText(screen, word, (20 + 170 * i, 680), cv2.FONT_HERSHEY_SIMPLEX, 1.0, 20, 2)
    cv2.putText(screen, "1,204 likes - view all comments", (20, 760), cv2.FONT_HERSHEY_SIMPLEX, 0.9, 20, 2)
    screen[150:630] = cv2.resize(grey, (540, 480), interpolation=cv2.INTER_AREA)
    return screen


def collage(grey: Grey, others: list[Grey]) -> Grey:
    cells = [
        cv2.resize(cell, (400, 300), interpolation=cv2.INTER_AREA)
        for cell in [*others[:2], grey, others[2]]
    ]
    rows = [np.hstack([cells[i], np.full((300, 8), 250, np.uint8), cells[i + 1]]) for i in (0, 2)]
    return np.vstack([rows[0], np.full((8, 808), 250, np.uint8), rows[1]])


DISGUISES: dict[str, Callable[[Grey], Grey]] = {
    "jpeg": lambda g: recoded(g, 20),
    "smaller": lambda g: scaled(g, 0.3),
    "crop": lambda g: crop(g, 0.1, 0.2, 0.7, 0.8),
    "turned 20 degrees": lambda g: turned(g, 20),
    "turned 90 degrees": lambda g: np.ascontiguousarray(np.rot90(g)),
    "mirrored": lambda g: np.ascontiguousarray(g[:, ::-1]),
    "negative": lambda g: 255 - g,
    "captioned": captioned,
    "brighter": lambda g: np.clip(g * 1.3 + 20.0, 0, 255).astype(np.uint8),
    "blurred": lambda g: cv2.GaussianBlur(g, (0, 0), 2.5),
    "bordered": bordered,
    "perspective": seen_aside,
    "screenshot": framed,
    "mirrored crop": lambda g: crop(g, 0.15, 0.1, 0.9, 0.8)[:, ::-1].copy(),
}
