"""Several directories on one database are one directory."""

from __future__ import annotations

import asyncio

import pytest

from directory_places import POLICY, new, store
from hayloft.directory.local import LocalDirectory
from hayloft.directory.migrations import upgrade
from hayloft.errors import PhotoDeleted


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_two_directories_on_one_database_are_one(kind, tmp_path, clock, postgres_database):
    url = f"sqlite:///{tmp_path / 'directory.sqlite'}"
    if kind == "postgres":
        url = await asyncio.to_thread(postgres_database)
    await asyncio.to_thread(upgrade, url)
    one, other = (LocalDirectory.open(url, policy=POLICY, clock=clock) for _ in range(2))
    await one.register(store("local"))
    lease = await other.lease(holder="a", count=10)
    waiting = asyncio.create_task(one.events(after=0, limit=1, wait_seconds=20))
    first = await other.commit(new(lease, 0, b"x", idempotency_key="k"))
    assert (await waiting)[0].photo == first.photo
    assert (await one.commit(new(lease, 1, b"x"))).duplicate_of == first.photo
    assert (await one.commit(new(lease, 2, b"y", idempotency_key="k"))).repeated
    await one.delete(first.photo)
    with pytest.raises(PhotoDeleted):
        await other.commit(new(lease, 0, b"x"))
    await one.close()
    await other.close()
