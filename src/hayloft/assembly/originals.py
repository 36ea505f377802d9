"""How consumers of events get at photos' bytes: the same way as readers, replicas failing over."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from hayloft.clock import SystemClock
from hayloft.gateway.conditions import EntityTags
from hayloft.gateway.metrics import Metrics
from hayloft.gateway.placements import Placements
from hayloft.gateway.read import Reads
from hayloft.gateway.reports import Reports
from hayloft.gateway.standing import Standings
from hayloft.roles import Directory, Store
from hayloft.types import PhotoId, StoreId


class Originals:
    """``roles.PhotoReader`` over a directory and its stores."""

    def __init__(self, directory: Directory, stores: Mapping[StoreId, Store]) -> None:
        clock = SystemClock()
        self._reads = Reads(
            directory=directory,
            stores=stores,
            placements=Placements(directory, clock),
            reports=Reports(directory, Metrics(), clock),
            standings=Standings(clock),
            tags=EntityTags(secrets.token_bytes(32)),
            clock=clock,
        )

    async def read_original(self, photo: PhotoId) -> bytes:
        """The original's bytes."""
        return bytes((await self._reads.needle(photo)).data)
