"""Triggers on a real database: one run per occurrence, whoever fires, dies or comes late."""

import asyncio
import os
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session
from support.clock import SettableClock
from support.gemini import FakeGemini
from support.toolkit import FakeToolkit

from orchestrator.domain.consent import Actor, AtTimeout, Contract, Stage, Terms
from orchestrator.domain.model import Policy, Recipe
from orchestrator.domain.plain import JsonObject
from orchestrator.domain.triggers import FeedEntry, FeedReading, First, Happened, Missed, under
from orchestrator.domain.values import replace
from orchestrator.engine.armed import Armed, Cron, Feed, Hook
from orchestrator.engine.dispatch import LANES
from orchestrator.engine.perform import Performer
from orchestrator.engine.triggers import RUNS_AT_ONCE, Triggers
from orchestrator.engine.worker import Worker
from orchestrator.errors import InvalidError, NotFoundError, RejectedError, UnavailableError
from orchestrator.store import outbox, runs, triggers
from orchestrator.store.database import Database
from orchestrator.store.tables import RunRow, table
from orchestrator.store.triggers import occurrence_t
from orchestrator.triggers import cron

START = datetime(2026, 11, 21, 12, 30, tzinfo=UTC)
DAYS = int(os.environ.get("TRIGGER_DAYS", "0"))
LEASE = timedelta(seconds=30)
HOURLY = cron.Cron("0 * * * *", "UTC")
RECIPE = Recipe("news", model="gemini-3.8-flash")
SLOTS = {**dict.fromkeys(LANES, 0), "triggers": 16}  # what the runs do is not this story's
run_t = table(RunRow)


def prepare(seen: JsonObject) -> str:
    """The title of an entry, or the occurrence's key; what is odd is refused."""
    title = seen.get("entry", {}).get("title") or seen["occurrence"]["key"]
    if title == "odd":
        raise InvalidError("input.title must be even")
    return str(title)


def by_clock(
    missed: Missed = Missed.RUN_ONCE, plan: str = "hourly", name: str = "tick", **more: Any
) -> Armed:
    return Armed(name, RECIPE, Cron(more.pop("schedule", HOURLY), missed, **more), prepare, plan)


def by_feed(first: First) -> Armed:
    source = Feed("https://a.example/feed", timedelta(minutes=30), first)
    return Armed("feed", RECIPE, source, prepare, "url.30")


class Source:
    """A feed in memory. `trouble` is raised in place of the next readings, one each."""

    def __init__(self) -> None:
        self.entries: list[FeedEntry] = []
        self.trouble: list[BaseException] = []
        self.looks: list[str] = []

    def put(self, *names: str, title: str = "") -> None:
        """The newest first, as feeds have them."""
        for name in names:
            self.entries.insert(0, FeedEntry(name, {"title": title or name}))

    async def look(
        self, url: str, *, etag: str = "", last_modified: str = "", inside: str = ""
    ) -> FeedReading:
        self.looks.append(etag)
        await asyncio.sleep(0)
        if self.trouble:
            raise self.trouble.pop(0)
        now = str(hash(tuple((e.key, str(e.seen)) for e in self.entries)))
        return FeedReading(None, now) if etag == now else FeedReading(tuple(self.entries), now)


class Service:
    """Some processes over one database, under one clock."""

    def __init__(self, url: str, *armed: Armed, processes: int = 1) -> None:
        self.database = Database(url, readers=2, threads=8)
        self.clock, self.source, self.armed = SettableClock(START), Source(), armed
        self.processes = [self._process() for _ in range(processes)]

    def _process(self) -> tuple[Performer, Worker]:
        performer = Performer(
            self.database,
            FakeGemini({}),
            FakeToolkit({}),
            None,
            policy=Policy(),
            clock=self.clock,
            roll=lambda: 0.5,
            lease=LEASE,
            armed=self.armed,
            feeds=self.source,
        )
        worker = Worker(self.database, performer, policy=Policy(), clock=self.clock, slots=SLOTS)
        return performer, worker

    @property
    def triggers(self) -> Triggers:
        return self.processes[0][0].triggers

    async def restart(self, which: int = 0, *armed: Armed) -> None:
        self.armed = armed or self.armed
        self.processes[which] = self._process()
        await self.processes[which][0].triggers.arrange()

    async def turn(self) -> int:
        """All processes look at once."""
        return sum(await asyncio.gather(*(worker.run_once() for _, worker in self.processes)))

    async def settle(self) -> None:
        while await self.turn():
            pass

    async def until(self, end: datetime) -> None:
        """Everything that is due up to then, each at its time."""
        await self.settle()
        while (due := await self.database.read(_next_timer)) is not None and due <= end:
            self.clock.reach(due)
            await self.settle()
        self.clock.reach(end)

    async def ran(self, name: str) -> list[str]:
        """Occurrences of the runs there are, the oldest first: the runs tell, not our own books."""
        return await self.database.read(_ran, f"trigger:{name}")

    async def happened(self, name: str) -> list[dict[str, Any]]:
        """The books, oldest first."""
        page = await self.database.read(triggers.occurrences, name, limit=10_000)
        return list(reversed(page.rows))

    async def row(self, name: str) -> Mapping[str, Any]:
        found = await self.database.read(triggers.read, name)
        assert found is not None
        return found

    async def __aenter__(self) -> "Service":
        for performer, _ in self.processes:
            await performer.triggers.arrange()
        await self.settle()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.database.close()


def _next_timer(s: Session) -> datetime | None:
    e = outbox.effect_t
    waits = e.c.kind == "fire_trigger"
    due = sa.select(sa.func.min(e.c.due_at)).where(waits, e.c.state == "pending")
    lease = sa.select(sa.func.min(e.c.lease_until)).where(waits, e.c.state == "claimed")
    found = [t for q in (due, lease) if (t := s.connection().execute(q).scalar_one()) is not None]
    return min(found, default=None)


def _ran(s: Session, owner: str) -> list[str]:
    query = sa.select(run_t.c.idempotency_key).where(run_t.c.owner == owner)
    query = query.order_by(run_t.c.created_at, run_t.c.idempotency_key)
    return list(s.connection().execute(query).scalars())


def hours(since: datetime, until: datetime) -> list[str]:
    """Every full hour after the one and up to the other."""
    first = since.replace(minute=0, second=0) + timedelta(hours=1)
    many = int((until - first) / timedelta(hours=1)) + 1
    return [f"{first + timedelta(hours=n):%Y-%m-%dT%H:%M:%SZ}" for n in range(many)]


# ------------------------------------------------------------------ the long story


def test_days_of_a_clock_and_a_feed_with_three_processes_and_restarts(database_url: str) -> None:
    """Readings fail, processes die in the middle of one, entries are edited. TRIGGER_DAYS: how many days."""
    dice = random.Random(7)

    async def story() -> None:
        armed = (by_clock(), by_feed(First.NONE))
        async with Service(database_url, *armed, processes=3) as service:
            written: list[str] = []
            end = START + timedelta(days=DAYS or (2 if service.database.sqlite else 1))
            while service.clock() < end:
                if dice.random() < 0.3:
                    written.append(f"entry-{len(written)}")
                    service.source.put(written[-1])
                if dice.random() < 0.2 and service.source.entries:
                    service.source.entries[0] = FeedEntry(service.source.entries[0].key, {"title": "edited"})
                if dice.random() < 0.2:
                    dice.shuffle(service.source.entries)
                if dice.random() < 0.1:  # a process dies while it reads: nobody says what became of it
                    service.source.trouble.append(asyncio.CancelledError())
                elif dice.random() < 0.1:
                    service.source.trouble.append(UnavailableError("no answer"))
                if dice.random() < 0.1:
                    await service.restart(dice.randrange(3))
                await service.until(service.clock() + timedelta(minutes=55))
            service.source.trouble.clear()
            await service.until(service.clock() + timedelta(hours=1))
            assert await service.ran("tick") == hours(START, service.clock())
            assert Counter(await service.ran("feed")) == Counter(written)
            assert Counter(o["verdict"] for o in await service.happened("feed")) == {"started": len(written)}

    asyncio.run(story())


def test_three_processes_arrange_fire_and_deliver_at_the_same_moment(database_url: str) -> None:
    async def story() -> None:
        hook = Armed("hook", RECIPE, Hook(), prepare, "hook")
        async with Service(database_url, by_clock(), hook, processes=3) as service:
            every = [performer.triggers for performer, _ in service.processes]
            await asyncio.gather(*(t.arrange() for t in every * 3))
            service.clock.reach(START + timedelta(minutes=30))
            await asyncio.gather(*(w.run_once() for _, w in service.processes * 2))
            assert await service.ran("tick") == hours(START, service.clock())
            fired = await asyncio.gather(*(t.deliver("hook", "msg_1", b"{}", {}) for t in every * 3))
            assert Counter(f.verdict for f in fired) == {Happened.STARTED: 1, Happened.KNOWN: 8}
            assert len({f.run_id for f in fired}) == 1
            other = await every[0].deliver("hook", "msg_1", b'{"other": 1}', {"other": 1})
            (row,) = await service.happened("hook")
            assert (other.verdict, row["again"], row["conflicts"]) == (Happened.KNOWN, 9, 1)

    asyncio.run(story())


# ------------------------------------------------------------------ clocks


@pytest.mark.parametrize("missed", list(Missed))
def test_three_days_down(sqlite_url: str, missed: Missed) -> None:
    async def story() -> None:
        async with Service(sqlite_url, by_clock(missed, most=10)) as service:
            service.clock.reach(START + timedelta(days=3))  # 12:30, nothing on time
            await service.restart()
            await service.settle()
            since = hours(START, service.clock())
            made_up = {Missed.RUN_ONCE: since[-1:], Missed.SKIP: [], Missed.RUN_ALL: since[-10:]}[missed]
            assert await service.ran("tick") == made_up
            notes = [o["note"] for o in await service.happened("tick") if o["note"]]
            assert len(notes) == 1
            assert str(len(since) - len(made_up)) in notes[0]
            await service.until(service.clock() + timedelta(hours=1))
            assert await service.ran("tick") == [*made_up, *hours(START, service.clock())[-1:]]

    asyncio.run(story())


def test_many_that_were_missed_are_made_up_for_in_parts(sqlite_url: str) -> None:
    """No transaction starts more than so many runs; a process that ends in between loses none of them."""

    async def story() -> None:
        async with Service(sqlite_url, by_clock(Missed.RUN_ALL, most=3 * RUNS_AT_ONCE - 10)) as service:
            service.clock.reach(START + timedelta(days=20))
            counts = []
            while await service.turn():
                counts.append(len(await service.ran("tick")))
                await service.restart()
            wanted = hours(START, service.clock())[-(3 * RUNS_AT_ONCE - 10) :]
            assert counts == [RUNS_AT_ONCE, 2 * RUNS_AT_ONCE, len(wanted)]
            assert await service.ran("tick") == wanted
            (note,) = [o["note"] for o in await service.happened("tick") if o["note"]]
            assert note == f"{20 * 24 - len(wanted)} missed before it"

    asyncio.run(story())


def test_other_times_count_from_now_on_and_a_trigger_that_is_gone_is_forgotten(sqlite_url: str) -> None:
    async def story() -> None:
        async with Service(sqlite_url, by_clock()) as service:
            await service.until(START + timedelta(hours=1))
            daily = by_clock(plan="daily", schedule=cron.Cron("0 6 * * *", "UTC"))
            await service.restart(0, daily)
            await service.settle()
            assert (await service.row("tick"))["next_at"] == datetime(2026, 11, 22, 6, tzinfo=UTC)
            await service.until(START + timedelta(days=1))
            assert await service.ran("tick") == ["2026-11-21T13:00:00Z", "2026-11-22T06:00:00Z"]
            await service.restart(0, by_clock(name="other"))
            await service.until(START + timedelta(days=2))
            assert await service.database.read(triggers.read, "tick") is None
            assert len(await service.ran("tick")) == 2
            assert len(await service.ran("other")) == 24

    asyncio.run(story())


def test_a_process_that_does_not_know_a_trigger_leaves_it_to_others(sqlite_url: str) -> None:
    """While settings are changed, an older process must not end what a newer one has begun."""

    async def story() -> None:
        async with Service(sqlite_url, by_clock()) as service:
            new, service.armed = service.processes[0], ()
            old = service._process()
            service.clock.reach(START + timedelta(minutes=31))
            assert await old[1].run_once() == 1
            assert await service.ran("tick") == []
            service.clock.advance(seconds=61)
            await new[1].run_once()
            assert await service.ran("tick") == hours(START, service.clock())

    asyncio.run(story())


def test_what_does_not_fit_is_refused_once_and_seen(sqlite_url: str) -> None:
    async def story() -> None:
        def never(seen: JsonObject) -> str:
            raise InvalidError("input.amount must be a number")

        async with Service(sqlite_url, replace(by_clock(), prepare=never)) as service:
            await service.until(START + timedelta(hours=2))
            assert [o["verdict"] for o in await service.happened("tick")] == ["refused"] * 2
            assert await service.database.read(triggers.failing) == []
            await service.until(START + timedelta(hours=4))
            (failing,) = await service.database.read(triggers.failing)
            assert failing["failures"] == 4
            assert "input.amount must be a number" in failing["error"]
            assert await service.ran("tick") == []
            await service.restart(0, by_clock())
            await service.until(START + timedelta(hours=5))
            assert (await service.row("tick"))["failures"] == 0
            assert len(await service.ran("tick")) == 1  # what was refused is not tried again

    asyncio.run(story())


# ------------------------------------------------------------------ feeds


@pytest.mark.parametrize(
    ("first", "expected"), [(First.LATEST, ["c"]), (First.ALL, ["a", "b", "c"]), (First.NONE, [])]
)
def test_the_first_look(sqlite_url: str, first: First, expected: Sequence[str]) -> None:
    async def story() -> None:
        service = Service(sqlite_url, by_feed(first))
        service.source.put("a", "b", "c")
        async with service:
            assert sorted(await service.ran("feed")) == list(expected)
            service.source.entries, kept = [], service.source.entries  # a reading that lacks them all
            await service.until(START + timedelta(minutes=30))
            service.source.entries = kept
            service.source.put("d")
            await service.until(START + timedelta(minutes=90))
            assert sorted(await service.ran("feed")) == [*expected, "d"]
            assert service.source.looks[-1] != ""  # asked whether anything has changed, and nothing had

    asyncio.run(story())


def test_a_flood_comes_in_parts_and_an_odd_entry_holds_nobody_up(sqlite_url: str) -> None:
    async def story() -> None:
        async with Service(sqlite_url, by_feed(First.NONE)) as service:
            many = [f"e{n}" for n in range(2 * RUNS_AT_ONCE + 5)]
            service.source.put(*many[:60])
            service.source.put("bad", title="odd")
            service.source.put(*many[60:])
            await service.until(START + timedelta(minutes=30))
            assert sorted(await service.ran("feed")) == sorted(many)
            (refused,) = [o for o in await service.happened("feed") if o["verdict"] == "refused"]
            assert (refused["key"], refused["note"]) == ("bad", "input.title must be even")

    asyncio.run(story())


def test_a_feed_that_fails_is_left_alone_and_comes_back(sqlite_url: str) -> None:
    async def story() -> None:
        async with Service(sqlite_url, by_feed(First.ALL)) as service:
            looks = len(service.source.looks)
            service.source.put("a")
            service.source.trouble += [
                UnavailableError("HTTP 503", retry_after=3600.0),
                *(RejectedError("HTTP 404") for _ in range(3)),
            ]
            await service.until(START + timedelta(minutes=89))  # as long as it asked for, and no oftener
            assert len(service.source.looks) == looks + 1
            await service.until(START + timedelta(minutes=151))
            (failing,) = await service.database.read(triggers.failing)
            assert (failing["failures"], failing["error"]) == (4, "HTTP 404")
            await service.until(START + timedelta(hours=4))
            assert (await service.row("feed"))["failures"] == 0
            assert await service.ran("feed") == ["a"]

    asyncio.run(story())


def test_occurrences_are_forgotten_and_entries_that_are_still_there_are_not(sqlite_url: str) -> None:
    async def story() -> None:
        async with Service(sqlite_url, by_feed(First.ALL)) as service:
            service.source.put("a")
            await service.until(START + timedelta(minutes=30))
            service.clock.advance(timedelta(days=100))
            service.source.put("b")
            await service.settle()
            assert [o["key"] for o in await service.happened("feed")] == ["b"]
            assert await service.ran("feed") == ["a", "b"]

    asyncio.run(story())


def test_a_clock_that_was_ahead_for_a_while_silences_nothing(sqlite_url: str) -> None:
    """What was planned by it is planned anew; what it fired is not fired again."""

    async def story() -> None:
        async with Service(sqlite_url, by_clock(), by_feed(First.NONE)) as service:
            service.clock.advance(timedelta(days=400))
            await service.settle()
            service.clock.advance(-timedelta(days=400))
            ahead = set(await service.ran("tick"))
            await service.restart()
            service.source.put("a")
            await service.until(START + timedelta(hours=2))
            assert set(await service.ran("tick")) - ahead == set(hours(START, service.clock()))
            assert await service.ran("feed") == ["a"]

    asyncio.run(story())


def test_occurrences_of_a_trigger_that_is_gone_are_forgotten_too(database_url: str) -> None:
    async def story() -> None:
        async with Service(database_url, by_clock(name="early"), by_clock(name="late")) as service:
            await service.until(START + timedelta(hours=1))
            assert await service.happened("early")
            await service.restart(0, by_clock(name="kept"))
            assert await service.happened("early")
            service.clock.advance(timedelta(days=91))
            await service.restart()
            assert [await service.happened(name) for name in ("early", "late")] == [[], []]

    asyncio.run(story())


# ------------------------------------------------------------------ by hand, and who is asked


def test_fired_by_hand_the_run_is_that_persons_and_an_odd_entry_is_refused(sqlite_url: str) -> None:
    anna = Actor("U0ANNA", "anna", "slack")

    async def story() -> None:
        hook = Armed("hook", RECIPE, Hook(), prepare, "hook")
        async with Service(sqlite_url, by_clock(), by_feed(First.ALL), hook) as service:
            fired = await service.triggers.fire("tick", anna)
            assert fired.run_id is not None
            run = await service.database.read(runs.load, fired.run_id)
            assert run.requester == anna
            service.source.put("a")
            assert (await service.triggers.fire("feed", anna)).verdict is None
            await service.settle()
            assert await service.ran("feed") == ["a"]
            again = await service.triggers.fire("feed", anna, {"title": "odd"})
            assert (again.verdict, again.run_id) == (Happened.REFUSED, None)
            with pytest.raises(InvalidError):
                await service.triggers.fire("hook", anna)
            with pytest.raises(NotFoundError):
                await service.triggers.fire("nope", anna)
            with pytest.raises(NotFoundError):
                await service.triggers.deliver("tick", "msg_1", b"{}", {})

    asyncio.run(story())


def test_its_run_is_the_triggers_own_and_keeps_its_contract(sqlite_url: str) -> None:
    contract = Contract(("U0BOB",), "C0NIGHT", AtTimeout.ATTENTION)

    async def story() -> None:
        armed = replace(by_clock(), recipe=replace(RECIPE, contract=contract))
        async with Service(sqlite_url, armed) as service:
            await service.until(START + timedelta(hours=1))
            (row,) = await service.happened("tick")
            run = await service.database.read(runs.load, row["run_id"])
            assert run.requester == Actor("trigger:tick", "tick", "trigger")
            assert run.recipe.contract == contract

    asyncio.run(story())


def test_a_contract_names_others_but_loosens_nothing() -> None:
    terms = Terms(("U0ALICE",), "C0DAY", quorum=1, never=("U0EVE",), four_eyes=True)
    told = under(terms, Contract(("U0BOB",), "C0NIGHT", AtTimeout.ESCALATE, ("U0CAROL",)))
    assert told == replace(
        terms,
        approvers=("U0BOB",),
        channel="C0NIGHT",
        at_timeout=AtTimeout.ESCALATE,
        escalate_to=("U0CAROL",),
    )
    staged = replace(terms, approvers=(), stages=(Stage("legal", ("U0ALICE",), 1),))
    assert under(staged, Contract(("U0BOB",))) == staged
    escalating = replace(terms, at_timeout=AtTimeout.ESCALATE, escalate_to=("U0CAROL",))
    assert under(escalating, Contract(on_no_answer=AtTimeout.REJECT)).escalate_to == ()
    assert under(terms, None) is terms


def test_the_books_name_no_run_twice(database_url: str) -> None:
    """The database itself keeps it so: a second row for an occurrence cannot be written."""

    async def story() -> None:
        async with Service(database_url, by_clock()) as service:

            def twice(s: Session) -> tuple[bool, bool]:
                args = (s, "tick", "k", service.clock(), Happened.STARTED)
                return triggers.happen(*args), triggers.happen(*args)

            assert await service.database.write(twice) == (True, False)

            def counted(s: Session) -> int:
                return int(s.connection().execute(sa.select(sa.func.count(occurrence_t.c.key))).scalar_one())

            assert await service.database.read(counted) == 1

    asyncio.run(story())
