"""A directory among several on one database, to whoever asks over HTTP: which of them it is, and the way to
the one that takes writes.

A replica sends writes on before they are looked at. A primary that has lost its term finds out inside the
write's own transaction, and sends it on then.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from fastapi import FastAPI, Request, Response

from hayloft.directory.failover import is_read
from hayloft.errors import NotPrimary
from hayloft.wire.asgi import (
    REQUEST_ID,
    App,
    Receive,
    Scope,
    Send,
    request_id_of,
    request_id_variable,
    send_response,
)
from hayloft.wire.errors import to_body, to_headers

_REDIRECT: Final = 307


class Standing(Protocol):
    """Which of the directories on one database this is, at the moment it is asked."""

    @property
    def primary(self) -> bool:
        """Whether it takes writes."""
        ...

    @property
    def primary_url(self) -> str:
        """Where the one is that does; empty if that is not known."""
        ...

    @property
    def url(self) -> str:
        """Where this one is."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """A ``Standing`` that never changes."""

    primary: bool = True
    primary_url: str = ""
    url: str = ""


class Redirecting:
    """Passes reads on, and writes if this is the primary or nobody knows a better one."""

    def __init__(self, app: App, mode: Standing) -> None:
        self._app = app
        self._mode = mode

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        elsewhere = None
        if scope["type"] == "http" and not self._mode.primary and _is_write(scope):
            elsewhere = _address_at(self._mode.primary_url, self._mode.url, scope)
        if elsewhere is None:
            await self._app(scope, receive, send)
        else:
            headers = [("location", elsewhere), (REQUEST_ID, request_id_of(scope))]
            await send_response(send, _REDIRECT, b"", headers)


def add_redirection(app: FastAPI, mode: Standing) -> None:
    """A write that found inside its transaction that this is not the primary goes to the one that is."""

    async def redirect(request: Request, error: Exception) -> Response:
        assert isinstance(error, NotPrimary)
        primary_url = str(error.details.get("primary_directory") or "")
        elsewhere = _address_at(primary_url, mode.url, request.scope)
        if elsewhere is not None:
            return Response(status_code=_REDIRECT, headers={"location": elsewhere})
        body = to_body(error, request_id_variable.get())
        return Response(body, error.status, dict(to_headers(error)), "application/json")

    app.add_exception_handler(NotPrimary, redirect)


def _address_at(primary_url: str, own_url: str, scope: Scope) -> str | None:
    """The same address at the primary; None if that is not known to be another."""
    if not primary_url or primary_url.rstrip("/") == own_url.rstrip("/"):
        return None
    query = scope["query_string"].decode("latin-1")
    path: str = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1")
    return primary_url.rstrip("/") + path + (f"?{query}" if query else "")


def _is_write(scope: Scope) -> bool:
    return not is_read(scope["method"], scope["path"])
