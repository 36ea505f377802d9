"""``/ready`` and ``/metrics`` around a role's server, with real roles behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from hayloft.cache.local import LocalCache
from hayloft.cache.server import cache_application
from hayloft.config import CacheSettings
from hayloft.errors import StorageFull
from hayloft.wire import operations
from hayloft.wire.authentication import Authenticated
from hayloft.wire.operations import Operated
from hayloft.wire.serving import AppServer


async def nothing() -> None:
    pass


async def full() -> None:
    raise StorageFull("No room.")


async def broken() -> None:
    raise ValueError


async def hanging() -> None:
    await asyncio.sleep(3600)


def cache() -> LocalCache:
    return LocalCache(CacheSettings())


def values(text: str) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_requests_are_counted_by_method_and_status() -> None:
    opened = cache()
    app = Operated(cache_application(opened), role="cache", ready=opened.statistics)
    async with AppServer(app) as server, aiohttp.ClientSession(server.url) as http:
        for method, path in (
            ("POST", "/cache/photo/1"),
            ("GET", "/cache/photo/1"),
            ("GET", "/cache/photo/2"),
            ("GET", "/health"),
            ("PROPFIND", "/cache/photo/1"),
        ):
            async with http.request(method, path, data=b"x" if method == "POST" else None):
                pass
        async with http.get("/ready") as answer:
            assert (answer.status, await answer.json()) == (200, {"status": "ready"})
        async with http.get("/metrics") as answer:
            told = values(await answer.text())
    assert told["hayloft_cache_requests_total", "POST", "200"] == 1
    assert told["hayloft_cache_requests_total", "GET", "200"] == 2
    assert told["hayloft_cache_requests_total", "GET", "404"] == 1
    assert told["hayloft_cache_requests_total", "other", "405"] == 1
    assert told["hayloft_cache_request_seconds_count", "GET"] == 3
    assert told[("hayloft_cache_requests_in_flight",)] == 0


@pytest.mark.parametrize("question", [full, broken, hanging])
async def test_a_role_that_cannot_work_is_not_ready(
    question: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations, "READY_SECONDS_MAX", 0.05)
    app = Operated(cache_application(cache()), role="cache", ready=question)
    async with AppServer(app) as server, aiohttp.ClientSession(server.url) as http:
        async with http.get("/ready") as answer:
            assert (answer.status, (await answer.json())["code"]) == (503, "role_unavailable")
        async with http.get("/health") as answer:
            assert answer.status == 200


async def test_metrics_need_the_secret_and_readiness_does_not() -> None:
    app = Authenticated(Operated(cache_application(cache()), role="cache", ready=nothing), (b"s" * 32,))
    async with AppServer(app) as server, aiohttp.ClientSession(server.url) as http:
        async with http.get("/ready") as answer:
            assert answer.status == 200
        async with http.get("/metrics") as answer:
            assert answer.status == 401
