"""The vectors of one embedder: approximate search by cosine, on disk, opened without reading it.

A projection of the recorded vectors, in two parts: *base*, memory-mapped and never changed (``base``), and
*live*, in memory, which takes what is added (usearch, float16). What is removed from base is remembered as
dead until the next merge writes a new base. ``state.json`` names both and says how far they go in the
order in which vectors were recorded (``change``); it is replaced atomically, so that a crash leaves the
older state, and the owner adds again what was recorded since. Files that are missing or damaged mean:
start from nothing. ``make bench-vectors`` prints how it does.
"""

from __future__ import annotations

import json
import shutil
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hayloft.disk import sync_path
from hayloft.similarity.vectors import base, graph
from hayloft.similarity.vectors.base import Base
from hayloft.types import PhotoId

Vector = NDArray[np.float32]

EXPANSION_SEARCH: Final = 64
"""In live."""
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
        self._base: Base | None = None
        self._live: Any = self._empty()
        self._dead: set[int] = set()
        self._touched: set[int] = set()
        """Added or removed since the last merge began."""
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
            self._touched.add(int(photo))
            self._change = max(self._change, change)
            self._unsaved += 1

    def remove(self, photo: PhotoId) -> None:
        """Forget a photo; one that is not there is no error."""
        with self._lock:
            self._touched.add(int(photo))
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
                alive = [one for one in self._base.search(vector, k=reachable) if one[0] not in self._dead]
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
            opened = self._open_base(state.base)
            live = self._restore_live(state.live)
        except (OSError, ValueError, KeyError, TypeError, RuntimeError):
            return
        self._state, self._base, self._live = state, opened, live
        self._dead, self._change = set(state.dead), state.change

    def _restore_live(self, name: str) -> Any:
        """What a file of the folder holds; nothing for no name.

        Raises:
            ValueError: the file is not this kind of index.
        """
        if not name:
            return self._empty()
        live = graph.read(self._folder / name)
        if live.ndim != self._dimensions:
            raise ValueError(f"{name} is not an index of {self._dimensions} dimensions")
        live.expansion_search = EXPANSION_SEARCH
        return live

    def _open_base(self, name: str) -> Base | None:
        return Base.opened(self._folder / name, dimensions=self._dimensions) if name else None

    def _merge(self) -> None:
        """Write base, without the dead, and live as one new base; then go on with what came meanwhile."""
        with self._lock:
            older, dead = self._base, set(self._dead)
            photos = np.array(list(self._live.keys), dtype=np.uint64)
            found = self._live.get(photos) if len(photos) else np.empty((0, self._dimensions))
            vectors = np.asarray(found, dtype=np.float16)
            self._touched = set()
        name = ""
        if (len(older) if older else 0) + len(photos) > len(dead):
            name = self._free_name("base")
            self._write_base(name, photos=photos, vectors=vectors, older=older, dead=dead)
        merged = self._open_base(name)
        with self._lock:
            live = self._empty()
            for photo in self._touched:
                if photo in self._live:
                    live.add(photo, self._live[photo])
            self._base, self._live = merged, live
            self._dead = {photo for photo in self._touched if merged is not None and photo in merged}
            self._state = _State(base=name, live="", change=0)

    def _write_base(self, name: str, **content: Any) -> None:
        try:
            base.write(self._folder / name, **content)
        except BaseException:
            # Half of it takes room, and the disk may be full.
            shutil.rmtree(self._folder / name, ignore_errors=True)
            raise

    def _save_live(self) -> None:
        with self._lock:
            live = self._live.copy()
            state = _State(base=self._state.base, change=self._change, dead=tuple(sorted(self._dead)))
            self._unsaved = 0
        name = ""
        if len(live):
            name = self._free_name("live")
            live.save(self._folder / name)
            sync_path(self._folder / name)
        with self._lock:
            self._write_state(_State(base=state.base, live=name, change=state.change, dead=state.dead))

    def _free_name(self, kind: str) -> str:
        """One that nothing in the folder has."""
        taken = {path.name for path in self._folder.iterdir()}
        return next(f"{kind}-{n}" for n in range(len(taken) + 1) if f"{kind}-{n}" not in taken)

    def _write_state(self, state: _State) -> None:
        body = {"base": state.base, "live": state.live, "change": state.change, "dead": list(state.dead)}
        fresh = self._folder / "state.json.new"
        fresh.write_text(json.dumps(body))
        sync_path(fresh)
        fresh.replace(self._folder / "state.json")
        sync_path(self._folder)
        self._state = state
        for path in (*self._folder.glob("base-*"), *self._folder.glob("live-*")):
            if path.name not in (state.base, state.live):
                _delete(path)

    def _empty(self) -> Any:
        live = graph.empty(self._dimensions, dtype="f16")
        live.expansion_search = EXPANSION_SEARCH
        return live

    def _base_size(self) -> int:
        return 0 if self._base is None else len(self._base)

    def _in_base(self, photo: int) -> bool:
        return self._base is not None and photo not in self._dead and photo in self._base


def _search(index: Any, vector: Vector, k: int) -> list[tuple[PhotoId, float]]:
    if not len(index):
        return []
    found = index.search(vector, min(k, len(index)))
    pairs = zip(found.keys.tolist(), found.distances.tolist(), strict=True)
    return [(PhotoId(key), 1.0 - float(distance)) for key, distance in pairs]


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
