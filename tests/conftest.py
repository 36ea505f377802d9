"""In CI nothing is skipped in silence: what a test misses there is a failure."""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip into a failure where ``CI`` is set, unless the test only runs on request."""
    report = yield
    if report.skipped and os.environ.get("CI") and not item.get_closest_marker("on_request"):
        report.outcome = "failed"
    return report
