"""Takes up what ``hayloft models use`` chooses while a server runs."""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

import structlog

from hayloft.errors import HayloftError
from hayloft.similarity.embedders.embedder import Embedder, open_embedder
from hayloft.similarity.embedders.library import ModelLibrary

POLL_SECONDS: Final = 1.0
"""How often the choice is looked at: one small file."""

_log = structlog.get_logger(__name__)


class UsesEmbedder(Protocol):
    """What takes another embedder: ``LocalSimilarity``."""

    async def use(self, embedder: Embedder | None) -> None:
        """Have it say what is alike from now on."""
        ...


async def follow(similarity: UsesEmbedder, library: ModelLibrary, *, chosen: str, threads: int) -> None:
    """Have every choice that differs from the last one, at first ``chosen``, taken up; until cancelled.

    A model that cannot be opened leaves the one before in use.
    """
    while True:
        await asyncio.sleep(POLL_SECONDS)
        try:
            now = await asyncio.to_thread(library.in_use)
            if now == chosen:
                continue
            chosen = now
            embedder = await asyncio.to_thread(open_embedder, now, threads=threads, library=library)
            await similarity.use(embedder)
        except (HayloftError, OSError) as failure:
            _log.error("the chosen model cannot be used", model=chosen, error=str(failure))
        else:
            _log.info("embedder changed", model=chosen)
