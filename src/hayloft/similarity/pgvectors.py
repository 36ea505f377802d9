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

from hayloft.database import Database
from hayloft.similarity import halfvec
from hayloft.similarity.reindexing import reindex
from hayloft.types import PhotoId

Vector = NDArray[np.float32]

CONNECTIVITY: Final = 16
EXPANSION_ADD: Final = 64
EXPANSIONS: Final = (64, 128, 256, 512, 1000)
"""``hnsw.ef_search``: the first that is twice what is asked for; pgvector's own limit is the last.

Recall@10 among 100,000 vectors that lie as real ones do: 0.991 with 40, 0.9998 with 64 and 1.0000 with 100,
at rates as 1 to 0.66 to 0.42."""
INDEXED_DIMENSIONS_MAX: Final = 4000
"""pgvector's limit of an index over ``halfvec``; longer vectors are compared one by one."""
REFILL_PAGE: Final = 500
NEVER_BEHIND: Final = (1 << 63) - 1

_INSERT: Final = (
    "INSERT INTO vectors (change, method, photo, vector) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING"
)
_MISSING: Final = text(
    "SELECT f.change, f.photo, f.data FROM fingerprints f LEFT JOIN vectors v ON v.change = f.change "
    "WHERE f.method = :method AND v.change IS NULL ORDER BY f.change LIMIT :limit"
)


def put(connection: Connection, change: int, method: str, photo: PhotoId, data: bytes) -> None:
    """Record the vector of a fingerprint that was recorded as number ``change`` in this transaction."""
    halfvec.execute(connection, _INSERT, change, method, photo, np.frombuffer(data, np.float16))


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
        self.saved = 1.0

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
        expansion = next((step for step in EXPANSIONS if step >= 2 * k), EXPANSIONS[-1])

        def work(connection: Connection) -> list[tuple[PhotoId, float]]:
            rows = halfvec.search(connection, self._nearest, vector, k, expansion=expansion)
            return [(PhotoId(photo), 1.0 - distance) for photo, distance in rows]

        found: list[tuple[PhotoId, float]] = self._now(self._database.read(work))
        return sorted(found, key=lambda one: (-one[1], one[0]))

    def wants_saving(self) -> bool:
        """Never: every vector is durable with its fingerprint."""
        return False

    def save(self) -> None:
        """After ``successor``: put in what is recorded and missing, and make the index anew."""
        if self._stale:
            self.saved = 0.0
            while self._now(self._database.write(self._refill)):
                pass
            self._now(self._database.write(self._create))
            self._now(self._reindex())
            self._stale, self.saved = False, 1.0

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
        return "'" + self._name.replace("'", "''") + "'"

    @property
    def _nearest(self) -> str:
        column = f"CAST(vector AS halfvec({self._dimensions}))"
        asked = f"CAST($1 AS halfvec({self._dimensions}))"
        return (  # the name is a quoted literal, the rest is ours
            f"SELECT photo, {column} <=> {asked} AS distance FROM vectors "  # noqa: S608
            f"WHERE method = {self._method} ORDER BY {column} <=> {asked} LIMIT $2"
        )

    def _create(self, connection: Connection) -> None:
        if self._dimensions > INDEXED_DIMENSIONS_MAX:
            return
        connection.exec_driver_sql(
            f"CREATE INDEX IF NOT EXISTS {self._index} ON vectors "
            f"USING hnsw (CAST(vector AS halfvec({self._dimensions})) halfvec_cosine_ops) "
            f"WITH (m = {CONNECTIVITY}, ef_construction = {EXPANSION_ADD}) "
            f"WHERE method = {self._method}"
        )

    def _drop(self, connection: Connection) -> None:
        connection.exec_driver_sql(f"DROP INDEX IF EXISTS {self._index}")

    async def _reindex(self) -> None:
        if self._dimensions > INDEXED_DIMENSIONS_MAX:
            return
        vectors = await self._database.read(self._count)
        await reindex(self._url, self._index, vectors=vectors, tell=self._tell)

    def _tell(self, share: float) -> None:
        self.saved = share

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
