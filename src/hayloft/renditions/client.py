"""``roles.Renditions``, spoken over HTTP to ``server``."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import aiohttp

from hayloft import limits
from hayloft.clock import Clock, SystemClock
from hayloft.errors import RoleUnavailable
from hayloft.types import AlternateKey, MadePicture, PhotoDetails, PhotoId
from hayloft.wire.breaker import Breaker
from hayloft.wire.details import CANONICAL, details_from_json
from hayloft.wire.session import Answer, Patience, Session

PATIENCE: Final = Patience(total_seconds=2 * limits.DECODE_WALL_SECONDS_MAX + 30.0, attempts=1)
"""As long as two decoders may take to die over a file, and a wait for one's turn."""

START_SECONDS_MAX: Final = 15.0
"""How long a service that does not listen is given to come up: it may just be starting, perhaps again."""

_PAUSE_SECONDS: Final = 0.1


class RenditionsClient:
    """The service at ``url``, or at the Unix socket ``uds`` when given."""

    def __init__(
        self,
        url: str = "http://localhost",
        *,
        uds: Path | None = None,
        patience: Patience | None = None,
        secret: bytes | None = None,
        breaker: Breaker | None = None,
        start_seconds_max: float = START_SECONDS_MAX,
        clock: Clock | None = None,
    ) -> None:
        self._session = Session(
            url,
            uds=uds,
            patience=patience or PATIENCE,
            peer="The renditions role",
            secret=secret,
            breaker=breaker,
        )
        self._start_seconds_max = start_seconds_max
        self._clock = clock or SystemClock()

    async def make(self, photo: PhotoId) -> PhotoDetails:
        """Make and store all renditions of a photo and record its details."""
        return details_from_json((await self._request("PUT", f"/photo/{photo}")).json())

    async def rendition(self, photo: PhotoId, alternate_key: AlternateKey) -> MadePicture:
        """One rendition, made now."""
        path = f"/photo/{photo}/rendition/{alternate_key.label}"
        return _picture(await self._request("GET", path))

    async def picture(self, photo: PhotoId, order: str) -> MadePicture:
        """A picture to order."""
        path = f"/photo/{photo}/picture"
        return _picture(await self._request("GET", path, query={"order": order}))

    async def information(self, photo: PhotoId, *, address: str) -> Mapping[str, Any]:
        """What can be ordered of a photo."""
        path = f"/photo/{photo}/information"
        told: Mapping[str, Any] = (await self._request("GET", path, query={"address": address})).json()
        return told

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def _request(
        self, method: str, path: str, *, query: Mapping[str, str | int | float] | None = None
    ) -> Answer:
        """Ask, again and again while nobody listens; what was once begun is not asked for twice."""
        deadline = self._clock.monotonic_seconds() + self._start_seconds_max
        while True:
            try:
                return await self._session.request(method, path, query=query)
            except RoleUnavailable as failure:
                unheard = isinstance(failure.__cause__, aiohttp.ClientConnectorError)
                if not unheard or self._clock.monotonic_seconds() >= deadline:
                    raise
            await asyncio.sleep(_PAUSE_SECONDS)


def _picture(answer: Answer) -> MadePicture:
    return MadePicture(
        data=answer.body,
        media_type=answer.headers["content-type"],
        canonical=answer.headers.get(CANONICAL, ""),
    )
