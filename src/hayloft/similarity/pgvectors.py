"""Which vectors are near, in PostgreSQL: pgvector's HNSW, what ``vectors`` is for one process.

The table ``vectors`` holds every embedder's vectors in half precision (``halfvec``: half the room of
float32 at the same recall), written and deleted in the transactions that write the fingerprints; so all
processes see the same, and nothing has to be caught up with. Each embedder has a partial index of its
own, because vectors of different lengths cannot share one (pgvector's documentation: "Can I store
vectors with different dimensions in the same column?").
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, text
from sqlalchemy.engine import make_url

from hayloft.database import Database
from hayloft.errors import InternalError
from hayloft.types import PhotoId

Vector = NDArray[np.float32]

CONNECTIVITY: Final = 16
EXPANSION_ADD: Final = 64
EXPANSION_SEARCH_MIN: Final = 100
EXPANSION_SEARCH_MAX: Final = 1000
"""pgvector's own limit of ``hnsw.ef_search``."""
INDEXED_DIMENSIONS_MAX: Final = 4000
"""pgvector's limit of an index over ``halfvec``; longer vectors are compared one by one."""
REFILL_PAGE: Final = 500
NEVER_BEHIND: Final = (1 << 63) - 1

_INSERT: Final = text(
    "INSERT INTO vectors (change, method, photo, vector) "
    "VALUES (:change, :method, :photo, CAST(CAST(:vector AS real[]) AS halfvec)) ON CONFLICT DO NOTHING"
)
_THOROUGHNESS: Final = text(
    "SELECT set_config('hnsw.ef_search', :expansion, true), "
    "set_config('hnsw.iterative_scan', 'strict_order', true)"
)
_MISSING: Final = text(
    "SELECT f.change, f.photo, f.data FROM fingerprints f LEFT JOIN vectors v ON v.change = f.change "
    "WHERE f.method = :method AND v.change IS NULL ORDER BY f.change LIMIT :limit"
)


def put(connection: Connection, change: int, method: str, photo: PhotoId, data: bytes) -> None:
    """Record the vector of a fingerprint that was recorded as number ``change`` in this transaction."""
    vector = np.frombuffer(data, np.float16).astype(np.float32).tolist()
    connection.execute(_INSERT, {"change": change, "method": method, "photo": photo, "vector": vector})


class PgVectorIndex:
    """Vectors of the embedder called ``name``, ``dimensions`` long; see ``alike.Vectors``.

    Its methods run on threads and have the event loop do the work.
    """

    change = NEVER_BEHIND
    """All that is recorded is in the index: it is written in the same transaction."""

    def __init__(self, database: Database, url: str, *, name: str, dimensions: int) -> None:
        self._database = database
        self._url = url
        self._loop = asyncio.get_running_loop()
        self._name = name
        self._dimensions = dimensions
        self._stale = False

    @classmethod
    async def open(cls, database: Database, url: str, *, name: str, dimensions: int) -> PgVectorIndex:
        """The index, made if it is not there: cheap while the embedder has recorded nothing."""
        opened = cls(database, url, name=name, dimensions=dimensions)
        await database.write(opened._create)
        return opened

    def __len__(self) -> int:
        return int(self._now(self._database.read(self._count)))

    def add(self, photo: PhotoId, vector: Vector, change: int) -> None:
        """It is there already."""

    def remove(self, photo: PhotoId) -> None:
        """It is gone already."""

    def search(self, vector: Vector, *, k: int) -> list[tuple[PhotoId, float]]:
        """The ``k`` photos with the largest cosine, each with it, largest first."""
        asked = np.asarray(vector, dtype=np.float32).tolist()

        def work(connection: Connection) -> list[tuple[PhotoId, float]]:
            expansion = min(max(EXPANSION_SEARCH_MIN, 2 * k), EXPANSION_SEARCH_MAX)
            connection.execute(_THOROUGHNESS, {"expansion": str(expansion)})
            rows = connection.execute(text(self._nearest), {"vector": asked, "k": k})
            return [(PhotoId(row.photo), 1.0 - float(row.distance)) for row in rows]

        found: list[tuple[PhotoId, float]] = self._now(self._database.read(work))
        return sorted(found, key=lambda one: (-one[1], one[0]))

    def wants_saving(self) -> bool:
        """Never: every vector is durable with its fingerprint."""
        return False

    def save(self) -> None:
        """After ``successor``: put in what is recorded and missing, and make the index anew."""
        if self._stale:
            while self._now(self._database.write(self._refill)):
                pass
            self._now(self._database.write(self._create))
            self._now(self._reindex())
            self._stale = False

    def successor(self) -> PgVectorIndex:
        """The same one, to be made anew by its next ``save``."""
        self._stale = True
        return self

    def retire(self) -> None:
        """Nothing is written by this object that another one would not write alike."""

    def discard(self) -> None:
        """Drop the index: the vectors went with their fingerprints."""
        self._now(self._database.write(self._drop))

    @property
    def _index(self) -> str:
        return f"vectors_{hashlib.sha256(self._name.encode()).hexdigest()[:16]}"

    @property
    def _method(self) -> str:
        """The name as a literal: the planner takes a partial index only for a constant."""
        return "'" + self._name.replace("'", "''").replace(":", "\\:") + "'"

    @property
    def _nearest(self) -> str:
        column = f"CAST(vector AS halfvec({self._dimensions}))"
        asked = f"CAST(CAST(:vector AS real[]) AS halfvec({self._dimensions}))"
        return (  # the name is a quoted literal, the rest is ours
            f"SELECT photo, {column} <=> {asked} AS distance FROM vectors "  # noqa: S608
            f"WHERE method = {self._method} ORDER BY {column} <=> {asked} LIMIT :k"
        )

    def _create(self, connection: Connection) -> None:
        if self._dimensions > INDEXED_DIMENSIONS_MAX:
            return
        connection.execute(
            text(
                f"CREATE INDEX IF NOT EXISTS {self._index} ON vectors "
                f"USING hnsw (CAST(vector AS halfvec({self._dimensions})) halfvec_cosine_ops) "
                f"WITH (m = {CONNECTIVITY}, ef_construction = {EXPANSION_ADD}) "
                f"WHERE method = {self._method}"
            )
        )

    def _drop(self, connection: Connection) -> None:
        connection.execute(text(f"DROP INDEX IF EXISTS {self._index}"))

    async def _reindex(self) -> None:
        """Make the index anew while the old one answers; takes minutes for a million vectors."""
        import asyncpg

        if self._dimensions > INDEXED_DIMENSIONS_MAX:
            return
        plain = make_url(self._url).set(drivername="postgresql").render_as_string(hide_password=False)
        connection = await asyncpg.connect(plain)
        try:
            await connection.execute(f"REINDEX INDEX CONCURRENTLY {self._index}")
        except asyncpg.PostgresError as failure:
            raise InternalError(f"The vectors' index cannot be made anew: {failure}.") from failure
        finally:
            await connection.close()

    def _count(self, connection: Connection) -> int:
        counted = text("SELECT count(*) FROM fingerprints WHERE method = :method")
        return int(connection.execute(counted, {"method": self._name}).scalar_one())

    def _refill(self, connection: Connection) -> int:
        rows = connection.execute(_MISSING, {"method": self._name, "limit": REFILL_PAGE}).all()
        for row in rows:
            put(connection, row.change, self._name, PhotoId(row.photo), row.data)
        return len(rows)

    def _now(self, work: Any) -> Any:
        """Wait, on a thread, for what the event loop does."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()
