"""What must be done so that replicas of one range hold the same. Pure.

Told what every replica lists and what the directory says of the photos, it decides needle by needle. A
tombstone wins over a needle, wherever it is; but where the directory has the photo, the tombstone is a
suspect first, because one flipped word of an index looks like one, and is believed only when it still
stands after the index has been made anew from the log. A needle that is missing or damaged is copied from
where it is whole, if the directory knows its photo or has no photo in the whole volume; what it does not
know is an upload under way, or what is left of one, and is left alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby

from hayloft.types import AlternateKey, NeedleEntry, NeedleKey, PhotoId, PhotoStatus, StoreId

Listing = Mapping[NeedleKey, NeedleEntry]
Statuses = Mapping[PhotoId, PhotoStatus]


@dataclass(slots=True, kw_only=True)
class Plan:
    """What is to be done."""

    copies: dict[tuple[StoreId, StoreId], list[NeedleEntry]] = field(default_factory=dict)
    """Needles and tombstones to be copied, by source and target."""
    burials: dict[PhotoId, set[StoreId]] = field(default_factory=dict)
    """Photos of which these stores must delete everything."""
    suspects: set[StoreId] = field(default_factory=set)
    """Stores whose index says that a photo is deleted which the directory has."""
    orphans: set[PhotoId] = field(default_factory=set)
    """Photos that the directory does not know."""
    lost: set[NeedleKey] = field(default_factory=set)
    """Needles that are damaged wherever they are."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do. Orphans and lost needles are nothing that could be done."""
        return not (self.copies or self.burials or self.suspects)

    def copy(self, entry: NeedleEntry, source: StoreId, target: StoreId) -> None:
        """Have a needle copied."""
        self.copies.setdefault((source, target), []).append(entry)


def plan(
    listings: Mapping[StoreId, Listing], statuses: Statuses | None, *, believe_tombstones: bool
) -> Plan:
    """What to do about these listings; ``statuses`` is None where the directory has no photos at all.

    All listings must have been made at the same scrutiny.
    """
    found = Plan()
    for photo, keys in _photos(listings):
        status = PhotoStatus.ALLOC if statuses is None else statuses.get(photo)
        views = [_View(key, listings) for key in keys]
        _plan_photo(found, photo, views, status, believe=believe_tombstones or statuses is None)
    return found


class _View:
    """One needle on all replicas."""

    def __init__(self, key: NeedleKey, listings: Mapping[StoreId, Listing]) -> None:
        self.key = key
        self.all = tuple(listings)
        self.entries = {store: listing[key] for store, listing in listings.items() if key in listing}
        self.dead = [store for store, entry in self.entries.items() if entry.deleted]
        self.live = [store for store, entry in self.entries.items() if not entry.deleted]
        self.whole = [store for store in self.live if not self.entries[store].damaged]


def _photos(listings: Mapping[StoreId, Listing]) -> Iterator[tuple[PhotoId, list[NeedleKey]]]:
    keys = sorted({key for listing in listings.values() for key in listing})
    for photo, some in groupby(keys, key=lambda key: key.photo):
        yield photo, list(some)


def _plan_photo(
    found: Plan, photo: PhotoId, views: list[_View], status: PhotoStatus | None, *, believe: bool
) -> None:
    accusers = _accusers(views)
    if accusers and status in (PhotoStatus.ACTIVE, PhotoStatus.ALLOC) and not believe:
        found.suspects |= accusers
        return
    is_dead = status is PhotoStatus.DELETED or any(
        view.dead for view in views if view.key.alternate_key is AlternateKey.ORIG
    )
    still_live = {store for view in views for store in view.live}
    if is_dead and still_live:
        found.burials[photo] = still_live
    for view in views:
        if view.dead:
            _spread_tombstone(found, view)
        elif not is_dead and status is None:
            found.orphans.add(photo)
        elif not is_dead:
            _spread_needle(found, view)


def _accusers(views: list[_View]) -> set[StoreId]:
    """The stores whose tombstones contradict what others have."""
    has_live = any(view.live for view in views)
    return {
        store
        for view in views
        if view.live or (has_live and view.key.alternate_key is AlternateKey.ORIG)
        for store in view.dead
    }


def _spread_tombstone(found: Plan, view: _View) -> None:
    source = view.dead[0]
    for store in view.all:
        if store not in view.dead:
            found.copy(view.entries[source], source, store)


def _spread_needle(found: Plan, view: _View) -> None:
    if not view.whole:
        found.lost.add(view.key)
        return
    source = view.whole[0]
    for store in view.all:
        if store not in view.whole:
            found.copy(view.entries[source], source, store)
    if len({_content(view.entries[store]) for store in view.whole}) > 1:
        _exchange(found, view)


def _exchange(found: Plan, view: _View) -> None:
    """Replicas hold different needles: each gets all variants, and keeps the one that they all choose."""
    variants = {_content(view.entries[store]): store for store in view.whole}
    for content, source in variants.items():
        for target in view.whole:
            if _content(view.entries[target]) != content:
                found.copy(view.entries[source], source, target)


def _content(entry: NeedleEntry) -> tuple[int, int | None]:
    return entry.size, entry.checksum
