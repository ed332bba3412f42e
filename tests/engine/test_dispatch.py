"""One suite for every way work reaches a worker: what `embedded` and `pgqueuer` both promise, and then some.

The workers' own loops run here, under the computer's clock. Where a test shows that nothing polls, every
interval of a look without a hint is made an hour. That a paused worker's late outcome commits nothing
is told in `test_races_of_workers.py`, for it holds whoever carries the hints.
"""

import asyncio
import json
import math
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import timedelta
from typing import Any, Final, Literal

import pytest
import pytest_asyncio
import sqlalchemy as sa
from sqlalchemy.orm import Session
from support import databases
from support.conversation import ANNA
from support.gemini import Plan
from support.patience import until
from support.plans import plan
from support.processes import Place, now
from support.toolkit import Rule

from orchestrator.domain.assessment import Ruling
from orchestrator.domain.effects import Effect, EffectKind
from orchestrator.engine import dispatch, limits, queued, worker
from orchestrator.engine.limits import Ceilings
from orchestrator.engine.limits import RateLimit as Most
from orchestrator.engine.queued import QueuedWorker
from orchestrator.engine.shared_clock import SharedClock
from orchestrator.store import claims, inbox, ledger, outbox
from orchestrator.store.sql.pipeline import Pipeline
from orchestrator.store.tables import EffectState

pytestmark = pytest.mark.asyncio

HOUR: Final = 3600.0
STORIES = {
    "look it up": (Plan((("lookup", {"order": "A-1"}),)), Plan(output="found")),
    "refund": (Plan((("refund", {"cents": 5}), ("lookup", {}))), Plan(output="refunded")),
    "four": (Plan((("lookup", {}), ("lookup", {}), ("lookup", {}), ("lookup", {}))), Plan(output="found")),
    "wait": (Plan((("slow", {}),)), Plan(output="waited")),
}
Pace = Callable[..., None]


@pytest_asyncio.fixture(params=["embedded on sqlite", "embedded on postgresql", "pgqueuer"])
async def place(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    """Where the tests of both happen."""
    made = Place(
        request.getfixturevalue("sqlite_url" if request.param.endswith("sqlite") else "postgres_url"),
        queued=request.param == "pgqueuer",
    )
    made.knows(STORIES, {"lookup": Rule(), "refund": Rule(Ruling.ASK), "slow": Rule()})
    yield made
    await made.close()


ON_POSTGRESQL = pytest.mark.parametrize("place", ["embedded on postgresql", "pgqueuer"], indirect=True)
QUEUED = pytest.mark.parametrize("place", ["pgqueuer"], indirect=True)
"""For what only makes sense among several processes."""


@pytest.fixture
def pace(monkeypatch: pytest.MonkeyPatch) -> Pace:
    """Sets how often workers look for what no hint told of, and when that counts as overdue; in seconds."""

    def act(sweep: float, *, near: float | None = None, overdue: float | None = None) -> None:
        monkeypatch.setattr(worker, "LONGEST_SLEEP", sweep)
        monkeypatch.setattr(queued, "SWEEP_SECONDS", sweep)
        monkeypatch.setattr(queued, "NEAR_SECONDS", sweep)
        monkeypatch.setattr(queued, "OVERDUE", timedelta(seconds=sweep if overdue is None else overdue))
        if near is not None:
            monkeypatch.setattr(queued, "NEAR", timedelta(seconds=near))
            monkeypatch.setattr(dispatch, "NEAR", timedelta(seconds=near))

    return act


# --- what both promise ------------------------------------------------------------------


async def test_a_run_goes_to_its_end_without_a_look_at_the_clock(place: Place, pace: Pace) -> None:
    pace(HOUR)
    process = await place.process()
    async with place.model_at_work(process):
        free = [await place.trigger(process, "look it up") for _ in range(5)]
        asking = await place.trigger(process, "refund")
        await until(place.slack.live_buttons, "a question")
        (card,) = place.slack.messages.values()
        answer = await process.intake.decide(
            card.approval.id, approve=True, by=ANNA, entitled_as=ANNA.id, digest=card.approval.digest
        )
        assert answer.refused is None
        await place.ended(*free, asking)
    await until(lambda: not place.slack.live_buttons(), "a message without buttons")
    assert [e.tool for e in place.toolkit.ledger].count("lookup") == 6
    assert [e.tool for e in place.toolkit.ledger].count("refund") == 1
    place.at_rest()


async def test_what_is_due_wakes_the_worker_at_once(place: Place, pace: Pace) -> None:
    pace(HOUR)
    process = await place.process()
    for n in range(10):
        await process.ask((f"p{n}", now()))
        await until(lambda n=n: place.came(f"p{n}"), "the probe, which nobody finds within an hour")


async def test_a_rolled_back_transaction_leaves_nothing(place: Place, pace: Pace) -> None:
    pace(HOUR)
    process = await place.process()
    await process.ask(("never", now()), fail=True)
    assert (place.effects("pending"), place.jobs()) == (0, 0)
    await process.ask(("after", now()))
    await until(lambda: place.came("after"), "the probe that was committed")
    assert place.came("never") == 0


async def test_what_no_hint_tells_of_is_found(place: Place, pace: Pace) -> None:
    """The commit that asked for it woke nobody, or its job was lost: the rows are the truth."""
    pace(0.3)
    process = await place.process()
    process.database.ending = lambda s: None  # no job
    assert process.worker is not None
    process.worker.wake = lambda: None  # type: ignore[method-assign]  # and no wake
    await process.ask(("lost", now()))
    assert place.jobs() == 0
    await until(lambda: place.came("lost"), "the effect without a hint")
    await until(lambda: place.effects("done") == 1, "its end")
    assert place.came("lost") == 1


async def test_a_lost_hint_costs_seconds() -> None:
    """The real intervals; everything else here may shorten them."""
    assert worker.LONGEST_SLEEP <= 15
    assert queued.OVERDUE.total_seconds() + 1.3 * queued.SWEEP_SECONDS <= 8
    assert dispatch.NEAR.total_seconds() > 1.3 * queued.NEAR_SECONDS


async def test_a_timer_is_performed_at_its_time(place: Place, pace: Pace) -> None:
    pace(0.1)
    process = await place.process()
    due_at = now() + timedelta(seconds=1.2)
    await process.ask(("timer", due_at))
    await until(lambda: place.came("timer"), "the timer")
    (at,) = place.gemini.came["timer"]
    assert due_at <= at


@QUEUED
async def test_a_far_timer_is_a_row_until_it_comes_near(place: Place, pace: Pace) -> None:
    pace(0.1, near=60)
    process = await place.process()
    due_at = now() + timedelta(hours=1)
    await process.ask(("timer", due_at))
    assert place.jobs() == 0
    pace(0.1, near=HOUR)
    await until(lambda: place.jobs() == 1, "its job, as it comes near")
    ripe = place.scalar("SELECT execute_after FROM orchestrator_jobs.pgqueuer")
    assert timedelta(0) <= ripe - due_at < timedelta(minutes=1)
    assert place.came("timer") == 0


async def test_a_near_timer_needs_no_look(place: Place, pace: Pace) -> None:
    pace(HOUR)
    process = await place.process()
    await process.ask(("another", now() + dispatch.NEAR * 0.9))
    assert place.jobs() == (1 if place.queued else 0)
    due_at = now() + timedelta(seconds=0.4)
    await process.ask(("timer", due_at))
    await until(lambda: place.came("timer"), "the timer")
    assert due_at <= place.gemini.came["timer"][0]


@QUEUED
@pytest.mark.parametrize("apart", [timedelta(minutes=5), timedelta(minutes=-5)], ids=["ahead", "behind"])
async def test_what_another_machine_wants_now_or_soon_needs_no_look(
    place: Place, pace: Pace, apart: timedelta
) -> None:
    """However far its clock is from the others', which is not gone by; also where a place is waited for."""
    pace(HOUR)
    time = SharedClock(lambda: now() + apart)
    time.agree(now(), time.stopwatch())
    worker = await place.process(slots={"gemini": 1}, poll=timedelta(milliseconds=100))
    door = await place.process(works=False, clock=time)
    place.gemini.holding["first"] = asyncio.Event()
    await worker.ask(("first", now()))
    await until(lambda: place.came("first"), "the first")
    await door.ask(("now", time()), ("soon", time() + timedelta(seconds=0.5)))
    await until(lambda: place.jobs("dedupe_key LIKE 'run_now:%'") and not place.came("now"), "it waits")
    place.gemini.holding["first"].set()
    await until(lambda: place.came("now") and place.came("soon"), "both", seconds=20)


async def test_releases_beside_each_other_understand_each_others_jobs() -> None:
    due = now()
    made = dispatch.job_of(outbox.Asked("run_it", EffectKind.CANCEL_INTERACTION, "it", due), timedelta(0))
    run_id, key = json.loads(made.payload)  # as the release before does
    assert (run_id, key) == ("run_it", "cancel_interaction:it")
    assert dispatch.effect_of(made.payload) == ((run_id, key), due)
    assert dispatch.effect_of(json.dumps([run_id, key]).encode())[1] < due


@QUEUED
async def test_a_job_that_comes_before_its_time_comes_again(place: Place, pace: Pace) -> None:
    """The clock by which it waited was set meanwhile, or is not quite that of who has it."""
    pace(HOUR)
    process = await place.process(poll=timedelta(milliseconds=100))
    due = now() + timedelta(hours=1)
    await process.ask(("it", due))  # so far off that no job tells of it
    early = dispatch.job_of(outbox.Asked("run_it", EffectKind.CANCEL_INTERACTION, "it", due), timedelta(0))
    assert isinstance(process.worker, QueuedWorker)
    await process.worker._handle("gemini", early.payload)
    assert place.came("it") == 0
    assert place.jobs("execute_after > now() + interval '59 minutes'") == 1


@QUEUED
async def test_what_was_moved_meanwhile_is_not_done_early(place: Place, pace: Pace) -> None:
    pace(HOUR)
    place.gemini.holding["it"] = asyncio.Event()
    process = await place.process()
    which, kind = ("run_it", "cancel_interaction:it"), EffectKind.CANCEL_INTERACTION
    await process.ask(("it", now() + timedelta(hours=1)))
    early = dispatch.job_of(outbox.Asked("run_it", kind, "it", now()), timedelta(0))
    assert process.worker is not None
    await process.worker._handle("gemini", early.payload)  # type: ignore[attr-defined]
    assert place.came("it") == 0
    assert await process.performer.commits.take(which) is None


@QUEUED
async def test_a_near_timer_of_a_transaction_that_waited_for_others_needs_no_look(
    place: Place, pace: Pace
) -> None:
    pace(HOUR)
    process = await place.process()
    due_at = now() + timedelta(seconds=1)

    def job(s: Session) -> None:
        s.execute(sa.text("SELECT pg_sleep(0.3)"))  # as for another's lock
        outbox.add(s, "run_timer", [Effect(EffectKind.CANCEL_INTERACTION, "timer", due_at)])

    await process.database.write(job)
    await until(lambda: place.came("timer"), "the timer")
    assert due_at <= place.gemini.came["timer"][0]


async def test_far_timers_cost_neither_a_look_nor_a_hint(place: Place, pace: Pace) -> None:
    """Ten thousand of them: each question a worker asks is answered from an index, and touches none."""
    pace(0.2)
    process = await place.process()
    await process.database.write(_far_timers, 10_000)
    await process.ask(("due", now()))
    await until(lambda: place.came("due"), "what is due")
    assert place.jobs(where="entrypoint <> 'gemini'") == 0
    every = frozenset(EffectKind)
    abandoned, waiting = claims._due(every)
    at = now()
    for question, values in (
        (abandoned, {"at": at, "most": 50}),
        (waiting, {"at": at, "most": 50}),
        (outbox._COME_NEAR, {"after": at, "until": at + dispatch.NEAR, "most": queued.NEAR_BATCH}),
    ):
        way = await process.database.read(plan, question, values)
        assert "ix_effect_" in way, way
        assert "Seq Scan" not in way, way
        assert "SCAN effect USING" not in way, way


def _far_timers(s: Session, count: int) -> None:
    rows = [
        {
            "run_id": f"run_far{n}",
            "key": f"end_run:{n}",
            "kind": EffectKind.END_RUN,
            "subject": str(n),
            "due_at": now() + timedelta(days=1, seconds=n),
            "state": EffectState.PENDING,
            "wanted": 1,
            "attempts": 0,
            "error": "",
        }
        for n in range(count)
    ]
    s.connection().execute(outbox.effect_t.insert(), rows)
    s.connection().exec_driver_sql("ANALYZE effect")


async def test_a_lane_without_room_does_not_hold_back_others(place: Place, pace: Pace) -> None:
    pace(HOUR)
    gate = asyncio.Event()
    place.toolkit.rules["slow"] = Rule(gate=gate)
    process = await place.process(slots={"tools": 1})
    async with place.model_at_work(process):
        blocked = [await place.trigger(process, "wait") for _ in range(3)]
        await until(place.toolkit.before_effect.is_set, "a tool that waits")
        await until(lambda: len(place.gemini.interactions) == 3, "the other runs' models")
        assert len(place.toolkit.starts) == 1
        free = await place.trigger(process, "nothing to call")
        await place.ended(free)
        gate.set()
        await place.ended(*blocked)
    assert len(place.toolkit.starts) == 3
    place.at_rest()


async def test_wanted_again_while_it_is_performed(place: Place, pace: Pace) -> None:
    pace(HOUR)
    process = await place.process()
    place.gemini.holding["twice"] = asyncio.Event()
    await process.ask(("twice", now()))
    await until(lambda: place.came("twice"), "the first time")
    await process.ask(("twice", now()))
    await process.ask(("twice", now()))
    place.gemini.holding["twice"].set()
    await until(lambda: place.came("twice") == 2, "the second time")
    await until(lambda: place.effects("done") == 1, "its end")
    await process.ask(("another", now()))
    await until(lambda: place.came("another"), "what came after")
    assert place.came("twice") == 2, "wanted twice meanwhile is wanted once more"


async def test_a_stop_ends_what_runs_and_begins_nothing(place: Place, pace: Pace) -> None:
    pace(HOUR)
    gate = asyncio.Event()
    place.toolkit.rules["slow"] = Rule(gate=gate)
    process = await place.process(slots={"tools": 1})
    async with place.model_at_work(process):
        runs = [await place.trigger(process, "wait") for _ in range(4)]
        await until(place.toolkit.before_effect.is_set, "a tool that waits")
        await until(lambda: len(_waiting(place)) + len(place.toolkit.starts) >= 4, "all runs at their tool")
    begun = len(place.toolkit.starts)
    stopping = asyncio.create_task(process.stop(300))
    await asyncio.sleep(0)
    gate.set()
    await stopping
    assert len(place.toolkit.starts) == len(place.toolkit.ledger) == begun
    assert place.effects("claimed") == 0
    assert place.jobs("status = 'picked'") == 0, "its jobs are given back"
    await process.ask(("later", now()))
    await process.end()
    assert place.came("later") == 0
    after = await place.process()
    async with place.model_at_work(after):
        await place.ended(*runs)
        await until(lambda: place.came("later"), "what was asked for while nobody worked")
    assert len(place.toolkit.ledger) == 4
    place.at_rest()


def _waiting(place: Place) -> list[str]:
    """Runs whose tool has not begun."""
    asked = "SELECT string_agg(run_id, ',') FROM effect WHERE kind = 'execute_tool' AND state = 'pending'"
    found = place.scalar(asked.replace("string_agg", "group_concat") if place.lite else asked)
    return str(found).split(",") if found else []


async def test_no_more_at_once_than_there_are_slots(place: Place) -> None:
    """Many runs come to the same lane in the same moment, each by a transaction of its own."""
    gate = asyncio.Event()
    place.toolkit.rules["slow"] = Rule(gate=gate)
    process = await place.process(slots={"tools": 2})
    async with place.model_at_work(process):
        runs = await asyncio.gather(*(place.trigger(process, "wait") for _ in range(12)))
        await until(lambda: len(_waiting(place)) + len(place.toolkit.starts) >= 12, "all runs at their tool")
        at_once = len(place.toolkit.starts)
        gate.set()
        await place.ended(*runs)
    assert at_once == 2
    place.at_rest()


async def test_what_waits_for_room_begins_as_soon_as_there_is_some(place: Place, pace: Pace) -> None:
    """No hint is used up by a full lane: nothing is looked for here that no hint told of."""
    pace(HOUR)
    process = await place.process(slots={"tools": 1, "gemini": 1}, takes=0.002)
    async with place.model_at_work(process):
        runs = await asyncio.gather(*(place.trigger(process, "four") for _ in range(10)))
        await place.ended(*runs)
    assert len(process.tools.calls) == 40
    place.at_rest()


class _OneByOne(asyncio.Event):
    """A gate that lets one of those who wait through with each `set`."""

    def __init__(self) -> None:
        super().__init__()
        self._passes = asyncio.Semaphore(0)

    def set(self) -> None:
        self._passes.release()

    async def wait(self) -> Literal[True]:
        return await self._passes.acquire()


async def test_who_leaves_one_of_several_places_calls_the_next(
    place: Place, monkeypatch: pytest.MonkeyPatch, pace: Pace
) -> None:
    """Also where another call of the same run still has one; nobody looks by himself here."""
    pace(HOUR)
    monkeypatch.setattr(limits, "LOOK_AGAIN", timedelta(hours=1))
    place.limits = Ceilings({"lookup": Most(at_once=2)})
    place.toolkit.rules["lookup"] = Rule(gate=(gate := _OneByOne()))
    process = await place.process()
    async with place.model_at_work(process):
        run = await place.trigger(process, "four")
        await until(lambda: len(place.toolkit.starts) + _in_line(place) == 4, "two in line")
        assert len(place.toolkit.starts) == 2
        for begun in (3, 4):
            gate.set()
            await until(lambda begun=begun: len(place.toolkit.starts) == begun, "the next in line")
        gate.set()
        gate.set()
        await place.ended(run)
    place.at_rest()


def _in_line(place: Place) -> int:
    """How many effects no place was free for."""
    return int(place.scalar("SELECT count(*) FROM effect WHERE line <> '' AND state = 'pending'"))


async def test_more_webhooks_than_are_sorted_at_once_are_sorted_one_lot_behind_the_other(
    place: Place, pace: Pace
) -> None:
    pace(HOUR)
    process = await place.process(works=False)

    def came_before(s: Session) -> None:
        inbox.put(
            s,
            [inbox.Arrived(f"w{n}", "quota.changed", f"q{n}", 1, b"{}", now()) for n in range(450)],
        )

    await process.database.write(came_before)
    unsorted = "SELECT count(*) FROM delivery WHERE verdict = ''"
    assert place.scalar(unsorted) == 450
    if place.lite:
        await process.end()
    await place.process()
    await until(lambda: place.scalar(unsorted) == 0, "all of them")


# --- among several processes --------------------------------------------------------------


@QUEUED
@pytest.mark.parametrize("workers", [2, 3])
async def test_workers_share_the_work(place: Place, workers: int) -> None:
    door = await place.process(works=False)
    hands = [await place.process(takes=0.02, slots={"tools": 2}) for _ in range(workers)]
    async with place.model_at_work(door):
        runs = await asyncio.gather(*(place.trigger(door, "look it up") for _ in range(24)))
        await place.ended(*runs)
    shares = [len(p.tools.calls) for p in hands]
    assert sum(shares) == 24, shares
    assert min(shares) >= 2, shares
    assert max(place.toolkit.starts.values()) == 1
    place.at_rest()


@QUEUED
async def test_who_only_answers_hands_everything_on(place: Place, pace: Pace) -> None:
    """Runs, webhooks and decisions come in where nobody works; jobs alone carry them."""
    pace(HOUR)
    door = await place.process(works=False)
    await place.process()
    async with place.model_at_work(door):
        run_ids = [await place.trigger(door, "look it up") for _ in range(3)]
        asking = await place.trigger(door, "refund")
        await until(place.slack.live_buttons, "a question")
        (card,) = place.slack.messages.values()
        await door.intake.decide(
            card.approval.id, approve=True, by=ANNA, entitled_as=ANNA.id, digest=card.approval.digest
        )
        await place.ended(*run_ids, asking)
    assert door.tools.calls == []
    place.at_rest()


@QUEUED
async def test_a_replay_where_nobody_works_is_worked_on_elsewhere(place: Place, pace: Pace) -> None:
    pace(HOUR)
    door = await place.process(works=False)
    await place.process()

    def came_before(s: Session) -> None:
        inbox.put(s, [inbox.Arrived("w1", "quota.changed", "q1", 1, b"{}", now(), run_id="run_x")])

    await door.database.write(came_before)
    assert place.jobs() == 0
    await door.database.write(ledger.replay, "w1", ANNA, "", now())
    verdict = "SELECT verdict FROM delivery"
    await until(lambda: place.scalar(verdict) == "ignored", "somebody who works")


@QUEUED
async def test_mail_whose_job_was_lost_is_found(place: Place, pace: Pace) -> None:
    pace(0.3)
    door = await place.process(works=False)
    door.database.ending = lambda s: None
    await place.process()
    async with place.model_at_work(door):
        await place.ended(await place.trigger(door, "look it up"))


@QUEUED
async def test_every_job_was_lost(place: Place, pace: Pace) -> None:
    """Somebody emptied the queue's table between two processes."""
    pace(0.3)
    door = await place.process(works=False)
    for n in range(30):
        await door.ask((f"p{n}", now()))
    assert place.jobs() == 30
    place.scalar("DELETE FROM orchestrator_jobs.pgqueuer RETURNING 1")
    await place.process()
    await until(lambda: all(place.came(f"p{n}") for n in range(30)), "all thirty")
    await until(lambda: place.effects("done") == 30, "their end")
    assert all(place.came(f"p{n}") == 1 for n in range(30))


@QUEUED
async def test_a_full_worker_does_not_hold_back_another(place: Place, pace: Pace) -> None:
    """It takes no jobs it has no room for, and nobody has to miss them first."""
    pace(HOUR)
    gate = asyncio.Event()
    place.toolkit.rules["slow"] = Rule(gate=gate)
    full = await place.process(slots={"tools": 1})
    async with place.model_at_work(full):
        blocked = await place.trigger(full, "wait")
        await until(place.toolkit.before_effect.is_set, "a tool that waits")
        other = await place.process()
        runs = [await place.trigger(full, "look it up") for _ in range(6)]
        await place.ended(*runs)
        assert len(other.tools.calls) == 6
        gate.set()
        await place.ended(blocked)
    assert len(full.tools.calls) == 1
    place.at_rest()


@QUEUED
async def test_a_worker_takes_over_from_one_that_stopped(place: Place, pace: Pace) -> None:
    """What did not end within the grace time stays claimed until its lease is over."""
    pace(HOUR)
    first = await place.process()
    place.gemini.holding["held"] = asyncio.Event()
    await first.ask(("held", now()))
    await until(lambda: place.came("held"), "the probe")
    await first.ask(("more", now() + timedelta(seconds=0.5)))
    await first.stop(0.05)
    await place.process()
    await until(lambda: place.effects("done") == 1, "what the first one had a job for")
    assert place.came("more") == 1
    assert place.effects("claimed") == 1, "until its lease is over"


@pytest_asyncio.fixture
async def alone(postgres_server: sa.URL, postgres_template: str) -> AsyncIterator[Place]:
    """On a database nobody used before, so that nobody's last words are counted."""
    name = databases.create(postgres_server, postgres_template)
    made = Place(postgres_server.set(database=name).render_as_string(hide_password=False), queued=True)
    yield made
    await made.close()
    databases.administer(postgres_server, f"DROP DATABASE {name} WITH (FORCE)")


async def test_an_idle_worker_costs_next_to_nothing(alone: Place) -> None:
    """With the service's own intervals; what is counted is how often it looks into any table.

    Its transactions would not do: to be told of what others wrote to other databases of the same server is
    one, too, for whoever listens.
    """
    engine = sa.create_engine(alone.url, poolclass=sa.NullPool)
    others = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    looks = "SELECT sum(seq_scan + coalesce(idx_scan, 0)) FROM pg_stat_user_tables"
    clock = asyncio.get_running_loop().time

    def asked(statement: str) -> int:
        with engine.connect() as conn:
            return int(conn.exec_driver_sql(statement).scalar_one())

    async def lived(seconds: float) -> tuple[int, float]:
        """How often a process looks in its life, and how long that is; who has ended has told all."""
        before, began = asked(looks), clock()
        process = await alone.process(poll=timedelta(seconds=5))
        assert isinstance(process.worker, QueuedWorker)
        await asyncio.sleep(seconds)
        await process.end()
        lasted = clock() - began
        await until(lambda: asked(others) == 0, "nobody else")
        return asked(looks) - before, lasted

    (short, brief), (long, lasting) = await lived(0.5), await lived(9.5)
    assert 0 < long - short <= 6 * (lasting - brief), (short, long)


@QUEUED
async def test_a_worker_with_nothing_to_do_asks_in_one_transaction_whether_something_lies_about(
    place: Place, pace: Pace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is a commit of the server's, every three seconds, of every worker there is."""
    pace(HOUR)
    process = await place.process()
    assert isinstance(process.worker, QueuedWorker)
    said: list[Sequence[Any]] = []
    plain = Pipeline._exchange

    def noted(wire: Pipeline, words: Sequence[Any], last: Sequence[bytes]) -> Any:
        said.append([" ".join(word.sql.split())[:20] for word in words])
        return plain(wire, words, last)

    monkeypatch.setattr(Pipeline, "_exchange", noted)
    process.worker._sweep_at, process.worker._near_at = 0.0, math.inf
    await process.worker._sweep()
    looks = ["SELECT delivery.id F", "SELECT effect.id, ef", "SELECT effect.id, ef"]
    lying = [words for words in said if looks[-1] in words]  # its own first look may be among them
    assert lying
    assert all(words == looks for words in lying), lying
