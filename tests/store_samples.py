"""A store on disk with small volumes, and needles for it."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

from hayloft.config import VolumeSettings
from hayloft.store.local import LocalStore
from hayloft.types import (
    AlternateKey,
    Cookie,
    NeedleMetadata,
    NewNeedle,
    PhotoId,
    Sequence,
    StoreId,
    VolumeId,
    photo_id,
)

VOLUME = VolumeId(5)


SETTINGS = VolumeSettings(size_bytes_max=1 << 20, free_space_reserve_bytes=0)


def open_local(directory: Path, settings: VolumeSettings = SETTINGS) -> LocalStore:
    return LocalStore(directory, store=StoreId("one"), settings=settings)


def photo(sequence: int, volume: VolumeId = VOLUME) -> PhotoId:
    return photo_id(volume, Sequence(sequence))


def needle(
    sequence: int, data: bytes | None = None, key: AlternateKey = AlternateKey.ORIG, **metadata: object
) -> NewNeedle:
    data = random.Random(sequence).randbytes(1000) if data is None else data
    return NewNeedle(
        photo=photo(sequence),
        cookie=Cookie(0xFEDC_BA98_0000_0000 + sequence),
        data=data,
        alternate_key=key,
        metadata=NeedleMetadata(sha256=hashlib.sha256(data).digest(), **metadata),  # type: ignore[arg-type]
    )
