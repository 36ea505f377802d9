"""In CI nothing is skipped in silence: what a test misses there is a failure. A server for many tests."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from postgres_server import PostgresServer


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip into a failure where ``CI`` is set, unless the test only runs on request."""
    report = yield
    if report.skipped and os.environ.get("CI") and not item.get_closest_marker("on_request"):
        report.outcome = "failed"
    return report


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server for all tests of this run."""
    # Loaded here, because most runs need none.
    from postgres_server import PostgresServer

    server = PostgresServer()
    server.start()
    yield server
    server.close()


@pytest.fixture
def postgres_database(request: pytest.FixtureRequest) -> Iterator[Callable[[], str]]:
    """Lends a database with a directory's tables, and says its URL; the server starts when first needed."""
    lent: list[str] = []

    def lend() -> str:
        server: PostgresServer = request.getfixturevalue("postgres")
        lent.append(server.borrow())
        return lent[-1]

    yield lend
    for url in lent:
        request.getfixturevalue("postgres").give_back(url)
