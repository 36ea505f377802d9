"""A process of its own that commits photos for tests: ``python committer.py URL HOLDER COUNT [same]``.

Prints one line for each acknowledged commit: the photo id, what it is a duplicate of, whether it was
repeated. With ``same``, number *n* has the same bytes and idempotency key in every process; otherwise
its own.
"""

from __future__ import annotations

import asyncio
import hashlib
import sys

from hayloft.directory.leases import WritePolicy
from hayloft.directory.local import LocalDirectory
from hayloft.types import NewPhoto, PhotoId, Sequence, new_cookie, photo_id

CONCURRENCY = 16


class Ids:
    """Ids from leases, one after the other."""

    def __init__(self, directory: LocalDirectory, holder: str) -> None:
        self._directory = directory
        self._holder = holder
        self._lock = asyncio.Lock()
        self._free: list[PhotoId] = []

    async def take(self) -> PhotoId:
        async with self._lock:
            if not self._free:
                lease = await self._directory.lease(holder=self._holder, count=1000)
                numbers = range(lease.first, lease.first + lease.count)
                self._free = [photo_id(lease.volume, Sequence(number)) for number in numbers]
            return self._free.pop()


async def main(url: str, holder: str, count: int, same: bool) -> None:
    directory = LocalDirectory.open(url, policy=WritePolicy(writable_max=4))
    numbers = iter(range(count))
    ids = Ids(directory, holder)

    async def commit(number: int) -> None:
        text = f"{number}" if same else f"{holder} {number}"
        photo = NewPhoto(
            photo=await ids.take(),
            cookie=new_cookie(),
            size=len(text),
            sha256=hashlib.sha256(text.encode()).digest(),
            media_type="image/png",
            width=1,
            height=1,
            idempotency_key=f"key {number}" if same and number % 2 else None,
        )
        answer = await directory.commit(photo)
        sys.stdout.write(f"{answer.photo} {answer.duplicate_of} {answer.repeated} {number}\n")
        sys.stdout.flush()

    async def work() -> None:
        for number in numbers:
            await commit(number)

    await asyncio.gather(*(work() for _ in range(CONCURRENCY)))
    await directory.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), "same" in sys.argv[4:]))
