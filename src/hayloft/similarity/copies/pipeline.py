"""Copies of a photo, found and proved: the one door to this package.

``describe`` turns pixels into bytes (in whichever process decodes); ``Copies`` holds the index and
answers with verified copies. The caller keeps the records: ``stored`` makes of a description what has
to be kept (17 kB), and ``find`` asks for the records of its candidates through a function. Everything
that ``find`` returns has been aligned by its keypoints and proved by its pictures (``agreement``). What
is merely the same scene is not in it.

    record = describe(grey)                      # transient: all keypoints, for the query
    found = copies.find(record, load, exclude=photo)   # load: ids -> {id: stored record}
    copies.add(photo, record)                    # in memory, at once findable
    database.keep(photo, stored(record))         # the truth, from which the index can be made again

A photo may be described, added, removed and looked for on one thread at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cmp_to_key
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from hayloft.similarity.copies import agreement, features, geometry, record, thresholds
from hayloft.similarity.copies.agreement import Agreement
from hayloft.similarity.copies.features import Description
from hayloft.similarity.copies.geometry import Alignment, Guise
from hayloft.similarity.copies.quality import Grey, Weakness
from hayloft.similarity.copies.voting import VotingIndex

METHOD: Final = "sift-geometry/4"
"""Name and version of the method, for links."""

Load = Callable[[Collection[int]], Mapping[int, bytes]]
"""The stored records of those photos that have one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """Two photos, one of which is a copy of the other or of a part of it, with what proves it."""

    photo: int
    """The photo found."""
    alignment: Alignment
    """From the query's working pixels to the found photo's."""
    agreement: Agreement
    query_size: tuple[int, int]
    photo_size: tuple[int, int]
    """Width and height of the working pictures that the matrix speaks of."""

    @property
    def score(self) -> float:
        """0 to 1; see ``Agreement.score``."""
        return self.agreement.score

    @property
    def shares(self) -> tuple[float, float]:
        """The share of each photo's area that agrees: where it is larger, the photo is more cropped."""
        return _area(self.agreement.regions[0]), _area(self.agreement.regions[1])

    def evidence(self) -> dict[str, Any]:
        """All of it as JSON, directed from the query to the photo found; coordinates are shares of the
        sides.

        ``matrix`` takes a point (x, y, 1) of the query, x and y as shares of its width and height, to
        the photo found; ``regions`` are the matched outlines in both; ``scale`` is the size at which
        the photo found shows what the query shows, relative to the query (in pixels of pictures of the
        same size).
        """
        shares = self.shares
        return {
            "matrix": np.round(self.shares_matrix(), 6).tolist(),
            "agreeing_points": self.alignment.agreeing,
            "paired_points": self.alignment.paired,
            "mirrored": self.alignment.guise.mirrored,
            "negative": self.alignment.guise.negative,
            "rotation_degrees": round(self._rotation(), 1),
            "scale": round(self._scale(), 4),
            "regions": [
                np.round(region.astype(np.float64), 4).tolist() for region in self.agreement.regions
            ],
            "shares": [round(share, 4) for share in shares],
            "closeness": round(self.agreement.closeness, 4),
            "unbroken": round(self.agreement.unbroken, 4),
            "parallax": round(self.agreement.parallax, 4),
        }

    def shares_matrix(self) -> geometry.Matrix:
        """The transformation between coordinates that are shares of the sides, 0 to 1."""
        return geometry.in_shares(self.alignment.matrix, self.query_size, self.photo_size)

    def _middle(self) -> tuple[geometry.Points, geometry.Points]:
        x, y = self.query_size[0] / 2, self.query_size[1] / 2
        step = geometry.transform(self.alignment.matrix, np.array([[x, y], [x + 1, y], [x, y + 1]]))
        return step[1] - step[0], step[2] - step[0]

    def _rotation(self) -> float:
        right, _ = self._middle()
        x, y = (-right if self.alignment.guise.mirrored else right).tolist()
        return float(np.degrees(np.arctan2(y, x)))

    def _scale(self) -> float:
        right, down = self._middle()
        return float(np.sqrt(abs(right[0] * down[1] - right[1] * down[0])))


def describe(grey: Grey) -> bytes:
    """Describe a photo's pixels (upright, grey, ``uint8[height, width]``) for a query."""
    return record.encode(features.describe(grey), doubts=True)


def stored(description: bytes) -> bytes:
    """What has to be kept of a description so that its photo can be found: about 17 kB.

    Raises:
        record.RecordDamaged: these bytes are no description.
    """
    return record.encode(record.kept(record.decode(description)), doubts=False)


def keypoints(description: bytes) -> int:
    """How much there is to recognise in a described photo; 0 if it is too flat, dark or tiny."""
    decoded = record.decode(description)
    return 0 if decoded.weakness is not None else len(decoded)


class Copies:
    """The photos among which copies are found. Not safe for concurrent use."""

    def __init__(self) -> None:
        self._index = VotingIndex()

    def __len__(self) -> int:
        return len(self._index)

    def __contains__(self, photo: int) -> bool:
        return photo in self._index

    def __iter__(self) -> Iterator[int]:
        return iter(self._index)

    @property
    def size_bytes(self) -> int:
        """Memory that the index takes."""
        return self._index.size_bytes

    def save(self, directory: Path) -> None:
        """Write the index to files; what is added later is lost with the process unless saved again."""
        self._index.save(directory)

    @classmethod
    def open(cls, directory: Path) -> Copies:
        """The photos last saved in a directory; iterate over them to see which are missing.

        Raises:
            storage.IndexUnreadable: there is no index, or it is damaged: add all photos anew.
        """
        copies = cls()
        copies._index = VotingIndex.open(directory)
        return copies

    def add(self, photo: int, description: bytes) -> bool:
        """Make a photo findable; again replaces it. False if there is too little in it to be recognised.

        Raises:
            record.RecordDamaged: these bytes are no description.
        """
        decoded = record.decode(description)
        if decoded.weakness is not None:
            self._index.remove(photo)
            return False
        self._index.add(photo, decoded)
        return True

    def remove(self, photo: int) -> bool:
        """Forget a photo; False if it was not there."""
        return self._index.remove(photo)

    def find(self, description: bytes, load: Load, *, exclude: int | None = None) -> list[Copy]:
        """The verified copies of a described photo, best first.

        Raises:
            record.RecordDamaged: these bytes are no description.
        """
        query = record.decode(description)
        if query.weakness is not None:
            return []
        candidates = self._index.candidates(query, limit=thresholds.CANDIDATES_VERIFIED + 1)
        candidates = [c for c in candidates if c.photo != exclude][: thresholds.CANDIDATES_VERIFIED]
        votes_min = thresholds.VOTES_SHARE_MIN * max((c.votes for c in candidates), default=0.0)
        candidates = [c for c in candidates if c.votes >= votes_min]
        records = load([candidate.photo for candidate in candidates])
        others = {photo: record.decode(data) for photo, data in records.items()}
        found: dict[int, Copy] = {}
        for candidate in candidates:
            if candidate.photo in others:
                copy = _verify(query, others[candidate.photo], candidate.photo, candidate.guise)
                known = found.get(candidate.photo)
                if copy is not None and (known is None or copy.score > known.score):
                    found[candidate.photo] = copy
        best_first = sorted(found.values(), key=lambda copy: (-copy.score, copy.photo))
        return _without_other_shots(best_first, others)


def _without_other_shots(found: list[Copy], others: Mapping[int, Description]) -> list[Copy]:
    """Of photos found in the same part of the query, those that are the surest one's exposure; best first.

    A disguise hides what tells two shots of a scene apart; the photos themselves, undisguised, show it.
    What is proved to be another shot than a surer match cannot be the query's original.
    """
    kept: list[Copy] = []
    for copy in sorted(found, key=cmp_to_key(_less_sure)):
        rival = next((surer for surer in kept if _in_same_part(surer, copy)), None)
        if rival is None or not _other_shots(rival, copy, others):
            kept.append(copy)
    photos = {copy.photo for copy in kept}
    return [copy for copy in found if copy.photo in photos]


def _less_sure(a: Copy, b: Copy) -> int:
    """1 if ``b`` is surer than ``a``: more points agree with it, by more than chance, or its score is more.

    Where little can be seen, the scores of two shots hardly differ, and where few points are found, their
    number does not.
    """
    more = b.alignment.agreeing - a.alignment.agreeing
    by_chance = (b.alignment.agreeing + a.alignment.agreeing) ** 0.5
    surer = more if abs(more) > by_chance else b.score - a.score
    return (surer > 0) - (surer < 0)


def _in_same_part(a: Copy, b: Copy) -> bool:
    # In thousandths of the sides: the library's tolerance is meant for pixels.
    mine, theirs = ((copy.agreement.regions[0] * 1000).astype(np.float32) for copy in (a, b))
    common, _ = cv2.intersectConvexConvex(mine, theirs)
    union = _area(mine) + _area(theirs) - common
    return bool(common > thresholds.SAME_PART_SHARE_MIN * union)


def _other_shots(a: Copy, b: Copy, others: Mapping[int, Description]) -> bool:
    """Whether two photos found in the same part of a query are not the same, but for how they are cut."""
    first, second = a.alignment.guise, b.alignment.guise
    guise = Guise(mirrored=first.mirrored != second.mirrored, negative=first.negative != second.negative)
    alignment = geometry.align(others[a.photo], others[b.photo], guise)
    if alignment is None:
        return True
    if alignment.agreeing < thresholds.POINTS_ENOUGH:
        # Laid on each other so loosely, two copies differ as well.
        return False
    proof = agreement.compare(others[a.photo], others[b.photo], alignment, edges_tell=False)
    return proof is None or not (proof.proved or _partly_hidden(proof))


def _partly_hidden(proof: Agreement) -> bool:
    """Whether two photos may be one, although too much of each is under something else to be proved."""
    close = proof.closeness >= thresholds.HIDDEN_CLOSENESS_MIN
    return close and proof.score >= thresholds.HIDDEN_SCORE_MIN and not proof.contents_differ


def compare(a: bytes, b: bytes, *, photo: int = 0) -> Copy | None:
    """Whether two described photos are copies, in whichever guise; without an index.

    Raises:
        record.RecordDamaged: these bytes are no description.
    """
    query, other = record.decode(a), record.decode(b)
    if query.weakness is not None or other.weakness is not None:
        return None
    copies = [copy for guise in _GUISES if (copy := _verify(query, other, photo, guise)) is not None]
    return max(copies, key=lambda copy: copy.score, default=None)


def prove(a: bytes, b: bytes, shares: geometry.Matrix, *, photo: int = 0) -> Copy | None:
    """Whether two described photos are copies that lie on each other as something else found out.

    ``shares`` takes places of ``a``, as shares of its sides, to ``b``. Photos too flat for keypoints can be
    proved as well; pages of text cannot. What found them counts as enough agreeing points.

    Raises:
        record.RecordDamaged: these bytes are no description.
    """
    query, other = record.decode(a), record.decode(b)
    if Weakness.TEXT in (query.weakness, other.weakness):
        return None
    alignment = Alignment(
        matrix=geometry.in_pixels(shares, (query.width, query.height), (other.width, other.height)),
        guise=Guise(mirrored=bool(np.linalg.det(shares[:2, :2]) < 0)),
        agreeing=thresholds.POINTS_ENOUGH,
        paired=0,
    )
    return _proved(query, other, photo, alignment)


_GUISES: Final = tuple(Guise(mirrored=m, negative=n) for n in (False, True) for m in (False, True))


def _verify(query: Description, other: Description, photo: int, guise: Guise) -> Copy | None:
    alignment = geometry.align(query, other, guise)
    return None if alignment is None else _proved(query, other, photo, alignment)


def _proved(query: Description, other: Description, photo: int, alignment: Alignment) -> Copy | None:
    proof = agreement.compare(query, other, alignment)
    if proof is None or not proof.proved:
        return None
    return Copy(
        photo=photo,
        alignment=alignment,
        agreement=proof,
        query_size=(query.width, query.height),
        photo_size=(other.width, other.height),
    )


def _area(outline: geometry.Points) -> float:
    x, y = outline.T
    return float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2)
