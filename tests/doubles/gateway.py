"""A gateway in memory that can be told to misbehave, for what a real server cannot be made to do.

It speaks the gateway's HTTP over a real socket, remembers every request, and takes its faults from a
queue: each request to a faulty path uses up one. It links nothing and keeps nothing on a disk.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import threading
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from aiohttp import web

Fault = Callable[["GatewayDouble", web.Request], Awaitable[web.StreamResponse]]
FIRST = 1 << 32
CREATED_AT = "2026-01-02T03:04:05.678Z"


@dataclass
class Kept:
    """One photo."""

    id: int
    data: bytes
    name: str
    deleted: bool = False
    created_at: str = CREATED_AT
    cookie: str = field(default_factory=lambda: secrets.token_hex(8))

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


class GatewayDouble:
    """The double; a context that listens on a port of its own."""

    def __init__(self, *, api_key: str | None = None) -> None:
        self.photos: dict[int, Kept] = {}
        self.keys: dict[str, int] = {}
        self.requests: list[tuple[str, str]] = []
        self.headers: list[dict[str, str]] = []
        self.faults: dict[str, deque[Fault]] = defaultdict(deque)
        self.refused = b"not a photo"
        self.api_key = api_key
        self.upload_delay_seconds = 0.0
        self.uploads_in_flight = self.uploads_in_flight_max = 0
        self.ranges = True
        self.verdicts: dict[tuple[int, int], str | None] = {}
        self.parked: list[dict] = []
        self.url = ""
        app = web.Application(client_max_size=1 << 30, middlewares=[self._front])
        app.add_routes(
            [
                web.post("/upload", self._upload),
                web.get("/photo/{id}/info", self._info),
                web.get("/photo/{id}/links", self._links_of),
                web.get("/photo/{id}/group", self._group_of),
                web.get("/photo/{id}", self._get),
                web.get("/photo/{id}/{cookie}", self._get),
                web.delete("/photo/{id}", self._delete),
                web.get("/photos", self._list),
                web.post("/photos/known", self._known),
                web.get("/links", self._links),
                web.get("/groups", self._groups),
                web.get("/verdicts", self._verdicts),
                web.get("/events/parked", self._parked),
                web.post("/events/parked/retry", self._retry_parked),
                web.put("/links/{a}/{b}/verdict", self._verdict),
                web.get("/stats", self._stats),
                web.get("/health", self._health),
            ]
        )
        self._runner = web.AppRunner(app, shutdown_timeout=1)

    async def __aenter__(self) -> GatewayDouble:
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    def keep(self, data: bytes, name: str = "photo.png") -> Kept:
        """Put a photo there."""
        kept = Kept(id=FIRST + len(self.photos), data=data, name=name)
        self.photos[kept.id] = kept
        return kept

    @web.middleware
    async def _front(self, request: web.Request, handler) -> web.StreamResponse:
        self.requests.append((request.method, request.path))
        self.headers.append(dict(request.headers))
        if self.api_key and request.headers.get("Authorization") != f"Bearer {self.api_key}":
            return error(401, "unauthorized")
        if self.faults[request.path]:
            return await self.faults[request.path].popleft()(self, request)
        return await handler(request)

    async def _upload(self, request: web.Request) -> web.Response:
        self.uploads_in_flight += 1
        self.uploads_in_flight_max = max(self.uploads_in_flight, self.uploads_in_flight_max)
        try:
            data = await request.read()
            await asyncio.sleep(self.upload_delay_seconds)
        finally:
            self.uploads_in_flight -= 1
        if not data:
            return error(400, "empty_upload")
        if data.startswith(self.refused):
            return error(415, "unsupported_media_type", message="This is not a photo.")
        return self._commit(data, request)

    def _commit(self, data: bytes, request: web.Request) -> web.Response:
        key = request.headers.get("Idempotency-Key")
        if key in self.keys:
            return web.json_response(self._told(self.photos[self.keys[key]], repeated=True), status=201)
        first = self._first(hashlib.sha256(data).hexdigest())
        kept = self.keep(data, request.query.get("name", ""))
        kept.created_at = request.query.get("created_at", CREATED_AT)
        if key:
            self.keys[key] = kept.id
        return web.json_response(self._told(kept, duplicate_of=first), status=201)

    async def _get(self, request: web.Request) -> web.Response:
        kept = self._found(request)
        if "cookie" in request.match_info and request.match_info["cookie"] != kept.cookie:
            raise _http(error(404, "photo_not_found"))
        headers = {"ETag": f'"{kept.cookie}"', "Content-Type": "image/png"}
        if kept.name:
            headers["Content-Disposition"] = f'inline; filename="{kept.name}"'
        if not (self.ranges and "Range" in request.headers):
            return web.Response(body=kept.data, headers=headers)
        span = request.http_range
        start, stop = span.start, min(span.stop or len(kept.data), len(kept.data))
        if start >= len(kept.data):
            return error(416, "range_not_satisfiable")
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(kept.data)}"
        return web.Response(body=kept.data[start:stop], status=206, headers=headers)

    async def _delete(self, request: web.Request) -> web.Response:
        kept = self._found(request, deleted=True)
        kept.deleted = True
        return web.json_response({"status": "deleted", "photo_id": kept.id, "failed_replicas": []})

    async def _info(self, request: web.Request) -> web.Response:
        return web.json_response(self._told(self._found(request, deleted=True)))

    async def _list(self, request: web.Request) -> web.Response:
        wanted = [kept for kept in self.photos.values() if self._is_wanted(kept, request.query)]
        if request.query.get("order") == "desc":
            wanted.reverse()
        start, limit = int(request.query.get("cursor", 0)), int(request.query.get("limit", 100))
        page = wanted[start : start + limit]
        after = str(start + limit) if start + limit < len(wanted) else None
        told = [self._told(kept) for kept in page]
        return web.json_response({"photos": told, "next_cursor": after, "total": len(wanted)})

    def _is_wanted(self, kept: Kept, query) -> bool:
        status = query.get("status", "active")
        return status in ("any", "deleted" if kept.deleted else "active") and query.get("sha256") in (
            None,
            kept.sha256,
        )

    async def _known(self, request: web.Request) -> web.Response:
        wanted = (await request.json())["sha256"]
        found = {digest: self._first(digest) for digest in wanted}
        return web.json_response({"known": {digest: photo for digest, photo in found.items() if photo}})

    async def _verdicts(self, _request: web.Request) -> web.Response:
        said = [
            {"a": a, "b": b, "verdict": verdict, "created_at": CREATED_AT}
            for (a, b), verdict in self.verdicts.items()
            if verdict
        ]
        return web.json_response({"verdicts": said, "next_cursor": None})

    async def _links(self, request: web.Request) -> web.Response:
        links = [self._link(a, b) for a, b in self.verdicts]
        return web.json_response({"links": links, "next_cursor": None, "total": len(links)})

    async def _links_of(self, request: web.Request) -> web.Response:
        photo = self._found(request).id
        pairs = [pair for pair in self.verdicts if photo in pair]
        links = [{**self._link(a, b), "photo_id": a + b - photo} for a, b in pairs]
        return web.json_response({"photo_id": photo, "links": links})

    async def _groups(self, request: web.Request) -> web.Response:
        """Pages of as many groups as asked; by equal bytes alone for ``relation=duplicate``."""
        relation = request.query.get("relation")
        if relation == "similar":
            return error(400, "invalid_request")
        groups = self._twins() if relation == "duplicate" else self._linked()
        start, limit = int(request.query.get("cursor", 0)), int(request.query.get("limit", 100))
        after = str(start + limit) if start + limit < len(groups) else None
        told = [self._group(photos) for photos in groups[start : start + limit]]
        return web.json_response({"groups": told, "next_cursor": after, "total": len(groups)})

    async def _group_of(self, request: web.Request) -> web.Response:
        photo = self._found(request).id
        linked = (photos for photos in self._linked() if photo in photos)
        return web.json_response(self._group(next(linked, {photo})))

    def _linked(self) -> list[set[int]]:
        """What the pairs that nobody called different connect."""
        groups: list[set[int]] = []
        for pair in (set(pair) for pair, verdict in self.verdicts.items() if verdict != "different"):
            touched = [group for group in groups if group & pair]
            groups = [group for group in groups if not group & pair] + [pair.union(*touched)]
        return sorted(groups, key=min)

    def _twins(self) -> list[set[int]]:
        same: dict[str, set[int]] = defaultdict(set)
        for kept in self.photos.values():
            same[kept.sha256].add(kept.id)
        return [photos for photos in same.values() if len(photos) > 1]

    def _group(self, photos: set[int]) -> dict:
        """A group whose newest photo is the best of it."""
        return {"group": min(photos), "photos": sorted(photos), "best": max(photos)}

    async def _verdict(self, request: web.Request) -> web.Response:
        pair = (int(request.match_info["a"]), int(request.match_info["b"]))
        self.verdicts[pair] = (await request.json())["verdict"]
        return web.json_response(self._link(*pair))

    def _link(self, a: int, b: int) -> dict:
        told = {"a": a, "b": b, "relation": "copy", "score": 0.75, "method": "pdq/1"}
        evidence = {"distance": 12, "quality": 0.51234}
        return {**told, "evidence": evidence, "verdict": self.verdicts[a, b], "created_at": CREATED_AT}

    async def _stats(self, _request: web.Request) -> web.Response:
        active = [kept for kept in self.photos.values() if not kept.deleted]
        held = {"photos": len(active), "deleted": len(self.photos) - len(active), "volumes": 1}
        held |= {"bytes": sum(len(kept.data) for kept in active), "writable_volumes": 1, "last_event": 0}
        return web.json_response({"directory": held, "stores": [], "similarity": None})

    async def _parked(self, request: web.Request) -> web.Response:
        found = [one for one in self.parked if one["consumer"] == request.query["consumer"]]
        return web.json_response({"parked": found})

    async def _retry_parked(self, request: web.Request) -> web.Response:
        asked = await request.json()
        due = [
            one
            for one in self.parked
            if one["consumer"] == asked["consumer"] and asked["position"] in (None, one["position"])
        ]
        for one in due:
            one["due"] = True
        return web.json_response({"retried": len(due)})

    async def _health(self, _request: web.Request) -> web.Response:
        return web.json_response({"status": "ok", "service": "gateway", "version": "9.9.9"})

    def _first(self, digest: str) -> int | None:
        same = (kept.id for kept in self.photos.values() if kept.sha256 == digest and not kept.deleted)
        return next(same, None)

    def _found(self, request: web.Request, *, deleted: bool = False) -> Kept:
        kept = self.photos.get(int(request.match_info["id"]))
        if kept is None:
            raise _http(error(404, "photo_not_found"))
        if kept.deleted and not deleted:
            raise _http(error(410, "photo_deleted"))
        return kept

    def _told(self, kept: Kept, **more: object) -> dict:
        return {
            "photo_id": kept.id,
            "cookie": kept.cookie,
            "url": f"{self.url}/photo/{kept.id}/{kept.cookie}",
            "status": "deleted" if kept.deleted else "active",
            "logical_volume": "lv-1",
            "alt_key": "orig",
            "replicas": ["local"],
            "size": len(kept.data),
            "media_type": "image/png",
            "width": 3,
            "height": 2,
            "sha256": kept.sha256,
            "name": kept.name,
            "created_at": kept.created_at,
            **more,
        }


@contextmanager
def threaded_gateway(**options: str) -> Iterator[GatewayDouble]:
    """The double in an event loop of its own thread, for callers that block."""
    ready, stop = threading.Event(), threading.Event()
    double = GatewayDouble(**options)

    async def serve() -> None:
        async with double:
            ready.set()
            await asyncio.to_thread(stop.wait)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        assert ready.wait(10)
        yield double
    finally:
        stop.set()
        thread.join()


def error(status: int, code: str, *, message: str = "No.", retry_after: int | None = None) -> web.Response:
    """An error of the gateway."""
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    body = {"code": code, "message": message, "request_id": "r"}
    return web.json_response(body, status=status, headers=headers)


def _http(response: web.Response) -> web.HTTPException:
    kind = {404: web.HTTPNotFound, 410: web.HTTPGone}[response.status]
    return kind(text=response.text, content_type="application/json")


async def hang_up(_double: GatewayDouble, request: web.Request) -> web.StreamResponse:
    """A fault: the request is read and nothing is answered."""
    await request.read()
    request.transport.close()
    return web.Response()


async def lose_the_answer(double: GatewayDouble, request: web.Request) -> web.StreamResponse:
    """A fault: an upload is committed, but its answer never arrives."""
    double._commit(await request.read(), request)
    request.transport.close()
    return web.Response()


def overloaded(retry_after: int | None = None) -> Fault:
    """A fault: 503."""

    async def fault(_double: GatewayDouble, request: web.Request) -> web.StreamResponse:
        await request.read()
        return error(503, "overloaded", retry_after=retry_after)

    return fault


def answering(status: int, code: str, message: str = "No.") -> Fault:
    """A fault: an error."""

    async def fault(_double: GatewayDouble, request: web.Request) -> web.StreamResponse:
        await request.read()
        return error(status, code, message=message)

    return fault


def breaking_after(size: int) -> Fault:
    """A fault: a photo's connection breaks when ``size`` bytes of its rest have been sent."""

    async def fault(double: GatewayDouble, request: web.Request) -> web.StreamResponse:
        whole = await double._get(request)
        response = web.StreamResponse(status=whole.status, headers=whole.headers)
        response.content_length = len(whole.body)
        await response.prepare(request)
        await response.write(whole.body[:size])
        request.transport.close()
        return response

    return fault
