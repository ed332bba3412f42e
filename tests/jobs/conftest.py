"""PostgreSQL only: jobs need what the extra brings."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import sqlalchemy as sa
from workshop import Workshop

from orchestrator import jobs


@contextmanager
def database(server: sa.URL, template: str) -> Iterator[Workshop]:
    name = f"jobs_{secrets.token_hex(6)}"
    engine = sa.create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as conn:
        conn.exec_driver_sql(f"CREATE DATABASE {name} TEMPLATE {template}")
        made = Workshop(server.set(database=name))
        yield made
        made.engine.dispose()
        conn.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
    engine.dispose()


@pytest.fixture
def empty(postgres_server: sa.URL) -> Iterator[Workshop]:
    """No tables at all."""
    with database(postgres_server, "template1") as made:
        yield made


@pytest.fixture
def bare(postgres_server: sa.URL, postgres_template: str) -> Iterator[Workshop]:
    """Our tables, without those for jobs."""
    with database(postgres_server, postgres_template) as made:
        jobs.uninstall(made.engine)
        yield made


@pytest.fixture
def shop(bare: Workshop) -> Workshop:
    jobs.install(bare.engine)
    return bare
