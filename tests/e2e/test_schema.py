"""Whatever OpenAPI allows, and what it does not, gets an answer with the right shape, never a failure."""

from __future__ import annotations

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings

EXAMPLES = 15
"""For each operation."""

MAY_BE_UNAVAILABLE = {503, 501}
"""Where linking or renditions are turned off, or no model knows words."""


@pytest.fixture(scope="module")
def operations(shared_server):
    schema = schemathesis.openapi.from_url(f"{shared_server.url}/openapi.json")
    return [found.ok() for found in schema.get_all_operations()]


def test_nothing_that_is_sent_makes_the_server_fail(operations):
    assert len(operations) > 15
    for operation in operations:
        strategy = operation.as_strategy()

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=strategy)
        def send(case):
            reply = case.call()
            assert reply.status_code < 500 or reply.status_code in MAY_BE_UNAVAILABLE, (
                case.as_curl_command()
            )
            assert reply.headers["x-request-id"]
            if reply.status_code >= 400 and case.method != "HEAD":
                told = reply.json()
                assert {"code", "message", "request_id"} <= set(told), case.as_curl_command()

        send()
