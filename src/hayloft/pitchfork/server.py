"""What the pitchfork tells: ``/health``, and ``/status`` for whoever wonders what it is doing."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from hayloft.pitchfork.pitchfork import Pitchfork
from hayloft.wire.asgi import Lifespan, application


def pitchfork_application(
    pitchfork: Pitchfork, *, version: str = "1", lifespan: Lifespan | None = None
) -> FastAPI:
    """The ASGI application; its counts are in ``pitchfork.journal.registry``."""
    app = application(title="Hayloft pitchfork", version=version, lifespan=lifespan)

    @app.get("/health")
    async def health() -> dict[str, Any]:
        """It is alive, and how much there is to mend."""
        failed = pitchfork.journal.replicas_failed
        return {"service": "pitchfork", "status": "ok", "replicas_failed": failed}

    @app.get("/status")
    async def status() -> dict[str, Any]:
        """What it is doing, what it has done since it started, and what went wrong lately."""
        return pitchfork.journal.to_json()

    return app
