"""The gateway of a cluster: the same as the embedded one, handed clients instead of local roles.

Stores are found through the directory. Nothing here waits for a role to be there: a gateway that starts
first answers that it is not ready, and is ready as soon as the others are.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from hayloft.assembly import fronts
from hayloft.assembly.peers import caches_of, directory_of, fleet_of
from hayloft.assembly.settings import GatewayRoleSettings
from hayloft.gateway.cached import Admission
from hayloft.gateway.front import Front
from hayloft.gateway.gateway import Gateway
from hayloft.renditions.client import RenditionsClient
from hayloft.renditions.location import without_position
from hayloft.similarity.client import SimilarityClient
from hayloft.wire.breaker import Breaker
from hayloft.wire.session import Patience

SIMILARITY_PATIENCE: Final = Patience(connect_seconds=1.0, total_seconds=30.0, attempts=2)


@asynccontextmanager
async def front(settings: GatewayRoleSettings, *, worker: str) -> AsyncIterator[Front]:
    """The gateway of one worker process, ready to serve."""
    key = settings.key()
    async with AsyncExitStack() as stack:
        directory = await stack.enter_async_context(directory_of(settings))
        fleet = await stack.enter_async_context(fleet_of(settings, directory))
        cache = await stack.enter_async_context(caches_of(settings.caches, key))
        similarity = renditions = None
        if settings.similarity_url is not None:
            url = settings.similarity_url
            similarity = SimilarityClient(url, patience=SIMILARITY_PATIENCE, secret=key, breaker=Breaker())
            stack.push_async_callback(similarity.close)
            if settings.renditions.enabled:
                renditions = RenditionsClient(url, secret=key, breaker=Breaker(), start_seconds_max=1.0)
                stack.push_async_callback(renditions.close)
        gateway = Gateway(
            directory=directory,
            stores=fleet,
            similarity=similarity,
            settings=settings,
            secret=_tags_key(key),
            worker=worker,
            renditions=renditions,
            public_view=without_position if settings.renditions.strip_gps else None,
            cache=cache,
            admission=Admission(settings.cache_admission),
        )
        yield await stack.enter_async_context(fronts.opened(gateway))


def _tags_key(key: bytes | None) -> bytes:
    """The key of the entity tags: the same in all gateways, and of no use for anything else."""
    return hashlib.blake2b((key or b"")[:64], person=b"entity tags", digest_size=32).digest()
