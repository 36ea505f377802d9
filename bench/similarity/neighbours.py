"""``make bench-vectors``: how near the approximate neighbours are to the exact ones, how fast, how large.

Vectors are invented, 768 long, with the statistics of real ones. Of 650 photos of flowers and groceries,
MobileNet v1's have a mean of length 0.67, a spectrum that falls with the power 1.1, cosines of 0.44
between categories and 0.60 within, and 0.84 to the nearest photo; so the invented ones stand in categories
of 2,000 photos and in clusters of 20, with these cosines. Queries are further photos of the clusters,
not in the index. Without clusters (plain Gaussian vectors) every index looks far worse than it is in use.

``--database-url`` measures pgvector beside it, in an empty PostgreSQL database.

Recall is that of the ten nearest against an exact search. Rates are on one thread, one query at a time, in
processor time, which other programs on the machine disturb least. Building a million takes a quarter of an
hour: ``--keep FOLDER`` leaves what was built there, as the service would have it on its disk, and a later
run with the same options measures it without building. ``--photos`` and ``--model`` measure something else:
how many of the ten nearest are of the photo's own category (folder), for the built-in embedder and for
every model given, and how many of the pairs above a few cosines: what ``thresholds`` were chosen by.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import psutil
from numpy.typing import NDArray
from sqlalchemy import Connection

from hayloft.similarity import alike, shelf
from hayloft.similarity.decode import decode
from hayloft.similarity.embedders.builtin import BuiltinEmbedder, embed_builtin
from hayloft.similarity.embedders.onnx import OnnxEmbedder
from hayloft.similarity.migrations import open_upgraded
from hayloft.similarity.pgvectors import PgVectorIndex
from hayloft.similarity.vectors import base
from hayloft.similarity.vectors.base import Base
from hayloft.similarity.vectors.index import MERGE_AFTER, VectorIndex
from hayloft.similarity.views import cut
from hayloft.types import PhotoId
from similarity.photos import paths

Vectors = NDArray[np.float16]
Places = NDArray[np.int64]

DIMENSIONS: Final = 768
K: Final = 10
MEAN_LENGTH: Final = 0.67
SPECTRUM_POWER: Final = 1.1
CATEGORY_PHOTOS: Final = 2000
CLUSTER_PHOTOS: Final = 20
SHARES: Final = (0.3, 0.4, 0.3)
"""How much of a vector's variance is its category's, its cluster's and its own."""
BLOCK: Final = 20_000
WRITTEN_AT_ONCE: Final = 500
WRITTEN_ALONE: Final = 200
SCORES: Final = (0.80, 0.85, 0.88, 0.90)
ASKED: Final = "asked.npz"
BASE: Final = "base-0"
SKETCHED: Final = 100
"""Queries whose neighbours are looked for by sketches alone, among all."""
FIRST: Final = (10, 20, 30, 40, 80)
ROUNDING: Final = 1e-6


def main() -> None:
    """Run what the options ask for and print it."""
    options = _options()
    if options.photos is not None:
        _categories(options.photos, options.model)
        return
    _measure_live(options)
    for photos in options.sizes:
        _measure(photos, options)
        if options.database_url:
            asyncio.run(_measure_postgres(photos, options))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="neighbours", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="*", default=[100_000])
    parser.add_argument("--expansion-search", type=int, nargs="*", default=[32, 64, 96, 128, 192, 256])
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="folder to build in, and to find what was built before")
    parser.add_argument("--database-url", help="an empty PostgreSQL database with pgvector")
    parser.add_argument("--photos", type=Path, help="folder of photos by category: precision of embedders")
    parser.add_argument(
        "--model", type=Path, action="append", default=[], help="ONNX file with its sidecar"
    )
    return parser.parse_args()


class Population:
    """Invented photos: categories, clusters in them, and photos in these, the same for the same seed."""

    def __init__(self, photos: int, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        scales = np.arange(1, DIMENSIONS + 1) ** (-SPECTRUM_POWER / 2)
        self._scales = (scales / np.linalg.norm(scales)).astype(np.float32)
        mean = self._rng.normal(size=DIMENSIONS)
        self._mean = (MEAN_LENGTH * mean / np.linalg.norm(mean)).astype(np.float32)
        categories = self._draw(max(1, photos // CATEGORY_PHOTOS)) * np.sqrt(SHARES[0])
        count = max(1, photos // CLUSTER_PHOTOS)
        parents = self._rng.integers(0, len(categories), count)
        self._clusters = categories[parents] + self._draw(count) * np.sqrt(SHARES[1])

    def draw(self, count: int) -> Vectors:
        """Unit vectors of ``count`` further photos."""
        chosen = self._clusters[self._rng.integers(0, len(self._clusters), count)]
        own = chosen + self._draw(count) * np.sqrt(SHARES[2])
        own *= np.sqrt(1 - MEAN_LENGTH**2) / np.linalg.norm(own, axis=1, keepdims=True)
        found = own + self._mean
        return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), dtype=np.float16)

    def _draw(self, count: int) -> NDArray[np.float32]:
        return self._rng.standard_normal((count, DIMENSIONS), dtype=np.float32) * self._scales


def _measure_live(options: argparse.Namespace) -> None:
    """What has come since the last merge, at its largest while base is small."""
    population = Population(MERGE_AFTER, options.seed)
    exact = Exact(population.draw(options.queries))
    with tempfile.TemporaryDirectory(dir=Path(__file__).parent.parent / "work") as folder:
        index = VectorIndex(Path(folder), dimensions=DIMENSIONS)
        for at, block in _blocks(population, MERGE_AFTER):
            exact.add(at, block)
            for place, vector in enumerate(block.astype(np.float32), start=at):
                index.add(PhotoId(place), vector, place + 1)
        print(f"\n{MERGE_AFTER:,} × {DIMENSIONS} in live, in memory")
        _print_rate("as shipped", *_searched(index, exact.queries.astype(np.float32), exact.places))


def _measure(photos: int, options: argparse.Namespace) -> None:
    print(f"\n{photos:,} × {DIMENSIONS}, {options.queries} queries, recall@{K} against exact")
    with _folder(options.keep) as root:
        folder = root / f"{photos}-{options.queries}-{options.seed}"
        if not (folder / ASKED).exists():
            _build(folder, photos, options)
        _report(folder, options.expansion_search)


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    """Where what is built goes: for good if somebody says where."""
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep
        return
    with tempfile.TemporaryDirectory(dir=Path(__file__).parent.parent / "work") as folder:
        yield Path(folder)


def _build(folder: Path, photos: int, options: argparse.Namespace) -> None:
    """Write an index as ``VectorIndex`` keeps it, and beside it the queries and their exact answers."""
    population = Population(photos, options.seed)
    exact = Exact(population.draw(options.queries))
    drawn = np.empty((photos, DIMENSIONS), np.float16)
    for at, block in _blocks(population, photos):
        exact.add(at, block)
        drawn[at : at + len(block)] = block
    folder.mkdir(exist_ok=True)
    print("  building; a million takes a quarter of an hour", end="\r", file=sys.stderr, flush=True)
    start = time.thread_time()
    base.write(folder / BASE, photos=np.arange(photos, dtype=np.uint64), vectors=drawn)
    seconds = time.thread_time() - start
    print(f"  built in {seconds:.0f} s of processor time ({photos / seconds:,.0f}/s)", flush=True)
    state = {"base": BASE, "live": "", "change": photos, "dead": []}
    (folder / "state.json").write_text(json.dumps(state))
    # Last: a folder with this file is complete.
    np.savez(folder / ASKED, queries=exact.queries, places=exact.places)


def _blocks(population: Population, photos: int) -> Iterator[tuple[int, Vectors]]:
    for at in range(0, photos, BLOCK):
        yield at, population.draw(min(BLOCK, photos - at))


async def _measure_postgres(photos: int, options: argparse.Namespace) -> None:
    """The same in pgvector: wall-clock times, for most of the work is the server's."""
    population = Population(photos, options.seed)
    exact = Exact(population.draw(options.queries))
    name = f"onnx/bench-{photos}/1"
    database = await open_upgraded(options.database_url)
    index = await PgVectorIndex.open(database, options.database_url, name=name, dimensions=DIMENSIONS)
    seconds = 0.0
    for first, block in _blocks(population, photos):
        exact.add(first, block)
        start = time.perf_counter()
        for at in range(0, len(block), WRITTEN_AT_ONCE):
            part = block[at : at + WRITTEN_AT_ONCE]
            await database.write(partial(_write, name=name, vectors=part, first=first + at))
        seconds += time.perf_counter() - start
    print(
        f"  pgvector: {photos:,} recorded in {seconds:.0f} s ({photos / seconds:,.0f}/s), "
        f"{WRITTEN_AT_ONCE} in a transaction"
    )
    recall, rate = await asyncio.to_thread(_asked, index, exact)
    print(f"    recall {recall:.4f}, {rate:,.0f} queries/s, one after the other")
    start = time.perf_counter()
    for place, vector in enumerate(population.draw(WRITTEN_ALONE), start=photos):
        await database.write(partial(_write, name=name, vectors=vector[None], first=place))
    rate = WRITTEN_ALONE / (time.perf_counter() - start)
    print(f"    {rate:,.0f} recorded in a second with a transaction each")
    await database.close()


def _write(connection: Connection, *, name: str, vectors: Vectors, first: int) -> None:
    for place, vector in enumerate(vectors, start=first):
        shelf.put(connection, PhotoId(place), alike.fingerprint_of(name, vector))


def _asked(index: PgVectorIndex, exact: Exact) -> tuple[float, float]:
    asked = exact.queries.astype(np.float32)
    start = time.perf_counter()
    found = [[int(photo) for photo, _ in index.search(query, k=K)] for query in asked]
    seconds = time.perf_counter() - start
    return _recall(found, exact.places), len(asked) / seconds


def _report(folder: Path, searches: list[int]) -> None:
    """Open what was built, as the service does when it starts, and ask."""
    with np.load(folder / ASKED) as asked:
        queries, exact = asked["queries"].astype(np.float32), asked["places"]
    before = psutil.Process().memory_full_info().uss
    start = time.perf_counter()
    index = VectorIndex(folder, dimensions=DIMENSIONS)
    seconds = time.perf_counter() - start
    own = psutil.Process().memory_full_info().uss - before
    sizes = {path.name: path.stat().st_size / 1e6 for path in (folder / BASE).iterdir()}
    opened = f"opened in {seconds * 1e3:.0f} ms, {own / 1e6:,.0f} MB of its own"
    print(f"    {sum(sizes.values()):,.0f} MB on disk ({sizes[base.GRAPH]:,.0f} the graph), {opened}")
    _print_rate("as shipped, first answers", *_searched(index, queries, exact))
    _print_rate("as shipped", *_searched(index, queries, exact))
    mapped = Base.opened(folder / BASE, dimensions=DIMENSIONS)
    _print_sketches(mapped, queries[:SKETCHED], exact[:SKETCHED])
    for expansion in searches:
        mapped.neighbours.expansion_search = expansion
        _print_rate(f"expansion {expansion:>3} in searches", *_searched(mapped, queries, exact))


def _print_sketches(mapped: Base, queries: NDArray[np.float32], exact: Places) -> None:
    """How many of the exact nearest stand how far in front by their sketches alone, compared with all."""
    asked = mapped.sketcher.sketches(queries).astype(np.float32)

    def cosines(vectors: Vectors) -> NDArray[np.float32]:
        sketches = mapped.sketcher.sketches(vectors.astype(np.float32)).astype(np.float32)
        return np.asarray(asked @ (sketches / np.linalg.norm(sketches, axis=1, keepdims=True)).T)

    own = np.stack([cosines(mapped.vectors[places])[one] for one, places in enumerate(exact)])
    before = np.zeros(exact.shape, np.int64)
    for at in range(0, len(mapped), BLOCK):
        before += (cosines(mapped.vectors[at : at + BLOCK])[:, None] > own[:, :, None] + ROUNDING).sum(
            axis=2
        )
    told = ", ".join(f"{(before < first).mean():.4f} among the first {first}" for first in FIRST)
    print(f"    by sketches of {mapped.sketcher.length} numbers alone: {told}", flush=True)


def _print_rate(what: str, recall: float, rate: float) -> None:
    print(f"    {what}: recall {recall:.4f}, {rate:7,.0f} queries/s", flush=True)


def _searched(
    index: VectorIndex | Base, queries: NDArray[np.float32], exact: Places
) -> tuple[float, float]:
    """Recall, and queries in a second of this thread, through all that the service goes through."""
    start = time.thread_time()
    found = [[int(photo) for photo, _ in index.search(query, k=K)] for query in queries]
    seconds = time.thread_time() - start
    return _recall(found, exact), len(queries) / seconds


def _recall(found: list[list[int]], exact: Places) -> float:
    return sum(len(set(a) & set(b.tolist())) for a, b in zip(found, exact, strict=True)) / exact.size


class Exact:
    """The ``K`` nearest of each query, by looking at all vectors, block by block."""

    def __init__(self, queries: Vectors) -> None:
        self.queries = queries
        self._asked = queries.astype(np.float32)
        self._scores = np.full((len(queries), 0), 0, np.float32)
        self.places: Places = np.zeros((len(queries), 0), np.int64)

    def add(self, at: int, block: Vectors) -> None:
        """Look at vectors whose places begin at ``at``."""
        scores = self._asked @ block.astype(np.float32).T
        places = np.argpartition(-scores, min(K, scores.shape[1] - 1), axis=1)[:, :K]
        self._scores = np.concatenate([self._scores, np.take_along_axis(scores, places, 1)], axis=1)
        self.places = np.concatenate([self.places, places + at], axis=1)
        order = np.argsort(-self._scores, axis=1)[:, :K]
        self._scores = np.take_along_axis(self._scores, order, 1)
        self.places = np.take_along_axis(self.places, order, 1)


def _categories(folder: Path, models: list[Path]) -> None:
    """Precision among the ten nearest, by category, for each set: the folders right below ``folder``."""
    for collection, files in _collections(folder):
        print(f"\n{collection}: {len(files)} photos, {len({p.parent for p in files})} categories")
        pictures = [decode(path.read_bytes()).rgb for path in files]
        categories = np.array([str(path.parent) for path in files])
        _print_precision(BuiltinEmbedder.name, np.stack([embed_builtin(p) for p in pictures]), categories)
        for model in models:
            embedder = OnnxEmbedder(model)
            views = [cut(picture, embedder.view).tobytes() for picture in pictures]
            _print_precision(
                embedder.name, np.concatenate([embedder.embed_now([v]) for v in views]), categories
            )


def _collections(folder: Path) -> Iterator[tuple[str, list[Path]]]:
    """Folders with categories (folders of at least two photos) in them."""
    for each in sorted(path for path in folder.iterdir() if path.is_dir()):
        files = [p for p in paths(each) if p.parent != each]
        if len({p.parent for p in files}) > 1:
            yield each.name, files


def _print_precision(name: str, embedded: NDArray[np.float32], categories: NDArray[np.str_]) -> None:
    cosines = embedded @ embedded.T
    np.fill_diagonal(cosines, -2)
    nearest = np.argsort(-cosines, axis=1)[:, :K]
    right = (categories[nearest] == categories[:, None]).mean()
    chance = ((categories[:, None] == categories[None]).sum() - len(categories)) / (
        len(categories) * (len(categories) - 1)
    )
    print(f"  {name:36} precision@{K} {right:.3f} (by chance {chance:.3f}), {embedded.shape[1]} numbers")
    above = (_pairs_above(cosines, categories, score) for score in SCORES)
    print(f"    of one category, of the pairs at {', '.join(above)}")


def _pairs_above(cosines: NDArray[np.float32], categories: NDArray[np.str_], score: float) -> str:
    one, other = np.nonzero(np.triu(cosines >= score, k=1))
    if not len(one):
        return f"{score:.2f} and more: none"
    return f"{score:.2f} and more: {(categories[one] == categories[other]).mean():.0%} ({len(one)})"


if __name__ == "__main__":
    main()
