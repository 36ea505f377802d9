"""Photos, fingerprints, links and verdicts."""

import sqlalchemy as sa
from alembic import op

revision = "s0001"
down_revision = None
branch_labels = None
depends_on = None

_Big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the tables."""
    # In PostgreSQL these tables lie beside the directory's, which has one of that name.
    sqlite = op.get_bind().dialect.name == "sqlite"
    photos = "photos" if sqlite else "seen_photos"
    op.create_table(
        photos,
        sa.Column("photo", _Big, primary_key=True, autoincrement=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("position", _Big, nullable=False),
        sa.Column("sha256", sa.LargeBinary(32)),
        sa.Column("original", _Big),
        sa.Column("group_id", _Big),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("size_bytes", _Big, nullable=False),
        sa.Column("sharpness", sa.Float(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("seen_at_ms", _Big, nullable=False),
    )
    op.create_index("photos_sha256", photos, ["sha256", "original"])
    op.create_index("photos_state", photos, ["state", "photo"])
    op.create_index("photos_original", photos, ["original"])
    op.create_index("photos_group", photos, ["group_id", "photo"])
    op.create_table(
        "fingerprints",
        sa.Column("change", _Big, primary_key=True, autoincrement=True),
        sa.Column("method", sa.String(128), nullable=False),
        sa.Column("photo", _Big, nullable=False),
        sa.Column("quality", sa.Float(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("fingerprints_photo", "fingerprints", ["photo", "method"], unique=True)
    op.create_index("fingerprints_method", "fingerprints", ["method", "change"])
    op.create_table(
        "links",
        sa.Column("link", _Big, primary_key=True, autoincrement=True),
        sa.Column("a", _Big, nullable=False),
        sa.Column("b", _Big, nullable=False),
        sa.Column("relation", sa.String(16), nullable=False),
        sa.Column("score", sa.Float(), nullable=False),
        sa.Column("method", sa.String(128), nullable=False),
        sa.Column("evidence", sa.JSON(), nullable=False),
        sa.Column("created_at_ms", _Big, nullable=False),
        sa.Column("announced", sa.Boolean(), nullable=False, server_default=sa.false()),
        sqlite_autoincrement=True,
    )
    op.create_index("links_pair", "links", ["a", "b"], unique=True)
    op.create_index("links_b", "links", ["b", "a"])
    op.create_index("links_relation", "links", ["relation", "link"])
    op.create_index("links_announced", "links", ["announced", "link"])
    op.create_table(
        "verdicts",
        sa.Column("a", _Big, primary_key=True, autoincrement=False),
        sa.Column("b", _Big, primary_key=True, autoincrement=False),
        sa.Column("verdict", sa.String(16), nullable=False),
        sa.Column("created_at_ms", _Big, nullable=False),
    )
    op.create_index("verdicts_b", "verdicts", ["b", "a"])


def downgrade() -> None:
    """Drop the tables."""
    for table in ("verdicts", "links", "fingerprints", "photos"):
        op.drop_table(table)
