"""Ingests a fixed list of events, printing a line for each; run as a process to be killed.

Arguments: a folder; and to share the work with another process, a database and which half of the events.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from hayloft.similarity.decoder_pool import DecoderPool
from hayloft.similarity.embedders.builtin import BuiltinEmbedder
from hayloft.similarity.ingest import Ingest
from hayloft.types import Event
from similarity_samples import DISGUISES, World, pixels, sample

WORLD = World()


def _events() -> list[Event]:
    """Originals, twins, disguises, junk, and deletions of some of each."""
    found = [WORLD.uploaded(1, sample("chelsea.png")), WORLD.uploaded(2, sample("chelsea.png"))]
    for photo, disguise in enumerate(DISGUISES.values(), start=10):
        found.append(WORLD.uploaded(photo, disguise(pixels("chelsea.png"))))
    found.append(WORLD.uploaded(30, b"junk"))
    found.append(WORLD.uploaded(31, sample("rocket.jpg")))
    found.append(WORLD.uploaded(32, sample("rocket.jpg")))
    # Deleted photos stay readable here, so that nothing but the recording itself keeps them away.
    found += [WORLD.removed(1), WORLD.removed(12), WORLD.removed(30)]
    WORLD.deleted.clear()
    return found


EVENTS = _events()


async def ingest_all(folder: Path) -> None:
    """From the last acknowledged event on: what the event log's consumer does."""
    similarity = await WORLD.open(folder, embedder=BuiltinEmbedder(), decoder=DecoderPool(processes=1))
    handle = Ingest(similarity).handle
    for number in range(acknowledged(folder), len(EVENTS)):
        # Each again with the one before it: acknowledgements may be lost.
        for again in EVENTS[max(0, number - 1) : number + 1]:
            await handle(again)
        (folder / "acknowledged").write_text(str(number + 1))
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()
    await similarity.close()


def acknowledged(folder: Path) -> int:
    """How many events have been dealt with."""
    try:
        return int((folder / "acknowledged").read_text() or 0)
    except FileNotFoundError:
        return 0


async def ingest_half(folder: Path, url: str, half: int) -> None:
    """Every second event, whatever became of those before: what one of two competing consumers does."""
    similarity = await WORLD.open(
        folder, url=url, embedder=BuiltinEmbedder(), decoder=DecoderPool(processes=1)
    )
    handle = Ingest(similarity).handle
    for number in range(half, len(EVENTS), 2):
        await handle(EVENTS[number])
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()
    await similarity.close()


if __name__ == "__main__":
    if len(sys.argv) > 2:
        asyncio.run(ingest_half(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
    else:
        asyncio.run(ingest_all(Path(sys.argv[1])))
