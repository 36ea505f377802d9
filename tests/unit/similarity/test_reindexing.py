"""How far PostgreSQL's making of an index is, as one number."""

from __future__ import annotations

import pytest

from hayloft.similarity.reindexing import share


def test_it_grows_from_phase_to_phase() -> None:
    lines = [
        ("initializing", 0, 0, 0, 0),
        ("waiting for writers before build", 0, 0, 0, 0),
        ("building index: initializing", 0, 0, 0, 0),
        ("building index: loading tuples", 0, 0, 10, 200),
        ("building index: loading tuples", 0, 0, 200, 200),
        ("waiting for writers before validation", 0, 0, 0, 0),
        ("index validation: scanning index", 0, 0, 0, 0),
        ("waiting for old snapshots", 0, 0, 0, 0),
        ("waiting for readers before marking dead", 0, 0, 0, 0),
    ]
    told = [share(*line) for line in lines]
    assert told == sorted(told)
    assert (told[0], told[3], told[4]) == (0.0, pytest.approx(0.045), 0.9)
    assert told[-1] < 1.0


def test_tuples_are_counted_where_the_server_counts_them() -> None:
    assert share("building index: loading tuples", 500, 1000, 0, 0) == pytest.approx(0.45)
