"""A directory at each of the places, with one store, and a lease of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from directory_places import Clock, Place, local, over_http, primary_and_replica, store
from hayloft.roles import Directory
from hayloft.types import Lease


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=[local, over_http, primary_and_replica])
async def directory(request, tmp_path: Path, clock: Clock, postgres_database) -> AsyncIterator[Directory]:
    async with request.param(Place(tmp_path, clock, postgres_database)) as directory:
        await directory.register(store("local"))
        yield directory


@pytest.fixture
async def lease(directory: Directory) -> Lease:
    return await directory.lease(holder="writer", count=100)
