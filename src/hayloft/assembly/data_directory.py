"""The directory that holds everything one Hayloft server keeps, and the right to use it.

``DataDirectory.prepare`` makes a new one or checks an old one: the format marker (a newer one is refused),
the database (brought up to date), the secret (made once). ``lock`` is the proof that no other server
uses it; child processes inherit the lock, so it is held until the last of them is gone.

    hayloft-data/
        format.json         what wrote this, and in which format
        lock                flock'ed while a server runs; holds its process id
        secret              32 random bytes: keys of the entity tags
        directory.sqlite    photos, volumes, the event log
        similarity.sqlite   fingerprints and links
        models/             trained models that were added, and which is in use
        similarity/         indexes made from them; can be removed while no server runs
        volumes/            the photos themselves (docs/FORMAT.md)
        run/                sockets and counters of the running server; emptied when one starts
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import hayloft
from hayloft.errors import AlreadyServed, Conflict, FormatTooNew
from hayloft.types import VolumeId, parse_volume_name

FORMAT: Final = 1
"""Of the data directory as a whole. Raised when an older Hayloft could not read what is in it."""

SECRET_BYTES: Final = 32

LOCK_SECONDS_MAX: Final = 5.0
"""How long the last processes of a server that was killed may take to let go of its directory."""
_LOCK_POLL_SECONDS: Final = 0.05

_PRIVATE: Final = 0o700


class DataDirectory:
    """Paths in a data directory."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.marker = self.path / "format.json"
        self.lock_file = self.path / "lock"
        self.secret_file = self.path / "secret"
        self.directory_file = self.path / "directory.sqlite"
        self.similarity_file = self.path / "similarity.sqlite"
        self.volumes = self.path / "volumes"
        self.run = self.path / "run"
        self.metrics = self.run / "metrics"
        self.models = self.path / "models"
        self.similarity_indexes = self.path / "similarity"
        self.similarity_socket = self.run / "similarity.sock"
        self.renditions_socket = self.run / "renditions.sock"

    @property
    def directory_url(self) -> str:
        """The directory's database."""
        return f"sqlite:///{self.directory_file}"

    @property
    def similarity_url(self) -> str:
        """The similarity role's database."""
        return f"sqlite:///{self.similarity_file}"

    def secret(self) -> bytes:
        """The server's secret."""
        return self.secret_file.read_bytes()

    def volume_numbers(self) -> list[VolumeId]:
        """The volumes that are here, in order."""
        named = (parse_volume_name(path.stem) for path in self.volumes.glob("lv-*.log"))
        return sorted(volume for volume in named if volume is not None)

    @contextmanager
    def lock(self) -> Iterator[int]:
        """Hold the directory; yields the lock's file descriptor, for child processes to inherit.

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

    def prepare(self) -> None:
        """Make what is missing, check what is there. Call it with the lock held.

        Raises:
            FormatTooNew: a newer Hayloft has written this.
            Conflict: there are volumes but no directory.
        """
        self.check_format()
        self._refuse_without_directory()
        self.volumes.mkdir(mode=_PRIVATE, exist_ok=True)
        shutil.rmtree(self.run, ignore_errors=True)
        self.metrics.mkdir(mode=_PRIVATE, parents=True)
        if not self.secret_file.exists():
            _write_durably(self.secret_file, secrets.token_bytes(SECRET_BYTES))
        # Child processes know this directory too and need no Alembic, which takes long to import.
        from hayloft.directory import migrations

        migrations.upgrade(self.directory_url)

    def _refuse_without_directory(self) -> None:
        """A new, empty directory over old volumes would look as if all photos were gone."""
        if not self.directory_file.exists() and self.volume_numbers():
            raise Conflict(
                f"{self.directory_file} is lost, but the volumes are here. Bring it back from a backup, "
                f"or make it anew from them: hayloft rebuild --data {self.path}"
            )

    def _make(self) -> None:
        if self.path.is_dir() and not self.marker.exists():
            strangers = [entry.name for entry in self.path.iterdir() if entry.name != "lock"]
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

    def check_format(self) -> None:
        """Look at the format marker; write one where there is none.

        Raises:
            FormatTooNew: a newer Hayloft has written this.
            Conflict: the marker is damaged.
        """
        if not self.marker.exists():
            written_by = {"format": FORMAT, "hayloft": hayloft.__version__}
            _write_durably(self.marker, json.dumps(written_by).encode())
            return
        try:
            marker = json.loads(self.marker.read_bytes())
            found = int(marker["format"])
        except (ValueError, KeyError, TypeError) as error:
            raise Conflict(f"{self.marker} is damaged: {error}.") from error
        if found > FORMAT:
            raise FormatTooNew(
                f"{self.path} was written by Hayloft {marker.get('hayloft', 'of a later version')} "
                f"in format {found}; this version, {hayloft.__version__}, knows formats up to {FORMAT}."
            )


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


def _write_durably(path: Path, data: bytes) -> None:
    """Write a small file whole or not at all, and see it on stable storage."""
    draft = path.with_name(path.name + ".new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    draft.replace(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
