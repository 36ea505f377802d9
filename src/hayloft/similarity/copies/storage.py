"""The voting index in files: saved whole and named last, opened without reading it through.

A directory holds one set of arrays for each segment, the photos' ids, and ``manifest.json``, which
names them and is replaced in one step when everything else is on the disk. A segment never changes, so
saving writes only those that are new. Files that no manifest names are left-overs of a crash and are
deleted. Opening maps the arrays: it takes as long for a million photos as for ten. What was added since
the last save is not here; the caller compares ``photos`` with its own and adds what is missing.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hayloft.disk import sync_path
from hayloft.similarity.copies.segment import Segment

FORMAT: Final = 1
_MANIFEST: Final = "manifest.json"
_ARRAYS: Final = ("signatures", "owners", "poses", "words", "table")


class IndexUnreadable(ValueError):
    """The directory holds no index of this format, or one that is damaged: build it anew."""


def save(
    directory: Path,
    segments: Sequence[tuple[str, Segment]],
    photos: NDArray[np.int64],
    alive: NDArray[np.bool_],
) -> None:
    """Write an index of named segments; on the disk when this returns."""
    directory.mkdir(parents=True, exist_ok=True)
    known = set(_named(directory))
    for name, segment in segments:
        if name not in known:
            _write_segment(directory, name, segment)
    ids = f"photos-{uuid.uuid4().hex}"
    _write(directory / f"{ids}.npy", photos)
    _write(directory / f"{ids}.alive.npy", np.packbits(alive))
    names = [name for name, _ in segments]
    manifest = {
        "format": FORMAT,
        "segments": names,
        "photos": ids,
        "count": len(photos),
    }
    _replace(directory / _MANIFEST, json.dumps(manifest).encode())
    _delete_leftovers(directory, [*names, ids])


def load(directory: Path) -> tuple[list[tuple[str, Segment]], NDArray[np.int64], NDArray[np.bool_]]:
    """The index that was last saved here: segments with their names, ids, and which of them are alive.

    Raises:
        IndexUnreadable: there is none, or it is damaged.
    """
    try:
        manifest = json.loads((directory / _MANIFEST).read_bytes())
        if manifest["format"] != FORMAT:
            raise IndexUnreadable("The index was written in another format.")
        segments = [(name, _read_segment(directory, name)) for name in manifest["segments"]]
        photos = np.load(directory / f"{manifest['photos']}.npy")
        bits = np.load(directory / f"{manifest['photos']}.alive.npy")
    except IndexUnreadable:
        raise
    except (OSError, ValueError, KeyError, TypeError) as failure:
        raise IndexUnreadable(f"The index cannot be read: {failure}") from failure
    alive = np.unpackbits(bits)[: len(photos)].astype(np.bool_)
    if len(photos) != manifest["count"] or len(alive) != len(photos):
        raise IndexUnreadable("The index is not complete.")
    return segments, photos, alive


def new_name() -> str:
    """A name that no other segment has."""
    return f"segment-{uuid.uuid4().hex}"


def _named(directory: Path) -> list[str]:
    try:
        return list(json.loads((directory / _MANIFEST).read_bytes())["segments"])
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _write_segment(directory: Path, name: str, segment: Segment) -> None:
    for field in _ARRAYS:
        array = getattr(segment, field)
        if array is not None:
            _write(directory / f"{name}.{field}.npy", array)


def _read_segment(directory: Path, name: str) -> Segment:
    arrays: dict[str, Any] = {
        field: np.load(path, mmap_mode="r")
        if (path := directory / f"{name}.{field}.npy").exists()
        else None
        for field in _ARRAYS
    }
    lengths = {len(arrays[field]) for field in _ARRAYS[:3]}
    if len(lengths) != 1 or (arrays["words"] is None) == (arrays["table"] is None):
        raise IndexUnreadable("A segment of the index is not complete.")
    return Segment(**arrays)


def _write(path: Path, array: NDArray[Any]) -> None:
    with path.open("wb") as file:
        np.save(file, array)
        file.flush()
        os.fsync(file.fileno())


def _replace(path: Path, data: bytes) -> None:
    fresh = path.with_suffix(".new")
    with fresh.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    sync_path(path.parent)


def _delete_leftovers(directory: Path, named: Sequence[str]) -> None:
    for path in directory.glob("*.npy"):
        if path.name.split(".")[0] not in named:
            path.unlink(missing_ok=True)
