"""Ingest for links by stage: processor time from a JPEG's bytes to everything that is recorded of it.

Looks at the largest JPEGs of a folder (12 megapixels in the default one), in a process set up as a decoder
is: one thread, and memory that is kept between photos (the command sets ``MALLOC_*`` for that). Learned
embedders and renditions are not in it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

from hayloft.similarity import fingerprint
from hayloft.similarity.copies import features, pipeline, spectrum
from hayloft.similarity.decode import decode
from hayloft.similarity.embedders.builtin import describe_builtin
from similarity import methods
from similarity.photos import Photo, paths

PHOTOS: Final = 12
ROUNDS: Final = 3

T = TypeVar("T")


def print_speed(folder: Path | None, collection: list[Photo]) -> None:
    """The table, and photos a second and core."""
    if folder is None:
        print("\ningest by stage: needs a folder of photos")
        return
    largest = sorted(paths(folder), key=lambda path: -path.stat().st_size)[:PHOTOS]
    data = [path.read_bytes() for path in largest]
    pictures = [decode(one) for one in data]
    greys = [picture.grey for picture in pictures]
    working = [features._working_size(grey) for grey in greys]
    found = [features._detect(work) for work in working]
    copies = methods.Copies()
    described = [copies.describe(photo.picture) for photo in collection[:200]]
    copies.build(described)
    asked = [methods.Described(data=pipeline.describe(p.grey), hashes=fingerprint.pdq(p)) for p in pictures]
    stages = {
        "decode, shrunk while decoding": _least(data, decode),
        "SIFT": _least(working, features._detect),
        "quantise": _least(found, lambda pair: spectrum.encode(pair[1])),
        "picture for the proof": _least(greys, features.small_picture),
        "PDQ, eight orientations": _least(pictures, fingerprint.pdq),
        "colour and texture, sharpness": _least(
            pictures, lambda p: (describe_builtin(p), fingerprint.sharpness(p))
        ),
        "record": _least(described[:PHOTOS], lambda d: pipeline.stored(d.data)),
        "search and verify": _least(asked, copies.found),
    }
    sizes = ", ".join(sorted({f"{p.width * p.height / 1e6:.0f}" for p in pictures}))
    print(
        f"\ningest by stage, ms of processor time, least of {ROUNDS} rounds, "
        f"{len(data)} JPEGs of {sizes} megapixels"
    )
    for name, spent in stages.items():
        print(f"  {name:32}{spent:8.2f}")
    total = sum(stages.values())
    print(f"  {'all':32}{total:8.2f}   {1000 / total:.1f} photos a second and core")


def _least(items: Sequence[T], work: Callable[[T], object]) -> float:
    """Mean over the items, least of the rounds: other programs only ever add."""
    spent = []
    for _ in range(ROUNDS):
        start = time.process_time()
        for item in items:
            work(item)
        spent.append(time.process_time() - start)
    return min(spent) / len(items) * 1e3
