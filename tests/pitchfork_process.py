"""A pitchfork in a process of its own, for tests that kill it: ``DIRECTORY_URL BYTES_PER_SECOND``."""

from __future__ import annotations

import asyncio
import sys

from hayloft import limits
from hayloft.config import PitchforkSettings
from hayloft.directory.client import DirectoryClient
from hayloft.pitchfork import Pitchfork
from hayloft.store.client import StoreClient

TRANSFER_BYTES = 32 << 10
"""Small batches, so that there is something to interrupt."""


async def main(directory_url: str, bytes_per_second: int) -> None:
    directory = DirectoryClient(directory_url)
    known = await directory.stores()
    stores = {store.store: StoreClient(store.url) for store in known if store.url}
    settings = PitchforkSettings(check_seconds=0.05, copy_bytes_per_second=bytes_per_second)
    await Pitchfork(directory=directory, stores=stores, settings=settings).run()


if __name__ == "__main__":
    limits.TRANSFER_BYTES = TRANSFER_BYTES  # type: ignore[misc]
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
