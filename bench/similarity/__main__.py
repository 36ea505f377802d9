"""``make bench-similarity``: how well copies are found and strangers kept apart, and how fast.

Half of the photos are for tuning, half for the figures; the threshold of every method is the one that
keeps 99 % precision on the tuning half. ``recall``, ``overlays`` (strangers that share a logo, a frame or a
screen) and ``speed`` are the whole. ``tune`` prints what chose the thresholds of copies, by the
tuning half alone, ``hashes`` those of PDQ. Writes a file for each part (``_PARTS``), a plot and contact
sheets to ``bench/results``; the same seed and photos give the same figures (times excepted).
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
import time
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any, Final, TextIO, TypeVar

import cv2
import numpy as np

from hayloft.similarity import fingerprint
from hayloft.similarity.copies import agreement, features, geometry, pipeline, record
from hayloft.similarity.copies.thresholds import SCORE_MIN
from similarity import (
    disguises,
    hashes,
    measure,
    methods,
    overlays,
    pictures,
    scale,
    stages,
    strangers,
    tune,
    tune_overlays,
)
from similarity.disguises import Picture
from similarity.photos import Photo, read

RESULTS: Final = Path(__file__).parent.parent / "results"
PARTNERS: Final = 8
"""Other photos at hand for a disguise, to fill a collage."""

SHOWN: Final = 12
"""Mistakes named, of each kind of overlay."""

WITH_PARTNERS: Final = {"collage", "grid cell"}

T = TypeVar("T")


def main() -> None:
    """Run all parts and print their tables."""
    options = _options()
    cv2.setNumThreads(1)
    RESULTS.mkdir(parents=True, exist_ok=True)
    for part in [options.command] if options.command else ["recall", "overlays", "speed"]:
        run, name = _PARTS[part]
        with (RESULTS / name).open("w") as report, contextlib.redirect_stdout(_Twice(sys.stdout, report)):
            started = time.monotonic()
            collection = read(options.photos, options.seed, options.limit)
            print(
                f"{len(collection)} photos, seed {options.seed}, {options.queries} disguised in each half"
            )
            run(collection, options)
            print(f"\n{(time.monotonic() - started) / 60:.1f} minutes")


class _Twice(io.TextIOBase):
    """Writes to two streams."""

    def __init__(self, *streams: TextIO) -> None:
        self._streams = streams

    def write(self, text: str) -> int:
        for stream in self._streams:
            stream.write(text)
            stream.flush()
        return len(text)


def _tune(collection: list[Photo], options: argparse.Namespace) -> None:
    half = [photo for photo in collection if photo.is_for_tuning]
    disguised = {
        (place, name): _disguised(half, place, name, options.seed)[0]
        for place in range(min(options.queries, len(half)))
        for name in disguises.ALL
    }
    tune.tune(half, disguised, options.queries)
    tune_overlays.print_rules(half)


def _hashes(collection: list[Photo], options: argparse.Namespace) -> None:
    def disguised(place: int, name: str) -> Picture:
        return _disguised(collection, place, name, options.seed)[0]

    hashes.print_hashes(collection, disguised, options.queries)


def _recall(collection: list[Photo], options: argparse.Namespace) -> None:
    candidates = _methods(options.model)
    described = {m.name: [m.describe(photo.picture) for photo in collection] for m in candidates}
    for method in candidates:
        method.build(described[method.name])
    copies = next(m for m in candidates if isinstance(m, methods.Copies))
    _recalls(candidates, collection, options)
    _look_alikes(copies, collection, described[copies.name])
    _strangers(collection, options)


def _overlays(collection: list[Photo], options: argparse.Namespace) -> None:
    """False links by what strangers share, each kind in an index of its own, of half of them."""
    half = [photo for photo in collection if not photo.is_for_tuning][: options.overlaid]
    print(f"\nstrangers that share what is laid over them, {len(half)} photos of each kind")
    asked, links = 0, 0
    mistakes = []
    for kind in overlays.KINDS:
        seen = [overlays.given(photo.picture, kind) for photo in half]
        found = _linked(seen)
        asked, links = asked + len(seen), links + len(found)
        photos = len({place for pair in found for place in pair})
        print(f"  {kind:16} {len(found)} links between {photos} photos")
        for (a, b), copy in list(found.items())[:SHOWN]:
            print(f"      {half[a].name} ~ {half[b].name} {copy.score:.2f}")
            mistakes.append((f"{kind} {copy.score:.2f}", seen[a], seen[b]))
    print(f"  {links} links among {asked} photos, {1000 * links / asked:.2f} per thousand photos")
    pictures.sheet(RESULTS / "similarity-overlays.png", mistakes[:48])


def _linked(seen: list[Picture]) -> dict[tuple[int, int], pipeline.Copy]:
    """The links among some pictures, as they are found when each is asked for."""
    copies = methods.Copies()
    described = [copies.describe(picture) for picture in seen]
    copies.build(described)
    return _links_among(copies, described)


def _links_among(copies: methods.Copies, described: list[Any]) -> dict[tuple[int, int], pipeline.Copy]:
    found = {}
    for place, description in enumerate(described):
        for copy in copies.found(description).values():
            if copy.photo != place:
                found[min(place, copy.photo), max(place, copy.photo)] = copy
    return found


def _speed(collection: list[Photo], options: argparse.Namespace) -> None:
    copies = methods.Copies()
    described = [copies.describe(photo.picture) for photo in collection]
    copies.build(described)
    stages.print_speed(options.photos, collection)
    _stages(copies, collection, described)
    _scales(copies, collection, described, options)


_PARTS: Final = {
    "tune": (_tune, "similarity-tuning.txt"),
    "hashes": (_hashes, "similarity-hashes.txt"),
    "recall": (_recall, "similarity.txt"),
    "overlays": (_overlays, "similarity-overlays.txt"),
    "speed": (_speed, "similarity-speed.txt"),
}
"""Each with the file of results that it writes."""


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="similarity", description=__doc__)
    parser.add_argument("--photos", type=Path, help="folder of photos; scikit-image's samples without it")
    parser.add_argument("--model", type=Path, help="ONNX network whose pooled output is compared as well")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limit", type=int, default=5000, help="photos read at the most")
    parser.add_argument("--queries", type=int, default=24, help="photos disguised in each half")
    parser.add_argument("--overlaid", type=int, default=125, help="photos given each kind of overlay")
    parser.add_argument(
        "--sizes", type=int, nargs="*", default=[10_000, 100_000], help="sizes of index searched"
    )
    parser.add_argument(
        "command",
        nargs="?",
        choices=list(_PARTS),
        help="one part alone; tune and hashes print what chose the thresholds",
    )
    return parser.parse_args()


def _methods(model: Path | None) -> list[Any]:
    known = (methods.Hash(name) for name in ("phash", "pdq", "pdq, 8 ways"))
    return [methods.Copies(), *known, methods.Embedding(model) if model else methods.BuiltIn()]


def _disguised(collection: list[Photo], place: int, name: str, seed: int) -> tuple[Picture, list[int]]:
    """A photo in a disguise, and the places of those that may be in the picture with it."""
    rng = np.random.default_rng([seed, place, *name.encode()])
    others = [int(i) for i in rng.permutation(len(collection)) if i != place][:PARTNERS]
    pictures_of_others = [collection[i].picture for i in others]
    return disguises.ALL[name](collection[place].picture, rng, pictures_of_others), others


def _recalls(candidates: list[Any], collection: list[Photo], options: argparse.Namespace) -> None:
    """The table by disguise, the plot and the sheet of misses."""
    halves: dict[str, list[dict[str, measure.Query]]] = {"tuning": [], "test": []}
    for half in halves:
        places = [i for i, photo in enumerate(collection) if photo.is_for_tuning == (half == "tuning")]
        for place in places[: options.queries]:
            for name in disguises.ALL:
                seen, others = _disguised(collection, place, name, options.seed)
                partners = others if name in WITH_PARTNERS else []
                halves[half].append(
                    {
                        m.name: measure.query(name, place, partners, m.scores(m.describe(seen)))
                        for m in candidates
                    }
                )
    table: dict[str, dict[str, float]] = {}
    print(
        f"\nrecall at 99 % precision, {min(options.queries, len(collection) // 2)} photos in each disguise"
    )
    for method in candidates:
        # Thresholds are chosen over the everyday disguises, as the target is stated.
        tuning = [q[method.name] for q in halves["tuning"] if q[method.name].disguise in disguises.EVERYDAY]
        limit = measure.threshold(tuning)
        test = [q[method.name] for q in halves["test"]]
        table[method.name] = measure.recalls(test, limit)
        everyday = [q for q in test if q.disguise in disguises.EVERYDAY]
        print(
            f"  {method.name}: threshold {limit:.3f}; {measure.false_links(everyday, limit)} false links "
            f"in {len(everyday)} everyday queries"
        )
        if isinstance(method, methods.Copies):
            linked, wrong = _as_linked(test)
            table["linked"] = linked
            print(f"  as shipped ({SCORE_MIN}): {wrong} false links in {len(test)} queries of all kinds")
            _print_wrong([q[method.name] for half in halves.values() for q in half], collection)
    _print_recalls(table)
    pictures.plot(RESULTS / "similarity-recall.png", table)
    _sheet_of_misses(candidates[0].name, halves["test"], collection, options.seed)


def _as_linked(queries: list[measure.Query]) -> tuple[dict[str, float], int]:
    """What the shipped threshold recalls, and the false links it makes."""
    return measure.recalls(queries, SCORE_MIN), measure.false_links(queries, SCORE_MIN)


def _print_wrong(queries: list[measure.Query], collection: list[Photo]) -> None:
    """Which other photos were linked: a look-alike of one photo returns in many of its disguises."""
    wrong: dict[tuple[str, str], list[tuple[float, str]]] = {}
    for q in queries:
        for score, other in zip(q.wrong_scores, q.wrong_photos, strict=True):
            pair = (collection[q.photo].name, collection[other].name)
            wrong.setdefault(pair, []).append((float(score), q.disguise))
    for (name, other_name), found in sorted(wrong.items(), key=lambda item: -len(item[1])):
        kinds = ", ".join(sorted({kind for _, kind in found}))
        print(f"    {len(found):3} × {name} ~ {other_name}, up to {max(found)[0]:.2f}: {kinds[:90]}")


def _print_recalls(table: dict[str, dict[str, float]]) -> None:
    print(f"  {'':30}" + "".join(f"{name:>13}" for name in table))
    for title, group in (
        ("everyday", disguises.EVERYDAY),
        ("harder", disguises.HARDER),
        ("open", disguises.OPEN),
    ):
        for name in group:
            print(f"  {name:30}" + "".join(f"{values[name]:13.3f}" for values in table.values()))
        means = "".join(f"{np.mean([values[name] for name in group]):13.3f}" for values in table.values())
        worst = "".join(f"{min(values[name] for name in group):13.3f}" for values in table.values())
        print(f"  {'mean, ' + title:30}{means}\n  {'worst, ' + title:30}{worst}")


def _sheet_of_misses(
    method: str,
    queries: list[dict[str, measure.Query]],
    collection: list[Photo],
    seed: int,
) -> None:
    missed = [q[method] for q in queries if not q[method].true_score > 0]
    missed.sort(key=lambda q: list(disguises.ALL).index(q.disguise))
    shown = []
    for q in missed[:48]:
        original = collection[q.photo].picture
        seen, _ = _disguised(collection, q.photo, q.disguise, seed)
        shown.append((f"missed: {q.disguise}", original, seen))
    pictures.sheet(RESULTS / "similarity-missed.png", shown)


def _look_alikes(copies: methods.Copies, collection: list[Photo], described: list[Any]) -> None:
    """Links among the collection itself, in which no photo is a copy of another (as far as is known)."""
    links = _links_among(copies, described)
    thousands = len(collection) / 1000
    print(
        f"\nlinks among {len(collection)} different photos: {len(links)}, "
        f"{len(links) / thousands:.2f} per thousand photos"
    )
    flights = [i for i, photo in enumerate(collection) if photo.category.startswith("aerial")]
    between = sum(a in flights and b in flights for a, b in links)
    pairs = len(list(combinations(flights, 2)))
    print(f"  of them between the {len(flights)} frames of flights ({pairs} pairs): {between}")
    mistakes = []
    for (a, b), copy in sorted(links.items(), key=lambda item: -item[1].score):
        label = f"{copy.score:.2f} {collection[a].name[:18]} {collection[b].name[:18]}"
        mistakes.append((label, collection[a].picture, collection[b].picture))
        print(f"  {label}  points {copy.alignment.agreeing}, closeness {copy.agreement.closeness:.3f}")
    pictures.sheet(RESULTS / "similarity-false-links.png", mistakes[:48])


def _strangers(collection: list[Photo], options: argparse.Namespace) -> None:
    """False links among shots of one scene."""
    print("\nshots of one scene")
    mistakes = []
    for kind, make in strangers.KINDS.items():
        rng = np.random.default_rng([options.seed, *kind.encode()])
        sample = [photo.picture for photo in collection[: options.queries]]
        pairs = linked = 0
        for group in make(sample, rng):
            described = [pipeline.describe(methods.grey(picture)) for picture in group]
            for a, b in combinations(range(len(group)), 2):
                pairs += 1
                copy = pipeline.compare(described[a], described[b])
                if copy is not None:
                    linked += 1
                    mistakes.append((f"{kind} {copy.score:.2f}", group[a], group[b]))
        print(
            f"  {kind:22} {linked} links in {pairs} pairs, {1000 * linked / max(pairs, 1):.2f} per thousand"
        )
    pictures.sheet(RESULTS / "similarity-strangers.png", mistakes[:48])


def _stages(copies: methods.Copies, collection: list[Photo], described: list[Any]) -> None:
    """Processor time by stage."""
    greys = [methods.grey(photo.picture) for photo in collection[:40]]
    decoded = [record.decode(d.data) for d in described[:40]]
    print("\nprocessor time, ms, over these photos as they are")
    print(f"  describe                       {_timed(greys, pipeline.describe):8.2f}")
    working = [features._working_size(grey) for grey in greys]
    print(f"    of it SIFT at working size   {_timed(working, features._detect):8.2f}")
    print(f"  search and verify, whole query {_timed(described[:40], copies.found):8.2f}")
    guise = geometry.Guise()
    strange = list(zip(decoded, decoded[1:] + decoded[:1], strict=True))
    print(f"  align a pair of strangers      {_timed(strange, lambda p: geometry.align(*p, guise)):8.2f}")
    same = [(d, record.kept(d)) for d in decoded if d.weakness is None]
    print(f"  align a pair of copies         {_timed(same, lambda p: geometry.align(*p, guise)):8.2f}")
    aligned = [(*p, geometry.align(*p, guise)) for p in same]
    proved = [(a, b, found) for a, b, found in aligned if found is not None]
    print(f"  prove a pair of copies         {_timed(proved, lambda p: agreement.compare(*p)):8.2f}")
    stored = float(np.mean([len(data) for data in copies.records]))
    memory = copies.index.size_bytes / max(len(copies.index), 1)
    hash_bytes = 32 * (1 + len(fingerprint.ORIENTATIONS))
    print(
        f"  bytes a photo: {memory + 40:.0f} resident (index {memory:.0f}, hash 40), "
        f"{memory + stored + hash_bytes:.0f} "
        f"on disk (index {memory:.0f}, record {stored:.0f} of which the picture "
        f"{np.mean([len(d.picture_jpeg) for d in decoded]):.0f}, hashes {hash_bytes})"
    )


def _timed(items: list[T], work: Callable[[T], object]) -> float:
    start = time.process_time()
    for item in items:
        work(item)
    return (time.process_time() - start) / max(len(items), 1) * 1e3


def _scales(
    copies: methods.Copies, collection: list[Photo], described: list[Any], options: argparse.Namespace
) -> None:
    """Whole queries in large indexes, beyond the real photos filled with invented ones."""
    queries = []
    for place in range(0, len(collection), max(1, len(collection) // 60)):
        rng = np.random.default_rng([options.seed, place])
        seen = disguises.several(collection[place].picture, rng, ())
        queries.append((place, copies.describe(seen)))
    print("\ncopy queries (several disguises at once; photos beyond the real ones are invented)")
    for size in options.sizes:
        result = scale.search([d.data for d in described], queries, size, options.seed)
        print(
            f"  {size:>9,} photos: candidates p50 {result.p50_ms:.1f} ms, p95 {result.p95_ms:.1f} ms; "
            f"whole query p50 {result.whole_p50_ms:.1f} ms, p95 {result.whole_p95_ms:.1f} ms; found "
            f"{result.found:.3f}, proved {result.proved:.3f}; {result.bytes_per_photo:.0f} bytes a photo"
        )


if __name__ == "__main__":
    main()
