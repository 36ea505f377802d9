"""A data directory that holds any number of photos, written without HTTP because that would take minutes.

Its photos are small squares, of which one batch shares the same bytes, with needles for the original and
the renditions that the gallery shows, and a record with details each. Everything goes through the roles, as
a gateway would do it; only similarity knows nothing of them, so serve it without.

    python -m hayloft.testing.large_library DATA PHOTOS
"""

from __future__ import annotations

import argparse
import asyncio
import io
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from hayloft.assembly import embedded
from hayloft.assembly.data_directory import DataDirectory
from hayloft.config import Settings
from hayloft.types import (
    AlternateKey,
    NeedleMetadata,
    NewNeedle,
    NewPhoto,
    PhotoDetails,
    RenditionSize,
    Sequence,
    new_cookie,
    photo_id,
)

BATCH_PHOTOS: Final = 500
RENDITIONS: Final = (AlternateKey.SMALL, AlternateKey.THUMB)
SIDE_PIXELS: Final = 128
DETAILS: Final = PhotoDetails(
    width=SIDE_PIXELS,
    height=SIDE_PIXELS,
    renditions=tuple(
        RenditionSize(alternate_key=key, width=SIDE_PIXELS, height=SIDE_PIXELS) for key in RENDITIONS
    ),
)
MEDIA_TYPE: Final = "image/webp"
FIRST_CREATED_AT_MS: Final = 1_700_000_000_000


async def fill(data: Path, photos: int) -> None:
    """Make ``data`` and store photos named ``photo 0``, ``photo 1``… in it, one millisecond apart."""
    settings = Settings(data=data, workers=1)
    directory = DataDirectory(data)
    with directory.lock():
        directory.prepare()
        async with embedded.roles(settings, directory) as roles:
            for start in range(0, photos, BATCH_PHOTOS):
                await _store(roles, start, min(BATCH_PHOTOS, photos - start))


async def _store(roles: embedded.Roles, start: int, count: int) -> None:
    lease = await roles.directory.lease(holder="fill", count=count)
    (store,) = roles.stores.values()
    content = _square(start)
    needles = [
        NewNeedle(
            photo=photo_id(lease.volume, Sequence(lease.first + number)),
            cookie=new_cookie(),
            data=content,
            metadata=NeedleMetadata(media_type=MEDIA_TYPE, sha256=(start + number).to_bytes(32, "big")),
        )
        for number in range(count)
    ]
    renditions = [replace(needle, alternate_key=key) for needle in needles for key in RENDITIONS]
    await asyncio.gather(*(store.append(lease.volume, needle) for needle in needles + renditions))
    await asyncio.gather(
        *(roles.directory.commit(_record(needle, start + at)) for at, needle in enumerate(needles))
    )
    await asyncio.gather(*(roles.directory.set_details(needle.photo, DETAILS) for needle in needles))


def _record(needle: NewNeedle, number: int) -> NewPhoto:
    return NewPhoto(
        photo=needle.photo,
        cookie=needle.cookie,
        size=len(needle.data),
        sha256=needle.metadata.sha256,
        media_type=MEDIA_TYPE,
        width=320 + 40 * number % 300,  # rows of a justified grid differ, as those of real photos do
        height=240,
        name=f"photo {number}",
        created_at_ms=FIRST_CREATED_AT_MS + number,
    )


def _square(seed: int) -> bytes:
    rough = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(rough).resize((SIDE_PIXELS, SIDE_PIXELS)).save(buffer, "WEBP", quality=70)
    return buffer.getvalue()


def main() -> None:
    """Fill what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("photos", type=int)
    options = parser.parse_args()
    asyncio.run(fill(options.data, options.photos))


if __name__ == "__main__":
    main()
