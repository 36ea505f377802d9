"""Errors to responses and back: one table, so that an error survives the wire with its type.

A body is ``{"code", "message", "request_id"}`` plus the error's own details. Peers that do not speak
our codes (services written by others against the same contract) are understood by their status.
Pure: bytes and values, no I/O.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from hayloft import errors
from hayloft.errors import ERRORS_BY_CODE, HayloftError
from hayloft.wire import documents

_RESERVED: Final = frozenset({"code", "message", "request_id"})

_BY_STATUS: Final[Mapping[int, type[HayloftError]]] = {
    400: errors.InvalidRequest,
    401: errors.Unauthorized,
    403: errors.Unauthorized,
    404: errors.PhotoNotFound,
    405: errors.MethodNotAllowed,
    409: errors.Conflict,
    410: errors.PhotoDeleted,
    413: errors.UploadTooLarge,
    415: errors.UnsupportedMedia,
    416: errors.RangeNotSatisfiable,
    422: errors.InvalidRequest,
    503: errors.RoleUnavailable,
    507: errors.StorageFull,
}


def to_body(error: HayloftError, request_id: str) -> bytes:
    """The JSON body that tells a client of this error."""
    details = {name: value for name, value in error.details.items() if name not in _RESERVED}
    body = {"code": error.code, "message": error.message, "request_id": request_id, **details}
    return documents.encode(body)


def to_headers(error: HayloftError) -> list[tuple[str, str]]:
    """The headers that belong to this error beside the body's own."""
    headers = []
    if error.retry_after_seconds is not None:
        headers.append(("retry-after", str(error.retry_after_seconds)))
    if isinstance(error, errors.Unauthorized):
        headers.append(("www-authenticate", "Bearer"))
    if isinstance(error, errors.RangeNotSatisfiable) and "size" in error.details:
        headers.append(("content-range", f"bytes */{error.details['size']}"))
    if isinstance(error, errors.MethodNotAllowed) and "allow" in error.details:
        headers.append(("allow", str(error.details["allow"])))
    return headers


def from_response(status: int, body: bytes, headers: Mapping[str, str] | None = None) -> HayloftError:
    """The error that a response with this status (400 or more) reports."""
    told = _parse(body)
    details = {name: value for name, value in told.items() if name not in _RESERVED}
    if "request_id" in told:
        details["peer_request_id"] = told["request_id"]
    kind = ERRORS_BY_CODE.get(str(told.get("code"))) or from_status(status)
    return kind(
        str(told.get("message") or told.get("detail") or ""),
        retry_after_seconds=_retry_after((headers or {}).get("Retry-After")),
        **{name: value for name, value in details.items() if name != "retry_after_seconds"},
    )


def from_status(status: int) -> type[HayloftError]:
    """The kind of error that a status alone stands for."""
    return _BY_STATUS.get(status) or (errors.InternalError if status >= 500 else errors.InvalidRequest)


def _parse(body: bytes) -> dict[str, Any]:
    try:
        told = json.loads(body)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _retry_after(value: str | None) -> int | None:
    return int(value) if value is not None and value.isascii() and value.isdigit() else None
