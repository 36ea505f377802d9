from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from fastapi import FastAPI

from hayloft import errors
from hayloft.wire.asgi import application
from hayloft.wire.serving import AppServer, free_port
from hayloft.wire.session import Patience, Session


def make_app() -> FastAPI:
    app = application(title="test", version="1")
    calls: list[str] = []
    app.state.calls = calls

    @app.get("/gone")
    async def gone() -> None:
        raise errors.PhotoDeleted(photo_id=7)

    @app.get("/bug")
    async def bug() -> None:
        raise ZeroDivisionError

    @app.get("/number/{n}")
    async def number(n: int) -> dict[str, int]:
        return {"n": n}

    return app


@pytest.fixture(params=["tcp", "uds"])
async def session(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Session]:
    uds = tmp_path / "s" if request.param == "uds" else None
    async with AppServer(make_app(), uds=uds) as server, Session(server.url, uds=uds) as session:
        yield session


async def test_an_answer_comes_back_with_a_request_id(session: Session) -> None:
    answer = await session.request("GET", "/number/5", headers={"X-Request-ID": "abc-1"})
    assert answer.json() == {"n": 5}
    assert answer.headers["X-Request-ID"] == "abc-1"


async def test_a_bad_request_id_is_replaced(session: Session) -> None:
    answer = await session.request("GET", "/number/5", headers={"X-Request-ID": "no spaces"})
    assert len(answer.headers["X-Request-ID"]) == 16


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/gone", errors.PhotoDeleted),
        ("/bug", errors.InternalError),
        ("/number/x", errors.InvalidRequest),
        ("/nothing", errors.RouteNotFound),
    ],
)
async def test_errors_keep_their_type(session: Session, path: str, kind: type[errors.HayloftError]) -> None:
    with pytest.raises(kind) as caught:
        await session.request("GET", path)
    assert caught.value.details["peer_request_id"]


async def test_the_wrong_method_is_told(session: Session) -> None:
    with pytest.raises(errors.MethodNotAllowed):
        await session.request("POST", "/gone")


async def test_a_peer_that_is_not_there_is_unavailable() -> None:
    patience = Patience(connect_seconds=0.2, pause_seconds=0.001)
    async with Session(f"http://127.0.0.1:{free_port()}", patience=patience) as session:
        with pytest.raises(errors.RoleUnavailable):
            await session.request("GET", "/")
