"""Describes photos in confined processes, so that a hostile file costs no more than its own time and
memory.

The confinement is ``hayloft.sandbox``'s; this is what runs inside (``describing.work``) and how it is
asked. Photos wait here for a free process; whoever calls holds their bytes, so the caller bounds the
memory.
"""

from __future__ import annotations

from typing import Final, Protocol

from hayloft.sandbox import Bounds, Sandbox
from hayloft.similarity.describing import decode_description, encode_plan
from hayloft.similarity.fingerprint import Description
from hayloft.similarity.views import ViewPlan

WORK: Final = "hayloft.similarity.describing:work"


class Decoder(Protocol):
    """What turns bytes into descriptions."""

    async def describe(self, data: bytes | memoryview, *, view: ViewPlan | None = None) -> Description:
        """Decode and fingerprint a photo; with a ``view`` for an embedder that runs elsewhere.

        Raises:
            UnsupportedMedia: the bytes are no image that can be decoded within the limits.
            JobFailed: it did not get that far; worth another try.
        """
        ...

    async def close(self) -> None:
        """End the processes."""
        ...


class DecoderPool:
    """``processes`` decoder processes, started when first needed; in the ``background`` if nobody waits."""

    def __init__(self, *, processes: int, bounds: Bounds | None = None, background: bool = False) -> None:
        self._sandbox = Sandbox(WORK, processes=processes, bounds=bounds, background=background)

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes that are running."""
        return self._sandbox.pids

    async def describe(self, data: bytes | memoryview, *, view: ViewPlan | None = None) -> Description:
        """Describe a photo in the next free process; see ``Decoder.describe``."""
        return decode_description(await self._sandbox.run(encode_plan(view), data))

    async def close(self) -> None:
        """Kill the processes; what they were doing fails."""
        await self._sandbox.close()
