"""Alembic's revisions of similarity's tables; ``database.upgrade`` applies them."""
