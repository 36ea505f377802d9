"""Shots of one scene, which are no copies of each other: what a method must not link.

Each maker returns groups of pictures; no two of one group are copies of each other. Neighbouring frames
of flights come with the photos themselves (a folder whose name begins with ``aerial``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import cv2
import numpy as np

from similarity.disguises import Picture

Group = list[Picture]


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
    "second shots": bursts,
    "overlapping frames": overlaps,
}
