"""pgvector's ``halfvec`` in binary, through the driver itself.

A search is one statement, which is a transaction of its own: asked of the driver it is one round trip,
where a transaction around it makes four. And a vector travels as half-precision numbers, which is what the
table holds: an array of numbers would be turned into a ``halfvec`` again for every row of the answer. The
two were most of a search's time among 20,000 × 768 vectors.

Connections are SQLAlchemy's, from its pool and under its transactions; errors are said as it says them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

T = TypeVar("T")

_SCHEMA: Final = (
    "SELECT n.nspname FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace "
    "WHERE t.oid = 'halfvec'::regtype"
)
_SPOKEN: Final = "hayloft_halfvec"
_THOROUGHNESS: Final = "hayloft_thoroughness"


def encode(vector: NDArray[np.floating[Any]]) -> bytes:
    """A vector as pgvector receives it (``halfvec_recv``): its length and a zero, 16 bits each, then its
    numbers, all big-endian."""
    return np.array([len(vector), 0], ">u2").tobytes() + np.asarray(vector, ">f2").tobytes()


def decode(sent: bytes) -> NDArray[np.float16]:
    """The vector that pgvector sends."""
    return np.frombuffer(sent, ">f2", offset=4).astype(np.float16)


def search(connection: Connection, query: str, *given: Any, expansion: int) -> Sequence[Any]:
    """The rows of a query past any transaction, with HNSW's ``ef_search`` at ``expansion``.

    Searches go on past ``expansion`` where rows that are gone were found.

    Raises:
        DBAPIError: it failed, or the connection did.
    """

    async def ask(driver: Any) -> Sequence[Any]:
        if known.get(_THOROUGHNESS) != expansion:
            await driver.execute(
                f"SET hnsw.ef_search = {int(expansion)}; SET hnsw.iterative_scan = 'strict_order'"
            )
            known[_THOROUGHNESS] = expansion
        found: Sequence[Any] = await driver.fetch(query, *given)
        return found

    # What is kept here is forgotten with the connection.
    known = connection.connection.info
    return _through_driver(connection, ask)


def execute(connection: Connection, statement: str, *given: Any) -> None:
    """Run a statement in the transaction that is open.

    Raises:
        DBAPIError: it failed, or the connection did.
    """
    _through_driver(connection, lambda driver: driver.execute(statement, *given))


def _through_driver(connection: Connection, ask: Callable[[Any], Awaitable[T]]) -> T:
    """What ``ask`` says, given asyncpg's connection, which has learned what a ``halfvec`` is."""
    import asyncpg

    pooled = connection.connection
    adapted: Any = pooled.dbapi_connection

    async def spoken(driver: Any) -> T:
        if _SPOKEN not in pooled.info:
            schema = await driver.fetchval(_SCHEMA)
            await driver.set_type_codec(
                "halfvec", schema=schema, encoder=encode, decoder=decode, format="binary"
            )
            pooled.info[_SPOKEN] = True
        return await ask(driver)

    try:
        answer: T = adapted.run_async(spoken)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as failure:
        broken = adapted.driver_connection.is_closed()
        if broken:
            connection.invalidate(failure)
        raise DBAPIError(None, None, failure, connection_invalidated=broken) from failure
    return answer
