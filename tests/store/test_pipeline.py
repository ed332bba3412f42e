"""On PostgreSQL writes gather: what was checked is checked before the COMMIT, what failed leaves nothing."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa
from psycopg.pq import TransactionStatus
from sqlalchemy.orm import Session
from support.clock import NOON
from support.conversation import Conversation, wish
from support.things import MOVE, NEW, TEXT, THING, opened

from orchestrator.domain.decision import Decision
from orchestrator.domain.evidence import Entry, EntryKind
from orchestrator.domain.model import CallStatus, Run, Turn
from orchestrator.domain.values import replace
from orchestrator.store import audit, runs
from orchestrator.store.chain import Head
from orchestrator.store.database import Database
from orchestrator.store.sql.held import flush, hold
from orchestrator.store.sql.pipeline import Pipeline
from orchestrator.store.sql.prepared import Prepared
from orchestrator.store.sql.races import StaleRowError

pytestmark = pytest.mark.asyncio

ECHO = Prepared(THING.insert().returning(THING.c.text))
END_OTHERS = (
    "SELECT count(pg_terminate_backend(pid, 30000)) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


@pytest.fixture
def postgres(postgres_url: str) -> Iterator[Database]:
    """With one thread, so that every transaction comes to the same connection."""
    with opened(postgres_url, threads=1) as database:
        yield database


async def things(database: Database) -> dict[int, str]:
    def job(s: Session) -> dict[int, str]:
        return {row.id: row.text for row in s.connection().execute(sa.select(THING))}

    return await database.read(job)


def changed(rows: int) -> None:
    if rows != 1:
        raise StaleRowError("somebody was first")


async def test_an_update_that_changed_no_row_is_noticed_and_all_is_done_anew(postgres: Database) -> None:
    tries: list[int] = []

    def job(s: Session) -> None:
        tries.append(len(tries))
        NEW.later(s, id=tries[-1], text="new")
        MOVE.later(s, changed, which=1, text="moved")

    await postgres.write(job)
    assert tries == [0, 1]
    assert await things(postgres) == {1: "moved"}


async def test_whoever_stays_behind_is_told_so_as_before(postgres: Database) -> None:
    with pytest.raises(StaleRowError, match="somebody was first"):
        await postgres.write(partial(MOVE.later, which=1, text="moved"), changed)


async def test_an_error_in_the_middle_leaves_nothing(postgres: Database) -> None:
    def job(s: Session) -> None:
        for number in (1, 2, 2, 3):
            NEW.later(s, id=number, text="a secret")

    with pytest.raises(sa.exc.IntegrityError) as raised:
        await postgres.write(job)
    assert raised.value.orig is not None
    assert getattr(raised.value.orig, "sqlstate", None) == "23505"
    assert "a secret" not in str(raised.value)
    assert await things(postgres) == {}
    await postgres.write(NEW.later, id=4, text="")
    assert await things(postgres) == {4: ""}


async def test_the_job_is_told_where_it_looks(postgres: Database) -> None:
    """What is read comes after what was written before, and so does what it raises."""

    def sees(s: Session) -> tuple[Any, Any]:
        NEW.later(s, id=1, text="one")
        ours = TEXT.value(s, which=1)
        MOVE.later(s, changed, which=1, text="two")
        return ours, s.connection().execute(sa.select(THING.c.text)).scalar()

    assert await postgres.write(sees) == ("one", "two")

    def fails(s: Session) -> str:
        NEW.later(s, id=1, text="again")
        with pytest.raises(sa.exc.IntegrityError):
            TEXT.value(s, which=1)
        return "told"

    with pytest.raises(sa.exc.InvalidRequestError):  # what failed cannot be committed
        await postgres.write(fails)


async def test_more_than_any_buffer_holds_goes_both_ways(postgres: Database) -> None:
    rows = [{"id": number, "text": f"{number} " * 8000} for number in range(300)]
    heard: list[Any] = []

    def job(s: Session) -> None:
        for row in rows:
            ECHO.learn(s, heard.extend, **row)

    await postgres.write(job)
    assert heard == [{"text": row["text"]} for row in rows]


async def test_the_session_ends_in_the_middle(postgres: Database) -> None:
    def job(s: Session) -> None:
        NEW.run(s, id=1, text="sent")
        with postgres.engine.connect() as other:
            other.exec_driver_sql(END_OTHERS)
        NEW.later(s, id=2, text="gathered")
        MOVE.later(s, changed, which=1, text="gathered")

    with pytest.raises(sa.exc.OperationalError):
        await postgres.write(job)
    assert await things(postgres) == {}


async def test_sessions_that_ended_between_two_transactions_are_made_anew(postgres: Database) -> None:
    await postgres.write(NEW.later, id=1, text="before")
    other = sa.create_engine(postgres.url, poolclass=sa.NullPool)
    with other.connect() as conn:
        assert conn.exec_driver_sql(END_OTHERS).scalar_one() >= 1
    await postgres.write(NEW.later, id=2, text="after")
    assert await things(postgres) == {1: "before", 2: "after"}


async def test_a_server_that_forgot_its_statements_is_told_them_again(postgres: Database) -> None:
    def forgets(s: Session) -> None:
        s.connection().exec_driver_sql("DEALLOCATE ALL")

    await postgres.write(NEW.later, id=1, text="before")
    await postgres.write(forgets)
    await postgres.write(NEW.later, id=2, text="after")
    assert set(await things(postgres)) == {1, 2}


def _rename(s: Session, run_id: str, output: str) -> Run:
    run = runs.load(s, run_id)
    return runs.save(s, run, Decision(replace(run, output=output)), now=NOON)


def _poke(s: Session, run_id: str) -> None:
    s.connection().exec_driver_sql("UPDATE run SET output = 'poked'")


@pytest.mark.parametrize(
    ("other", "change", "output"),
    [(True, partial(_rename, output="theirs"), "theirs"), (False, _poke, "poked")],
    ids=["by_another_process", "by_hand"],
)
async def test_a_run_that_is_known_is_read_where_it_was_changed(
    postgres: Database, postgres_url: str, other: bool, change: Callable[[Session, str], object], output: str
) -> None:
    run = Conversation().run
    await postgres.write(lambda s: runs.insert(s, Decision(run), now=NOON))
    known = await postgres.write(_rename, run.id, "ours")
    assert await postgres.write(runs.load, run.id) == known
    theirs = Database(postgres_url) if other else postgres
    await theirs.write(change, run.id)
    found = await postgres.write(runs.load, run.id)
    assert found.output == output
    if other:
        theirs.close()


BEHIND_US = "UPDATE run SET output = 'lost', version = {version}"


@pytest.mark.parametrize("version", [1, 2], ids=["went_back", "went_back_and_on_again"])
async def test_a_server_that_took_over_need_not_have_what_was_committed_last(
    postgres: Database, version: int
) -> None:
    run = Conversation().run
    await postgres.write(lambda s: runs.insert(s, Decision(run), now=NOON))
    await postgres.write(_rename, run.id, "ours")
    with sa.create_engine(postgres.url, poolclass=sa.NullPool).begin() as conn:
        conn.exec_driver_sql(BEHIND_US.format(version=version))
        conn.exec_driver_sql(END_OTHERS)
    assert (await postgres.write(runs.load, run.id)).output == "lost"
    await postgres.write(_rename, run.id, "after")
    assert (await postgres.write(runs.load, run.id)).output == "after"


async def test_a_call_that_was_changed_by_hand_is_read_when_that_shows(postgres: Database) -> None:
    run = Conversation().live().asks(wish("c1")).run
    await postgres.write(lambda s: runs.insert(s, Decision(replace(run, turn=Turn(1))), now=NOON))
    await postgres.write(_moved, run.id, lambda known: run.turn)
    with sa.create_engine(postgres.url, poolclass=sa.NullPool).begin() as conn:
        conn.exec_driver_sql("UPDATE call SET status = 'in_doubt'")

    def settled(known: Run) -> Turn:
        (call,) = known.turn.calls
        return known.turn.with_call(replace(call, status=CallStatus.SETTLED))

    saved = await postgres.write(_moved, run.id, settled)
    assert saved.turn.calls[0].status is CallStatus.SETTLED


def _moved(s: Session, run_id: str, turn: Callable[[Run], Turn]) -> Run:
    run = runs.load(s, run_id)
    return runs.save(s, run, Decision(replace(run, turn=turn(run))), now=NOON)


async def told(database: Database, job: Callable[[Session], Any]) -> list[str]:
    """What went to the server in each round trip of that transaction."""
    sent: list[str] = []

    def watched(s: Session) -> None:
        wire = hold(s).wire
        assert isinstance(wire, Pipeline)
        talk = wire._talk

        def heard(words: Any, last: Any) -> Any:
            sent.append("; ".join([*(w.sql.split(" ", 1)[0] for w in words), *(w.decode() for w in last)]))
            return talk(words, last)

        wire._talk = heard  # type: ignore[method-assign]
        job(s)

    try:
        await database.write(watched)
    finally:
        await database.write(lambda s: hold(s).wire.__dict__.pop("_talk"))
    return sent


async def test_what_is_checked_and_what_is_said_go_with_the_commit(postgres: Database) -> None:
    def job(s: Session) -> None:
        NEW.later(s, id=1, text="new")
        MOVE.later(s, changed, which=1, text="moved")

    assert await told(postgres, job) == ["INSERT; WITH; COMMIT"]
    assert await things(postgres) == {1: "moved"}


async def test_what_is_heard_last_costs_no_round_trip(postgres: Database) -> None:
    heard: list[Any] = []
    job = partial(ECHO.learn_last, id=1, text="new")
    assert await told(postgres, lambda s: job(s, heard.extend)) == ["INSERT; COMMIT"]
    assert heard == [{"text": "new"}]


async def test_the_driver_itself_finds_what_was_written_before(postgres: Database) -> None:
    found: list[int] = []

    def ending(s: Session) -> None:
        flush(s)
        driver = s.connection().connection.driver_connection
        assert driver is not None
        found.extend(driver.execute("SELECT id FROM thing").fetchone())

    postgres.ending = ending
    await postgres.write(lambda s: NEW.later(s, id=1, text="new"))
    assert found == [1]
    assert await things(postgres) == {1: "new"}


async def test_who_only_reads_holds_no_transaction_but_for_a_lock(postgres: Database) -> None:
    await postgres.write(lambda s: NEW.later(s, id=1, text="new"))

    def job(statement: Prepared, s: Session) -> tuple[str, str]:
        value = statement.value(s, which=1)
        wire = hold(s).wire
        assert isinstance(wire, Pipeline)
        return value, TransactionStatus(wire._pg.transaction_status).name

    locked = Prepared(sa.select(THING.c.text).where(THING.c.id == sa.bindparam("which")).with_for_update())
    assert await postgres.read(partial(job, TEXT)) == ("new", "IDLE")
    assert await postgres.read(partial(job, locked)) == ("new", "INTRANS")
    assert await postgres.read(partial(job, TEXT)) == ("new", "IDLE")


async def test_a_row_that_is_refused_with_the_commit_is_told_as_such(postgres: Database) -> None:
    """The chain of entries is not to blame for it, though it goes with the same message."""
    await postgres.write(lambda s: NEW.later(s, id=1, text="new"))

    def job(s: Session) -> None:
        NEW.later(s, id=1, text="again")
        audit.note(s, [Entry(EntryKind.RUN_OPENED, "run_1", {})], NOON)

    with pytest.raises(sa.exc.IntegrityError, match="thing"):
        await postgres.write(job)
    assert await postgres.read(audit.head) == Head()
