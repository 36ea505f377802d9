"""What stores ask of each other, by plain HTTP: good and bad requests."""

from __future__ import annotations

import aiohttp
import pytest

from hayloft.store.local import LocalStore
from hayloft.store.server import store_application
from hayloft.wire.serving import AppServer
from replica_samples import fill


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/volume/nonsense/digest", None, 400),
        ("GET", "/volume/lv-5/needles?limit=0", None, 400),
        ("GET", "/volume/lv-5/needles?limit=x", None, 400),
        ("GET", "/volume/lv-5/needles?after=x", None, 400),
        ("GET", "/volume/lv-5/needles?after=1/huge", None, 400),
        ("GET", "/volume/lv-5/needles?after=99999999999/orig", None, 400),
        ("GET", "/volume/lv-5/needles?scrutiny=none", None, 400),
        ("GET", "/volume/lv-5/needles?after=0/orig&limit=4096&scrutiny=medium", None, 200),
        ("POST", "/volume/lv-5/export", b'{"needles": [[1, "huge"]]}', 400),
        ("POST", "/volume/lv-5/export", b'{"needles": [[-1, "orig"]]}', 400),
        ("POST", "/volume/lv-5/export", b'{"needles": [[1]]}', 400),
        ("POST", "/volume/lv-5/export", b"nonsense", 400),
        ("POST", "/volume/lv-5/export", b'{"needles": [[1, "orig"]]}', 200),
        ("POST", "/volume/lv-5/fetch", b'{"needles": [[1, "orig"]]}', 400),
        ("POST", "/volume/lv-5/fetch", b'{"source": "", "needles": [[1, "orig"]]}', 400),
        ("POST", "/volume/lv-5/fetch", b'{"source": "source", "needles": [[1, "huge"]]}', 400),
        ("POST", "/volume/lv-5/fetch", b'{"source": "nobody", "needles": [[1, "orig"]]}', 503),
        ("GET", "/volume/lv-5/fetch", None, 405),
        ("POST", "/volume/lv-7/rebuild_index", b"", 404),
        ("POST", "/volume/lv-5/set_aside", b"", 409),
    ],
)
async def test_requests(
    stores: tuple[LocalStore, LocalStore], method: str, path: str, body: bytes | None, status: int
) -> None:
    await fill(stores[0], 1)
    headers = {"content-type": "application/json"}
    async with (
        AppServer(store_application(stores[0])) as server,
        aiohttp.ClientSession(server.url) as session,
        session.request(method, path, data=body, headers=headers) as answer,
    ):
        assert answer.status == status, await answer.text()
        if status >= 400:
            assert (await answer.json())["code"]
