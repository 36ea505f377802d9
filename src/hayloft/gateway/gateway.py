"""The gateway's use cases, put together over the roles that ``assembly`` hands in.

One ``Gateway`` serves one worker process. It owns what the use cases share (cached placements, leased
ids, the memory budget, the metrics) and nothing of the roles: whoever opened those closes them.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from functools import partial

from hayloft.clock import Clock, SystemClock
from hayloft.config import GatewaySettings
from hayloft.gateway.access import Access
from hayloft.gateway.budget import Budget
from hayloft.gateway.cached import Admission, Cached
from hayloft.gateway.conditions import EntityTags
from hayloft.gateway.delete import Deletions
from hayloft.gateway.identifiers import Identifiers
from hayloft.gateway.metrics import FLUSH_SECONDS, Metrics
from hayloft.gateway.picture_front import PictureFront
from hayloft.gateway.pictures import Pictures
from hayloft.gateway.placements import Placements
from hayloft.gateway.purges import Purges
from hayloft.gateway.read import Reads
from hayloft.gateway.reports import Reports
from hayloft.gateway.standing import Standings
from hayloft.gateway.storing import Storing
from hayloft.gateway.upload import Uploads
from hayloft.roles import Cache, Directory, Renditions, Similarity, Store
from hayloft.types import PhotoId, PhotoStatus, StoreId

PublicView = Callable[[bytes | memoryview], bytes]
"""An original's bytes as they are shown to those who need no key; never longer or shorter."""


class Gateway:
    """Everything that the front and the routes call."""

    def __init__(
        self,
        *,
        directory: Directory,
        stores: Mapping[StoreId, Store],
        similarity: Similarity | None,
        settings: GatewaySettings,
        secret: bytes,
        worker: str,
        renditions: Renditions | None = None,
        public_view: PublicView | None = None,
        clock: Clock | None = None,
        cache: Cache | None = None,
        admission: Admission = Admission.WRITABLE,
    ) -> None:
        clock = clock or SystemClock()
        self.directory = directory
        self.stores = stores
        self.similarity = similarity
        self.renditions = renditions
        self.settings = settings
        self.access = Access(settings.api_keys)
        self.metrics = Metrics()
        self.budget = Budget(settings.upload.memory_bytes_max)
        self.placements = Placements(directory, clock)
        self._reports = Reports(directory, self.metrics, clock)
        self._identifiers = Identifiers(directory, holder=worker)
        self.standings = Standings(clock)
        self.cached = None
        if cache is not None and admission is not Admission.NONE:
            self.cached = Cached(
                cache,
                placements=self.placements,
                is_active=partial(_is_active, directory),
                clock=clock,
                admission=admission,
            )
        tags = EntityTags(secret if public_view is None else _other_secret(secret))
        self.reads = Reads(
            directory=directory,
            stores=stores,
            placements=self.placements,
            reports=self._reports,
            standings=self.standings,
            tags=tags,
            clock=clock,
            cached=self.cached,
            public_view=public_view,
            without_key=not self.access.required,
        )
        self.pictures = PictureFront(
            Pictures(
                directory=directory,
                stores=stores,
                renditions=renditions,
                placements=self.placements,
                over=self.reads.over,
                tags=tags,
                access=self.access,
            ),
            self.metrics,
            settings.public_url,
        )
        self._storing = Storing(
            directory=directory,
            stores=stores,
            identifiers=self._identifiers,
            reports=self._reports,
            standings=self.standings,
        )
        self.uploads = Uploads(
            directory=directory,
            storing=self._storing,
            metrics=self.metrics,
            clock=clock,
            pixels_max=settings.upload.pixels_max,
        )
        self.deletions = Deletions(
            directory=directory, stores=stores, standings=self.standings, cached=self.cached
        )
        self._purges = None if self.cached is None else Purges(directory, self.cached, clock)
        self._beside: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin the work that goes on beside requests; needs a running event loop."""
        if not self._beside:
            self._beside.append(asyncio.create_task(self._flush_metrics()))
            if self._purges is not None:
                self._beside.append(asyncio.create_task(self._purges.run()))

    async def close(self) -> None:
        """Finish what is in flight. The roles are the caller's to close."""
        for task in self._beside:
            task.cancel()
        await asyncio.gather(*self._beside, return_exceptions=True)
        await self._identifiers.close()
        await self._storing.close()
        await self._reports.close()
        if self.cached is not None:
            await self.cached.close()

    async def _flush_metrics(self) -> None:
        try:
            while True:
                await asyncio.sleep(FLUSH_SECONDS)
                self.metrics.memory(self.budget.bytes_held)
                self.metrics.flush()
        finally:
            self.metrics.flush()


async def _is_active(directory: Directory, photo: PhotoId) -> bool:
    return (await directory.photo(photo)).status is PhotoStatus.ACTIVE


def _other_secret(secret: bytes) -> bytes:
    """Photos with a part taken out are other bytes: caches must not take them for the whole ones."""
    return hashlib.blake2b(secret[:64], person=b"public view").digest()
