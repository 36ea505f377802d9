"""Listings stay quick at a million photos: what SQLite plans to do for each is a range of one index."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest
from sqlalchemy import event

from hayloft.database import parse_url
from hayloft.database.sqlite import sqlite_engine
from hayloft.directory import listing, log, photos
from hayloft.directory.log import Read
from hayloft.directory.migrations import upgrade_on
from hayloft.types import PhotoId, PhotoQuery, PhotoStatus


@pytest.fixture
def plans(tmp_path: Path):
    """A connection, and the plans of all that is executed on it."""
    engine = sqlite_engine(parse_url(f"sqlite:///{tmp_path / 'd.sqlite'}"), begin="BEGIN IMMEDIATE")
    with engine.begin() as connection:
        upgrade_on(connection)
        raw = connection.connection.dbapi_connection
        found: list[str] = []

        @event.listens_for(engine, "before_cursor_execute")
        def explain(_connection, _cursor, statement, parameters, _context, many):
            if statement.startswith("SELECT") and not many:
                found.extend(row[3] for row in raw.execute("EXPLAIN QUERY PLAN " + statement, parameters))

        yield connection, found
    engine.dispose()


CURSOR = "AQAAAaIO4tZaAAAAAQAAAAI"
FILTERS = {
    "status": [PhotoStatus.ACTIVE, None],
    "media_type": [None, "image/png"],
    "created_from_ms": [None, 5],
    "created_until_ms": [None, 7],
    "cursor": [None, CURSOR],
    "newest_first": [False],
}


@pytest.mark.parametrize("values", list(product(*FILTERS.values())), ids=str)
def test_pages_and_totals_are_ranges_of_the_orders_indexes(plans, values):
    connection, found = plans
    listing.page(connection, PhotoQuery(**dict(zip(FILTERS, values, strict=True))))
    of_photos = [step for step in found if "photos" in step]
    assert of_photos
    assert all(step.startswith("SEARCH photos USING") for step in of_photos), found
    assert not any("TEMP B-TREE" in step for step in found), found


@pytest.mark.parametrize("values", list(product(*FILTERS.values())), ids=str)
def test_a_digest_is_looked_up_by_itself(plans, values):
    connection, found = plans
    query = PhotoQuery(sha256=bytes(32), **dict(zip(FILTERS, values, strict=True)))
    listing.page(connection, query)
    of_photos = [step for step in found if "photos" in step]
    assert of_photos
    assert all("photos_by_digest (sha256=?" in step for step in of_photos), found


def test_probes_are_probes(plans):
    connection, found = plans
    photos.existing(connection, [PhotoId(1), PhotoId(2)])
    photos.firsts(connection, [bytes(32)])
    log.read(connection, Read(5, 10))
    assert not any(step.startswith("SCAN") for step in found), found
