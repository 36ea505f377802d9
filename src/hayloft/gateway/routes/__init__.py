"""The routes that are not photo bytes, and the documentation of those that are.

``application`` makes the FastAPI application that ``front.Front`` passes requests to: one module per
subject, each a router over the gateway's use cases.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

import hayloft
from hayloft.gateway.gateway import Gateway
from hayloft.gateway.routes import bare, events, links, operations, photos, pictures, similar
from hayloft.gateway.schema import Error
from hayloft.wire import asgi

DESCRIPTION = """Keeps photos in append-only volumes, serves them, and links the ones that belong together.

Every error is JSON with a stable `code`, a `message` for people and the `request_id`, which also stands in
the header `X-Request-ID` of every answer; send your own to find it in the logs.
Where API keys are configured, show one as `Authorization: Bearer KEY` or `X-API-Key: KEY`; a photo's
capability link (`url`), `/health` and `/ready` need none.
"""


def application(gateway: Gateway) -> FastAPI:
    """The FastAPI application over one gateway."""
    app = asgi.application(
        title="Hayloft",
        version=hayloft.__version__,
        description=DESCRIPTION,
        responses={"default": {"model": Error, "description": "What went wrong."}},
        redoc_url=None,
    )
    for subject in (photos, links, similar, operations, events, pictures, bare):
        app.include_router(subject.router(gateway))
    _document_keys(app)
    return app


def _document_keys(app: FastAPI) -> None:
    """Tell OpenAPI how keys are shown; ``Front`` is what checks them."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        schema = plain()
        schema["components"]["securitySchemes"] = {
            "bearer": {"type": "http", "scheme": "bearer"},
            "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        }
        schema["security"] = [{}, {"bearer": []}, {"key": []}]
        return schema

    app.openapi = openapi  # type: ignore[method-assign]
