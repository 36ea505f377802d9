"""What lies beside exported photos: which file is which photo, and what people said about pairs.

``manifest.jsonl`` has one JSON object a line for each photo whose file is complete; lines are only ever
appended, after the file is on the disk, so an export that was cut off can be taken up again, and a line
that was torn is dropped. ``verdicts.jsonl`` is replaced as a whole. Formats and files, no server.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from threading import Lock
from typing import Final, TypeVar

from hayloft.cli.failure import Complaint, ExitCode

MANIFEST: Final = "manifest.jsonl"
VERDICTS: Final = "verdicts.jsonl"

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One exported photo."""

    photo_id: int
    file: str
    """Its file's name, in the folder of the manifest."""
    name: str
    """The name it was uploaded with."""
    size: int
    sha256: str
    media_type: str
    width: int
    height: int
    created_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedVerdict:
    """A person's word on a pair of photos."""

    a: int
    b: int
    verdict: str


class Manifest:
    """The manifest of one folder: read when made, appended to as photos arrive. Safe for threads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = Lock()
        self.entries = {entry.photo_id: entry for entry in _mended(folder / MANIFEST)}
        self._names = {entry.file.casefold(): entry.photo_id for entry in self.entries.values()}

    def claim(self, name: str, photo: int, is_free: Callable[[Path], bool]) -> str:
        """A file name for a photo that no other photo of the folder has, whatever the letters' case.

        ``is_free`` says whether a file that is not in the manifest may be (over)written.
        """
        with self._lock:
            for candidate in _candidates(name, photo):
                owner = self._names.get(candidate.casefold())
                if owner == photo or (owner is None and is_free(self.folder / candidate)):
                    self._names[candidate.casefold()] = photo
                    return candidate
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(self.folder / name))

    def append(self, entry: Entry) -> None:
        """Record a photo whose file is complete."""
        line = json.dumps(asdict(entry), ensure_ascii=False) + "\n"
        with self._lock, (self.folder / MANIFEST).open("a", encoding="utf-8") as file:
            file.write(line)
        self.entries[entry.photo_id] = entry


def read_entries(folder: Path) -> list[Entry]:
    """The entries of an exported folder, oldest first.

    Raises:
        Complaint: it is not an exported folder, or its manifest is damaged.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise Complaint(
            f"{path} is not there, so this is no exported folder.",
            advice="Upload a folder of photos with: hayloft put FOLDER",
            code=ExitCode.LOCAL,
        )
    return [_entry(line, path, number) for number, line in _lines(path)]


def write_verdicts(folder: Path, verdicts: Iterable[SavedVerdict]) -> int:
    """Replace the saved verdicts; returns how many there are."""
    lines = [json.dumps(asdict(verdict)) + "\n" for verdict in verdicts]
    temporary = folder / f".{VERDICTS}"
    temporary.write_text("".join(lines), encoding="utf-8")
    temporary.replace(folder / VERDICTS)
    return len(lines)


def read_verdicts(folder: Path) -> list[SavedVerdict]:
    """The saved verdicts; none if the folder has no such file.

    Raises:
        Complaint: the file is damaged.
    """
    path = folder / VERDICTS
    if not path.is_file():
        return []
    return [_parsed(SavedVerdict, line, path, number) for number, line in _lines(path)]


def _candidates(name: str, photo: int) -> Iterator[str]:
    stem, dot, ending = name.rpartition(".")
    yield name
    yield f"{stem}-{photo}.{ending}" if stem and dot else f"{name}-{photo}"
    yield f"{photo}-{name}"


def _mended(path: Path) -> list[Entry]:
    """All whole entries; a last line that was cut off is taken away, so that appending is safe."""
    if not path.exists():
        return []
    content = path.read_bytes()
    whole = content.rpartition(b"\n")
    if whole[2]:
        os.truncate(path, len(content) - len(whole[2]))
    return [_entry(line, path, number) for number, line in _lines(path)]


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    with path.open(encoding="utf-8") as file:
        yield from ((number, line) for number, line in enumerate(file, 1) if line.strip())


def _entry(line: str, path: Path, number: int) -> Entry:
    entry = _parsed(Entry, line, path, number)
    # A manifest may come from anywhere: its files must lie beside it.
    if "/" in entry.file or entry.file in ("", ".", "..") or not _is_time(entry.created_at):
        raise _damaged(path, number)
    return entry


def _parsed(kind: type[T], line: str, path: Path, number: int) -> T:
    try:
        return kind(**json.loads(line))
    except (ValueError, TypeError):
        raise _damaged(path, number) from None


def _is_time(text: object) -> bool:
    try:
        return text == "" or datetime.fromisoformat(str(text)).tzinfo is not None
    except ValueError:
        return False


def _damaged(path: Path, number: int) -> Complaint:
    return Complaint(
        f"Line {number} of {path} is not what hayloft export writes.",
        advice="Export into an empty folder again.",
        code=ExitCode.LOCAL,
    )
