"""``roles.Renditions``, spoken over HTTP to ``server``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from hayloft import limits
from hayloft.types import AlternateKey, MadePicture, PhotoDetails, PhotoId
from hayloft.wire.details import details_from_json
from hayloft.wire.session import Answer, Patience, Session

PATIENCE: Final = Patience(total_seconds=2 * limits.DECODE_WALL_SECONDS_MAX + 30.0, attempts=2)
"""As long as two decoders may take to die over a file, and a wait for one's turn."""

_CANONICAL: Final = "x-canonical"


class RenditionsClient:
    """The service at ``url``, or at the Unix socket ``uds`` when given."""

    def __init__(
        self, url: str = "http://localhost", *, uds: Path | None = None, patience: Patience | None = None
    ) -> None:
        self._session = Session(url, uds=uds, patience=patience or PATIENCE)

    async def make(self, photo: PhotoId) -> PhotoDetails:
        """Make and store all renditions of a photo and record its details."""
        return details_from_json((await self._session.request("PUT", f"/photo/{photo}")).json())

    async def rendition(self, photo: PhotoId, alternate_key: AlternateKey) -> MadePicture:
        """One rendition, made now."""
        path = f"/photo/{photo}/rendition/{alternate_key.label}"
        return _picture(await self._session.request("GET", path))

    async def picture(self, photo: PhotoId, order: str) -> MadePicture:
        """A picture to order."""
        path = f"/photo/{photo}/picture"
        return _picture(await self._session.request("GET", path, query={"order": order}))

    async def information(self, photo: PhotoId, *, address: str) -> Mapping[str, Any]:
        """What can be ordered of a photo."""
        path = f"/photo/{photo}/information"
        told: Mapping[str, Any] = (
            await self._session.request("GET", path, query={"address": address})
        ).json()
        return told

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()


def _picture(answer: Answer) -> MadePicture:
    return MadePicture(
        data=answer.body,
        media_type=answer.headers["content-type"],
        canonical=answer.headers.get(_CANONICAL, ""),
    )
