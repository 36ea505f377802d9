"""Run by Alembic: applies revisions on the connection that ``upgrade_on`` hands over, in its
transaction.
"""

from __future__ import annotations

from alembic import context

from hayloft.directory.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
