"""Runs revisions on the connection that ``Migrations.upgrade_on`` hands over, in its transaction."""

from alembic import context

from hayloft.similarity.migrations import MIGRATIONS
from hayloft.similarity.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=MIGRATIONS.version_table,
    transactional_ddl=False,
    render_as_batch=True,
)
context.run_migrations()
