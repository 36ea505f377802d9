import json

import pytest
from starlette.responses import JSONResponse

from hayloft import errors
from hayloft.wire import documents
from hayloft.wire.errors import from_response, to_body, to_headers


@pytest.mark.parametrize("kind", errors.ERRORS_BY_CODE.values(), ids=lambda kind: kind.code)
def test_every_error_survives_the_wire(kind: type[errors.HayloftError]) -> None:
    sent = kind("What happened.", retry_after_seconds=7, photo_id=42)
    received = from_response(
        sent.status, to_body(sent, "r1"), {"Retry-After": dict(to_headers(sent))["retry-after"]}
    )
    assert type(received) is kind
    assert received.message == "What happened."
    assert received.retry_after_seconds == 7
    assert received.details == {"photo_id": 42, "peer_request_id": "r1"}


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (404, errors.PhotoNotFound),
        (410, errors.PhotoDeleted),
        (418, errors.InvalidRequest),
        (502, errors.InternalError),
        (503, errors.RoleUnavailable),
        (507, errors.StorageFull),
    ],
)
def test_a_foreign_peer_is_understood_by_its_status(status: int, kind: type[errors.HayloftError]) -> None:
    received = from_response(status, b'{"detail": "no such photo"}')
    assert type(received) is kind
    assert received.message == "no such photo"


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b"\xff", b'{"code": 5}'])
def test_a_body_that_is_no_error_body_is_no_trouble(body: bytes) -> None:
    assert isinstance(from_response(500, body), errors.InternalError)


def test_details_cannot_hide_the_code() -> None:
    body = json.loads(to_body(errors.PhotoNotFound(request_id="forged"), "r2"))
    assert body["request_id"] == "r2"


def test_codes_are_unique_and_every_leaf_has_one() -> None:
    def leaves(kind: type[errors.HayloftError]) -> list[type[errors.HayloftError]]:
        below = kind.__subclasses__()
        return [leaf for child in below for leaf in leaves(child)] if below else [kind]

    kinds = leaves(errors.HayloftError)
    assert all(kind.code for kind in kinds)
    assert len({kind.code for kind in kinds}) == len(kinds)


def test_the_tree_at_the_top_of_the_file_is_the_tree() -> None:
    drawn = errors.__doc__ or ""
    for code, kind in errors.ERRORS_BY_CODE.items():
        assert f"{kind.__name__} " in drawn
        assert f"{kind.status} {code}\n" in drawn


def test_json_is_spelled_as_the_framework_spells_it() -> None:
    document = {"message": "Größe", "value": [1, 2.5, None], "request_id": "r3"}
    assert documents.encode(document) == bytes(JSONResponse(document).body)


def test_a_name_that_is_no_text_is_no_trouble() -> None:
    assert json.loads(to_body(errors.PhotoNotFound("lost\udcff"), "r4"))["message"] == "lost?"
