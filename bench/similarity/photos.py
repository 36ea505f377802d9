"""The photos of a benchmark: a folder of them by category, or the samples that scikit-image brings.

Every folder below the given one is a category. Photos are read at most 1024 pixels long. Half of them,
by a hash of their names, are for tuning, the other half for the figures. Files that are no photos are
passed over.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from similarity.disguises import Picture, fit

SIDE_PIXELS: Final = 1024
_ENDINGS: Final = {".jpg", ".jpeg", ".png", ".webp"}
_BYTES_MAX: Final = 30_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Photo:
    """One photo of the collection."""

    name: str
    category: str
    picture: Picture

    @property
    def is_for_tuning(self) -> bool:
        """Whether thresholds may have been chosen by it; the same in every collection that has it."""
        return hashlib.blake2b(self.name.encode(), digest_size=1).digest()[0] % 2 == 0


def read(folder: Path | None, seed: int, limit: int) -> list[Photo]:
    """The folder's photos in an order that the seed makes, at most ``limit``, or the packaged samples."""
    files = paths(folder) if folder else []
    if not files:
        return _samples()
    order = np.random.default_rng(seed).permutation(len(files))
    photos: list[Photo] = []
    for i in order:
        if len(photos) == limit:
            break
        picture = cv2.imread(str(files[i]), cv2.IMREAD_COLOR)
        if picture is not None and min(picture.shape[:2]) >= 100:
            photos.append(_photo(files[i].name, files[i].parent.name, np.asarray(picture, dtype=np.uint8)))
    return photos


def paths(folder: Path) -> list[Path]:
    """The files below a folder that may be photos, in order."""
    return sorted(path for path in folder.rglob("*") if _may_be_photo(path))


def _may_be_photo(path: Path) -> bool:
    # Folders of broken and hostile files are no photos, and some of these files take minutes to decode.
    usual = not {"odd", "orientation"} & set(path.parts)
    return usual and path.suffix.lower() in _ENDINGS and path.stat().st_size < _BYTES_MAX


def _photo(name: str, category: str, picture: Picture) -> Photo:
    smaller = fit(picture, SIDE_PIXELS) if max(picture.shape[:2]) > SIDE_PIXELS else picture
    return Photo(name=name, category=category, picture=smaller)


def _samples() -> list[Photo]:
    """A dozen photos that are on every developer's machine; too few for figures, enough to see it run."""
    import skimage.data
    from sklearn.datasets import load_sample_image

    pictures: dict[str, Any] = {
        name: getattr(skimage.data, name)()
        for name in ("astronaut", "chelsea", "coffee", "rocket", "hubble_deep_field")
    }
    pictures["left"], pictures["right"], _ = getattr(skimage.data, "stereo_motorcycle")()  # noqa: B009 - untyped
    pictures |= {name: load_sample_image(f"{name}.jpg") for name in ("china", "flower")}
    return [
        _photo(name, name, np.ascontiguousarray(np.asarray(rgb, dtype=np.uint8)[:, :, ::-1]))
        for name, rgb in pictures.items()
    ]
