"""Serves the pages and their modules, with a Content-Security-Policy that allows nothing else.

Pages are one frame, ``page.html``, around a module each: everything they show comes from the gateway's
API, with the visitor's own rights. Files carry an ETag over their contents, so that a browser asks again
and gets nothing twice.
"""

from __future__ import annotations

import hashlib
import mimetypes
from dataclasses import dataclass
from functools import cache
from importlib import resources
from string import Template
from typing import Final

from fastapi import APIRouter, Request, Response

from hayloft.errors import RouteNotFound


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What makes a page this one and not another."""

    title: str
    script: str
    """The module that fills it, in ``static/``."""
    preloads: tuple[str, ...]
    """What that module imports, so that the browser need not find out."""
    listed: bool = True
    """Whether every page links to it."""


PAGES: Final = {
    "/": Page(title="Photos", script="index.js", preloads=("grid.js", "thumbhash.js", "upload.js")),
    "/view": Page(title="Photo", script="photo.js", preloads=("evidence.js",), listed=False),
    "/review": Page(title="Review", script="review.js", preloads=("evidence.js",)),
    "/operations": Page(title="Operations", script="operations.js", preloads=("parked.js",)),
}
"""Where each page is."""

CURRENT: Final = ' aria-current="page"'
"""Which of the links leads to where one is."""

PRELOADS: Final = ("dom.js", "api.js", "words.js")
"""What every page's module imports."""

SECURITY_HEADERS: Final = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        "connect-src 'self'; manifest-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}

STATIC: Final = "/static/"

router: Final = APIRouter(include_in_schema=False)


def opens(path: str) -> bool:
    """Whether a path is the pages' own, which needs no key: they hold nothing of anyone's."""
    return path in PAGES or path.startswith(STATIC)


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    content: bytes
    media_type: str
    etag: str


@cache
def _file(name: str) -> _File | None:
    """A file of ``static/``, read once; None if there is none of that name."""
    if "/" in name or name.startswith("."):
        return None
    file = resources.files(__package__).joinpath("static", name)
    if not file.is_file():
        return None
    media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return _tagged(file.read_bytes(), media_type)


@cache
def _framed(path: str) -> _File:
    """A page: the frame, filled in. Nothing in it comes from a request."""
    page = PAGES[path]
    frame = Template(resources.files(__package__).joinpath("page.html").read_text("utf-8"))
    preloads = (f'<link rel="modulepreload" href="/static/{name}">' for name in (*PRELOADS, *page.preloads))
    links = (
        f'    <a href="{address}"{CURRENT if address == path else ""}>{other.title}</a>'
        for address, other in PAGES.items()
        if other.listed
    )
    filled = frame.substitute(
        title=page.title, script=page.script, preloads="\n".join(preloads), links="\n".join(links)
    )
    return _tagged(filled.encode(), "text/html")


def _tagged(content: bytes, media_type: str) -> _File:
    if media_type.startswith("text/"):
        media_type += "; charset=utf-8"
    digest = hashlib.sha256(content).hexdigest()[:16]
    return _File(content=content, media_type=media_type, etag=f'"{digest}"')


def _answer(request: Request, file: _File | None) -> Response:
    if file is None:
        raise RouteNotFound(f"There is nothing at {request.url.path}.")
    headers = {**SECURITY_HEADERS, "etag": file.etag, "cache-control": "no-cache"}
    if request.headers.get("if-none-match") == file.etag:
        return Response(status_code=304, headers=headers)
    return Response(file.content, media_type=file.media_type, headers=headers)


@router.api_route("/static/{name}", methods=["GET", "HEAD"])
async def static(request: Request, name: str) -> Response:
    """A style sheet, a module or a picture of the pages."""
    return _answer(request, _file(name))


async def _page(request: Request) -> Response:
    return _answer(request, _framed(request.url.path))


for _path in PAGES:
    router.add_api_route(_path, _page, methods=["GET", "HEAD"])
