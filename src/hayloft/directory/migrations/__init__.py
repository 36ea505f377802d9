"""The directory's revisions, and what brings a database to the newest of them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from hayloft.database.migrations import Migrations

MIGRATIONS: Final = Migrations(
    name="directory", scripts=Path(__file__).parent, version_table="alembic_version"
)
upgrade: Final = MIGRATIONS.upgrade
upgrade_on: Final = MIGRATIONS.upgrade_on
configuration: Final = MIGRATIONS.configuration
