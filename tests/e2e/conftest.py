"""Fixtures that start real servers: ``start_server`` for one of a test's own, ``shared_server`` for all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from served import Server


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts servers on ``tmp_path``; whatever still runs at the end is killed."""
    started: list[Server] = []

    def start(name: str = "data", *, wait: bool = True, **settings: object) -> Server:
        server = Server(tmp_path / name, **settings)
        started.append(server)
        server.spawn()
        if wait:
            server.wait_until_serving()
        return server

    yield start
    for server in started:
        server.kill()


@pytest.fixture(scope="package")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server with two workers, for tests that leave it as it was but for more photos."""
    server = Server(
        tmp_path_factory.mktemp("shared") / "data",
        workers=2,
        UPLOAD__BYTES_MAX=4_000_000,
        RENDITIONS__ENABLED="false",
    ).start()
    yield server
    assert server.stop() == 0, server.log
