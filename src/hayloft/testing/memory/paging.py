"""Cursors of listings in memory: how many entries are behind."""

from __future__ import annotations

import base64

from hayloft import errors


def cursor_of(position: int) -> str:
    """The cursor of the page after so many entries."""
    return base64.urlsafe_b64encode(str(position).encode()).decode()


def parse_cursor(cursor: str) -> int:
    """How many entries are behind a cursor.

    Raises:
        InvalidRequest: it is no cursor.
    """
    try:
        return int(base64.urlsafe_b64decode(cursor.encode()))
    except ValueError as error:
        raise errors.InvalidRequest("The cursor is not one that was made here.") from error
