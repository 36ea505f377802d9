"""Why a volume takes no writes, in facts that can be taken back one by one; where stores stand.

Until here one flag said whether a volume takes writes, and a sentence why it does not, so that mending a
replica could not know whether anything else stood in the way.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

BIG = sa.BigInteger().with_variant(sa.Integer, "sqlite")

_volumes = sa.table(
    "volumes",
    sa.column("volume", sa.BigInteger),
    sa.column("writable", sa.Boolean),
    sa.column("sealed", sa.Boolean),
    sa.column("reason", sa.Text),
    sa.column("full", sa.Boolean),
    sa.column("withdrawn", sa.Text),
)
_placements = sa.table("placements", sa.column("volume", sa.BigInteger), sa.column("failure", sa.Text))


def upgrade() -> None:
    """Add the columns, tell the facts apart, and drop what held them together."""
    op.add_column("stores", sa.Column("zone", sa.String(255)))
    op.add_column("placements", sa.Column("absent_at_ms", BIG))
    op.add_column("volumes", sa.Column("full", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("volumes", sa.Column("withdrawn", sa.Text))
    _tell_apart()
    op.drop_column("volumes", "writable")
    op.drop_column("volumes", "reason")


def _tell_apart() -> None:
    closed = sa.and_(~_volumes.c.writable, ~_volumes.c.sealed)
    op.execute(sa.update(_volumes).where(closed, _volumes.c.reason == "full").values(full=sa.true()))
    failing = sa.select(_placements.c.volume).where(_placements.c.failure.is_not(None))
    # Where a replica has failed, that is the reason; anything else was somebody's wish.
    op.execute(
        sa.update(_volumes)
        .where(closed, _volumes.c.reason != "full", _volumes.c.volume.not_in(failing))
        .values(withdrawn=_volumes.c.reason)
    )
