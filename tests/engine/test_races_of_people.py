"""Decisions that meet each other, or a change, and the one outcome they have (promises.md §4)."""

import asyncio
import os

import pytest
from races_kit import world_on
from support.conversation import ANNA, BEN
from support.toolkit import Rule

from orchestrator.domain.assessment import Ruling
from orchestrator.domain.consent import Terms
from orchestrator.domain.decision import Refusal
from orchestrator.domain.events import Choice
from orchestrator.domain.model import RunStatus
from orchestrator.errors import NotFoundError
from orchestrator.store.tables import AuditRow, table

pytestmark = pytest.mark.asyncio


@pytest.mark.timeout(900)
@pytest.mark.parametrize("people", [50])
async def test_many_people_decide_at_once_and_one_decision_stands(database_url: str, people: int) -> None:
    """Promise P23; `RACE_REQUESTS=100` asks as many questions as a release is held to, all at once."""
    requests = int(os.environ.get("RACE_REQUESTS", "1"))
    async with world_on(database_url) as world:
        run_ids = [await world.start("ask") for _ in range(requests)]
        await world.settle()
        asked = [a for run_id in run_ids for a in await world.open_approvals(run_id)]
        said = [(a, n % 2 == 0, (ANNA, BEN)[n % 3 == 0]) for n in range(people) for a in asked]
        answers = await asyncio.gather(*(world.decide(a, yes, by=by) for a, yes, by in said))
        accepted = {a.id: t for (a, _, _), t in zip(said, answers, strict=True) if t.refused is None}
        assert sum(t.refused is None for t in answers) == len(accepted) == requests
        for (approval, _, _), told in zip(said, answers, strict=True):
            first = accepted[approval.id].approval.verdict
            assert first is not None
            who_and_when = f"by {first.by.name} at {first.at:%Y-%m-%d %H:%M:%S} UTC"
            assert told.refused is None or told.refused in (Refusal.ALREADY_DECIDED, Refusal.NOT_FOUND)
            assert told.refused is None or told.note.endswith(who_and_when), told.note
        await world.settle()
        for run_id in run_ids:
            (turn, *_) = await world.chain(run_id)
            stands = turn.calls[0].approval
            assert stands is not None
            assert stands.verdict is not None
            assert stands.verdict == accepted[stands.id].approval.verdict
            ran = sum(entry.run_id == run_id for entry in world.toolkit.ledger)
            assert ran == (1 if stands.verdict.approve else 0)
        entries = await world.rows(AuditRow, table(AuditRow).c.kind == "decided")
        assert len(entries) == requests
        await world.check(*run_ids)


async def test_the_second_person_is_told_who_was_first_even_later(database_url: str) -> None:
    async with world_on(database_url) as world:
        run_id, approval = await world.one_question()
        await world.decide(approval, False)
        await world.to_the_end(run_id)
        late = await world.decide(approval, True, by=BEN)
        assert late.refused is Refusal.RUN_ENDED
        assert "anna" in late.note
        with pytest.raises(NotFoundError):
            await world.intake.decide("apr_none", approve=True, by=ANNA, entitled_as=ANNA.id, digest=None)


async def test_an_empty_digest_is_not_a_digest(database_url: str) -> None:
    async with world_on(database_url) as world:
        _, approval = await world.one_question()
        assert (await world.decide(approval, True, digest="")).refused is Refusal.CHANGED
        assert (await world.decide(approval, True, digest=None)).refused is None


@pytest.mark.parametrize("change", ["version", "policy_version"])
async def test_the_tool_changes_between_approval_and_start(database_url: str, change: str) -> None:
    async with world_on(database_url) as world:
        run_id, approval = await world.one_question()
        await world.decide(approval, True)
        setattr(world.toolkit.rules["refund"], change, "2")
        await world.settle()
        run = await world.run(run_id)
        assert run.status is RunStatus.ATTENTION
        assert world.toolkit.ledger == []
        await world.intake.resolve(run_id, Choice.RETRY, ANNA, call=run.turn.calls[0].id)
        await world.settle()
        (anew,) = await world.open_approvals(run_id)
        assert (anew.revision, anew.digest != approval.digest) == (2, True)
        await world.decide(anew, True)
        await world.settle()
        assert (await world.run(run_id)).status is RunStatus.COMPLETED
        assert len(world.toolkit.ledger) == 1
        await world.check(run_id)


@pytest.mark.parametrize("change", ["version", "policy_version"])
async def test_the_tool_changes_between_question_and_answer(database_url: str, change: str) -> None:
    """Refused and asked anew: what the person saw is not what would run."""
    async with world_on(database_url) as world:
        run_id, approval = await world.one_question()
        setattr(world.toolkit.rules["refund"], change, "2")
        told = await world.decide(approval, True)
        assert (told.refused, "asked anew" in told.note) == (Refusal.CHANGED, True)
        assert (await world.decide(approval, True)).refused is Refusal.NOT_FOUND, "its buttons are spent"
        await world.settle()
        assert world.toolkit.ledger == []
        (anew,) = await world.open_approvals(run_id)
        assert (anew.revision, anew.digest != approval.digest) == (2, True)
        await world.decide(anew, True)
        await world.settle()
        assert (await world.run(run_id)).status is RunStatus.COMPLETED
        assert len(world.toolkit.ledger) == 1
        await world.check(run_id)


async def test_a_preview_is_worked_out_anew_before_it_is_asked_anew(database_url: str) -> None:
    async with world_on(database_url) as world:
        rule = world.toolkit.rules["refund"]
        rule.would = "12 EUR go back"
        run_id, approval = await world.one_question()
        rule.version, rule.would = "2", "13 EUR go back"
        assert (await world.decide(approval, True)).refused is Refusal.CHANGED
        await world.settle()
        (anew,) = await world.open_approvals(run_id)
        assert anew.preview is not None
        assert (anew.revision, anew.preview.text) == (2, "13 EUR go back {'n': 1}")
        await world.decide(anew, True)
        await world.to_the_end(run_id)
        assert len(world.toolkit.ledger) == 1
        await world.check(run_id)


async def test_a_no_to_what_has_changed_is_a_no(database_url: str) -> None:
    async with world_on(database_url) as world:
        run_id, approval = await world.one_question()
        world.toolkit.rules["refund"].policy_version = "2"
        assert (await world.decide(approval, False)).refused is None
        await world.to_the_end(run_id)
        await world.check(run_id)


async def test_other_people_decide_since_it_was_asked(database_url: str) -> None:
    """Who may not decide any more is told so; of who may by now the question is asked anew."""
    async with world_on(database_url) as world:
        run_id, approval = await world.one_question()
        rule = world.toolkit.rules["refund"]
        rule.terms, rule.policy_version = Terms(approvers=(BEN.id,)), "2"
        assert (await world.decide(approval, True)).refused is Refusal.NOT_ENTITLED
        assert (await world.decide(approval, True, by=BEN)).refused is Refusal.CHANGED
        (anew,) = await world.open_approvals(run_id)
        assert anew.terms.approvers == (BEN.id,)
        assert (await world.decide(anew, True)).refused is Refusal.NOT_ENTITLED
        assert (await world.decide(anew, True, by=BEN)).refused is None
        await world.to_the_end(run_id)
        assert len(world.toolkit.ledger) == 1
        await world.check(run_id)


async def test_the_policy_forbids_between_question_and_answer(database_url: str) -> None:
    async with world_on(database_url) as world:
        run_id, approval = await world.one_question()
        rule = world.toolkit.rules["refund"]
        rule.ruling, rule.policy_version = Ruling.DENY, "2"
        assert (await world.decide(approval, True)).refused is Refusal.CHANGED
        await world.to_the_end(run_id)
        assert world.toolkit.ledger == []
        (turn, *_) = await world.chain(run_id)
        assert turn.calls[0].outcome is not None
        assert turn.calls[0].outcome.kind == "denied"
        await world.check(run_id)


async def test_what_is_asked_is_poked_before_the_answer(database_url: str) -> None:
    """No change of tool or policy: nobody is asked about what somebody wrote into the tables."""
    from orchestrator.store.tables import CallRow

    async with world_on(database_url) as world:
        run_id, approval = await world.one_question()
        poked = table(CallRow).update().values(arguments={"n": 1_000_000})
        await world.database.write(lambda s: s.connection().execute(poked) and None)
        await world.decide(approval, True)
        await world.settle()
        assert (await world.run(run_id)).status is RunStatus.ATTENTION
        assert world.toolkit.ledger == []
        assert await world.open_approvals(run_id) == []


@pytest.mark.parametrize("part", ["arguments", "tool", "call_id"])
async def test_what_was_approved_is_poked_in_the_database(database_url: str, part: str) -> None:
    from orchestrator.store.tables import CallRow

    async with world_on(database_url, other=Rule(Ruling.ASK)) as world:
        run_id, approval = await world.one_question()
        await world.decide(approval, True)
        poked = {"arguments": {"n": 1_000_000}, "tool": "other", "call_id": "fc9"}[part]
        calls = table(CallRow)
        await world.database.write(
            lambda s: s.connection().execute(calls.update().values({part: poked})) and None
        )
        await world.settle()
        assert (await world.run(run_id)).status is RunStatus.ATTENTION
        assert world.toolkit.ledger == []


async def test_the_policy_forbids_between_approval_and_start(database_url: str) -> None:
    async with world_on(database_url) as world:
        run_id, approval = await world.one_question()
        await world.decide(approval, True)
        world.toolkit.rules["refund"].ruling = Ruling.DENY
        await world.settle()
        assert world.toolkit.ledger == []
        (turn, *_) = await world.chain(run_id)
        assert turn.calls[0].outcome is not None
        assert turn.calls[0].outcome.kind == "denied"
