"""Similarity's revisions, and what brings a database to the newest of them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from hayloft.database import Database, open_database
from hayloft.database.migrations import Migrations

MIGRATIONS: Final = Migrations(
    name="similarity", scripts=Path(__file__).parent, version_table="similarity_version"
)


async def open_upgraded(url: str) -> Database:
    """Similarity's database at ``url``, brought to this version's schema.

    Raises:
        FormatTooNew: a newer Hayloft wrote it.
        InvalidRequest: the URL names another kind of database, or no file.
    """
    database = open_database(url, name=MIGRATIONS.name)
    try:
        await database.write(MIGRATIONS.upgrade_on)
    except BaseException:
        await database.close()
        raise
    return database
