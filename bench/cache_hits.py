"""The cache's hit ratio on a Zipf-distributed replay, next to plain LRU's and the best possible.

Requests are drawn once and replayed through every contender: plain LRU over the same number of photos, this
cache with memory alone, this cache with nine tenths of its places on disk, the photos that are in truth the
most popular held for ever (what any policy aims at, for requests that do not change over time), and
W-TinyLFU if the package ``theine`` is installed. A miss fills the cache.
Usage: ``python bench/cache_hits.py``.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import tempfile
from collections import OrderedDict
from pathlib import Path

import numpy as np

from hayloft.cache.local import LocalCache
from hayloft.config import CacheSettings
from hayloft.types import CacheMiss, Cookie, NewNeedle, PhotoId

DATA = b"p" * 200
SETTLE_REQUESTS = 10
"""Requests after which the disk is waited for: a replay is faster than any traffic."""


def zipf(photos: int, requests: int, exponent: float, seed: int) -> list[int]:
    """Requests for photos whose popularity falls with a power of their rank."""
    weights = np.arange(1, photos + 1, dtype=np.float64) ** -exponent
    generator = np.random.default_rng(seed)
    drawn: list[int] = generator.choice(photos, size=requests, p=weights / weights.sum()).tolist()
    return drawn


def plain_lru(requests: list[int], places: int) -> int:
    """Hits of a plain LRU cache."""
    held: OrderedDict[int, None] = OrderedDict()
    hits = 0
    for photo in requests:
        if photo in held:
            held.move_to_end(photo)
            hits += 1
        else:
            held[photo] = None
            if len(held) > places:
                held.popitem(last=False)
    return hits


def perfect(requests: list[int], places: int) -> int:
    """Hits if the most popular photos were always there."""
    return sum(photo < places for photo in requests)


def tiny_lfu(requests: list[int], places: int) -> int | None:
    """Hits of W-TinyLFU, if it is installed."""
    try:
        theine = importlib.import_module("theine")
    except ModuleNotFoundError:
        return None
    cache = theine.Cache(places)
    hits = 0
    for photo in requests:
        value, found = cache.get(photo)
        hits += found
        if not found:
            cache.set(photo, value)
    return hits


async def hayloft(requests: list[int], places: int, folder: Path | None) -> int:
    """Hits of this cache, with nine tenths of its places on disk if there is a folder."""
    in_memory = places if folder is None else max(1, places // 10)
    settings = CacheSettings(memory_items_max=in_memory, disk_items_max=max(1, places - in_memory))
    cache = await LocalCache.open(settings, folder=folder)
    for number, photo in enumerate(requests):
        if number % SETTLE_REQUESTS == 0:
            await cache.settled()
        found = await cache.get(PhotoId(photo))
        if isinstance(found, CacheMiss):
            await cache.put(NewNeedle(photo=PhotoId(photo), cookie=Cookie(1), data=DATA), lease=found.lease)
    hits = (await cache.statistics()).hits
    await cache.close()
    return hits


async def main() -> None:
    """Replay and print a table."""
    parser = argparse.ArgumentParser(description="Hit ratios on a Zipf-distributed replay.")
    parser.add_argument("--photos", type=int, default=50_000)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--exponent", type=float, default=0.9)
    parser.add_argument("--seed", type=int, default=1)
    told = parser.parse_args()
    requests = zipf(told.photos, told.requests, told.exponent, told.seed)
    print(f"{told.requests} requests for {told.photos} photos, Zipf {told.exponent}, seed {told.seed}")
    print("places      plain LRU  memory  memory and disk  W-TinyLFU  the most popular")
    for share in (0.01, 0.05, 0.2):
        places = int(told.photos * share)
        with tempfile.TemporaryDirectory() as folder:
            hits: list[int | None] = [
                plain_lru(requests, places),
                await hayloft(requests, places, None),
                await hayloft(requests, places, Path(folder)),
                tiny_lfu(requests, places),
                perfect(requests, places),
            ]
        shown = ["-" if count is None else f"{count / told.requests:.4f}" for count in hits]
        widths = (9, 6, 15, 9, 16)
        row = "  ".join(text.rjust(width) for text, width in zip(shown, widths, strict=True))
        print(f"{share:>4.0%} {places:>5}  {row}")


if __name__ == "__main__":
    asyncio.run(main())
