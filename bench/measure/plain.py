"""The same topology, written plainly: gateway, directory and stores as one writes them in an afternoon.

FastAPI throughout; a new HTTP client for every request between services; replicas one after the other; a
store appends to one file, syncs it, and writes its whole index anew; the directory writes its whole table
anew. It keeps the wire contract. ``BENCH_ROLE`` says what a process is, ``BENCH_DIRECTORY``,
``BENCH_STORES`` (separated by commas) and ``BENCH_DATA`` where the rest is.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import aiohttp
from fastapi import FastAPI, HTTPException, Request, Response

ROLE = os.environ.get("BENCH_ROLE", "")
DIRECTORY = os.environ.get("BENCH_DIRECTORY", "")
STORES = os.environ.get("BENCH_STORES", "").split(",")
DATA = Path(os.environ.get("BENCH_DATA", "."))

application = FastAPI()


def _gateway(app: FastAPI) -> None:
    @app.post("/upload", status_code=201)
    async def upload(request: Request) -> dict[str, Any]:
        data = await request.body()
        async with aiohttp.ClientSession() as client:
            asked = {"size": len(data), "alt_key": "orig"}
            async with client.post(f"{DIRECTORY}/allocate_write", json=asked) as answer:
                photo = await answer.json()
        for store in STORES:
            headers = {"X-Photo-ID": str(photo["photo_id"]), "X-Cookie": photo["cookie"]}
            async with (
                aiohttp.ClientSession() as client,
                client.post(f"{store}/volume/lv-1/append", data=data, headers=headers) as answer,
            ):
                answer.raise_for_status()
        async with (
            aiohttp.ClientSession() as client,
            client.post(f"{DIRECTORY}/commit_write", json={"photo_id": photo["photo_id"]}) as answer,
        ):
            answer.raise_for_status()
        return {"photo_id": photo["photo_id"], "logical_volume": "lv-1"}

    @app.get("/photo/{photo_id}")
    async def read(photo_id: int) -> Response:
        async with (
            aiohttp.ClientSession() as client,
            client.get(f"{DIRECTORY}/photo/{photo_id}") as answer,
        ):
            if answer.status != 200:
                raise HTTPException(answer.status)
            await answer.json()
        store = STORES[photo_id % len(STORES)]
        async with (
            aiohttp.ClientSession() as client,
            client.get(f"{store}/volume/lv-1/read?photo_id={photo_id}") as answer,
        ):
            return Response(await answer.read(), answer.status, media_type="image/jpeg")


def _directory(app: FastAPI) -> None:
    photos: dict[str, dict[str, Any]] = {}

    def save() -> None:
        (DATA / "directory.json").write_text(json.dumps(photos))

    @app.post("/allocate_write")
    async def allocate(_asked: dict[str, Any]) -> dict[str, Any]:
        photo = {"photo_id": len(photos) + 1, "logical_volume": "lv-1", "cookie": os.urandom(8).hex()}
        photos[str(photo["photo_id"])] = {**photo, "status": "alloc"}
        save()
        return photo

    @app.post("/commit_write")
    async def commit(asked: dict[str, Any]) -> dict[str, Any]:
        photos[str(asked["photo_id"])]["status"] = "active"
        save()
        return {"status": "committed"}

    @app.get("/photo/{photo_id}")
    async def photo(photo_id: str) -> dict[str, Any]:
        if photo_id not in photos:
            raise HTTPException(404)
        return photos[photo_id]


def _store(app: FastAPI) -> None:
    volume, index_file = DATA / "volume", DATA / "index.json"
    index: dict[str, tuple[int, int]] = {}
    volume.touch()

    @app.post("/volume/{lv}/append")
    async def append(lv: str, request: Request) -> dict[str, Any]:
        data = await request.body()
        with volume.open("ab") as file:
            offset = file.tell()
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        index[request.headers["x-photo-id"]] = (offset, len(data))
        index_file.write_text(json.dumps(index))
        return {"status": "stored", "lv": lv, "offset": offset, "size": len(data)}

    @app.get("/volume/{lv}/read")
    async def read(lv: str, photo_id: str) -> Response:  # noqa: ARG001 - the address has it
        if photo_id not in index:
            raise HTTPException(404)
        offset, size = index[photo_id]
        with volume.open("rb") as file:
            file.seek(offset)
            return Response(file.read(size), media_type="application/octet-stream")


@application.get("/health")
async def health() -> dict[str, str]:
    """It is there."""
    return {"status": "ok"}


_MAKERS = {"gateway": _gateway, "directory": _directory, "store": _store}
if ROLE:
    _MAKERS[ROLE](application)
