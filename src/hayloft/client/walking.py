"""Finding the files below folders.

In order of their names, following symbolic links but entering each folder once, so that a loop of links
ends. What cannot be entered or looked at is yielded too, with its error: nothing disappears in silence.
It does not know what a photo is.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A file to upload, or something that could not be looked at."""

    path: Path
    size: int = 0
    error: OSError | None = None
    name: str | None = None
    """The name to remember, if not the file's own."""
    sha256: str | None = None
    """What its bytes must be, where that is known from elsewhere."""
    idempotency_key: str | None = None
    """Makes it a photo of its own, once, even if others have the same bytes."""
    created_at: datetime | None = None
    """When it was uploaded to the library that it is brought from, if it is."""


class Walk:
    """The files that ``roots`` (folders and files) lead to; roots are taken even if they are hidden."""

    def __init__(self, roots: Iterable[str | os.PathLike[str]], *, hidden: bool = False) -> None:
        self._roots = [Path(root) for root in roots]
        self._hidden = hidden
        self.hidden_skipped = 0
        """Hidden files and folders left out so far."""

    def __iter__(self) -> Iterator[Found]:
        """The files, as they are found."""
        entered: set[tuple[int, int]] = set()
        pending = self._roots[::-1]
        while pending:
            path = pending.pop()
            try:
                status = path.stat()
                if not stat.S_ISDIR(status.st_mode):
                    yield Found(path=path, size=status.st_size)
                elif (status.st_dev, status.st_ino) not in entered:
                    entered.add((status.st_dev, status.st_ino))
                    pending.extend(self._children(path)[::-1])
            except OSError as error:
                yield Found(path=path, error=error)

    def _children(self, folder: Path) -> list[Path]:
        names = sorted(os.listdir(folder))  # noqa: PTH208 - names, to sort them cheaply
        shown = names if self._hidden else [name for name in names if not name.startswith(".")]
        self.hidden_skipped += len(names) - len(shown)
        return [folder / name for name in shown]
