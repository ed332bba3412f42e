"""A database that fails between the look at it and the start: said in a line, and begun by nobody."""

import secrets
from collections.abc import Callable
from contextlib import closing

import pytest
import sqlalchemy as sa
from support.databases import administer
from support.postgres import stoppable

from orchestrator import app, jobs, opening, running
from orchestrator.errors import ConfigError, UnavailableError
from orchestrator.settings import Settings
from orchestrator.store import migrate
from orchestrator.store.database import Database


@pytest.mark.asyncio
async def test_it_is_unavailable_and_no_traceback(settings_of: Callable[[str], Settings]) -> None:
    with stoppable() as server:
        database = Database(url := server.url.render_as_string(False))
        try:
            migrate.upgrade(database.engine)
            jobs.install(database.engine)
            service = app.build(settings_of(url), database, role=app.Role.WORKER)
            server.stop("immediate")
            with pytest.raises(UnavailableError, match=r"^the database failed during the start: [^\n]+$"):
                async with service.lifespan(service.web):
                    raise AssertionError("it has begun")
        finally:
            database.close()
            server.start()  # or its end is waited for in vain


def test_a_standby_ends_a_command_as_one_that_is_away_does(
    settings_of: Callable[[str], Settings], postgres_url: str
) -> None:
    server, ours = sa.make_url(postgres_url).set(database="postgres"), sa.make_url(postgres_url).database
    administer(server, f"ALTER DATABASE {ours} SET default_transaction_read_only = on")
    with (
        closing(Database(postgres_url)) as database,
        pytest.raises(UnavailableError, match=r"in a read-only transaction$"),
        opening.failures_told(settings_of(postgres_url)),
        database.engine.begin() as conn,
    ):
        conn.exec_driver_sql("DELETE FROM sighting")
    administer(server, f"ALTER DATABASE {ours} RESET default_transaction_read_only")


@pytest.mark.asyncio
async def test_one_that_takes_no_writes_has_not_gone_away(
    settings_of: Callable[[str], Settings], sqlite_url: str
) -> None:
    database = Database(sqlite_url)
    try:
        migrate.upgrade(database.engine)
        service = app.build(settings_of(sqlite_url), database, role=app.Role.ALL)
        with closing(database.engine.raw_connection()) as conn:
            conn.cursor().execute("PRAGMA query_only = ON")
        told = "the database failed during the start: attempt to write a readonly database"
        with pytest.raises(UnavailableError, match=f"^{told}$"):
            async with service.lifespan(service.web):
                raise AssertionError("it has begun")
    finally:
        database.close()


def test_a_role_without_rights_is_a_mistake_in_the_setting(
    settings_of: Callable[[str], Settings], postgres_url: str
) -> None:
    """Such as one that was made for the service while another one made the tables."""
    server, role = sa.make_url(postgres_url), f"weak_{secrets.token_hex(6)}"
    administer(server, f"CREATE ROLE {role} LOGIN PASSWORD 'weak'")
    try:
        weak = server.set(username=role, password="weak").render_as_string(False)
        with pytest.raises(ConfigError, match=r"^database.url: .* failed: permission denied for [^\n]+$"):
            running.work(settings_of(weak))
    finally:
        administer(server, f"DROP ROLE {role}")
