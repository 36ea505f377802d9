"""``hayloft cache``: one cache. What an earlier process left on its disk is discarded."""

from __future__ import annotations

import asyncio

from hayloft.assembly.service import run, serve
from hayloft.assembly.settings import CacheRoleSettings
from hayloft.cache.local import LocalCache
from hayloft.cache.server import cache_application


def main(settings: CacheRoleSettings) -> int:
    """Serve until told to stop; returns the process's exit code.

    Raises:
        AlreadyServed: another cache uses its directory.
    """
    return run(_cache, settings, name=f"cache {settings.port}")


async def _cache(settings: CacheRoleSettings, stopping: asyncio.Event) -> None:
    folder = None if settings.data is None else settings.data / "renditions"
    cache = await LocalCache.open(settings.cache, folder=folder)
    try:
        async with serve(cache_application(cache), settings, role="cache", ready=cache.statistics):
            await stopping.wait()
    finally:
        await cache.close()
