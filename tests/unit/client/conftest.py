"""A gateway in memory, and a client of it that does not dawdle."""

from __future__ import annotations

import pytest

from doubles.gateway import GatewayDouble
from hayloft import AsyncClient
from hayloft.client import Patience

SWIFT = Patience(attempts=4, pause_seconds=0.001, idle_seconds=10)


@pytest.fixture
async def gateway():
    async with GatewayDouble() as double:
        yield double


@pytest.fixture
async def client(gateway):
    async with AsyncClient(gateway.url, patience=SWIFT) as client:
        yield client
