"""PgQueuer's tables live apart from ours."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from alembic import command
from workshop import Workshop

from orchestrator import jobs
from orchestrator.jobs import Job
from orchestrator.store import migrate


def tables(engine: sa.Engine, schema: str | None = None) -> set[str]:
    return set(sa.inspect(engine).get_table_names(schema))


def test_they_are_made_once(empty: Workshop) -> None:
    assert not jobs.installed(empty.engine)
    jobs.install(empty.engine)
    assert jobs.installed(empty.engine)
    empty.put(Job("tools", "k", b""))
    jobs.install(empty.engine)
    assert empty.unfinished() == 1


def test_two_processes_may_make_them_at_once(empty: Workshop) -> None:
    with ThreadPoolExecutor(4) as pool:
        for made in [pool.submit(jobs.install, empty.engine) for _ in range(4)]:
            made.result()
    assert jobs.installed(empty.engine)


def test_what_an_interrupted_install_left_is_completed(empty: Workshop) -> None:
    jobs.install(empty.engine)
    with empty.engine.begin() as conn:
        conn.exec_driver_sql("DROP TABLE orchestrator_jobs.pgqueuer_log")
        conn.exec_driver_sql("DROP INDEX orchestrator_jobs.pgqueuer_unique_dedupe_key")
    assert not jobs.installed(empty.engine)
    jobs.install(empty.engine)
    assert jobs.installed(empty.engine)


def test_a_schema_made_beforehand_is_enough(empty: Workshop) -> None:
    with empty.engine.begin() as conn:
        conn.exec_driver_sql("CREATE SCHEMA orchestrator_jobs")
    assert not jobs.installed(empty.engine)
    jobs.install(empty.engine)
    assert jobs.installed(empty.engine)


def test_our_migrations_do_not_see_them(empty: Workshop) -> None:
    migrate.upgrade(empty.engine)
    ours = tables(empty.engine)
    jobs.install(empty.engine)
    assert tables(empty.engine) == ours
    assert "pgqueuer" in tables(empty.engine, "orchestrator_jobs")
    command.check(migrate._config(empty.engine))
    command.downgrade(migrate._config(empty.engine), "base")
    migrate.upgrade(empty.engine)
    assert jobs.installed(empty.engine)


def test_they_are_dropped_whole(shop: Workshop) -> None:
    ours = tables(shop.engine)
    shop.put(Job("tools", "k", b""))
    jobs.uninstall(shop.engine)
    assert not jobs.installed(shop.engine)
    assert tables(shop.engine) == ours
    jobs.uninstall(shop.engine)  # nothing happens
    jobs.install(shop.engine)
    assert shop.finished()


@pytest.mark.asyncio
async def test_they_can_be_made_from_within_a_loop(empty: Workshop) -> None:
    jobs.install(empty.engine)
    assert jobs.installed(empty.engine)


def test_the_environment_names_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from orchestrator.jobs.library import NAMES, _Names

    for name in ("CHANNEL", "PGQUEUER_PREFIX", "PGQUEUER_SCHEMA", "QUEUE_TABLE", "DURABILITY"):
        monkeypatch.setenv(name, "volatile")
    assert _Names(db_schema=NAMES.db_schema, durability=NAMES.durability) == NAMES
    assert NAMES.channel == "ch_pgqueuer"
