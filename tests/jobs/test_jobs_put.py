"""A job is part of the transaction that puts it."""

import asyncio
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session
from support.patience import until
from workshop import Workshop, numbered

from orchestrator import jobs
from orchestrator.jobs import Job


@pytest.mark.asyncio
async def test_what_is_committed_is_handled_and_gone(shop: Workshop) -> None:
    async with shop.worker():
        shop.put(Job("tools", "k1", b"a"), Job("gemini", "k2", b"b"))
        await until(lambda: len(shop.handled) == 2)
        await until(shop.finished)
    assert sorted(shop.handled) == ["gemini:b", "tools:a"]


@pytest.mark.asyncio
async def test_jobs_are_handled_whatever_the_server_is_set_to(shop: Workshop) -> None:
    with shop.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        for setting in ("DateStyle = 'German, DMY'", "client_encoding = 'LATIN1'"):
            conn.exec_driver_sql(f"ALTER DATABASE {shop.url.database} SET {setting}")
    shop.put(Job("tools", "k1", "\u4e2d".encode()))
    async with shop.worker():
        await until(shop.finished)
    assert shop.handled == ["tools:\u4e2d"]


@pytest.mark.asyncio
async def test_what_was_put_while_nobody_listened_is_handled_later(shop: Workshop) -> None:
    shop.put(*numbered("gemini", range(20)))
    async with shop.worker():
        await until(shop.finished)
    assert sorted(shop.handled) == sorted(f"gemini:{n}" for n in range(20))


def test_rows_and_jobs_are_rolled_back_together(shop: Workshop) -> None:
    with shop.engine.begin() as conn:
        conn.exec_driver_sql("CREATE TABLE t (id INTEGER PRIMARY KEY)")
    with Session(shop.engine) as s:
        s.connection().exec_driver_sql("INSERT INTO t VALUES (1)")
        jobs.put(s, numbered("tools", range(3)))
        assert shop.unfinished() == 0  # seen by nobody before the COMMIT
        s.rollback()
    assert shop.unfinished() == 0
    with Session(shop.engine) as s, s.begin():
        s.connection().exec_driver_sql("INSERT INTO t VALUES (1)")
        jobs.put(s, numbered("tools", range(3)))
    assert shop.unfinished() == 3
    assert shop.scalar("SELECT count(*) FROM t") == 1


def test_a_savepoint_takes_its_jobs_back(shop: Workshop) -> None:
    with Session(shop.engine) as s, s.begin():
        jobs.put(s, [Job("tools", "kept", b"")])
        inner = s.begin_nested()
        jobs.put(s, [Job("tools", "dropped", b"")])
        inner.rollback()
    assert shop.scalar("SELECT string_agg(dedupe_key, ',') FROM orchestrator_jobs.pgqueuer") == "kept"


def test_a_key_that_is_unfinished_is_silently_nothing(shop: Workshop) -> None:
    shop.put(Job("tools", "k", b"first"), Job("tools", "k", b"in the same statement"))
    shop.put(Job("gemini", "k", b"in another lane"), Job("tools", "other", b""))
    assert shop.unfinished() == 2
    payload = shop.scalar("SELECT payload FROM orchestrator_jobs.pgqueuer WHERE dedupe_key = 'k'")
    assert bytes(payload) == b"first"


@pytest.mark.asyncio
async def test_a_key_is_free_again_once_its_job_is_finished_and_not_while_it_runs(shop: Workshop) -> None:
    gate = shop.gate("tools:a")
    async with shop.worker():
        shop.put(Job("tools", "k", b"a"))
        await until(lambda: shop.begun == ["tools:a"])
        shop.put(Job("tools", "k", b"lost"))
        gate.set()
        await until(shop.finished)
        shop.put(Job("tools", "k", b"b"))
        await until(lambda: len(shop.handled) == 2)
    assert shop.handled == ["tools:a", "tools:b"]


@pytest.mark.asyncio
async def test_a_delayed_job_comes_when_it_is_due_without_anybody_waking(shop: Workshop) -> None:
    clock = asyncio.get_running_loop().time
    async with shop.worker(poll=timedelta(minutes=5)):
        put_at = clock()
        shop.put(Job("tools", "later", b"later", delay=timedelta(seconds=0.4)))
        await until(lambda: bool(shop.handled))
        assert clock() - put_at >= 0.4
    assert shop.handled == ["tools:later"]


def test_no_jobs_need_no_database(bare: Workshop) -> None:
    with Session(bare.engine) as s:
        jobs.put(s, [])
        assert not s.in_transaction()


def test_many_jobs_are_one_statement(shop: Workshop) -> None:
    shop.put(*numbered("gemini", range(2000)))
    assert shop.scalar("SELECT count(DISTINCT created) FROM orchestrator_jobs.pgqueuer_log") == 1
    assert shop.unfinished() == 2000


def test_what_the_database_refuses_is_told_as_for_any_statement(bare: Workshop) -> None:
    with Session(bare.engine) as s:
        with pytest.raises(sa.exc.ProgrammingError) as caught:
            jobs.put(s, [Job("tools", "k", b"secret")])
        assert caught.value.orig.sqlstate in ("3F000", "42P01")  # type: ignore[union-attr]
        assert "secret" not in str(caught.value)
        s.rollback()
        assert s.connection().exec_driver_sql("SELECT 1").scalar_one() == 1


def test_the_same_keys_in_another_order_do_not_deadlock(shop: Workshop) -> None:
    """Each would hold what the other waits for, if they inserted in the order given."""

    def run(wanted: list[Job]) -> None:
        for _ in range(10):
            shop.put(*wanted)

    wanted = numbered("gemini", range(1500))
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(run, order) for order in (wanted, wanted[::-1])]:
            done.result()
    assert shop.unfinished() == 1500


WITHOUT_THE_EXTRA = """
import sys
sys.modules[{missing!r}] = None
import sqlalchemy as sa
from orchestrator import jobs
from orchestrator.errors import ConfigError
from sqlalchemy.orm import Session
assert "pgqueuer" not in sys.modules or sys.modules["pgqueuer"] is None
async def handle(lane, payload): pass
engine = sa.create_engine("sqlite://")
for use in (
    lambda: jobs.put(Session(engine), [jobs.Job("tools", "k", b"")]),
    lambda: jobs.install(engine),
    lambda: jobs.installed(engine),
    lambda: jobs.uninstall(engine),
    lambda: jobs.Jobs(sa.make_url("postgresql+psycopg:///x"), lanes={{"tools": 1}}, handle=handle),
):
    try:
        use()
    except ConfigError as error:
        assert "gemini-orchestrator[postgres]" in str(error), error
    else:
        raise SystemExit("it went without")
print("refused")
"""


@pytest.mark.parametrize("missing", ["pgqueuer", "psycopg"])
def test_without_the_extra_its_use_is_refused_and_its_import_is_not(missing: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_THE_EXTRA.format(missing=missing)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "refused\n", done.stderr
