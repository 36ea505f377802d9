"""The directory that holds everything one Hayloft server keeps.

``DataDirectory.prepare`` makes a new one or checks an old one: the format marker (a newer one is refused),
the database (brought up to date), the secret (made once).

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

import secrets
import shutil
from pathlib import Path
from typing import Final

from hayloft.assembly.locked_directory import SERVER, LockedDirectory, write_durably
from hayloft.errors import Conflict
from hayloft.types import VolumeId, parse_volume_name

SECRET_BYTES: Final = 32

_PRIVATE: Final = 0o700


class DataDirectory(LockedDirectory):
    """Paths in a data directory."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, kind=SERVER)
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
            write_durably(self.secret_file, secrets.token_bytes(SECRET_BYTES))
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
