"""Makes the indexes of all methods anew from what is recorded, and says how far that is.

The old ones answer until each new one takes its place. What reading the records is to most methods, making
the index is to vectors that PostgreSQL keeps: both are told of.
"""

from __future__ import annotations

import asyncio
from typing import Final

from hayloft.similarity.alike import AlikeMethod
from hayloft.similarity.methods import Method
from hayloft.similarity.progress import Tell
from hayloft.similarity.recorder import Recorder
from hayloft.similarity.repertoire import Repertoire

POLL_SECONDS: Final = 0.2
"""How often an index that takes long to save is asked how far it is."""


async def rebuild(repertoire: Repertoire, recorder: Recorder, tell: Tell) -> None:
    """Make them anew, one after the other; each counts the same in what ``tell`` hears."""
    methods = repertoire.methods
    for done, method in enumerate(methods):

        def tell_part(share: float, done: int = done) -> None:
            tell((done + share) / len(methods))

        tell_part(0.0)
        fresh = await asyncio.to_thread(method.fresh)
        await recorder.remake(fresh, tell=tell_part)
        repertoire.replace(fresh)
        await _save(fresh, tell_part)


async def _save(method: Method, tell: Tell) -> None:
    saving = asyncio.create_task(asyncio.to_thread(method.save, force=True))
    while isinstance(method, AlikeMethod) and not saving.done():
        await asyncio.wait({saving}, timeout=POLL_SECONDS)
        tell(method.index.saved)
    await saving
