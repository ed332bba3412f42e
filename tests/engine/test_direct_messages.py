"""A question goes to the people themselves: direct messages, working hours, quiet hours; a whole engine."""

from datetime import UTC, datetime, time, timedelta
from itertools import cycle

import pytest
from support.conversation import ANNA, BEN, TERMS
from support.gemini import Plan
from support.toolkit import Rule
from support.world import World

from orchestrator.domain.assessment import Ruling
from orchestrator.domain.calendar import EVERY_DAY, Calendar
from orchestrator.domain.consent import Actor, Approval, AtTimeout, Edits, Stage, Terms
from orchestrator.domain.expiry import EXPIRED_TEXT
from orchestrator.domain.model import RunStatus
from orchestrator.domain.values import replace
from orchestrator.store import questions

pytestmark = pytest.mark.asyncio

STORIES = {"ask": (Plan((("refund", {"n": 1}),)), Plan(output="told"))}
SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)
ZOE = "U0ZOE"
DIRECT = replace(TERMS, dm_after=0.25, reminders=())


def world_on(url: str, terms: Terms = DIRECT) -> World:
    return World(url, stories=STORIES, rules={"refund": Rule(Ruling.ASK, terms=terms)})


async def asked(world: World) -> tuple[str, Approval]:
    run_id = await world.start("ask")
    await world.settle()
    return run_id, await still_asked(world, run_id)


async def still_asked(world: World, run_id: str) -> Approval:
    (approval,) = await world.open_approvals(run_id)
    return approval


async def test_each_approver_gets_one_copy_and_all_end_with_the_decision(sqlite_url: str) -> None:
    terms = replace(DIRECT, approvers=(ANNA.id, "S0OPS", "api:ops", "U0EVE"), never=("S0BAD",))
    async with world_on(sqlite_url, terms) as world:
        world.slack.groups = {"S0OPS": (ANNA.id, BEN.id, "U0MAL"), "S0BAD": ("U0MAL", "U0EVE")}
        run_id, approval = await asked(world)
        await world.pass_time(approval, 0.25, -SECOND)
        assert world.slack.written_to() == set()
        await world.pass_time(approval, 0.25)
        assert world.slack.written_to() == {ANNA.id, BEN.id}
        copies = (await still_asked(world, run_id)).copies
        assert {(c.person, c.channel) for c in copies} == {(ANNA.id, "D0ANNA"), (BEN.id, "D0BEN")}
        assert len(world.slack.messages) == 3
        assert (await world.decide(approval, True)).refused is None
        await world.to_the_end(run_id)
        await world.drain()
        assert world.slack.live_buttons() == set()
        await world.check(run_id)


async def test_whose_message_it_is(database_url: str) -> None:
    async with world_on(database_url) as world:
        one, other = [(await asked(world))[0] for _ in range(2)]
        await world.pass_time(await still_asked(world, other), 0.25)
        mine, theirs = await still_asked(world, one), await still_asked(world, other)
        assert len(mine.copies) == len(theirs.copies) == 2

        async def elsewhere(channel: str, ts: str) -> bool:
            return await world.database.read(questions.shown_elsewhere, mine.id, channel, ts)

        for known in (mine, *mine.copies):
            assert not await elsewhere(known.channel, known.ts)
        for foreign in (theirs, *theirs.copies):
            assert await elsewhere(foreign.channel, foreign.ts)
        assert not await elsewhere("C0ELSEWHERE", theirs.ts)


@pytest.mark.parametrize("fault", ["busy", "lost", "lost_after"])
async def test_a_copy_is_there_once_whatever_slack_does(sqlite_url: str, fault: str) -> None:
    async with world_on(sqlite_url) as world:
        run_id, approval = await asked(world)
        world.slack.faults["copy"].append(fault)
        await world.pass_time(approval, 0.25)
        for _ in range(5):
            world.clock.advance(seconds=10)
            await world.settle()
        assert sorted(person for _, person in world.slack.direct.values()) == [ANNA.id, BEN.id]
        assert len((await still_asked(world, run_id)).copies) == 2
        assert not world.slack.faults["copy"]


async def test_a_copy_whose_answer_got_lost_before_the_decision_keeps_no_buttons(sqlite_url: str) -> None:
    async with world_on(sqlite_url) as world:
        run_id, approval = await asked(world)
        world.slack.faults["copy"].extend(["lost_after", "lost_after"])
        await world.pass_time(approval, 0.25)
        assert (await still_asked(world, run_id)).copies == ()
        assert (await world.decide(approval, False)).refused is None
        world.clock.advance(seconds=10)
        await world.to_the_end(run_id)
        await world.drain()
        assert len(world.slack.direct) == 2
        assert world.slack.live_buttons() == set()
        await world.check(run_id)


async def test_who_takes_no_direct_messages_is_noted_and_passed_over(sqlite_url: str) -> None:
    async with world_on(sqlite_url) as world:
        world.slack.unreachable = {ANNA.id}
        run_id, approval = await asked(world)
        await world.pass_time(approval, 0.25)
        assert world.slack.written_to() == {BEN.id}
        notes = [e["note"] for e in await world.events(run_id) if e["kind"] == "ApprovalNotCopied"]
        assert [ANNA.id in note for note in notes] == [True]
        assert await world.effects(run_id, state="dead") == []


@pytest.mark.parametrize("faults", [["fine", "odd"], ["refused", "odd"]])
async def test_a_copy_slack_would_not_change_for_now_is_redrawn_later(
    sqlite_url: str, faults: list[str]
) -> None:
    """Whatever becomes of the message in the channel meanwhile."""
    async with world_on(sqlite_url) as world:
        run_id, approval = await asked(world)
        await world.pass_time(approval, 0.25)
        assert world.slack.written_to() == {ANNA.id, BEN.id}
        now = cycle([*faults, "fine"])  # of the message in the channel, and of the two copies
        world.slack.weather = lambda operation: next(now) if operation == "update" else "fine"
        assert (await world.decide(approval, False)).refused is None
        await world.settle()
        assert world.slack.live_buttons() == {approval.id}
        world.slack.weather = None
        await world.drain()
        assert await world.effects(run_id, state="dead") == []
        assert world.slack.live_buttons() == set()


@pytest.mark.parametrize(("fallback", "told"), [(True, {ANNA.id, BEN.id}), (False, set())])
async def test_what_the_channel_refuses_goes_to_the_people_at_once(
    sqlite_url: str, fallback: bool, told: set[str]
) -> None:
    async with world_on(sqlite_url, replace(TERMS, dm_fallback=fallback)) as world:
        world.slack.faults["post"].append("refused")
        run_id, approval = await asked(world)
        assert world.slack.written_to() == told
        assert approval.open
        assert approval.trouble
        await world.pass_time(approval, 0.5)
        assert len(world.slack.notices) == len(told)
        assert (await world.decide(approval, True)).refused is None
        await world.to_the_end(run_id)
        assert (await world.run(run_id)).status is RunStatus.COMPLETED
        await world.drain()
        assert world.slack.live_buttons() == set()
        await world.check(run_id)


async def test_others_are_written_to_when_nobody_decides(sqlite_url: str) -> None:
    terms = replace(TERMS, at_timeout=AtTimeout.ESCALATE, escalate_to=(ZOE, "S0BOSS"), reminders=())
    async with world_on(sqlite_url, terms) as world:
        run_id, approval = await asked(world)
        await world.pass_time(approval, 0.9)
        assert world.slack.written_to() == set()
        await world.pass_time(approval, 1.0)
        assert world.slack.written_to() == {ZOE}
        assert (await world.decide(approval, True, by=Actor(ZOE, "zoe", "slack"))).refused is None
        await world.to_the_end(run_id)
        await world.drain()
        await world.check(run_id)


async def test_the_next_stage_is_written_to_when_its_turn_comes(sqlite_url: str) -> None:
    stages = (Stage("risk", (ANNA.id,)), Stage("legal", (BEN.id, ZOE)))
    async with world_on(sqlite_url, replace(DIRECT, approvers=(), stages=stages)) as world:
        _, approval = await asked(world)
        await world.pass_time(approval, 0.3)
        assert world.slack.written_to() == {ANNA.id}
        assert (await world.decide(approval, True, by=ANNA)).refused is None
        await world.settle()
        assert world.slack.written_to() == {ANNA.id, BEN.id, ZOE}
        assert all(card.approval.votes for card in world.slack.messages.values())


async def test_an_edited_question_takes_its_copies_along(sqlite_url: str) -> None:
    async with world_on(sqlite_url, replace(DIRECT, edits=Edits.SAME, quorum=2)) as world:
        run_id, approval = await asked(world)
        await world.pass_time(approval, 0.3)
        answer = await world.intake.edit(
            approval.id, {"n": 2}, by=ANNA, entitled_as=ANNA.id, digest=approval.digest
        )
        await world.settle()
        assert {card.approval.id for card in world.slack.messages.values()} == {answer.approval.id}
        assert len(world.slack.messages) == 3
        assert (await world.decide(answer.approval, True, by=BEN)).refused is None
        await world.to_the_end(run_id)
        await world.drain()
        assert world.slack.live_buttons() == set()
        await world.check(run_id)


async def test_a_cancelled_run_leaves_no_copy_behind(sqlite_url: str) -> None:
    async with world_on(sqlite_url) as world:
        run_id, approval = await asked(world)
        world.slack.faults["copy"].extend(["fine", "lost_after"])
        await world.pass_time(approval, 0.25)
        await world.cancel(run_id)
        world.clock.advance(seconds=10)
        await world.drain()
        assert len(world.slack.direct) == 2
        assert world.slack.live_buttons() == set()
        await world.check(run_id)


# --- hours --------------------------------------------------------------------------------------------

OFFICE = Calendar("Europe/Berlin", time(9), time(17, 30))
FRIDAY = datetime(2026, 11, 27, 16, tzinfo=UTC)  # 17:00 in Berlin
MONDAY = datetime(2026, 11, 30, 9, 30, tzinfo=UTC)


async def test_a_weekend_costs_nobody_their_patience(sqlite_url: str) -> None:
    """Asked on Friday at 17:00 with two hours: half of it is over on Monday at 9:30, all of it at 10:30."""
    terms = replace(TERMS, calendar=OFFICE, expires_after=HOUR * 2, reminders=(0.5,), dm_after=0.25)
    async with world_on(sqlite_url, terms) as world:
        world.clock.reach(FRIDAY)
        run_id, approval = await asked(world)
        assert FRIDAY <= approval.requested_at < FRIDAY + SECOND
        assert MONDAY <= approval.expires_at < MONDAY + SECOND
        world.clock.reach(FRIDAY + HOUR / 2 + SECOND)
        await world.settle()
        assert world.slack.written_to() == {ANNA.id, BEN.id}
        for hours in (12, 24, 36, 48):
            world.clock.reach(FRIDAY + HOUR * hours)
            await world.settle()
        assert (world.slack.notices, (await still_asked(world, run_id)).open) == ([], True)
        world.clock.reach(approval.expires_at - HOUR + SECOND)
        await world.settle()
        assert world.slack.notices == [(approval.id, "1", True)]
        world.clock.reach(approval.expires_at - SECOND)
        await world.settle()
        assert await still_asked(world, run_id)
        world.clock.reach(approval.expires_at)
        await world.to_the_end(run_id)
        (turn, *_) = await world.chain(run_id)
        assert turn.calls[0].outcome is not None
        assert turn.calls[0].outcome.result == EXPIRED_TEXT
        await world.check(run_id)


async def test_nobody_is_written_to_at_night(sqlite_url: str) -> None:
    """Neither by a timer nor by a notice that Slack took too late."""
    night = Calendar("Europe/Berlin", time(17, 30), time(7), EVERY_DAY)
    terms = replace(DIRECT, quiet_hours=night, dm_after=0.1, reminders=(0.01,))
    async with world_on(sqlite_url, terms) as world:
        world.clock.reach(FRIDAY)
        _, approval = await asked(world)
        world.clock.reach(approval.requested_at + HOUR / 2 - SECOND)
        world.slack.weather = lambda operation: "busy" if operation == "remind" else "fine"
        await world.settle()
        world.slack.weather = None
        morning = datetime(2026, 11, 28, 6, tzinfo=UTC)
        for at in (FRIDAY + HOUR, FRIDAY + HOUR * 5, morning - SECOND):
            world.clock.reach(at)
            await world.settle()
            assert (world.slack.notices, world.slack.written_to()) == ([], set())
        world.clock.reach(morning)
        await world.settle()
        assert world.slack.notices == [(approval.id, "1", True)]
        assert world.slack.written_to() == {ANNA.id, BEN.id}
