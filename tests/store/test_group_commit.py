"""On PostgreSQL, too, steps that wait at the same moment share a COMMIT; nobody pays for his neighbours."""

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session
from support.clock import NOON
from support.things import MOVE, NEW, TEXT, THING, batch, busy, opened

from orchestrator.domain.effects import Effect, EffectKind
from orchestrator.store import claims, group_commit, lines, outbox
from orchestrator.store.claims import Hold
from orchestrator.store.database import Database
from orchestrator.store.sql.pipeline import wrapped
from orchestrator.store.sql.prepared import Prepared

pytestmark = pytest.mark.asyncio

WHICH = Prepared(sa.select(sa.func.pg_current_xact_id().cast(sa.Text).label("xid")))
HANG_UP = Prepared(sa.select(sa.func.pg_terminate_backend(sa.func.pg_backend_pid())))


@pytest.fixture
def postgres(postgres_url: str) -> Iterator[Database]:
    with opened(postgres_url) as database:
        yield database


def new(number: int, tries: list[int] | None = None) -> Callable[[Session], str]:
    """Writes a row, and says in which transaction."""

    def job(s: Session) -> str:
        if tries is not None:
            tries.append(number)
        NEW.later(s, id=number, text="new")
        return str(WHICH.value(s))

    return job


async def texts(database: Database, *numbers: int) -> list[str | None]:
    return [await database.read(lambda s, n=n: TEXT.value(s, which=n)) for n in numbers]


async def test_what_waits_at_the_same_moment_shares_a_commit_and_the_rest_the_next(
    postgres: Database,
) -> None:
    together = await batch(postgres, *(new(n) for n in range(group_commit.MOST + 1)))
    assert len(set(together[: group_commit.MOST])) == 1
    assert together[-1] != together[0]
    assert await texts(postgres, 0, group_commit.MOST) == ["new", "new"]


async def test_nobody_waits_for_company(postgres: Database) -> None:
    assert len({await postgres.step(new(n)) for n in range(3)}) == 3


async def test_who_fails_does_so_alone_and_the_others_are_done_anew(postgres: Database) -> None:
    tries: list[int] = []

    def fails(s: Session) -> None:
        new(2, tries)(s)
        raise ValueError("not today")

    first, failed, last = await batch(postgres, new(1, tries), fails, new(3, tries))
    assert isinstance(failed, ValueError)
    assert len({first, last}) == 2, "each has a transaction of its own"
    assert sorted(tries) == [1, 1, 2, 2, 3], "and who came behind is not begun before"
    assert await texts(postgres, 1, 2, 3) == ["new", None, "new"]


async def test_what_only_the_commit_finds_wrong_is_told_to_whose_it_is(postgres: Database) -> None:
    """A statement whose answer nobody waited for travels with the COMMIT."""
    first, same, other = await batch(postgres, new(1), lambda s: NEW.later(s, id=1, text="same"), new(2))
    told = [isinstance(t, sa.exc.IntegrityError) for t in (first, same)]
    assert sorted(told) == [False, True]
    assert isinstance(other, str)
    assert await texts(postgres, 2) == ["new"]


async def test_where_the_commit_has_no_answer_nobody_is_done_again(postgres: Database) -> None:
    """It may be committed: who knows what that means for him asks again himself."""
    tries: list[int] = []
    told = await batch(postgres, new(1, tries), new(2, tries), lambda s: HANG_UP.learn_last(s, len))
    assert [type(t) for t in told] == [sa.exc.OperationalError] * 3
    assert tries == [1, 2]


async def test_a_connection_that_is_lost_before_the_commit_costs_nobody_more_than_another_try(
    postgres: Database,
) -> None:
    """Such as by a server that ended the session of a process that stood still."""
    tries: list[int] = []

    def loses_it(s: Session) -> str:
        tries.append(0)
        if len(tries) == 1:
            with suppress(sa.exc.OperationalError):
                HANG_UP.value(s)
            raise ValueError("without a database nothing comes of it")
        return new(1)(s)

    def only_reads(s: Session) -> str | None:
        tries.append(0)
        if len(tries) == 1:
            HANG_UP.value(s)
        return TEXT.value(s, which=1)

    await postgres.write(loses_it)
    assert len(tries) == 2
    del tries[:]
    assert await postgres.read(only_reads) == "new"
    assert len(tries) == 2


async def test_what_the_server_refuses_at_the_end_is_refused_to_whose_it_is(postgres: Database) -> None:
    """To the driver that is operational, as a server lost over the COMMIT is; but this one has spoken."""
    with postgres.engine.begin() as server:
        server.exec_driver_sql("CREATE INDEX ON thing (text)")
    too_long = os.urandom(8000).hex()  # for an index, however it is packed
    told = await batch(postgres, new(1), new(2), lambda s: NEW.later(s, id=3, text=too_long))
    assert [type(t) for t in told] == [str, str, sa.exc.OperationalError]
    assert await texts(postgres, 1, 2, 3) == ["new", "new", None]


@pytest.mark.parametrize("place", [0, 1, 2])
async def test_who_takes_back_what_others_did_takes_back_his_own_only(postgres: Database, place: int) -> None:
    """As the ORM does where it fails."""

    def takes_back(s: Session) -> None:
        s.execute(sa.insert(THING).values(id=3, text="new"))
        s.rollback()

    jobs = [new(1), new(2)]
    told = await batch(postgres, *jobs[:place], takes_back, *jobs[place:])
    del told[place]
    assert [type(t) for t in told] == [str, str]
    assert await texts(postgres, 1, 2, 3) == ["new", "new", None]


async def test_a_server_that_gave_up_in_the_commit_may_have_done_it(postgres: Database) -> None:
    """To the driver its last word is an internal error; what is on its disk is there when it comes back."""
    tries: list[int] = []
    those: list[str] = []

    class Panic(psycopg.InternalError):
        diag = SimpleNamespace(severity_nonlocalized="PANIC")  # type: ignore[assignment]

    def gives_up(s: Session) -> None:
        if WHICH.value(s) in those:
            raise wrapped("COMMIT", Panic("could not write to the log"))

    postgres.ending = gives_up

    def job(number: int) -> Callable[[Session], None]:
        return lambda s: those.append(new(number, tries)(s))

    told = await batch(postgres, job(1), job(2))
    assert [type(t) for t in told] == [sa.exc.InternalError] * 2
    assert tries == [1, 2]


async def test_what_has_an_order_is_waited_for_as_long_as_by_anybody(postgres: Database) -> None:
    """The audit's lock, behind a slow disk: who shared and gave it up would come back as so many."""
    ask = Prepared(sa.select(sa.func.current_setting("lock_timeout")))
    ends: list[str] = []
    postgres.ending = lambda s: ends.append(ask.value(s))
    assert await batch(postgres, ask.value, ask.value) == [f"{group_commit.WAIT_MILLISECONDS}ms"] * 2
    assert ends[-1] == "2s"
    assert await postgres.write(ask.value) == "2s"


async def test_steps_of_a_run_are_never_under_way_in_two_transactions(postgres: Database) -> None:
    """Two who hold the rows of several runs, in any order, would wait for each other."""
    order: list[str] = []
    begun, go, loop = asyncio.Event(), threading.Event(), asyncio.get_running_loop()

    def holds(s: Session) -> None:
        loop.call_soon_threadsafe(begun.set)
        go.wait(30)
        order.append("a first")

    first = asyncio.ensure_future(postgres.step(holds, "a"))
    await begun.wait()
    second = asyncio.ensure_future(postgres.step(lambda s: order.append("a second"), "a"))
    await postgres.step(lambda s: order.append("b"), "b")
    assert order == ["b"]
    go.set()
    await asyncio.gather(first, second)
    assert order == ["b", "a first", "a second"]


async def test_those_who_share_take_runs_in_one_order(postgres: Database) -> None:
    order: list[str] = []
    async with busy(postgres):
        told = [
            asyncio.ensure_future(postgres.step(lambda s, run=run: order.append(run), run[0]))
            for run in ("c", "b first", "a", "b second")
        ]
        await asyncio.sleep(0)
    await asyncio.gather(*told)
    assert order == ["a", "b first", "b second", "c"]


async def test_while_a_step_waits_for_its_run_those_that_come_behind_it_disturb_nobody(
    postgres: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "WAIT_MILLISECONDS", 50)
    await postgres.step(new(1))
    tried: list[str] = []
    others: list[int] = []
    alone, loop = asyncio.Event(), asyncio.get_running_loop()

    def needs_it(s: Session) -> int:
        tried.append("again" if tried else "first")
        if tried[-1] == "again":
            loop.call_soon_threadsafe(alone.set)
        return MOVE.run(s, which=1, text="moved")

    with postgres.engine.begin() as holder:
        holder.exec_driver_sql("UPDATE thing SET text = 'held' WHERE id = 1")
        waiting = [asyncio.ensure_future(postgres.step(needs_it, "a"))]
        await asyncio.wait_for(alone.wait(), 30)
        async with busy(postgres):
            waiting.append(asyncio.ensure_future(postgres.step(needs_it, "a")))
            told = [asyncio.ensure_future(postgres.step(new(n, others))) for n in range(2, 5)]
            await asyncio.sleep(0)
        assert len(set(await asyncio.gather(*told))) == 1
        assert others == [2, 3, 4]
    await asyncio.gather(*waiting)
    assert await texts(postgres, 1) == ["moved"]


async def test_a_row_that_somebody_holds_keeps_only_those_who_need_it(
    postgres: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "WAIT_MILLISECONDS", 50)
    await postgres.step(new(1))
    with postgres.engine.begin() as holder:
        holder.exec_driver_sql("UPDATE thing SET text = 'held' WHERE id = 1")
        meanwhile = asyncio.Event()
        told: list[Any] = []

        async def one(job: Callable[[Session], Any]) -> None:
            told.append(await postgres.step(job))
            if len(told) == 2:
                meanwhile.set()

        def needs_it(s: Session) -> int:
            return MOVE.run(s, which=1, text="moved")

        waiting = asyncio.ensure_future(asyncio.gather(one(new(2)), one(needs_it), one(new(3))))
        await asyncio.wait_for(meanwhile.wait(), 30)
        assert not waiting.done()
    await waiting
    assert await texts(postgres, 1, 2, 3) == ["moved", "new", "new"]


async def test_who_shares_gives_way_before_the_server_has_to_look_who_waits_for_whom(
    postgres: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "WAIT_MILLISECONDS", 50)
    await batch(postgres, new(1), new(2))
    both, tries = threading.Barrier(2), []

    def moves(mine: int, yours: int) -> Callable[[Session], None]:
        def job(s: Session) -> None:
            MOVE.run(s, which=mine, text=f"by {mine}")
            if mine not in tries:
                tries.append(mine)
                both.wait(30)
            MOVE.run(s, which=yours, text=f"by {mine}")

        return job

    await asyncio.gather(postgres.step(moves(1, 2)), postgres.write(moves(2, 1)))
    assert await texts(postgres, 1, 2) == ["by 1", "by 1"]
    with postgres.engine.connect() as server:
        found = server.exec_driver_sql(
            "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        )
        assert found.scalar_one() == 0


async def test_whose_turn_comes_behind_a_neighbours_goes_alone(postgres: Database) -> None:
    """Lines are asked in the order of their names; what asks by itself is not out of order."""
    tries: list[str] = []

    def asks(line: str) -> Callable[[Session], bool]:
        def job(s: Session) -> bool:
            tries.append(line)
            return lines.alone(s, line)

        return job

    assert await batch(postgres, asks("a"), asks("b")) == [True, True]
    assert tries == ["a", "b"]
    assert await batch(postgres, asks("d"), asks("c")) == [True, True]
    assert sorted(tries[2:]) == ["c", "c", "d", "d"]


async def test_what_each_asked_for_is_told_once_at_the_end(postgres: Database) -> None:
    ended: list[str] = []
    postgres.ending = lambda s: ended.extend(a.run_id for a in outbox.asked(s, NOON + timedelta(hours=1)))

    def asks(run_id: str) -> Callable[[Session], list[str]]:
        def job(s: Session) -> list[str]:
            outbox.begin(s)
            outbox.note(s, [outbox.Asked(run_id, EffectKind.END_RUN, "", NOON)])
            return [a.run_id for a in outbox.ripe(s, run_id, NOON)]

        return job

    assert await batch(postgres, asks("run_1"), asks("run_2")) == [["run_1"], ["run_2"]]
    assert ended == ["run_1", "run_2"]


async def test_what_one_asked_for_now_is_not_hidden_by_another_who_asks_for_later(postgres: Database) -> None:
    ended: list[datetime] = []
    postgres.ending = lambda s: ended.extend(a.due_at for a in outbox.asked(s, NOON + timedelta(hours=1)))
    later = NOON + timedelta(seconds=30)

    def asks(due_at: datetime) -> Callable[[Session], None]:
        def job(s: Session) -> None:
            outbox.begin(s)
            outbox.add(s, "run_1", [Effect(EffectKind.FETCH_INTERACTION, "int_1", due_at)])

        return job

    def takes(s: Session) -> None:
        outbox.begin(s)
        assert (
            claims.claim(
                s,
                ("run_1", f"{EffectKind.FETCH_INTERACTION}:int_1"),
                NOON,
                Hold.at(NOON, timedelta(seconds=15)),
            )
            is not None
        )

    await batch(postgres, asks(NOON), asks(later))
    assert ended == [NOON, later]
    del ended[:]
    await batch(postgres, asks(NOON), asks(later), takes)
    assert ended == []


async def test_who_no_longer_waits_is_not_begun_and_whoever_comes_too_late_is_told(
    postgres: Database,
) -> None:
    tries: list[int] = []
    async with busy(postgres) as go:
        left, kept = (asyncio.ensure_future(postgres.step(new(n, tries))) for n in (1, 2))
        await asyncio.sleep(0)
        left.cancel()
        closing = asyncio.get_running_loop().run_in_executor(None, postgres.close)
        go.set()
        await closing
        await kept
    assert tries == [2], "what was asked for before the end is finished"
    for n in range(group_commit.AT_ONCE + 1):
        with pytest.raises(RuntimeError, match="the database is closed"):
            await asyncio.wait_for(postgres.step(new(n)), 30)
