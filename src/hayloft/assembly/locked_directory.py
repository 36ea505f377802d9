"""A directory that one server, or one role, keeps everything in, and the right to use it.

``lock`` is the proof that nobody else uses it; child processes may inherit the lock, so it is held until
the last of them is gone. The marker says what wrote it, in which format, and whose it is: what a newer
version wrote, and what belongs to another kind or another name, is refused before anything is touched.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import hayloft
from hayloft.disk import sync_path
from hayloft.errors import AlreadyServed, Conflict, FormatTooNew

FORMAT: Final = 1
"""Of such directories as a whole. Raised when an older Hayloft could not read what is in one."""

SERVER: Final = "server"
"""The kind of a directory whose marker names none: that of one server with everything in it."""

LOCK_SECONDS_MAX: Final = 5.0
"""How long the last processes of a server that was killed may take to let go of its directory."""
_LOCK_POLL_SECONDS: Final = 0.05

_PRIVATE: Final = 0o700


class LockedDirectory:
    """The directory at ``path`` of one ``kind``, and of one ``name`` among them if that matters.

    What is named in ``expected`` may be there before anything has been kept in it: disks are mounted there.
    """

    def __init__(self, path: Path, *, kind: str, name: str = "", expected: Collection[str] = ()) -> None:
        self.path = path.absolute()
        self.marker = self.path / "format.json"
        self.lock_file = self.path / "lock"
        self._kind, self._name = kind, name
        self._expected = _HARMLESS.union(expected)

    @contextmanager
    def lock(self) -> Iterator[int]:
        """Hold the directory, made if need be; yields the lock's descriptor, for children to inherit.

        Raises:
            AlreadyServed: another server holds it.
            Conflict: there is something else in the directory.
        """
        self._make()
        descriptor = os.open(self.lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._wait_for_lock(descriptor)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getpid()).encode(), 0)
            yield descriptor
        finally:
            os.close(descriptor)

    def holder(self) -> int | None:
        """The process that holds the lock, if there is one."""
        try:
            descriptor = os.open(self.lock_file, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return _process_in(descriptor)
        finally:
            os.close(descriptor)
        return None

    def check_format(self) -> None:
        """Look at the marker; write one where there is none. Call it with the lock held.

        Raises:
            FormatTooNew: a newer Hayloft has written this.
            Conflict: the marker is damaged, or this belongs to something else.
        """
        if not self.marker.exists():
            write_durably(self.marker, json.dumps(self._own_marker()).encode())
            return
        try:
            marker = json.loads(self.marker.read_bytes())
            found, kind = int(marker["format"]), str(marker.get("kind", SERVER))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Conflict(f"{self.marker} is damaged: {error}.") from error
        if found > FORMAT:
            raise FormatTooNew(
                f"{self.path} was written by Hayloft {marker.get('hayloft', 'of a later version')} "
                f"in format {found}; this version, {hayloft.__version__}, knows formats up to {FORMAT}."
            )
        if kind != self._kind or (self._name and marker.get("name") != self._name):
            whose = " ".join(filter(None, (kind, str(marker.get("name", "")))))
            own = " ".join(filter(None, (self._kind, self._name)))
            raise Conflict(f"{self.path} belongs to {whose}, not to {own}; give another directory.")

    def _own_marker(self) -> dict[str, Any]:
        marker: dict[str, Any] = {"format": FORMAT, "hayloft": hayloft.__version__}
        if self._kind != SERVER:
            marker["kind"] = self._kind
        if self._name:
            marker["name"] = self._name
        return marker

    def _make(self) -> None:
        if self.path.is_dir() and not self.marker.exists():
            strangers = [entry.name for entry in self.path.iterdir() if entry.name not in self._expected]
            if strangers:
                raise Conflict(
                    f"{self.path} holds other things ({min(strangers)} …) and no Hayloft data; "
                    "give an empty directory or one that does not exist."
                )
        self.path.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)

    def _wait_for_lock(self, descriptor: int) -> None:
        deadline = time.monotonic() + LOCK_SECONDS_MAX
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                holder = _process_in(descriptor)
                if _is_alive(holder) or time.monotonic() > deadline:
                    raise AlreadyServed(
                        f"Another Hayloft server (process {holder or 'unknown'}) is using {self.path}."
                    ) from None
            time.sleep(_LOCK_POLL_SECONDS)


_HARMLESS: Final = frozenset({"lock", "lost+found"})
"""What may be in a directory that nothing has been kept in: file systems have the second at their top."""


def write_durably(path: Path, data: bytes) -> None:
    """Write a small private file whole or not at all, and see it on stable storage."""
    draft = path.with_name(path.name + ".new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    draft.replace(path)
    sync_path(path.parent)


def _process_in(descriptor: int) -> int | None:
    text = os.pread(descriptor, 32, 0).decode("ascii", "replace")
    return int(text) if text.isdigit() else None


def _is_alive(process: int | None) -> bool:
    if process is None:
        return False
    with contextlib.suppress(ProcessLookupError):
        try:
            os.kill(process, 0)
        except PermissionError:
            return True
        # A killed process stays in the table until its parent looks: state Z in /proc/PID/stat.
        stat = Path(f"/proc/{process}/stat")
        return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"
    return False
