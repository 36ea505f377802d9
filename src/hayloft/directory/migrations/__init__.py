"""Brings a directory's database to the schema of this version, with Alembic, without a configuration
file.

``upgrade`` is all there is to call. Every revision runs in one transaction together with its version
mark, on SQLite too, so a crash in the middle leaves the old schema whole. Two processes that upgrade at
the same time follow one another. A database from a newer Hayloft is refused before anything is touched.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, text
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from hayloft.directory.database import WRITE_LOCK_KEY, parse_url, sqlite_engine
from hayloft.errors import FormatTooNew

SCRIPTS: Final = Path(__file__).parent


def upgrade(url: str) -> None:
    """Create the directory's tables at a database URL, or bring them up to date. Not for an event loop.

    Raises:
        FormatTooNew: a newer Hayloft has written this database.
        InvalidRequest: the URL names a kind of database that is not supported.
    """
    parsed = parse_url(url)
    if parsed.get_backend_name() == "sqlite":
        engine = sqlite_engine(parsed, begin="BEGIN IMMEDIATE")
        try:
            with engine.begin() as connection:
                upgrade_on(connection)
        finally:
            engine.dispose()
    else:
        asyncio.run(_upgrade_postgres(parsed))


async def _upgrade_postgres(url: URL) -> None:
    engine = create_async_engine(url, poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": WRITE_LOCK_KEY})
            await connection.run_sync(upgrade_on)
    finally:
        await engine.dispose()


def upgrade_on(connection: Connection, revision: str = "head") -> None:
    """Upgrade inside the transaction that is open on ``connection``.

    Raises:
        FormatTooNew: a newer Hayloft has written this database.
    """
    config = configuration(connection)
    refuse_newer(connection, ScriptDirectory.from_config(config))
    command.upgrade(config, revision)


def configuration(connection: Connection) -> Config:
    """Alembic's settings: where the revisions are, and the connection that ``env.py`` works on."""
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def refuse_newer(connection: Connection, scripts: ScriptDirectory) -> None:
    """Refuse a database whose revision this version does not know.

    Raises:
        FormatTooNew: it does not.
    """
    for revision in MigrationContext.configure(connection).get_current_heads():
        try:
            scripts.get_revision(revision)
        except CommandError as error:
            raise FormatTooNew(
                f"The directory's database is at revision {revision}, which this version of Hayloft does "
                f"not know (it knows up to {scripts.get_current_head()}): a newer Hayloft has written it. "
                "Start that version, or a later one.",
                revision=revision,
            ) from error
