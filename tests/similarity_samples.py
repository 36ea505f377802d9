"""Real photos (scikit-image's), their disguises, and a world around LocalSimilarity, all in memory."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import skimage.data

from hayloft.errors import PhotoDeleted, PhotoNotFound
from hayloft.similarity.describing import describe
from hayloft.similarity.fingerprint import Description
from hayloft.similarity.local import LocalSimilarity
from hayloft.similarity.views import ViewPlan
from hayloft.types import Event, EventKind, PhotoId

FOLDER = Path(skimage.data.__file__).parent
NAMES = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png", "ihc.png")


@cache
def sample(name: str) -> bytes:
    """A packaged photo's file."""
    return (FOLDER / name).read_bytes()


def pixels(name: str) -> np.ndarray:
    """A packaged photo, BGR."""
    image = cv2.imdecode(np.frombuffer(sample(name), np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return image


def jpeg(image: np.ndarray, quality: int = 90) -> bytes:
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def webp(image: np.ndarray, quality: int = 60) -> bytes:
    return cv2.imencode(".webp", image, [cv2.IMWRITE_WEBP_QUALITY, quality])[1].tobytes()


DISGUISES = {
    "recompressed": lambda image: jpeg(image, 25),
    "webp": webp,
    "half": lambda image: jpeg(cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)),
    "rotated_90": lambda image: jpeg(cv2.rotate(image, cv2.ROTATE_90_COUNTERCLOCKWISE)),
    "rotated_180": lambda image: jpeg(cv2.rotate(image, cv2.ROTATE_180)),
    "mirrored": lambda image: jpeg(cv2.flip(image, 1)),
    "mirrored_and_turned": lambda image: jpeg(cv2.transpose(image)),
    "grey": lambda image: jpeg(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)),
}


class InlineDecoder:
    """Describes in this process: quick, and without the pool's protection."""

    def __init__(self) -> None:
        self.described = 0

    async def describe(self, data: bytes | memoryview, *, view: ViewPlan | None = None) -> Description:
        self.described += 1
        return await asyncio.to_thread(describe, data, view=view)

    async def close(self) -> None: ...


@dataclass
class World:
    """The parts around similarity: photos that can be read, a log of events."""

    photos: dict[PhotoId, bytes] = field(default_factory=dict)
    deleted: set[PhotoId] = field(default_factory=set)
    announced: list[tuple[EventKind, PhotoId, Mapping[str, Any]]] = field(default_factory=list)
    position: int = 0

    async def read_original(self, photo: PhotoId) -> bytes:
        if photo in self.deleted:
            raise PhotoDeleted
        if photo not in self.photos:
            raise PhotoNotFound
        return self.photos[photo]

    async def append_event(self, kind: EventKind, photo: PhotoId, payload: Mapping[str, Any]) -> int:
        self.announced.append((kind, photo, payload))
        return len(self.announced)

    def uploaded(self, photo: int, data: bytes) -> Event:
        self.photos[PhotoId(photo)] = data
        self.position += 1
        return Event(
            position=self.position,
            kind=EventKind.UPLOADED,
            photo=PhotoId(photo),
            at_ms=1_000 + self.position,
            payload={
                "sha256": hashlib.sha256(data).hexdigest(),
                "size": len(data),
                "media_type": "image/jpeg",
                "alt_key": "orig",
            },
        )

    def removed(self, photo: int) -> Event:
        self.deleted.add(PhotoId(photo))
        self.position += 1
        return Event(position=self.position, kind=EventKind.DELETED, photo=PhotoId(photo), at_ms=2_000)

    async def open(self, folder: Path, *, url: str | None = None, **options: Any) -> LocalSimilarity:
        options.setdefault("decoder", InlineDecoder())
        return await LocalSimilarity.open(
            url or f"sqlite:///{folder}/similarity.sqlite",
            folder=folder,
            reader=self,
            append_event=self.append_event,
            **options,
        )
