"""Opens a store once and prints, as JSON, how long it took and how many needles it found.

Run as a process of its own: ``python -m measure.open_store DIRECTORY [--restarted]``.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
import time
from pathlib import Path

from hayloft.disk import SystemDisk
from hayloft.store.local import LocalStore
from hayloft.types import StoreId


class RestartedDisk(SystemDisk):
    """A disk of a machine that has been started anew: whatever memory held before is not to be trusted."""

    def __init__(self) -> None:
        self._incarnation = secrets.token_bytes(16)

    def incarnation(self) -> bytes:
        """Another one for every process that asks."""
        return self._incarnation


async def _open(directory: Path, disk: SystemDisk) -> dict[str, float]:
    started = time.perf_counter()
    store = LocalStore(directory, store=StoreId("bench"), disk=disk)
    health = await store.health()
    seconds = time.perf_counter() - started
    await store.close()
    return {"seconds": seconds, "needles": sum(volume.needles for volume in health.volumes)}


if __name__ == "__main__":
    chosen = RestartedDisk() if "--restarted" in sys.argv[2:] else SystemDisk()
    print(json.dumps(asyncio.run(_open(Path(sys.argv[1]), chosen))))
