"""Runs revisions on the connection that ``database.upgrade`` hands over, in its transaction."""

from alembic import context

from hayloft.similarity.database import VERSION_TABLE
from hayloft.similarity.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    transactional_ddl=False,
    render_as_batch=True,
)
context.run_migrations()
