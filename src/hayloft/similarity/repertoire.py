"""The methods in use: those of today, and embedders of yesterday that answer until today's has caught up.

Order is precedence: where two methods find the same relation, the first one's evidence is recorded. What
the database holds of methods that are not of today is obsolete; vectors among it are kept answering.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self

from sqlalchemy import Connection

from hayloft.database import Database
from hayloft.similarity import shelf
from hayloft.similarity.alike import AlikeMethod
from hayloft.similarity.copying import CopyMethod
from hayloft.similarity.embedders import embedder as embedders
from hayloft.similarity.embedders.embedder import Embedder
from hayloft.similarity.fingerprint import Fingerprint
from hayloft.similarity.methods import Match, Method, PdqMethod

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
        folder: Path,
    ) -> None:
        self._folder = folder
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
    ) -> Self:
        """Today's methods, and what the database still has of others."""
        copies = (CopyMethod(folder / _COPIES), PdqMethod()) if copies is None else tuple(copies)
        today = [method.name for method in copies] + ([] if embedder is None else [embedder.name])
        recorded = await database.read(shelf.counts_by_method)
        obsolete = [name for name in recorded if name not in today]
        alike = []
        if embedder is not None:
            alike.append(_method_of(embedder, folder))
            yesterdays = [name for name in obsolete if embedders.made(name)]
            alike += [await _yesterdays(database, folder, name) for name in yesterdays]
        return cls(copies=copies, embedder=embedder, alike=alike, obsolete=obsolete, folder=folder)

    def method_of(self, embedder: Embedder) -> AlikeMethod:
        """The method whose fingerprints are the embedder's vectors, in place of one of its name."""
        for before in self._alike:
            if before.name == embedder.name:
                before.index.retire()
        return _method_of(embedder, self._folder)

    def adopt(self, embedder: Embedder | None, method: AlikeMethod | None) -> None:
        """Make ``embedder``, with its ``method``, today's; others are obsolete and keep answering."""
        today = [] if method is None else [method]
        others = [one for one in self._alike if one.name not in {new.name for new in today}]
        names = dict.fromkeys([*self.obsolete, *(one.name for one in others)])
        self.embedder = embedder
        self.obsolete = tuple(name for name in names if name not in {new.name for new in today})
        self._alike = [*today, *others]

    def forget_obsolete(self) -> None:
        """What was obsolete is not recorded any more: its indexes go, too."""
        for method in self._alike:
            if method.name in self.obsolete:
                method.discard()
        self._alike = [method for method in self._alike if method.name not in self.obsolete]
        self.obsolete = ()

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
        largest = max(usable, key=lambda method: len(method.index))
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


def _method_of(embedder: Embedder, folder: Path) -> AlikeMethod:
    return AlikeMethod(
        folder,
        name=embedder.name,
        dimensions=embedder.dimensions,
        alike_score_min=embedder.alike_score_min,
    )


async def _yesterdays(database: Database, folder: Path, name: str) -> AlikeMethod:
    def work(connection: Connection) -> int:
        (one,) = shelf.after(connection, name, 0, limit=1)
        return len(one.fingerprint.data) // 2

    dimensions = await database.read(work)
    return AlikeMethod(folder, name=name, dimensions=dimensions, alike_score_min=_NEVER_LINKED)
