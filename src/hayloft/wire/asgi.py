"""The frame of every HTTP server here: request ids, error bodies, and a few bare ASGI moves.

``application`` makes a FastAPI application whose every answer carries ``X-Request-ID`` and whose every
error is the body of ``wire/errors.py``, unexpected exceptions included. ``send_error``, ``send_json`` and
``read_body`` do the same for callables that bypass FastAPI. It knows nothing of what is served.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping
from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar
from typing import Any, Final

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from hayloft import errors
from hayloft.errors import HayloftError
from hayloft.wire import documents
from hayloft.wire.errors import from_status, to_body, to_headers

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]

REQUEST_ID: Final = "x-request-id"
_REQUEST_ID_BYTES: Final = b"x-request-id"
_ACCEPTABLE_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")

request_id_variable: ContextVar[str] = ContextVar("request_id", default="")
"""The id of the request being answered; passed on to other roles by ``wire.session``."""

_log = structlog.get_logger(__name__)


def request_id_of(scope: Scope) -> str:
    """The client's request id if it sent an acceptable one, otherwise a new one."""
    for name, value in scope["headers"]:
        if name == _REQUEST_ID_BYTES and _ACCEPTABLE_REQUEST_ID.fullmatch(value):
            return str(value, "ascii")
    return secrets.token_hex(8)


def application(*, title: str, version: str, lifespan: Lifespan | None = None, **options: Any) -> FastAPI:
    """A FastAPI application with Hayloft's error bodies and request ids; add routes to it."""
    app = FastAPI(title=title, version=version, lifespan=lifespan, **options)
    app.add_exception_handler(HayloftError, _on_hayloft_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_middleware(RequestIds)
    return app


class RequestIds:
    """Gives every request an id, and every answer that id; turns surprises into ``internal_error``."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = request_id_of(scope)
        token = request_id_variable.set(request_id)
        started = False

        async def send_with_id(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [
                    *message.get("headers", ()),
                    (_REQUEST_ID_BYTES, request_id.encode()),
                ]
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except Exception:
            _log.exception("request failed", path=scope["path"], request_id=request_id)
            if started:
                raise
            await send_error(send, errors.InternalError(), request_id)
        finally:
            request_id_variable.reset(token)


async def send_response(
    send: Send,
    status: int,
    body: bytes,
    headers: Iterable[tuple[str, str]],
) -> None:
    """Send a whole answer. ``content-length`` is added."""
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    raw.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})


async def send_json(
    send: Send, status: int, body: Any, request_id: str, headers: Iterable[tuple[str, str]] = ()
) -> None:
    """Send a JSON answer with its request id."""
    await send_response(
        send,
        status,
        documents.encode(body),
        [("content-type", "application/json"), (REQUEST_ID, request_id), *headers],
    )


async def send_error(send: Send, error: HayloftError, request_id: str) -> None:
    """Send an error as its status, headers and JSON body."""
    await send_response(
        send,
        error.status,
        to_body(error, request_id),
        [("content-type", "application/json"), (REQUEST_ID, request_id), *to_headers(error)],
    )


class ClientDisconnected(Exception):
    """The client went away before its request was complete."""


async def body_chunks(receive: Receive) -> AsyncIterator[bytes]:
    """The request's body as it arrives.

    Raises:
        ClientDisconnected: the client went away before the end.
    """
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnected
        if chunk := message.get("body", b""):
            yield chunk
        if not message.get("more_body", False):
            return


async def read_body(receive: Receive, *, bytes_max: int) -> bytes:
    """The whole body.

    Raises:
        UploadTooLarge: more than ``bytes_max`` came; the rest is not read.
        ClientDisconnected: the client went away before the end.
    """
    chunks: list[bytes] = []
    size = 0
    async for chunk in body_chunks(receive):
        size += len(chunk)
        if size > bytes_max:
            raise errors.UploadTooLarge(limit_bytes=bytes_max)
        chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _response(error: HayloftError) -> Response:
    return Response(
        to_body(error, request_id_variable.get()),
        status_code=error.status,
        headers=dict(to_headers(error)),
        media_type="application/json",
    )


async def _on_hayloft_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HayloftError)
    if error.status == 500:
        _log.error("request failed", code=error.code, error=error.message, **error.details)
    return _response(error)


async def _on_validation_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = ".".join(str(step) for step in first["loc"])
    return _response(errors.InvalidRequest(f"{place}: {first['msg']}", field=place))


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        return _response(errors.RouteNotFound(f"There is nothing at {request.url.path}."))
    told = from_status(error.status_code)(str(error.detail))
    if error.headers and "Allow" in error.headers:
        told.details["allow"] = error.headers["Allow"]
    return _response(told)
