"""Makes an index of vectors in PostgreSQL anew, while the old one answers, and says how far that is.

``REINDEX CONCURRENTLY`` runs outside any transaction, for minutes where there are millions of vectors, so
it has a connection of its own; another one looks how far it is (PostgreSQL's documentation: "CREATE INDEX
Progress Reporting"). What was left behind by one that was broken off, an index that takes every vector and
answers nothing, is dropped first.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from sqlalchemy.engine import make_url

from hayloft.errors import InternalError
from hayloft.similarity.progress import Tell

POLL_SECONDS: Final = 0.2
MEMORY_KB_PER_VECTOR: Final = 4
"""Of a graph while it is made: 768 numbers in half precision, 32 neighbours and what goes with them."""
MEMORY_KB_MAX: Final = 1 << 20
"""A graph that outgrows its memory is made on disk, four times as slowly; a quarter of a million fit."""

_BUILT: Final = 0.9
"""What comes after, reading all rows once more and waiting for who may still use the old one, is quick."""
_AFTER: Final = {
    "waiting for writers before validation": 0.9,
    "index validation": 0.92,
    "waiting for old snapshots": 0.96,
    "waiting for readers": 0.98,
}
_PROGRESS: Final = (
    "SELECT phase, tuples_done, tuples_total, blocks_done, blocks_total FROM pg_stat_progress_create_index "
    "WHERE pid = $1"
)
_LEFT_BEHIND: Final = (
    "SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
    "WHERE NOT i.indisvalid AND starts_with(c.relname, $1 || '_cc')"
)


async def reindex(url: str, index: str, *, vectors: int, tell: Tell) -> None:
    """Make ``index``, over about so many ``vectors``, anew.

    Raises:
        InternalError: the server refused.
    """
    import asyncpg

    try:
        async with _connected(url) as connection, _connected(url) as observer:
            await _prepare(connection, index, vectors)
            pid = connection.get_server_pid()
            work = asyncio.create_task(connection.execute(f"REINDEX INDEX CONCURRENTLY {index}"))
            try:
                while not (await asyncio.wait({work}, timeout=POLL_SECONDS))[0]:
                    if (row := await observer.fetchrow(_PROGRESS, pid)) is not None:
                        tell(share(**row))
            finally:
                work.cancel()
                await asyncio.wait({work})
            work.result()
    except asyncpg.PostgresError as failure:
        raise InternalError(f"The vectors' index cannot be made anew: {failure}.") from failure


def share(phase: str, tuples_done: int, tuples_total: int, blocks_done: int, blocks_total: int) -> float:
    """How far a line of ``pg_stat_progress_create_index`` is, 0 to 1."""
    for begin, reached in _AFTER.items():
        if phase.startswith(begin):
            return reached
    if not phase.startswith("building index"):
        return 0.0
    done, total = (tuples_done, tuples_total) if tuples_total else (blocks_done, blocks_total)
    return _BUILT * min(1.0, done / max(1, total))


async def _prepare(connection: Any, index: str, vectors: int) -> None:
    for row in await connection.fetch(_LEFT_BEHIND, index):
        await connection.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {row['relname']}")
    own = int(
        await connection.fetchval("SELECT setting FROM pg_settings WHERE name = 'maintenance_work_mem'")
    )
    wanted = min(MEMORY_KB_MAX, MEMORY_KB_PER_VECTOR * vectors)
    await connection.execute(f"SET maintenance_work_mem = {max(own, wanted)}")


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[Any]:
    import asyncpg

    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    connection = await asyncpg.connect(plain)
    try:
        yield connection
    finally:
        await connection.close()
