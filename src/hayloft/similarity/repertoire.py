"""The methods in use: those of today, and embedders of yesterday that answer until today's has caught up.

Order is precedence: where two methods find the same relation, the first one's evidence is recorded. What
the database holds of methods that are not of today is obsolete; vectors among it are kept answering.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Self

from sqlalchemy import Connection

from hayloft.database import Database, parse_url
from hayloft.similarity import shelf
from hayloft.similarity.alike import AlikeMethod, Vectors
from hayloft.similarity.copying import CopyMethod
from hayloft.similarity.embedders.embedder import Embedder
from hayloft.similarity.embedders.names import made
from hayloft.similarity.fingerprint import Fingerprint
from hayloft.similarity.methods import Match, Method, PdqMethod
from hayloft.similarity.pgvectors import PgVectorIndex
from hayloft.similarity.vectors.index import VectorIndex

Indexes = Callable[[str, int], Awaitable[Vectors]]
"""The index of vectors of a name, so many numbers long."""

_COPIES = "copies"
_NEVER_LINKED = 2.0
"""A cosine that no pair reaches."""


class Repertoire:
    """What a similarity service recognises photos by."""

    def __init__(
        self,
        *,
        copies: Sequence[Method],
        embedder: Embedder | None,
        alike: Sequence[AlikeMethod],
        obsolete: Sequence[str],
        indexes: Indexes,
    ) -> None:
        self._indexes = indexes
        self.embedder = embedder
        self.obsolete = tuple(obsolete)
        self._copies = list(copies)
        self._alike = list(alike)

    @classmethod
    async def assemble(
        cls,
        database: Database,
        folder: Path,
        embedder: Embedder | None,
        copies: Sequence[Method] | None,
        *,
        url: str,
    ) -> Self:
        """Today's methods, and what the database, at ``url``, still has of others."""
        copies = (CopyMethod(folder / _COPIES), PdqMethod()) if copies is None else tuple(copies)
        indexes = _indexes(database, url, folder)
        today = [method.name for method in copies] + ([] if embedder is None else [embedder.name])
        recorded = await database.read(shelf.counts_by_method)
        obsolete = [name for name in recorded if name not in today]
        alike = []
        if embedder is not None:
            alike.append(await _method_of(embedder, indexes))
            yesterdays = [name for name in obsolete if made(name)]
            alike += [await _yesterdays(database, indexes, name) for name in yesterdays]
        return cls(copies=copies, embedder=embedder, alike=alike, obsolete=obsolete, indexes=indexes)

    async def method_of(self, embedder: Embedder) -> AlikeMethod:
        """The method whose fingerprints are the embedder's vectors, in place of one of its name."""
        for before in self._alike:
            if before.name == embedder.name:
                before.index.retire()
        return await _method_of(embedder, self._indexes)

    def adopt(self, embedder: Embedder | None, method: AlikeMethod | None) -> None:
        """Make ``embedder``, with its ``method``, today's; others are obsolete and keep answering."""
        today = [] if method is None else [method]
        others = [one for one in self._alike if one.name not in {new.name for new in today}]
        names = dict.fromkeys([*self.obsolete, *(one.name for one in others)])
        self.embedder = embedder
        self.obsolete = tuple(name for name in names if name not in {new.name for new in today})
        self._alike = [*today, *others]

    async def forget_obsolete(self) -> None:
        """What was obsolete is not recorded any more: its indexes go, too."""
        gone = [method for method in self._alike if method.name in self.obsolete]
        self._alike = [method for method in self._alike if method.name not in self.obsolete]
        self.obsolete = ()
        for method in gone:
            await asyncio.to_thread(method.index.discard)

    @property
    def methods(self) -> tuple[Method, ...]:
        """All of them, the most trustworthy first."""
        return (*self._copies, *self._alike)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of today's methods."""
        return tuple(method.name for method in self.methods if method.name not in self.obsolete)

    @property
    def embedder_name(self) -> str:
        """Today's embedder; empty if there is none."""
        return "" if self.embedder is None else self.embedder.name

    @property
    def hint(self) -> str:
        """What today's embedder is, for a person, and how to get a better one."""
        return "none; choose one with hayloft models use" if self.embedder is None else self.embedder.hint

    @property
    def takes_words(self) -> bool:
        """Whether photos can be searched by words."""
        return self.embedder is not None and self.embedder.takes_words

    @property
    def alike_names(self) -> tuple[str, ...]:
        """Whose vectors can answer, today's first."""
        return tuple(method.name for method in self._alike)

    def nearest(self, described: Iterable[Fingerprint], *, k: int) -> list[Match]:
        """What is nearest to a photo by its vectors: of those it has, by the ones that most photos have."""
        by_name = {fingerprint.method: fingerprint for fingerprint in described}
        usable = [method for method in self._alike if method.name in by_name]
        if not usable:
            return []
        largest = usable[0] if len(usable) == 1 else max(usable, key=lambda method: len(method.index))
        return largest.nearest(by_name[largest.name], k=k)

    def replace(self, method: Method) -> None:
        """Put a method in the place of the one of its name."""
        if isinstance(method, AlikeMethod):
            self._alike = [method if one.name == method.name else one for one in self._alike]
        else:
            self._copies = [method if one.name == method.name else one for one in self._copies]

    async def close(self) -> None:
        """Release the model."""
        if self.embedder is not None:
            await self.embedder.close()


def _indexes(database: Database, url: str, folder: Path) -> Indexes:
    """Where indexes of vectors are: in the folder, or in a database that several processes share."""

    async def local(name: str, dimensions: int) -> Vectors:
        digest = hashlib.sha256(name.encode()).hexdigest()[:16]
        return VectorIndex(folder / digest, dimensions=dimensions)

    async def shared(name: str, dimensions: int) -> Vectors:
        return await PgVectorIndex.open(database, url, name=name, dimensions=dimensions)

    return shared if is_shared(url) else local


def is_shared(url: str) -> bool:
    """Whether the database at ``url`` is one that several processes may use at once."""
    return parse_url(url).get_backend_name() == "postgresql"


async def _method_of(embedder: Embedder, indexes: Indexes) -> AlikeMethod:
    index = await indexes(embedder.name, embedder.dimensions)
    return AlikeMethod(name=embedder.name, index=index, alike_score_min=embedder.alike_score_min)


async def _yesterdays(database: Database, indexes: Indexes, name: str) -> AlikeMethod:
    def work(connection: Connection) -> int:
        (one,) = shelf.after(connection, name, 0, limit=1)
        return len(one.fingerprint.data) // 2

    index = await indexes(name, await database.read(work))
    return AlikeMethod(name=name, index=index, alike_score_min=_NEVER_LINKED)
