"""Which vectors are near: approximate search by cosine, on disk, opened without reading it.

A projection of the recorded vectors, in two parts (both usearch, float16): *base*, memory-mapped and
never changed, and *live*, in memory, which takes what is added. What is removed from base is remembered
as dead until the next merge writes a new base. ``state.json`` names the files of both and how far they go
in the order in which vectors were recorded (``change``); it is replaced atomically, so that a crash
leaves the older state, and the owner adds again what was recorded since. Files that are missing or
damaged mean: start from nothing.

usearch was measured against hnswlib and faiss at 100,000 × 768 on one core: 4,450 queries a second at
recall@10 0.972 in 172 MB, with deletes, opened in 8 ms. ``make bench-vectors`` prints how it does.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

# cv2 is not used here. usearch's wheel brings a C++ runtime of its own and hands out its symbols; whoever
# is loaded first decides whose all use, and onnxruntime crashes on usearch's. cv2 brings the system's.
import cv2  # noqa: F401
import numpy as np
from numpy.typing import NDArray
from usearch.index import Index

from hayloft.types import PhotoId

Vector = NDArray[np.float32]

CONNECTIVITY: Final = 16
"""At 100,000 vectors that lie as real ones do, 24 finds no more, takes 12 % more memory, and is slower."""
EXPANSION_ADD: Final = 128
EXPANSION_SEARCH: Final = 64
"""Recall@10 there: 0.990 with 32, 0.997 with 64, 0.999 with 96; rates are as 1 to 0.64 to 0.46."""
LARGE: Final = 300_000
EXPANSION_SEARCH_LARGE: Final = 96
"""From so many vectors on. Recall@10 among 1,000,000: 0.916 with 32, 0.960 with 64, 0.973 with 96, 0.977
with 128; rates are as 1 to 0.7 to 0.5 to 0.4. A query that finds too little mostly finds nothing: it has
gone to another part of the graph, where only a wider search looks beyond."""
SAVE_AFTER: Final = 2000
"""Vectors added to live before it is saved, at least; a tenth of live if that is more."""
MERGE_AFTER: Final = 20_000
"""Vectors in live, or dead in base, before they are merged; a quarter of base if that is more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _State:
    """What ``state.json`` says."""

    base: str = ""
    live: str = ""
    change: int = 0
    dead: tuple[int, ...] = ()


class VectorIndex:
    """Vectors of one embedder, ``dimensions`` long, in ``folder``. Thread-safe."""

    saved = 1.0
    """Saving takes seconds at the most."""

    def __init__(self, folder: Path, *, dimensions: int) -> None:
        self._folder = folder
        self._dimensions = dimensions
        self._lock = threading.RLock()
        self._saving = threading.Lock()
        self._base: Any = None
        self._live: Any = self._empty()
        self._dead: set[int] = set()
        self._state = _State()
        self._change = 0
        self._unsaved = 0
        self._retired = False
        self._open()

    def __len__(self) -> int:
        with self._lock:
            return len(self._live) + self._base_size() - len(self._dead)

    def __contains__(self, photo: PhotoId) -> bool:
        with self._lock:
            return self._in_base(photo) or photo in self._live

    @property
    def change(self) -> int:
        """Everything recorded up to here is in the index."""
        return self._change

    def add(self, photo: PhotoId, vector: Vector, change: int) -> None:
        """Put a photo's vector, recorded as number ``change``, in; an older one of the photo goes."""
        with self._lock:
            self.remove(photo)
            self._live.add(photo, vector)
            self._change = max(self._change, change)
            self._unsaved += 1

    def remove(self, photo: PhotoId) -> None:
        """Forget a photo; one that is not there is no error."""
        with self._lock:
            if photo in self._live:
                self._live.remove(photo)
                self._unsaved += 1
            elif self._in_base(photo):
                self._dead.add(int(photo))
                self._unsaved += 1

    def search(self, vector: Vector, *, k: int) -> list[tuple[PhotoId, float]]:
        """The ``k`` photos with the largest cosine, each with it, largest first."""
        with self._lock:
            found = _search(self._live, vector, k)
            if self._base is not None:
                # The dead are found, too; ask for so many more that k remain.
                wanted = min(self._base_size(), k + len(self._dead))
                reachable = min(wanted, 4 * k + 64)
                alive = [one for one in _search(self._base, vector, reachable) if one[0] not in self._dead]
                found += alive
        return sorted(found, key=lambda one: (-one[1], one[0]))[:k]

    def wants_saving(self) -> bool:
        """Whether so much has changed that ``save`` is worth its writing."""
        with self._lock:
            return self._unsaved >= max(SAVE_AFTER, len(self._live) // 10)

    def save(self) -> None:
        """Write what changed, so that the next start need not add it again; merges when it is time.

        Adding, removing and searching go on meanwhile.
        """
        with self._saving:
            with self._lock:
                if self._retired or not self._unsaved:
                    return
                large = max(MERGE_AFTER, self._base_size() // 4)
                merging = len(self._live) > large or len(self._dead) > large
            if merging:
                self._merge()
            self._save_live()

    def retire(self) -> None:
        """Never write again: another index takes over the folder. Files that are mapped stay readable."""
        with self._saving:
            self._retired = True

    def successor(self) -> VectorIndex:
        """An empty one in the same folder; this one answers on, but never writes again."""
        self.retire()
        fresh = VectorIndex(self._folder, dimensions=self._dimensions)
        fresh.clear()
        return fresh

    def discard(self) -> None:
        """Delete the folder; never write again."""
        self.retire()
        shutil.rmtree(self._folder, ignore_errors=True)

    def clear(self) -> None:
        """Forget everything, on disk too."""
        with self._saving, self._lock:
            self._base, self._live = None, self._empty()
            self._dead, self._change, self._unsaved = set(), 0, 0
            self._write_state(_State())

    def _open(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            told = json.loads((self._folder / "state.json").read_bytes())
            state = _State(
                base=told["base"], live=told["live"], change=told["change"], dead=tuple(told["dead"])
            )
            base = self._restore(state.base, view=True)
            live = self._restore(state.live, view=False)
        except (OSError, ValueError, KeyError, TypeError, RuntimeError):
            return
        self._state, self._base, self._live = state, base, live or self._live
        self._dead, self._change = set(state.dead), state.change

    def _restore(self, name: str, *, view: bool) -> Any:
        """The index in a file of the folder; None for no name.

        Raises:
            ValueError: the file is not this kind of index.
        """
        if not name:
            return None
        index = restored(self._folder / name, view=view)
        if index.ndim != self._dimensions:
            raise ValueError(f"{name} is not an index of {self._dimensions} dimensions")
        return index

    def _merge(self) -> None:
        """Write base, without the dead, and live as one new base; then go on with what came meanwhile."""
        with self._lock:
            dead = set(self._dead)
            live, state = self._live, self._state
            keys = np.array(list(live.keys), dtype=np.uint64)
            vectors = live.get(keys) if len(keys) else None
            first = live.copy() if state.base == "" else None
        name = self._write(first or self._merged(state.base, dead, keys, vectors), "base")
        with self._lock:
            before = set(keys.tolist())
            now = set(self._live.keys)
            live = self._empty()
            for key in now - before:
                live.add(key, self._live[key])
            self._base = self._restore(name, view=True)
            self._live = live
            self._dead = (self._dead - dead) | (before - now)
            self._state = _State(base=name, live="", change=0)

    def _merged(self, base: str, dead: set[int], keys: Any, vectors: Any) -> Any:
        """A base with the old one's vectors, but the dead, and some more."""
        merged = self._restore(base, view=False)
        for photo in dead:
            if photo in merged:
                merged.remove(photo)
        if vectors is not None:
            merged.add(keys, np.asarray(vectors, dtype=np.float32), threads=1)
        return merged

    def _save_live(self) -> None:
        with self._lock:
            live = self._live.copy()
            state = _State(base=self._state.base, change=self._change, dead=tuple(sorted(self._dead)))
            self._unsaved = 0
        name = self._write(live, "live") if len(live) else ""
        with self._lock:
            self._write_state(_State(base=state.base, live=name, change=state.change, dead=state.dead))

    def _write(self, index: Any, kind: str) -> str:
        """Save an index under a name that no file has, durably."""
        taken = {path.name for path in self._folder.iterdir()}
        number = next(n for n in range(len(taken) + 1) if f"{kind}-{n}.usearch" not in taken)
        path = self._folder / f"{kind}-{number}.usearch"
        index.save(path)
        _sync(path)
        return path.name

    def _write_state(self, state: _State) -> None:
        body = {"base": state.base, "live": state.live, "change": state.change, "dead": list(state.dead)}
        fresh = self._folder / "state.json.new"
        fresh.write_text(json.dumps(body))
        _sync(fresh)
        fresh.replace(self._folder / "state.json")
        _sync(self._folder)
        self._state = state
        for path in self._folder.glob("*.usearch"):
            if path.name not in (state.base, state.live):
                path.unlink()

    def _empty(self) -> Any:
        return empty(self._dimensions)

    def _base_size(self) -> int:
        return 0 if self._base is None else len(self._base)

    def _in_base(self, photo: int) -> bool:
        return self._base is not None and photo not in self._dead and photo in self._base


def empty(dimensions: int, *, connectivity: int = CONNECTIVITY, expansion_add: int = EXPANSION_ADD) -> Any:
    """A usearch index with nothing in it."""
    return Index(
        ndim=dimensions,
        metric="cos",
        dtype="f16",
        connectivity=connectivity,
        expansion_add=expansion_add,
        expansion_search=EXPANSION_SEARCH,
    )


def restored(path: Path, *, view: bool) -> Any:
    """The index in a file, memory-mapped (``view``) or read.

    Raises:
        ValueError: it is no index.
    """
    index: Any = Index.restore(path, view=view)
    if index is None:
        raise ValueError(f"{path.name} is not an index")
    # A file does not keep how thorough searches in it are.
    index.expansion_add, index.expansion_search = EXPANSION_ADD, expansion_search(len(index))
    return index


def expansion_search(vectors: int) -> int:
    """How thorough a search among so many must be to find what is near."""
    return EXPANSION_SEARCH if vectors < LARGE else EXPANSION_SEARCH_LARGE


def _search(index: Any, vector: Vector, k: int) -> list[tuple[PhotoId, float]]:
    if not len(index):
        return []
    found = index.search(vector, min(k, len(index)))
    pairs = zip(found.keys.tolist(), found.distances.tolist(), strict=True)
    return [(PhotoId(key), 1.0 - float(distance)) for key, distance in pairs]


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
