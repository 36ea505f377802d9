"""The gateway as one application, whatever its roles are: the API, the pages, photo bytes in front."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from hayloft.gateway import routes
from hayloft.gateway.front import Front
from hayloft.gateway.gateway import Gateway
from hayloft.web import gallery, pages


@asynccontextmanager
async def opened(gateway: Gateway) -> AsyncIterator[Front]:
    """The application over this gateway, at work while the context is open."""
    gateway.start()
    try:
        app = routes.application(gateway)
        app.include_router(pages.router)
        app.include_router(gallery.router(gateway))
        yield Front(gateway, app, opens=pages.opens)
    finally:
        await gateway.close()
