"""What the store's tests share."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from copy_kit import NewUrl, Opened
from sqlalchemy.orm import Session

from orchestrator.store.database import Database


@pytest.fixture
def s(database: Database) -> Iterator[Session]:
    with Session(database.engine, expire_on_commit=False) as session:
        yield session
        session.rollback()


@pytest.fixture
def new_url(scratch: Path, postgres_server: sa.URL) -> Iterator[NewUrl]:
    """Makes empty databases of either kind."""
    plain = postgres_server.set(drivername="postgresql").render_as_string(hide_password=False)
    made: list[str] = []
    with psycopg.connect(plain, autocommit=True) as server:

        def make(backend: str) -> str:
            name = f"copy_{secrets.token_hex(6)}"
            if backend == "sqlite":
                return f"sqlite:///{scratch}/{name}.db"
            server.execute(f"CREATE DATABASE {name}".encode())
            made.append(name)
            return postgres_server.set(database=name).render_as_string(hide_password=False)

        yield make
        for name in made:
            server.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
def opened() -> Iterator[Opened]:
    databases = Opened()
    yield databases
    for database in databases.all:
        database.close()
