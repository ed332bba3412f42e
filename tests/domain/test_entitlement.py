"""Who may answer a question, how many yeses it takes, and what a change of the arguments does to it."""

from datetime import datetime, timedelta
from itertools import product
from zoneinfo import ZoneInfo

import pytest
from support.conversation import ANNA, BEN, DIGEST, TERMS, Conversation, seen, wish

from orchestrator.domain import inquiries
from orchestrator.domain.assessment import Ruling
from orchestrator.domain.consent import Actor, ApprovalStatus, Edits, Inquiry, Stage, Terms, Verdict
from orchestrator.domain.decision import Refusal
from orchestrator.domain.effects import EffectKind
from orchestrator.domain.events import ApprovalDecided, ApprovalEdited, ApprovalPosted, CreateClaimed
from orchestrator.domain.model import CallStatus, OutcomeKind, RunStatus, ToolCall
from orchestrator.domain.values import replace
from orchestrator.domain.verdicts import already

CARL = Actor("U0CARL", "carl", "slack")
OTHER = "e" * 64


def asked(terms: Terms) -> Conversation:
    """A run of Anna's that waits with one question."""
    told = Conversation().hear(
        CreateClaimed(1, 1), seen("i1", "requires_action", wish("c1", Ruling.ASK, terms=terms))
    )
    assert told.run.status is RunStatus.WAITING
    return told


def says(told: Conversation, who: Actor, *, yes: bool = True, **more: object) -> Refusal | None:
    approval = told.run.turn.calls[0].approval
    assert approval is not None
    verdict = Verdict(yes, who, told.now, str(more.pop("reason", "")))
    digest = str(more.pop("digest", approval.digest))
    return told.happens(ApprovalDecided(approval.id, digest, verdict, who.id, **more)).refused  # type: ignore[arg-type]


def changes(told: Conversation, who: Actor, **more: object) -> Refusal | None:
    approval = told.run.turn.calls[0].approval
    assert approval is not None
    fresh = wish(
        "c1",
        more.pop("ruling", Ruling.ASK),
        arguments={"n": 2},
        digest=more.pop("to", OTHER),
        terms=approval.terms,
    )  # type: ignore[arg-type]
    event = ApprovalEdited(approval.id, approval.digest, who, told.now, fresh, "less", who.id, **more)  # type: ignore[arg-type]
    return told.happens(event).refused


def the_call(told: Conversation) -> ToolCall:
    """Where it is settled the run has gone on from its turn."""
    return (told.run.turn.calls or told.turns[-1].calls)[0]


def status(told: Conversation) -> ApprovalStatus:
    approval = the_call(told).approval
    assert approval is not None
    return approval.status


def test_two_of_three_must_say_yes_and_nobody_counts_twice() -> None:
    told = asked(replace(TERMS, approvers=(ANNA.id, BEN.id, CARL.id), quorum=2))
    assert says(told, BEN) is None
    assert (status(told), told.run.status) == (ApprovalStatus.PENDING, RunStatus.WAITING)
    assert says(told, BEN) is Refusal.ALREADY_DECIDED
    assert "by others" in told.notes[-1]
    assert says(told, CARL) is None
    assert status(told) is ApprovalStatus.APPROVED
    assert told.run.turn.calls[0].status is CallStatus.READY
    assert says(told, ANNA) is Refusal.ALREADY_DECIDED


def test_one_no_ends_it_whatever_was_said_before() -> None:
    told = asked(replace(TERMS, approvers=(ANNA.id, BEN.id, CARL.id), quorum=3))
    says(told, BEN)
    assert says(told, CARL, yes=False) is None
    assert status(told) is ApprovalStatus.REJECTED


def test_stages_come_one_after_the_other_and_need_other_people() -> None:
    stages = (Stage("risk", (ANNA.id, BEN.id)), Stage("legal", (BEN.id, CARL.id)))
    told = asked(replace(TERMS, approvers=(), stages=stages))
    assert says(told, CARL) is Refusal.NOT_ENTITLED
    assert "not asked in this stage (risk)" in told.notes[-1]
    assert says(told, BEN) is None
    assert says(told, BEN) is Refusal.ALREADY_DECIDED
    assert says(told, ANNA) is Refusal.NOT_ENTITLED
    assert says(told, CARL) is None
    assert status(told) is ApprovalStatus.APPROVED


@pytest.mark.parametrize(
    ("listed", "never", "four_eyes", "asker", "group", "now"),
    list(product((True, False), repeat=6)),
)
def test_exactly_the_allowed_cells_may_decide(
    listed: bool, never: bool, four_eyes: bool, asker: bool, group: bool, now: bool
) -> None:
    """Anna asked for the run. Listed by name, as a member of a group, on the deny list, still listed now."""
    who = ANNA if asker else BEN
    entry = "S0FINANCE" if group else who.id
    terms = replace(
        TERMS,
        approvers=(entry,) if listed else (CARL.id,),
        never=(who.id,) if never else (),
        four_eyes=four_eyes,
    )
    current = terms if now else replace(terms, approvers=(CARL.id,))
    told = asked(terms)
    standing = ("S0FINANCE",) if group else ()
    refused = says(told, who, standing=standing, current=current)
    allowed = listed and now and not never and not (four_eyes and asker)
    assert (refused is None) is allowed
    assert (status(told) is ApprovalStatus.APPROVED) is allowed


def test_a_rejection_without_a_reason_is_taken_where_none_is_required_only() -> None:
    told = asked(replace(TERMS, reason_required=True))
    for nothing in ("", " \n", "\u200b", "\u00a0\u2060\ufeff"):
        assert says(told, BEN, yes=False, reason=nothing) is Refusal.NOT_NOW
    assert says(told, BEN, yes=False, reason="too much") is None
    outcome = the_call(told).outcome
    assert outcome is not None
    assert outcome.kind is OutcomeKind.REJECTED


def test_an_edit_is_its_authors_yes_where_terms_say_so() -> None:
    told = asked(replace(TERMS, edits=Edits.SAME))
    first = told.run.turn.calls[0].approval
    assert first is not None
    told.hear(ApprovalPosted(first.id, "C1", "1.0"))
    assert changes(told, BEN) is None
    call = told.run.turn.calls[0]
    assert call.approval is not None
    assert (call.arguments, call.status) == ({"n": 2}, CallStatus.READY)
    assert (call.approval.revision, call.approval.digest, call.approval.ts) == (2, OTHER, "1.0")
    assert f"{EffectKind.EXPIRE_APPROVAL}:{first.id}" not in told.waiting
    stale = ApprovalDecided(first.id, DIGEST, Verdict(True, ANNA, told.now), ANNA.id)
    assert told.happens(stale).refused is Refusal.NOT_FOUND


def test_where_another_person_is_needed_the_author_may_not_decide() -> None:
    told = asked(replace(TERMS, edits=Edits.OTHER))
    assert changes(told, BEN) is None
    assert (status(told), told.run.turn.calls[0].status) == (
        ApprovalStatus.PENDING,
        CallStatus.AWAITING_APPROVAL,
    )
    assert says(told, BEN) is Refusal.NOT_ENTITLED
    assert says(told, ANNA) is None
    assert status(told) is ApprovalStatus.APPROVED


def test_an_edit_wins_no_time_and_forgets_yeses() -> None:
    told = asked(replace(TERMS, edits=Edits.SAME, quorum=2))
    until = told.run.turn.calls[0].approval.expires_at  # type: ignore[union-attr]
    says(told, ANNA)
    told.now += timedelta(hours=3)
    assert changes(told, BEN) is None
    approval = told.run.turn.calls[0].approval
    assert approval is not None
    assert approval.expires_at == until
    assert [v.by for v in approval.votes] == [BEN]
    assert status(told) is ApprovalStatus.PENDING
    assert says(told, ANNA) is None
    assert status(told) is ApprovalStatus.APPROVED


@pytest.mark.parametrize(
    ("terms", "who", "more", "refused"),
    [
        (TERMS, BEN, {}, Refusal.NOT_NOW),  # not editable
        (replace(TERMS, edits=Edits.SAME), CARL, {}, Refusal.NOT_ENTITLED),
        (replace(TERMS, edits=Edits.SAME), BEN, {"to": DIGEST}, Refusal.NOT_NOW),  # nothing changed
        (replace(TERMS, edits=Edits.SAME), BEN, {"ruling": Ruling.DENY}, Refusal.NOT_NOW),
        # neither Ben nor Anna, whose run it is, could answer what he proposes
        (
            replace(TERMS, approvers=(ANNA.id, BEN.id), edits=Edits.OTHER, four_eyes=True),
            BEN,
            {},
            Refusal.NOT_NOW,
        ),
    ],
)
def test_an_edit_that_may_not_be_leaves_the_question_open(
    terms: Terms, who: Actor, more: dict[str, object], refused: Refusal
) -> None:
    told = asked(terms)
    assert changes(told, who, **more) is refused
    assert told.run.turn.calls[0].arguments == {"n": 1}
    assert says(told, BEN) is None


@pytest.mark.parametrize("ruling", [Ruling.ASK, Ruling.ALLOW])
def test_whether_arguments_may_be_changed_is_read_when_somebody_changes_them(ruling: Ruling) -> None:
    """A policy of now that takes no edits, or wants somebody else's yes to one, counts for old questions."""
    terms = replace(TERMS, edits=Edits.SAME)
    told = asked(terms)
    assert changes(told, BEN, ruling=ruling, current=TERMS) is Refusal.NOT_NOW
    assert the_call(told).arguments == {"n": 1}
    assert changes(told, BEN, ruling=ruling, current=replace(terms, edits=Edits.OTHER)) is None
    assert status(told) is ApprovalStatus.PENDING
    assert says(told, BEN) is Refusal.NOT_ENTITLED


def test_edit_and_approval_at_once_give_one_of_the_two() -> None:
    for edit_first in (True, False):
        told = asked(replace(TERMS, edits=Edits.OTHER))
        shown = told.run.turn.calls[0].approval
        assert shown is not None
        approve = ApprovalDecided(shown.id, DIGEST, Verdict(True, ANNA, told.now), ANNA.id)
        if edit_first:
            assert changes(told, BEN) is None
            assert told.happens(approve).refused is Refusal.NOT_FOUND
        else:
            assert told.happens(approve).refused is None
            assert changes(told, BEN) is Refusal.ALREADY_DECIDED
        assert (told.run.turn.calls[0].arguments == {"n": 2}) is edit_first


def test_who_is_needed_later_is_not_used_up_early() -> None:
    """Else the run could never go on: nobody counts twice."""
    stages = (Stage("risk", (ANNA.id, BEN.id)), Stage("legal", (BEN.id,)))
    told = asked(replace(TERMS, approvers=(), stages=stages))
    assert says(told, BEN) is Refusal.NOT_NOW
    assert "later stage" in told.notes[-1]
    assert says(told, ANNA) is None
    assert says(told, BEN) is None
    assert status(told) is ApprovalStatus.APPROVED


def test_an_edit_from_a_later_stage_is_no_yes_in_the_first() -> None:
    stages = (Stage("risk", (ANNA.id,)), Stage("legal", (BEN.id, CARL.id)))
    told = asked(replace(TERMS, approvers=(), stages=stages, edits=Edits.SAME))
    assert says(told, ANNA) is None
    assert changes(told, CARL) is None
    approval = told.run.turn.calls[0].approval
    assert approval is not None
    assert (approval.votes, approval.stage) == ((), 0), "nobody of the first stage has seen the new arguments"
    assert says(told, BEN) is Refusal.NOT_ENTITLED
    assert says(told, ANNA) is None
    assert says(told, CARL) is None
    assert status(told) is ApprovalStatus.APPROVED


def test_an_edit_by_who_is_needed_later_is_taken_and_not_said_to_be_refused() -> None:
    stages = (Stage("risk", (ANNA.id, BEN.id)), Stage("legal", (BEN.id,)))
    told = asked(replace(TERMS, approvers=(), stages=stages, edits=Edits.SAME))
    assert changes(told, BEN) is None
    assert told.run.turn.calls[0].arguments == {"n": 2}
    assert says(told, ANNA) is None
    assert says(told, BEN) is None
    assert status(told) is ApprovalStatus.APPROVED


def test_who_was_asked_in_a_stage_before_is_told_who_decided() -> None:
    stages = (Stage("risk", (ANNA.id, BEN.id)), Stage("legal", (CARL.id,)))
    told = asked(replace(TERMS, approvers=(), stages=stages))
    assert (says(told, ANNA), says(told, CARL)) == (None, None)
    assert says(told, BEN) is Refusal.ALREADY_DECIDED
    assert "already approved by carl" in told.notes[-1]


def test_who_comes_second_is_told_in_utc_when_it_was_decided() -> None:
    """Verdicts written down before had the time zone of the database's server."""
    there = datetime(2026, 11, 25, 1, 45, tzinfo=ZoneInfo("Pacific/Chatham"))
    verdict = Verdict(True, CARL, there)
    approval = replace(
        asked(TERMS).run.turn.calls[0].approval, status=ApprovalStatus.APPROVED, verdict=verdict
    )
    assert already(approval) == "already approved by carl at 2026-11-24 12:00:00 UTC"
    inquiry = Inquiry(CARL, there, "why?", "because", CARL, there)
    assert inquiries.told(inquiry) == "already answered by carl at 2026-11-24 12:00:00 UTC"
