"""A process that appends to, deletes from or compacts a store, and says so after each acknowledgement.

Run as ``python appender.py DIRECTORY MODE FIRST COUNT``: needles ``FIRST …`` of volume 7, their data made
from their numbers alone. Every line written names what has been acknowledged.
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
from pathlib import Path

from hayloft.errors import Conflict, VolumeNotFound
from hayloft.store.local import LocalStore
from hayloft.types import Cookie, NewNeedle, PhotoId, Sequence, StoreId, VolumeId, photo_id

VOLUME = VolumeId(7)
IN_FLIGHT = 8


def data_of(number: int) -> bytes:
    block = hashlib.sha256(str(number).encode()).digest()
    return block * (1 + number * 7 % 200)


def photo_of(number: int) -> PhotoId:
    return photo_id(VOLUME, Sequence(number))


def needle_of(number: int) -> NewNeedle:
    return NewNeedle(photo=photo_of(number), cookie=Cookie(number), data=data_of(number))


async def append(store: LocalStore, number: int) -> None:
    await store.append(VOLUME, needle_of(number))
    print("appended", number, flush=True)  # noqa: T201 - this is what it is for
    if number % 5 == 0 and await store.delete(photo_of(number)):
        print("deleted", number, flush=True)  # noqa: T201


async def main(directory: str, mode: str, first: int, count: int) -> None:
    store = LocalStore(Path(directory), store=StoreId("local"))
    if mode == "compact":
        compacted = 0
        while compacted < count:
            try:
                await store.compact(VOLUME)
                compacted += 1
                print("compacted", compacted, flush=True)  # noqa: T201
            except (Conflict, VolumeNotFound):
                await asyncio.sleep(0.01)
    else:
        for start in range(first, first + count, IN_FLIGHT):
            await asyncio.gather(*(append(store, start + each) for each in range(IN_FLIGHT)))
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
