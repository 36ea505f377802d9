"""Photos that have much in common and are no copies: what a method must not link.

Each maker returns groups of pictures; no two of one group are copies of each other. Neighbouring frames
of flights come with the photos themselves (a folder whose name begins with ``aerial``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import cv2
import numpy as np

from similarity.disguises import Picture, fit, phone_screen, write

Group = list[Picture]


def watermarks(pictures: Sequence[Picture], rng: np.random.Generator) -> list[Group]:
    """All photos of an agency: the same large letters and emblem over each."""
    words = str(rng.choice(["STOCK PHOTO", "SAMPLE ONLY", "agency.example"]))
    return [[_marked(fit(picture, 480), words) for picture in pictures]]


def _marked(picture: Picture, words: str) -> Picture:
    for baseline in (0.3, 0.6, 0.9):
        picture = write(picture, words, 0.05, baseline, 0.09, (255, 255, 255))
    centre = (round(picture.shape[1] * 0.85), round(picture.shape[0] * 0.15))
    cv2.circle(picture, centre, 30, (255, 255, 255), 4, cv2.LINE_AA)
    cv2.circle(picture, centre, 12, (30, 30, 200), -1, cv2.LINE_AA)
    return picture


def screens(pictures: Sequence[Picture], rng: np.random.Generator) -> list[Group]:
    """Screenshots of one phone: different photos between the same bars."""
    seed = int(rng.integers(0, 1 << 30))
    return [[phone_screen(picture, np.random.default_rng(seed)) for picture in pictures]]


def bursts(pictures: Sequence[Picture], rng: np.random.Generator) -> list[Group]:
    """Two shots of a scene: the camera moved a little, things at different depths by different amounts."""
    return [[picture, _second_shot(picture, rng)] for picture in pictures]


def _second_shot(picture: Picture, rng: np.random.Generator) -> Picture:
    """A shot from elsewhere: a smooth depth shifts parts by up to 2.5 % of the width."""
    height, width = picture.shape[:2]
    depth = cv2.GaussianBlur(rng.normal(size=(height, width)).astype(np.float32), (0, 0), width / 14)
    depth = np.asarray(depth / np.abs(depth).max(), dtype=np.float32)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    shift, move = 0.025 * width * depth, rng.uniform(0.02, 0.12) * width
    zoom = rng.uniform(0.97, 1.03)
    sample_x = (x - width / 2) * zoom + width / 2 + np.cos(angle) * (shift + move)
    sample_y = (y - height / 2) * zoom + height / 2 + np.sin(angle) * (shift + move)
    moved = cv2.remap(
        picture,
        sample_x.astype(np.float32),
        sample_y.astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    noisy = np.asarray(moved, dtype=np.float32) * rng.uniform(0.9, 1.1) + rng.normal(0, 4, picture.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def overlaps(pictures: Sequence[Picture], rng: np.random.Generator) -> list[Group]:
    """Neighbouring frames of a flat scene: each goes on where the other ends."""
    return [_frames(picture, rng) for picture in pictures]


def _frames(picture: Picture, rng: np.random.Generator) -> Group:
    width = picture.shape[1]
    shift = round(rng.uniform(0.15, 0.35) * width)
    first, second = picture[:, : width - shift], picture[:, shift:]
    toned = np.clip(second * rng.uniform(0.93, 1.07) + rng.normal(0, 3, second.shape), 0, 255)
    return [np.ascontiguousarray(first), toned.astype(np.uint8)]


KINDS: Final[dict[str, Callable[[Sequence[Picture], np.random.Generator], list[Group]]]] = {
    "shared watermark": watermarks,
    "shared screen": screens,
    "second shots": bursts,
    "overlapping frames": overlaps,
}
