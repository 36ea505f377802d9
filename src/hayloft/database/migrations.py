"""Brings a role's tables to the schema of this version, with Alembic, without a configuration file.

Every revision runs in one transaction together with its version mark, on SQLite too, so a crash in the
middle leaves the old schema whole. Processes that upgrade at the same time follow one another. Tables from
a newer Hayloft are refused before anything is touched.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, text
from sqlalchemy.engine import URL
from sqlalchemy.pool import NullPool

from hayloft.database.failures import translated
from hayloft.database.opening import parse_url
from hayloft.database.postgres import lock_key, postgres_engine
from hayloft.database.sqlite import sqlite_engine
from hayloft.errors import FormatTooNew

_NEVER_MS: Final = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Migrations:
    """The revisions of one role's tables."""

    name: str
    """Whose tables they are."""
    scripts: Path
    """The folder with Alembic's ``env.py`` and ``versions``."""
    version_table: str
    """Alembic's own table, named so that one PostgreSQL database can hold several roles' tables."""

    def upgrade(self, url: str) -> None:
        """Create the tables at a database URL, or bring them up to date. Not for an event loop.

        Raises:
            FormatTooNew: a newer Hayloft has written this database.
            InvalidRequest: the URL names a kind of database that is not supported.
            RoleUnavailable: the server does not answer.
        """
        parsed = parse_url(url)
        if parsed.get_backend_name() == "sqlite":
            engine = sqlite_engine(parsed, begin="BEGIN IMMEDIATE")
            try:
                with engine.begin() as connection:
                    self.upgrade_on(connection)
            finally:
                engine.dispose()
        else:
            asyncio.run(self._upgrade_postgres(parsed))

    async def _upgrade_postgres(self, url: URL) -> None:
        engine = postgres_engine(url, idle_ms_max=_NEVER_MS, poolclass=NullPool)
        try:
            with translated(self.name):
                async with engine.begin() as connection:
                    take_lock = text("SELECT pg_advisory_xact_lock(:key)")
                    await connection.execute(take_lock, {"key": lock_key(self.name)})
                    await connection.run_sync(self.upgrade_on)
        finally:
            await engine.dispose()

    def upgrade_on(self, connection: Connection, revision: str = "head") -> None:
        """Upgrade inside the transaction that is open on ``connection``.

        Raises:
            FormatTooNew: a newer Hayloft has written this database.
        """
        config = self.configuration(connection)
        self._refuse_newer(connection, ScriptDirectory.from_config(config))
        command.upgrade(config, revision)

    def configuration(self, connection: Connection) -> Config:
        """Alembic's settings: where the revisions are, and the connection that ``env.py`` works on."""
        config = Config()
        config.set_main_option("script_location", str(self.scripts).replace("%", "%%"))
        config.attributes["connection"] = connection
        return config

    def _refuse_newer(self, connection: Connection, scripts: ScriptDirectory) -> None:
        context = MigrationContext.configure(connection, opts={"version_table": self.version_table})
        for revision in context.get_current_heads():
            try:
                scripts.get_revision(revision)
            except CommandError as error:
                raise FormatTooNew(
                    f"The {self.name}'s database is at revision {revision}, which this version of Hayloft "
                    f"does not know (it knows up to {scripts.get_current_head()}): a newer Hayloft has "
                    "written it. Start that version, or a later one.",
                    revision=revision,
                ) from error
