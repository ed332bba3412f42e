"""People's answers through the whole loop: several of them, by groups, with other arguments, all at once."""

import asyncio
from datetime import timedelta

import pytest
from support.conversation import ANNA, BEN, TERMS
from support.gemini import Plan
from support.toolkit import Rule
from support.world import World

from orchestrator.domain.assessment import Ruling
from orchestrator.domain.cards import Card
from orchestrator.domain.consent import Actor, Approval, ApprovalStatus, Edits, Place, Stage, Terms
from orchestrator.domain.decision import Refusal
from orchestrator.domain.edits import changes
from orchestrator.domain.model import RunStatus
from orchestrator.domain.values import replace
from orchestrator.engine.answers import Decided
from orchestrator.errors import InvalidError
from orchestrator.store import questions, views

pytestmark = pytest.mark.asyncio

CARL = Actor("U0CARL", "carl", "slack")
STORIES = {"ask": (Plan((("refund", {"n": 1}),)), Plan(output="refunded"))}


def world_under(url: str, terms: Terms) -> World:
    return World(url, stories=STORIES, rules={"refund": Rule(Ruling.ASK, terms=terms)})


async def edit(world: World, approval: Approval, by: Actor, arguments: dict[str, object]) -> Decided:
    return await world.intake.edit(
        approval.id, arguments, by=by, entitled_as=by.id, digest=approval.digest, reason="less"
    )


async def test_two_stages_are_passed_and_the_tool_runs_once(database_url: str) -> None:
    stages = (Stage("risk", (ANNA.id, BEN.id), 2), Stage("legal", ("S0LEGAL",)))
    async with world_under(database_url, replace(TERMS, approvers=(), stages=stages)) as world:
        run_id, approval = await world.one_question()
        for who in (ANNA, BEN):
            assert (await world.decide(approval, True, by=who)).refused is None
            await world.settle()
        assert (await world.decide(approval, True, by=CARL)).refused is Refusal.NOT_ENTITLED
        assert world.toolkit.ledger == []
        assert (await world.run(run_id)).status is RunStatus.WAITING
        answer = await world.decide(approval, True, by=CARL, standing=("S0LEGAL",))
        assert [v.by.id for v in answer.approval.votes] == [ANNA.id, BEN.id, CARL.id]
        await world.to_the_end(run_id)
        assert len(world.toolkit.ledger) == 1
        await world.check(run_id)


async def test_who_was_taken_off_the_list_since_the_post_is_refused(database_url: str) -> None:
    async with world_under(database_url, TERMS) as world:
        _, approval = await world.one_question()
        world.toolkit.rules["refund"].terms = replace(TERMS, approvers=(ANNA.id,))
        late = await world.decide(approval, True, by=BEN)
        assert late.refused is Refusal.NOT_ENTITLED
        assert "may no longer decide" in late.note
        assert (await world.decide(approval, True, by=ANNA)).refused is None


async def test_an_edit_runs_as_edited_and_both_versions_stay_known(database_url: str) -> None:
    async with world_under(database_url, replace(TERMS, edits=Edits.SAME)) as world:
        run_id, first = await world.one_question()
        answer = await edit(world, first, BEN, {"n": 2})
        assert (answer.refused, answer.approval.status) == (None, ApprovalStatus.APPROVED)
        assert answer.approval.id != first.id
        await world.to_the_end(run_id)
        (entry,) = world.toolkit.ledger
        assert (entry.arguments, entry.approved_by) == ({"n": 2}, BEN.id)
        spent = await world.database.read(questions.load_approval, first.id)
        assert spent is not None
        assert spent[0].status is ApprovalStatus.WITHDRAWN
        told = [e for e in await world.events(run_id) if e["kind"] == "ApprovalEdited"]
        assert [e["data"]["assessment"]["arguments"] for e in told] == [{"n": 2}]
        assert world.slack.posts == 1
        await world.drain()
        assert world.slack.live_buttons() == set()
        await world.check(run_id)


async def test_people_are_shown_who_changed_what(database_url: str) -> None:
    """Since it was proposed, whoever changed it on the way; and nothing once it is as it was proposed."""
    terms = replace(TERMS, edits=Edits.SAME, approvers=(ANNA.id, BEN.id), quorum=2)
    async with world_under(database_url, terms) as world:
        run_id, _ = await world.one_question()
        for number, (by, n) in enumerate(((BEN, 2), (ANNA, 3), (BEN, 1), (ANNA, 4)), 2):
            world.clock.advance(timedelta(minutes=1))
            (now,) = await world.open_approvals(run_id)
            await edit(world, now, by, {"n": n})
            await world.settle()
            (card,) = world.slack.messages.values()
            rows = (await world.database.read(views.approvals, limit=9, run_id=run_id)).rows
            assert (card.approval.revision, rows[0]["revision"]) == (number, number)
            assert rows[0]["edited"] == card.edited
            if n == 1:
                assert card.edited is None
                continue
            assert card.edited is not None
            assert changes(card.edited, card.call.arguments, ()) == {"n": {"from": 1, "to": n}}
        assert card.edited.by == (BEN, ANNA)
        told = {row["revision"]: row["edited"] and row["edited"].by for row in rows}
        assert told == {1: None, 2: (BEN,), 3: (BEN, ANNA), 4: None, 5: (BEN, ANNA)}


async def test_arguments_that_do_not_fit_leave_the_question_open(database_url: str) -> None:
    async with world_under(database_url, replace(TERMS, edits=Edits.SAME)) as world:
        run_id, approval = await world.one_question()
        with pytest.raises(InvalidError, match="do not fit") as e:
            await edit(world, approval, BEN, {"bad": True})
        assert e.value.fields == (("arguments.bad", "is not a parameter"),)
        assert [a.id for a in await world.open_approvals(run_id)] == [approval.id]
        assert (await world.decide(approval, True)).refused is None


async def test_edits_and_approvals_at_once_give_one_of_them_whole(database_url: str) -> None:
    async with world_under(database_url, replace(TERMS, edits=Edits.SAME)) as world:
        for n in range(4):
            run_id, approval = await world.one_question()
            wishes = [
                edit(world, approval, BEN, {"n": 2}) if k % 2 else world.decide(approval, True, by=ANNA)
                for k in range(n % 2, 10 + n % 2)
            ]
            answers = await asyncio.gather(*wishes)
            (stands,) = [a for a in answers if a.refused is None]
            assert {a.refused for a in answers} <= {None, Refusal.ALREADY_DECIDED, Refusal.NOT_FOUND}
            await world.to_the_end(run_id)
            (entry,) = [e for e in world.toolkit.ledger if e.run_id == run_id]
            edited = stands.approval.id != approval.id
            assert (entry.arguments, entry.approved_by) == (
                ({"n": 2}, BEN.id) if edited else ({"n": 1}, ANNA.id)
            )
            await world.check(run_id)


@pytest.mark.parametrize("when", ["late", "under way"])
async def test_a_spent_question_is_not_drawn_over_the_one_in_its_place(database_url: str, when: str) -> None:
    """A redrawing of the old question that had to wait, or that was on the wire, while it was edited."""
    terms = replace(TERMS, edits=Edits.OTHER, approvers=(ANNA.id, BEN.id, CARL.id), quorum=2)
    async with world_under(database_url, terms) as world:
        run_id, first = await world.one_question()
        if when == "late":
            world.slack.faults["update"].append("busy")
            await world.decide(first, True, by=ANNA)
            await world.settle()
            await edit(world, first, BEN, {"n": 2})
        else:
            real = world.slack.update

            async def slow_update(card: Card) -> None:
                world.slack.update = real  # type: ignore[method-assign]
                await edit(world, first, BEN, {"n": 2})
                await world.second_worker().run_once()
                await real(card)

            world.slack.update = slow_update  # type: ignore[method-assign]
            await world.decide(first, True, by=ANNA)
        await world.drain()
        (second,) = await world.open_approvals(run_id)
        assert second.id != first.id
        assert world.slack.live_buttons() == {second.id}


async def test_a_message_of_a_question_that_was_replaced_shows_what_was_asked_there(
    database_url: str,
) -> None:
    """Its post came through and nobody knew; so the question in its place got a message of its own."""
    async with world_under(database_url, replace(TERMS, edits=Edits.OTHER)) as world:
        world.slack.faults["post"].append("lost_after")
        run_id, first = await world.one_question()
        world.clock.advance(timedelta(minutes=1))
        await edit(world, first, BEN, {"n": 2})
        await world.drain()
        (second,) = await world.open_approvals(run_id)
        shown = {card.approval.id: card for card in world.slack.messages.values()}
        told = {of: (card.replaced, card.call.arguments, card.edited) for of, card in shown.items()}
        assert told[first.id] == (True, {"n": 1}, None)
        assert told[second.id][:2] == (False, {"n": 2})
        assert world.slack.live_buttons() == {second.id}


@pytest.mark.parametrize("order", ["the old one first", "the new one first"])
async def test_a_message_of_a_question_that_was_replaced_is_told_where_the_other_one_stands(
    database_url: str, order: str
) -> None:
    """Whichever of the two is drawn first: the old message may be known before the new one is posted."""
    async with world_under(database_url, replace(TERMS, edits=Edits.OTHER)) as world:
        world.slack.faults["post"].append("lost_after")
        if order == "the old one first":
            world.slack.faults["post"].append("busy")
        run_id, first = await world.one_question()
        await edit(world, first, BEN, {"n": 2})
        await world.settle()
        world.clock.advance(timedelta(minutes=2))
        await world.drain()
        (second,) = await world.open_approvals(run_id)
        (old,) = [card for card in world.slack.messages.values() if card.approval.id == first.id]
        assert old.replaced_by == (Place(second.channel, second.ts),)
        assert second.ts not in ("", world.slack.where(first.id))


async def test_who_may_not_decide_learns_nothing_of_what_would_fit(sqlite_url: str) -> None:
    async with world_under(sqlite_url, replace(TERMS, edits=Edits.SAME)) as world:
        _, approval = await world.one_question()
        assert (await edit(world, approval, CARL, {"bad": True})).refused is Refusal.NOT_ENTITLED
        await world.decide(approval, True)
        assert (await edit(world, approval, BEN, {"bad": True})).refused is not None
