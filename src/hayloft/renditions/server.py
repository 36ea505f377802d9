"""Renditions over HTTP: any implementation of ``roles.Renditions``, method for method.

Meant for a Unix socket between processes of one machine, or for a trusted network: it checks no keys.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Response

from hayloft import __version__
from hayloft.errors import InvalidRequest
from hayloft.roles import Renditions
from hayloft.types import AlternateKey, MadePicture, PhotoId
from hayloft.wire.asgi import application
from hayloft.wire.details import CANONICAL, details_to_json


def renditions_application(renditions: Renditions) -> FastAPI:
    """The ASGI application that serves ``renditions``, which the caller closes."""
    app = application(title="Hayloft renditions", version=__version__)

    @app.get("/health")
    async def health() -> dict[str, str]:
        """The service is alive."""
        return {"status": "ok", "service": "renditions"}

    @app.put("/photo/{photo_id}")
    async def make(photo_id: int) -> dict[str, Any]:
        """Make and store all renditions of a photo."""
        return details_to_json(await renditions.make(PhotoId(photo_id)))

    @app.get("/photo/{photo_id}/information")
    async def information(photo_id: int, address: str) -> Any:
        """What can be ordered of a photo."""
        return await renditions.information(PhotoId(photo_id), address=address)

    @app.get("/photo/{photo_id}/rendition/{label}")
    async def rendition(photo_id: int, label: str) -> Response:
        """One of a photo's stored sizes, made if it has to be."""
        key = AlternateKey.parse(label)
        if key is None or key is AlternateKey.ORIG:
            raise InvalidRequest("There is no such rendition.", rendition=label)
        return _response(await renditions.rendition(PhotoId(photo_id), key))

    @app.get("/photo/{photo_id}/picture")
    async def picture(photo_id: int, order: str) -> Response:
        """A picture to order."""
        return _response(await renditions.picture(PhotoId(photo_id), order))

    return app


def _response(made: MadePicture) -> Response:
    headers = {CANONICAL: made.canonical} if made.canonical else {}
    return Response(made.data, media_type=made.media_type, headers=headers)
