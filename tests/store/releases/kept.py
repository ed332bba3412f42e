"""Databases as earlier releases left them, for the tests."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

import psycopg
import sqlalchemy as sa

HERE: Final = Path(__file__).parent
RELEASES: Final = sorted({f.stem.partition("_")[0] for f in HERE.glob("*.sql")})
"""The schemas of which a database was kept."""


def restore(release: str, url: str) -> None:
    """Make an empty database what that release left."""
    address = sa.make_url(url)
    text = (HERE / f"{release}_{address.get_backend_name()}.sql").read_text(encoding="utf-8")
    if address.get_backend_name() == "sqlite":
        with closing(sqlite3.connect(str(address.database))) as conn:
            conn.executescript(text)
        return
    plain = address.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as conn:
        conn.execute(text.encode())  # bytes: not a constant of this program
