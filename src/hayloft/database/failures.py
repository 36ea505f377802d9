"""The drivers' errors, said in ours by what the caller can do about them."""

from __future__ import annotations

import sqlite3
from typing import Final

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from hayloft.errors import HayloftError, InternalError, Overloaded, RoleUnavailable, StorageFull

_POSTGRES_DISK_FULL: Final = "53100"
_POSTGRES_AWAY: Final = frozenset({"08", "53", "57"})
"""Classes of SQLSTATE: no connection, out of resources, stopped by an operator."""
_POSTGRES_CUT_OFF: Final = frozenset({"25P03", "25P04"})
"""A session that the server ended because its transaction stood still, or took too long."""
_SQLITE_BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_CANTOPEN})


class translated:  # noqa: N801 - reads as a statement: with translated("directory")
    """Turns the drivers' errors into ours; ``name`` is whose database it is."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None: ...

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, DBAPIError):
            raise translate(_first(error), self._name) from error
        if isinstance(error, PoolTimeout):
            raise Overloaded(f"All connections to the {self._name}'s database are busy.") from error
        if isinstance(error, OSError):
            raise RoleUnavailable(f"The {self._name}'s database cannot be reached: {error}.") from error


def translate(error: DBAPIError, name: str) -> HayloftError:
    """The error of ours that says what the caller can do about a driver's."""
    original = error.orig
    code = getattr(original, "sqlite_errorcode", 0) & 0xFF
    state = getattr(original, "sqlstate", None) or ""
    if code == sqlite3.SQLITE_FULL or state == _POSTGRES_DISK_FULL:
        return StorageFull(f"The {name}'s disk is full.")
    if code in _SQLITE_BUSY or is_away(error):
        return RoleUnavailable(f"The {name}'s database cannot be reached: {original}.")
    return InternalError(f"The {name}'s database failed: {original}.")


def is_away(error: BaseException) -> bool:
    """Whether an error says that the server, or the connection to it, is gone."""
    if isinstance(error, DBAPIError):
        state = getattr(error.orig, "sqlstate", None) or ""
        away = state[:2] in _POSTGRES_AWAY and state != _POSTGRES_DISK_FULL
        return away or state in _POSTGRES_CUT_OFF or error.connection_invalidated
    return isinstance(error, OSError)


def _first(error: DBAPIError) -> DBAPIError:
    """The failure that led to this one: a full disk ends SQLite's transaction, and with it its savepoints,
    whose absence is then complained of."""
    first, earlier = error, error.__context__
    while earlier is not None:
        if isinstance(earlier, DBAPIError):
            first = earlier
        earlier = earlier.__context__
    return first
