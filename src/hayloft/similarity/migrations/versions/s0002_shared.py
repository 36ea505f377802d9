"""What several processes need to share a database: names of its own, deletions in order, vectors."""

import sqlalchemy as sa
from alembic import op

revision = "s0002"
down_revision = "s0001"
branch_labels = None
depends_on = None

_Big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Rename what the directory has a table of the same name as; add removals and vectors."""
    sqlite = op.get_bind().dialect.name == "sqlite"
    if sqlite:
        op.rename_table("photos", "seen_photos")
    op.create_table(
        "removals",
        sa.Column("removal", _Big, primary_key=True, autoincrement=True),
        sa.Column("photo", _Big, nullable=False),
        sqlite_autoincrement=True,
    )
    op.execute("INSERT INTO removals (photo) SELECT photo FROM seen_photos WHERE state = 2")
    if not sqlite:
        op.execute("CREATE EXTENSION IF NOT EXISTS vector")
        op.execute(
            "CREATE TABLE vectors ("
            " change BIGINT PRIMARY KEY REFERENCES fingerprints ON DELETE CASCADE,"
            " method VARCHAR(128) NOT NULL,"
            " photo BIGINT NOT NULL,"
            " vector halfvec NOT NULL)"
        )


def downgrade() -> None:
    """Back to one process."""
    if op.get_bind().dialect.name == "sqlite":
        op.rename_table("seen_photos", "photos")
    else:
        op.drop_table("vectors")
    op.drop_table("removals")
