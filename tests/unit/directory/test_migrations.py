"""Migrations: fresh, from every earlier revision, twice, at once, from the future, cut off."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from hayloft.database import parse_url
from hayloft.database.sqlite import sqlite_engine
from hayloft.directory.migrations import configuration, upgrade, upgrade_on
from hayloft.directory.schema import metadata
from hayloft.errors import FormatTooNew, InvalidRequest


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "directory.sqlite"


def revisions() -> list[str]:
    with create_engine("sqlite://").connect() as connection:
        scripts = ScriptDirectory.from_config(configuration(connection))
        return [script.revision for script in scripts.walk_revisions()][::-1]


def tables(path: Path) -> set[str]:
    with sqlite3.connect(path) as connection:
        rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        return {name for (name,) in rows}


def test_a_migrated_database_has_the_schema(path):
    upgrade(f"sqlite:///{path}")
    with create_engine(f"sqlite:///{path}").connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


@pytest.mark.parametrize("start", revisions())
def test_every_earlier_revision_is_brought_up_to_date(path, start):
    url = f"sqlite:///{path}"
    engine = sqlite_engine(parse_url(url), begin="BEGIN IMMEDIATE")
    with engine.begin() as connection:
        upgrade_on(connection, start)
        connection.exec_driver_sql(
            "INSERT INTO stores (store, free_bytes, capacity_bytes, seen_at_ms) VALUES ('s', 1, 2, 3)"
        )
    engine.dispose()
    upgrade(url)
    upgrade(url)
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT store, url, seen_at_ms FROM stores").fetchall() == [
            ("s", None, 3)
        ]
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [
            (revisions()[-1],)
        ]
    assert tables(path) >= set(metadata.tables)


def test_a_database_from_the_future_is_refused_untouched(path):
    upgrade(f"sqlite:///{path}")
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.execute("DROP TABLE parked")
    with pytest.raises(FormatTooNew, match=r"9999.*newer Hayloft") as refusal:
        upgrade(f"sqlite:///{path}")
    assert refusal.value.details["revision"] == "9999"
    assert "parked" not in tables(path)


def test_processes_that_upgrade_at_once_follow_one_another(path):
    call = f"from hayloft.directory.migrations import upgrade; upgrade('sqlite:///{path}')"
    children = [subprocess.Popen([sys.executable, "-c", call]) for _ in range(4)]
    assert [child.wait() for child in children] == [0, 0, 0, 0]
    assert tables(path) >= set(metadata.tables)


def test_a_migration_that_fails_leaves_nothing_behind(path):
    url = f"sqlite:///{path}"
    engine = sqlite_engine(parse_url(url), begin="BEGIN IMMEDIATE")
    with pytest.raises(RuntimeError), engine.begin() as connection:
        upgrade_on(connection)
        raise RuntimeError("the power went")
    engine.dispose()
    assert tables(path) == set()
    upgrade(url)


@pytest.mark.parametrize("url", ["mysql://localhost/x", "sqlite://", "sqlite:///:memory:", "no url"])
def test_other_databases_are_refused(url):
    with pytest.raises(InvalidRequest):
        upgrade(url)


def test_the_durability_that_is_promised_is_switched_on(path):
    engine = sqlite_engine(parse_url(f"sqlite:///{path}"), begin="BEGIN IMMEDIATE")
    with engine.connect() as connection:
        settings = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "busy_timeout")
        }
    engine.dispose()
    assert settings == {"journal_mode": "wal", "synchronous": 2, "busy_timeout": 30_000}


def test_reasons_become_facts_that_can_be_taken_back_one_by_one(path):
    """Revision 0003: one flag and one sentence for each volume were all there was."""
    url = f"sqlite:///{path}"
    engine = sqlite_engine(parse_url(url), begin="BEGIN IMMEDIATE")
    reasons = {1: "", 2: "full", 3: "taken out of the writable set", 4: "s: broken", 5: "sealed"}
    with engine.begin() as connection:
        upgrade_on(connection, "0002")
        for volume, reason in reasons.items():
            connection.exec_driver_sql(
                "INSERT INTO volumes (volume, next_sequence, writable, sealed, reason, created_at_ms) "
                "VALUES (?, 7, ?, ?, ?, 0)",
                (volume, volume == 1, volume == 5, reason),
            )
            connection.exec_driver_sql(
                "INSERT INTO placements (volume, store, size_bytes, needles, failure) "
                "VALUES (?, 's', 1, 1, ?)",
                (volume, "broken" if volume == 4 else None),
            )
    engine.dispose()
    upgrade(url)
    with sqlite3.connect(path) as connection:
        found = connection.execute("SELECT volume, sealed, full, withdrawn FROM volumes ORDER BY volume")
        assert found.fetchall() == [
            (1, 0, 0, None),
            (2, 0, 1, None),
            (3, 0, 0, "taken out of the writable set"),
            (4, 0, 0, None),
            (5, 1, 0, None),
        ]
