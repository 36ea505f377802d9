"""The directory that a cluster on one machine keeps everything in.

hayloft-cluster/
    format.json     what wrote this, and in which format
    lock            flock'ed while the cluster runs; holds its process id
    secret          what the roles sign their requests to each other with
    postgres/       the database, if it is the cluster's own
    rabbitmq/       the broker's queues, if it is the cluster's own
    stores/s1/ …    the photos, one directory a store
    caches/ …       what was read often; can be removed while the cluster does not run
    similarity/     indexes of links
    logs/           what each process says
    run/            what runs now, for ``hayloft cluster status``; of no use afterwards
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from hayloft.assembly.locked_directory import LockedDirectory, write_durably

_PRIVATE: Final = 0o700
_SECRET_BYTES: Final = 32
_STORE_NAME: Final = re.compile(r"s(\d+)")


class ClusterHome(LockedDirectory):
    """Paths in a cluster's directory."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, kind="cluster", expected=("stores",))
        self.secret_file = self.path / "secret"
        self.postgres = self.path / "postgres"
        self.rabbitmq = self.path / "rabbitmq"
        self.stores = self.path / "stores"
        self.caches = self.path / "caches"
        self.similarity = self.path / "similarity"
        self.logs = self.path / "logs"
        self.run = self.path / "run"
        self.state_file = self.run / "state.json"
        self.environment_file = self.run / "environment"

    def prepare(self) -> None:
        """Make what is missing. Call it with the lock held.

        Raises:
            FormatTooNew: a newer Hayloft has written this.
            Conflict: it belongs to something else.
        """
        self.check_format()
        shutil.rmtree(self.run, ignore_errors=True)
        for folder in (self.stores, self.caches, self.logs, self.run):
            folder.mkdir(mode=_PRIVATE, exist_ok=True)
        if not self.secret_file.exists():
            write_durably(self.secret_file, secrets.token_hex(_SECRET_BYTES).encode() + b"\n")

    def derived(self, purpose: str) -> str:
        """A password for one purpose, made from the secret, always the same."""
        secret = self.secret_file.read_bytes().strip()
        return hmac.new(secret, purpose.encode(), hashlib.sha256).hexdigest()[:40]

    def store_count(self) -> int:
        """The highest number of a store that has data here."""
        named = (_STORE_NAME.fullmatch(path.name) for path in self.stores.glob("s*"))
        return max((int(match[1]) for match in named if match), default=0)

    def log_of(self, name: str) -> Path:
        """The file that a process's output is added to."""
        return self.logs / f"{name}.log"

    def write_environment(self, variables: Mapping[str, str]) -> None:
        """Write what commands need that look into database and broker, for its owner alone."""
        lines = (f"{name}={shlex.quote(value)}\n" for name, value in variables.items())
        write_durably(self.environment_file, "".join(lines).encode())

    def write_state(self, state: dict[str, Any]) -> None:
        """Say what runs now."""
        draft = self.state_file.with_suffix(".new")
        draft.write_text(json.dumps(state))
        draft.replace(self.state_file)

    def read_state(self) -> dict[str, Any] | None:
        """What runs now, if anything does."""
        try:
            state: dict[str, Any] = json.loads(self.state_file.read_text())
        except (OSError, ValueError):
            return None
        return state
