"""The measurements that chose the thresholds of copies: ``python -m similarity tune``.

Looks only at the half of the photos that the reported figures do not use. True pairs are photos and their
disguises; the others are different shots of one scene, found as the product would find them, and the same
everyday disguises of these. Prints what the proof says of both, what each bound would lose and link, and
what a larger or smaller picture is worth.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from hayloft.similarity.copies import agreement, features, geometry, record, spectrum, thresholds, voting
from hayloft.similarity.copies.agreement import Agreement
from hayloft.similarity.copies.features import Description
from hayloft.similarity.copies.geometry import Alignment, Guise
from hayloft.similarity.copies.quality import Grey
from hayloft.similarity.copies.voting import VotingIndex
from similarity import disguises, methods
from similarity.disguises import Picture
from similarity.photos import Photo

SHOTS_MAX: Final = 24
"""Pairs of shots that are disguised as well."""

POINTS_MIN: Final = 6
SAME_PLACE_PIXELS: Final = 4.0
"""From where a keypoint comes to lie to the stored one that it is taken for."""
LOSSES: Final = (0.05, 0.1, 0.2, 1e9)
PICTURES: Final = ((160, 60), (240, 60), (320, 60), (320, 80), (448, 60))
"""Sides and JPEG qualities of the kept picture that are compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A described picture aligned with a stored photo."""

    disguise: str
    query: Description
    grey: Grey
    photo: int
    alignment: Alignment


def tune(collection: list[Photo], disguised: dict[tuple[int, str], Picture], limit: int) -> None:
    """Print all of it, for the photos of the tuning half and their disguises by place and name."""
    greys = [methods.grey(photo.picture) for photo in collection]
    stored = [record.kept(features.describe(grey)) for grey in greys]
    true = [pair for pair in _true_pairs(disguised, stored) if pair is not None]
    shots = list(_shots(greys, stored, limit))
    print(f"{len(collection)} photos, {len(true)} true pairs, {len(shots)} pairs of shots")
    for side, quality in PICTURES:
        _print_picture(side, quality, true, shots, stored, greys)
    _print_doubts(true, stored)
    _print_proof("true pairs", [_proof(pair, stored[pair.photo]) for pair in true])
    _print_proof("shots", [_proof(pair, stored[pair.photo]) for pair in shots])


def _true_pairs(
    disguised: dict[tuple[int, str], Picture], stored: list[Description]
) -> Iterator[Pair | None]:
    for (place, name), picture in disguised.items():
        guise = Guise(mirrored="mirrored" in name, negative=name == "inverted")
        yield _pair(name, methods.grey(picture), place, guise, stored)


def _pair(name: str, grey: Grey, photo: int, guise: Guise, stored: list[Description]) -> Pair | None:
    query = features.describe(grey)
    alignment = geometry.align(query, stored[photo], guise)
    if alignment is None:
        return None
    return Pair(disguise=name, query=query, grey=grey, photo=photo, alignment=alignment)


def _shots(greys: list[Grey], stored: list[Description], limit: int) -> Iterator[Pair]:
    """Shots of one scene by how well they agree at a glance, plain and in disguises in turn."""
    index = VotingIndex()
    for place, description in enumerate(stored):
        index.add(place, description)
    found: dict[tuple[int, int], tuple[float, Pair]] = {}
    for place, grey in enumerate(greys):
        query = features.describe(grey)
        for candidate in index.candidates(query, limit=thresholds.CANDIDATES_VERIFIED):
            alignment = geometry.align(query, stored[candidate.photo], candidate.guise)
            if candidate.photo <= place or alignment is None or alignment.agreeing < POINTS_MIN:
                continue
            pair = Pair(disguise="none", query=query, grey=grey, photo=candidate.photo, alignment=alignment)
            proof = _proof(pair, stored[candidate.photo])
            if proof is not None:
                found[place, candidate.photo] = (replace(proof, parallax=0.0).score, pair)
    best = sorted(found.items(), key=lambda item: -item[1][0])[: min(SHOTS_MAX, limit)]
    names = list(disguises.EVERYDAY)
    for turn, ((place, photo), (_, pair)) in enumerate(best):
        yield pair
        for name in names[turn % 3 :: 3]:
            rng = np.random.default_rng([turn, *name.encode()])
            colour = np.repeat(greys[place][:, :, None], 3, axis=2)
            seen = disguises.ALL[name](colour, rng, [colour[::-1].copy()] * 8)
            guise = Guise(mirrored="mirrored" in name)
            again = _pair(name, methods.grey(seen), photo, guise, stored)
            if again is not None:
                yield again


def _proof(pair: Pair, photo: Description) -> Agreement | None:
    return agreement.compare(pair.query, photo, pair.alignment)


def _print_picture(
    side: int,
    quality: int,
    true: list[Pair],
    shots: list[Pair],
    stored: list[Description],
    greys: list[Grey],
) -> None:
    photos = [
        replace(description, picture_jpeg=features.small_picture(grey, side, quality))
        for description, grey in zip(stored, greys, strict=True)
    ]

    def proofs(pairs: list[Pair]) -> list[Agreement]:
        told = (
            _proof(
                replace(
                    pair,
                    query=replace(
                        pair.query, picture_jpeg=features.small_picture(pair.grey, side, quality)
                    ),
                ),
                photos[pair.photo],
            )
            for pair in pairs
        )
        return [proof for proof in told if proof is not None]

    right, wrong = proofs(true), proofs(shots)
    size = np.mean([len(photo.picture_jpeg) for photo in photos])
    print(f"\npicture of {side} pixels, JPEG {quality}: {size / 1000:.1f} kB a photo")
    glance = [replace(proof, parallax=0.0) for proof in right]
    passed = sum(proof.proved for proof in glance)
    for loss in LOSSES:
        lost = passed - sum(_score(proof, loss) >= thresholds.SCORE_MIN for proof in right)
        linked = sorted((_score(proof, loss) for proof in wrong), reverse=True)
        count = sum(score >= thresholds.SCORE_MIN for score in linked)
        name = "none" if loss > 1 else f"{loss:.2f}"
        print(
            f"  parallax loss {name:>4}: {lost:3} of {passed} copies lost, {count:3} of {len(wrong)} shots "
            f"linked, up to {linked[0] if linked else 0:.2f}"
        )


def _score(proof: Agreement, loss: float) -> float:
    return replace(proof, parallax=0.0).score - proof.parallax / loss / 2


def _print_doubts(true: list[Pair], stored: list[Description]) -> None:
    """How often a keypoint's like has the word that is left when some of its bits are turned over."""
    found = np.zeros(len(voting._DOUBTS))
    for pair in true:
        query, photo = pair.query, stored[pair.photo]
        places = geometry.transform(pair.alignment.matrix, query.positions)
        apart = np.linalg.norm(places[:, None] - photo.positions[None], axis=2)
        like = apart.argmin(axis=1)
        words = voting._variants(query)[0].reshape(len(found), len(query))
        own, _ = spectrum.words_and_signatures(photo.codes, spectrum.guises(photo.codes))
        found += ((words == own[like]) & (apart.min(axis=1) <= SAME_PLACE_PIXELS)).sum(axis=1)
    print(f"\nbits doubted rightly, against none of them, in {int(found.sum())} votes (and as reckoned)")
    for row, doubts in enumerate(voting._DOUBTS):
        if len(doubts) in (1, len(voting._DOUBTS[-1])) or doubts == (0, 1):
            name = " ".join(str(doubt + 1) for doubt in doubts)
            print(f"  {name:10}{found[row] / found[0]:9.3f}{voting._LIKELIHOODS[row]:9.3f}")


def _print_proof(title: str, proofs: list[Agreement | None]) -> None:
    told = [proof for proof in proofs if proof is not None]
    print(f"\n{title}: 1st, 5th, 50th, 95th and 99th percentile of {len(told)}")
    for name in ("score", "closeness", "unbroken", "share", "continues", "parallax", "agreeing"):
        values = np.percentile([getattr(proof, name) for proof in told], [1, 5, 50, 95, 99])
        print(f"  {name:10}" + "".join(f"{value:9.3f}" for value in values))
