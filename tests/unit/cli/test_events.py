"""``events parked``: what a server gave up, and another try. What needs a broker is in tests/cluster."""

from __future__ import annotations

import pytest

from doubles.gateway import CREATED_AT
from hayloft.cli.failure import ExitCode


def give_up(gateway, consumer: str, position: int, reason: str = "it burns") -> None:
    gateway.parked.append(
        {
            "consumer": consumer,
            "position": position,
            "kind": "photo.uploaded",
            "photo_id": 100 + position,
            "reason": reason,
            "times": 2,
            "parked_at": CREATED_AT,
            "due": False,
        }
    )


@pytest.fixture
def parked(gateway):
    give_up(gateway, "similarity", 1)
    give_up(gateway, "similarity", 2, "no such \x1b[31mcolour")
    give_up(gateway, "renditions", 3)
    return gateway.parked


def test_what_was_given_up_is_listed(hayloft, parked):
    ran = hayloft("events", "parked")
    assert ran.code == ExitCode.OK
    assert "\x1b" not in ran.out
    for said in ("similarity", "renditions", "photo.uploaded", "101", "103", "it burns"):
        assert said in ran.out
    told = hayloft("events", "parked", "--consumer", "similarity", "--json").json
    assert [(one["position"], one["photo_id"], one["times"]) for one in told] == [(1, 101, 2), (2, 102, 2)]


def test_nothing_was_given_up(hayloft, gateway):
    ran = hayloft("events", "parked")
    assert (ran.out, ran.err) == ("", "Nothing has been given up.\n")


def test_another_try(hayloft, parked):
    ran = hayloft("events", "parked", "--retry", "--consumer", "similarity", "--position", "2")
    assert ran.err == "1 event will be tried again.\n"
    assert [one["due"] for one in parked] == [False, True, False]
    assert "is tried again" in hayloft("events", "parked").out
    assert hayloft("events", "parked", "--retry", "--json").json == [{"retried": 3}]


def test_a_broker_must_be_named(hayloft, monkeypatch):
    monkeypatch.delenv("HAYLOFT_BROKER_URL", raising=False)
    assert hayloft("events", "dead").code == ExitCode.USAGE


def test_a_broker_that_does_not_answer(hayloft):
    ran = hayloft("events", "dead", "--broker-url", "amqp://127.0.0.1:9/")
    assert ran.code == ExitCode.UNAVAILABLE
    assert "broker does not answer" in ran.err
