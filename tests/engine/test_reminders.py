"""Nobody can say "I did not see it": reminders, escalation, attention, the warning before forgetting."""

from datetime import timedelta

import pytest
from structlog.testing import capture_logs
from support.conversation import ANNA, BEN, TERMS
from support.gemini import Plan
from support.toolkit import Rule
from support.world import World

from orchestrator.domain.assessment import Ruling
from orchestrator.domain.consent import Actor, Approval, AtTimeout, Edits, Terms
from orchestrator.domain.deadlines import FORGETTING, notify
from orchestrator.domain.events import Choice
from orchestrator.domain.expiry import EXPIRED_TEXT
from orchestrator.domain.model import Policy, RunStatus
from orchestrator.domain.values import replace
from orchestrator.store import outbox

pytestmark = pytest.mark.asyncio

STORIES = {"ask": (Plan((("refund", {"n": 1}),)), Plan(output="told"))}
DAY, SECOND = timedelta(days=1), timedelta(seconds=1)


def world_on(url: str, terms: Terms = TERMS, *, slack: bool = True, policy: Policy | None = None) -> World:
    rules = {"refund": Rule(Ruling.ASK, terms=terms)}
    return World(url, stories=STORIES, rules=rules, slack=slack, policy=policy)


async def told(world: World, run_id: str) -> object:
    (turn, *_) = await world.chain(run_id)
    assert turn.calls[0].outcome is not None
    return turn.calls[0].outcome.result


async def test_two_reminders_and_then_a_timeout(sqlite_url: str) -> None:
    async with world_on(sqlite_url) as world:
        run_id, approval = await world.one_question()
        await world.pass_time(approval, 0.5, -SECOND)
        assert world.slack.notices == []
        await world.pass_time(approval, 0.5)
        assert world.slack.notices == [(approval.id, "1", False)]
        await world.pass_time(approval, 0.9)
        assert world.slack.notices == [(approval.id, "1", False), (approval.id, "2", True)]
        await world.pass_time(approval, 1.0)
        await world.to_the_end(run_id)
        assert await told(world, run_id) == EXPIRED_TEXT
        assert len(world.slack.notices) == 2
        assert world.slack.live_buttons() == set()
        await world.check(run_id)


@pytest.mark.parametrize("fault", ["", "busy", "lost", "lost_after"])
async def test_a_question_whose_message_was_deleted_is_shown_once_more(sqlite_url: str, fault: str) -> None:
    async with world_on(sqlite_url, replace(TERMS, quorum=2)) as world:
        run_id, approval = await world.one_question()
        del world.slack.messages[approval.ts]
        world.slack.faults["update"] += ["deleted"] * (2 if fault else 1)
        world.slack.faults["post"] += [fault] if fault else []
        assert (await world.decide(approval, True, by=ANNA)).refused is None
        for _ in range(3):
            await world.settle()
            world.clock.advance(seconds=10)
        (shown,) = await world.open_approvals(run_id)
        assert list(world.slack.messages) == [shown.ts] != [approval.ts]
        assert (await world.decide(shown, True, by=BEN)).refused is None
        await world.to_the_end(run_id)
        await world.drain()
        assert world.slack.live_buttons() == set()
        assert not world.slack.faults["update"]
        await world.check(run_id)


async def test_a_reminder_without_a_message_to_stand_under_shows_the_question_once_more(
    sqlite_url: str,
) -> None:
    async with world_on(sqlite_url) as world:
        run_id, approval = await world.one_question()
        del world.slack.messages[approval.ts]
        world.slack.faults["remind"].append("gone")
        world.slack.faults["update"].append("deleted")
        await world.pass_time(approval, 0.5)
        await world.settle()
        (shown,) = await world.open_approvals(run_id)
        assert list(world.slack.messages) == [shown.ts] != [approval.ts]
        assert await world.effects(run_id, state="dead") == []
        await world.pass_time(approval, 0.9)
        assert world.slack.notices == [(approval.id, "2", True)]
        await world.check(run_id)


@pytest.mark.parametrize("fault", ["busy", "lost", "lost_after"])
async def test_a_reminder_is_said_once_whatever_slack_does(sqlite_url: str, fault: str) -> None:
    async with world_on(sqlite_url) as world:
        _, approval = await world.one_question()
        world.slack.faults["remind"].append(fault)
        await world.pass_time(approval, 0.5)
        for _ in range(5):
            world.clock.advance(seconds=10)
            await world.settle()
        assert world.slack.notices == [(approval.id, "1", False)]
        assert not world.slack.faults["remind"]


async def test_a_reminder_slack_refuses_is_kept_for_people_to_see(sqlite_url: str) -> None:
    async with world_on(sqlite_url) as world:
        run_id, approval = await world.one_question()
        world.slack.faults["remind"].append("refused")
        await world.pass_time(approval, 0.5)
        (dead,) = await world.effects(run_id, state="dead")
        assert (dead["kind"], dead["subject"]) == ("notify_approval", f"{approval.id}.1")
        assert (await world.decide(approval, True)).refused is None


async def test_after_an_outage_only_the_newest_reminder_is_said(sqlite_url: str) -> None:
    async with world_on(sqlite_url) as world:
        _, approval = await world.one_question()
        world.slack.weather = lambda operation: "busy" if operation == "remind" else "fine"
        await world.pass_time(approval, 0.5)
        await world.pass_time(approval, 0.9)
        world.slack.weather = None
        await world.pass_time(approval, 0.95)
        assert world.slack.notices == [(approval.id, "2", True)]


@pytest.mark.parametrize("slack", [True, False])
async def test_what_stands_nowhere_in_slack_is_not_reminded_of_there(sqlite_url: str, slack: bool) -> None:
    async with world_on(sqlite_url, replace(TERMS, dm_fallback=False), slack=slack) as world:
        world.slack.faults["post"].append("refused")
        run_id, approval = await world.one_question()
        with capture_logs() as logs:
            await world.pass_time(approval, 0.5)
        assert [e["what"] for e in logs if e["event"] == "nobody_reminded"] == ["1"]
        assert world.slack.notices == []
        (notice,) = await world.effects(run_id, kind="notify_approval")
        assert notice["state"] == "done"
        (again,) = await world.open_approvals(run_id)
        assert again.reminded == 1


async def test_others_are_asked_too_and_decide(sqlite_url: str) -> None:
    terms = replace(TERMS, at_timeout=AtTimeout.ESCALATE, escalate_to=("U0ZOE",), reminders=())
    async with world_on(sqlite_url, terms) as world:
        run_id, approval = await world.one_question()
        before = world.slack.updates
        await world.pass_time(approval, 1.0)
        assert world.slack.notices == [(approval.id, "overdue", False)]
        assert world.slack.updates > before
        card, _ = world.slack.messages.values()  # in the channel, and hers
        assert "U0ZOE" in card.approval.terms.approvers
        assert card.approval.expires_at > approval.expires_at
        zoe = Actor("U0ZOE", "zoe", "slack")
        assert (await world.decide(approval, True, by=zoe)).refused is None
        await world.to_the_end(run_id)
        assert (await world.run(run_id)).status is RunStatus.COMPLETED
        await world.check(run_id)


@pytest.mark.parametrize("way", ["approved", "asked anew"])
async def test_a_run_in_attention_waits_and_goes_on(sqlite_url: str, way: str) -> None:
    async with world_on(sqlite_url, replace(TERMS, at_timeout=AtTimeout.ATTENTION)) as world:
        run_id, approval = await world.one_question()
        await world.pass_time(approval, 1.0)
        run = await world.run(run_id)
        assert (run.status, "refund" in run.reason) == (RunStatus.ATTENTION, True)
        assert world.slack.notices[-1] == (approval.id, "overdue", False)
        assert world.slack.live_buttons() == {approval.id}
        if way == "asked anew":
            await world.intake.resolve(run_id, Choice.RETRY, ANNA, call=run.turn.calls[0].id)
            await world.settle()
            (approval,) = await world.open_approvals(run_id)
            assert world.slack.live_buttons() == {approval.id}
            assert (await world.run(run_id)).status is RunStatus.WAITING
        assert (await world.decide(approval, True, by=BEN)).refused is None
        await world.to_the_end(run_id)
        assert (await world.run(run_id)).status is RunStatus.COMPLETED
        await world.drain()
        await world.check(run_id)


async def test_people_are_told_before_gemini_forgets(sqlite_url: str) -> None:
    terms = replace(TERMS, expires_after=DAY * 3, reminders=())
    async with world_on(sqlite_url, terms, policy=Policy(retention=DAY * 2)) as world:
        run_id, approval = await world.one_question()
        await world.pass_time(approval, 0.3)
        assert world.slack.notices == []
        await world.pass_time(approval, 0.6)
        assert world.slack.notices == [(approval.id, "forgetting", False)]
        due = world.clock()
        await world.database.write(outbox.add, run_id, [notify(approval, FORGETTING, due)])  # once more
        await world.settle()
        assert world.slack.notices == [(approval.id, "forgetting", False)]
        await world.pass_time(approval, 1.0)
        await world.to_the_end(run_id)
        assert await told(world, run_id) == EXPIRED_TEXT
        await world.check(run_id)


TWELVE = {"ask": (Plan(tuple(("refund", {"n": n}) for n in range(12))), Plan(output="told"))}


def world_of_twelve(url: str, **more: object) -> World:
    return World(url, stories=TWELVE, rules={"refund": Rule(Ruling.ASK, terms=TERMS)}, **more)


async def asked_twelve(world: World) -> tuple[str, list[Approval]]:
    run_id = await world.start("ask")
    await world.settle()
    return run_id, await world.open_approvals(run_id)


async def test_the_questions_of_a_turn_are_told_of_in_one_reminder(sqlite_url: str) -> None:
    async with world_of_twelve(sqlite_url) as world:
        run_id, approvals = await asked_twelve(world)
        assert len(approvals) == 12
        for share, number, last in ((0.5, "1", False), (0.9, "2", True)):
            await world.pass_time(approvals[0], share)
            (said,) = world.slack.notices
            assert said[1:] == (number, last)
            assert {said[0], *(other for _, other in world.slack.told_with)} == {a.id for a in approvals}
            assert {a.reminded for a in await world.open_approvals(run_id)} == {int(number)}
            world.slack.notices.clear()
            world.slack.told_with.clear()


@pytest.mark.parametrize("fault", ["busy", "lost", "lost_after"])
async def test_who_answers_meanwhile_silences_only_that_question(sqlite_url: str, fault: str) -> None:
    """The first of them is decided between two tries: the others are told of all the same, and once."""
    async with world_of_twelve(sqlite_url) as world:
        _, approvals = await asked_twelve(world)
        world.slack.faults["remind"].append(fault)
        await world.pass_time(approvals[0], 0.5)
        said = len(world.slack.notices)
        assert (await world.decide(approvals[0], True)).refused is None
        for _ in range(5):
            world.clock.advance(seconds=10)
            await world.settle()
        told = [n for n, *_ in world.slack.notices] + [other for _, other in world.slack.told_with]
        assert len(world.slack.notices) == 1
        assert set(told) == {a.id for a in approvals[0 if said else 1 :]}


@pytest.mark.parametrize("fault", ["busy", "lost", "lost_after"])
async def test_what_was_told_under_the_number_of_one_is_found_under_that_of_another(
    database_url: str, fault: str
) -> None:
    """An escalated question's second reminder, and the first one of its neighbour, in the same minute."""
    half = replace(TERMS, reminders=(0.5,))
    early = replace(half, expires_after=DAY, at_timeout=AtTimeout.ESCALATE, escalate_to=("U0ZOE",))
    rules = {
        "refund": Rule(Ruling.ASK, terms=early),
        "charge": Rule(Ruling.ASK, terms=replace(half, expires_after=DAY * 3)),
    }
    stories = {"ask": (Plan((("refund", {"n": 1}), ("charge", {"n": 2}))), Plan(output="told"))}
    async with World(database_url, stories=stories, rules=rules) as world:
        _, (first, second) = await asked_twelve(world)
        await world.pass_time(first, 1.0)
        world.slack.notices.clear()
        world.slack.faults["remind"].append(fault)
        await world.pass_time(second, 0.5)
        assert (await world.decide(second, True)).refused is None
        for _ in range(5):
            world.clock.advance(seconds=10)
            await world.settle()
        told = [n for n, *_ in world.slack.notices] + [other for _, other in world.slack.told_with]
        assert (len(world.slack.notices), told.count(first.id)) == (1, 1)


async def test_of_what_gemini_forgets_people_are_told_once(sqlite_url: str) -> None:
    terms = replace(TERMS, expires_after=DAY * 3, reminders=())
    rules = {"refund": Rule(Ruling.ASK, terms=terms)}
    async with World(sqlite_url, stories=TWELVE, rules=rules, policy=Policy(retention=DAY * 2)) as world:
        _, approvals = await asked_twelve(world)
        await world.pass_time(approvals[0], 0.6)
        assert [what for _, what, _ in world.slack.notices] == ["forgetting"]
        assert len(world.slack.told_with) == 11


@pytest.mark.parametrize("fault", ["busy", "lost", "lost_after"])
async def test_of_what_gemini_forgets_people_are_told_once_also_when_it_is_edited_between_two_tries(
    database_url: str, fault: str
) -> None:
    terms = replace(TERMS, expires_after=DAY * 3, reminders=(), edits=Edits.OTHER)
    rules = {"refund": Rule(Ruling.ASK, terms=terms)}
    async with World(database_url, stories=TWELVE, rules=rules, policy=Policy(retention=DAY * 2)) as world:
        run_id, approvals = await asked_twelve(world)
        world.slack.faults["remind"].append(fault)
        await world.pass_time(approvals[0], 0.6)
        due = await noticed(world, run_id)
        first = next(a for a in approvals if a.id == due)
        edited = await world.intake.edit(first.id, {"n": 99}, by=BEN, entitled_as=BEN.id, digest=first.digest)
        assert edited.refused is None
        for _ in range(5):
            world.clock.advance(seconds=10)
            await world.settle()
        told = [n for n, *_ in world.slack.notices] + [other for _, other in world.slack.told_with]
        assert len(world.slack.notices) == 1
        assert {a.id for a in approvals} - {first.id} <= {*told}


async def noticed(world: World, run_id: str) -> str:
    """The question by which they were to be told."""
    (notice,) = await world.effects(run_id, kind="notify_approval")
    return str(notice["subject"]).partition(".")[0]
