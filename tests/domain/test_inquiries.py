"""Asked back: by whom, how often, answered by one person once; whatever comes late, twice or out of order."""

from datetime import timedelta
from typing import Any

import pytest
from support.conversation import ANNA, BEN, DIGEST, TERMS, Conversation, recipe, wish

from orchestrator.domain import evidence
from orchestrator.domain.assessment import Ruling
from orchestrator.domain.consent import Actor, ApprovalStatus, Edits, Inquiry, Place, Stage
from orchestrator.domain.decision import Decision, Refusal
from orchestrator.domain.effects import EffectKind
from orchestrator.domain.events import (
    ApprovalEdited,
    ApprovalPosted,
    CancelRequested,
    InquiryPosted,
    QuestionAnswered,
    QuestionAsked,
)
from orchestrator.domain.evidence import EntryKind
from orchestrator.domain.inquiries import CHARS, MOST, Telling, parse_telling
from orchestrator.domain.lifecycle import decide, open_run
from orchestrator.domain.model import CallStatus, Policy, RunStatus
from orchestrator.domain.values import replace

EVE = Actor("U0EVE", "eve", "slack")
SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)
WHY = "Why twice?"


def waiting(**terms: Any) -> Conversation:
    """ANNA's run waits for BEN and others, under a message in Slack."""
    talk = Conversation().asks(wish("c1", Ruling.ASK, tool="refund", terms=replace(TERMS, **terms)))
    talk.happens(ApprovalPosted(talk.approval().id, "C0OPS", "17.1"))
    return talk


def asks(talk: Conversation, text: str = WHY, by: Actor = BEN, **more: Any) -> Decision:
    about = more.pop("about", None) or talk.approval().id
    return talk.happens(QuestionAsked(about, by, talk.now, text, more.pop("entitled_as", by.id)), **more)


def says(
    talk: Conversation, text: str = "It broke.", by: Actor = ANNA, number: int = 1, **more: Any
) -> Decision:
    about = more.pop("about", None) or talk.approval().id
    return talk.happens(QuestionAnswered(about, number, by, talk.now, text, by.id), **more)


def subjects(talk: Conversation, kind: EffectKind) -> list[str]:
    return [e.subject.split(".")[1] for e in talk.waiting.values() if e.kind is kind]


def test_a_question_and_its_answer_are_told_and_change_nothing_else() -> None:
    talk = waiting()
    before = talk.approval()
    asks(talk)
    assert subjects(talk, EffectKind.POST_INQUIRY) == ["1", "1@U0ANNA"]
    about = before.id
    for place in (Place("C0OPS", "17.2"), Place("D0ANNA", "19.1", ANNA.id)):
        talk.happens(InquiryPosted(about, 1, place.channel, place.ts, place.person))
    assert says(talk, after=HOUR).refused is None
    assert "1=" in subjects(talk, EffectKind.POST_INQUIRY)
    assert subjects(talk, EffectKind.UPDATE_INQUIRY) == ["1"]
    assert EffectKind.UPDATE_APPROVAL in talk.kinds()
    (asked,) = talk.approval().questions
    assert (asked.by, asked.text, asked.answer, asked.answered_by) == (BEN, WHY, "It broke.", ANNA)
    assert replace(talk.approval(), questions=()) == before  # digest, terms and time included
    assert talk.run.status is RunStatus.WAITING
    assert talk.answers("c1", True, by=BEN).refused is None
    assert talk.claims("c1").run.turn.calls[0].status is CallStatus.EXECUTING
    assert [parse_telling(f"{about}.{t.what}") for t in (Telling(2), Telling(5, True, BEN.id))] == [
        (about, Telling(2)),
        (about, Telling(5, True, BEN.id)),
    ]


def test_who_asks_and_who_answers() -> None:
    talk = waiting(stages=(Stage("risk", (BEN.id,)), Stage("legal", ("U0ZOE",))))
    for by, why in ((EVE, Refusal.NOT_ENTITLED), (Actor("U0ZOE"), Refusal.NOT_ENTITLED)):
        assert asks(talk, by=by).refused is why
    own = waiting()
    assert "yourself" in asks(own, by=ANNA).note
    assert own.approval().questions == ()
    asks(talk)
    for by in (BEN, EVE):
        assert says(talk, by=by).refused is Refusal.NOT_ENTITLED
    assert says(talk, number=2).refused is Refusal.NOT_FOUND
    assert says(talk, about="apr_else").refused is Refusal.NOT_FOUND


@pytest.mark.parametrize(("requester", "ways"), [("api:shop", ["1"]), ("U0ANNA", ["1", "1@U0ANNA"])])
def test_a_machine_that_asked_is_asked_under_the_request_only(requester: str, ways: list[str]) -> None:
    talk = waiting()
    talk.run = replace(talk.run, requester=Actor(requester))
    asks(talk)
    assert subjects(talk, EffectKind.POST_INQUIRY) == ways
    assert says(talk, by=Actor(requester)).refused is None
    nobody = waiting()
    nobody.run = replace(nobody.run, requester=Actor("system"))
    assert asks(nobody).refused is Refusal.NOT_NOW


def test_what_comes_twice_is_asked_and_answered_once() -> None:
    talk = waiting()
    for _ in range(3):
        assert asks(talk).refused is None
    assert [q.text for q in talk.approval().questions] == [WHY]
    told = talk.run
    assert says(talk).refused is None
    assert talk.run != told
    told = talk.run
    assert says(talk).refused is None
    late = says(talk, "No, it was lost.")
    assert (late.refused, late.note) == (
        Refusal.ALREADY_DECIDED,
        "already answered by anna at 2026-11-21 12:00:00 UTC",
    )
    assert talk.run == told
    asks(talk)  # once more, now that there is an answer
    assert len(talk.approval().questions) == 2


@pytest.mark.parametrize(
    ("text", "taken"), [("?", True), ("q" * CHARS, True), ("q" * (CHARS + 1), False), (" ", False)]
)
def test_the_length_of_both(text: str, taken: bool) -> None:
    talk = waiting()
    assert (asks(talk, text).refused is None) is taken
    asks(talk, "And?")
    assert (says(talk, text, number=len(talk.approval().questions)).refused is None) is taken


def test_so_many_questions_and_no_more() -> None:
    talk = waiting()
    for n in range(MOST):
        assert asks(talk, f"{n}?").refused is None
    assert asks(talk, "?").refused is Refusal.NOT_NOW
    assert len(talk.approval().questions) == MOST
    assert asks(talk, "0?").refused is None  # that one is asked already
    assert says(talk, number=MOST).refused is None


@pytest.mark.parametrize("end", ["decided", "expired", "cancelled", "edited"])
@pytest.mark.parametrize("placed", ["before", "after"])
def test_when_the_request_is_over_nothing_is_answered_and_no_button_stays(end: str, placed: str) -> None:
    talk = waiting(edits=Edits.OTHER)
    about, post = talk.approval().id, InquiryPosted(talk.approval().id, 1, "C0OPS", "17.2")
    asks(talk)
    if placed == "before":
        talk.happens(post)
    if end == "decided":
        talk.answers("c1", False, by=BEN)
    elif end == "expired":
        talk.now = talk.approval().expires_at
        assert asks(talk, "And?").refused is Refusal.EXPIRED
        assert says(talk).refused is Refusal.EXPIRED
        talk.answers("c1", True, by=BEN)  # comes too late, and lets it lapse
    elif end == "cancelled":
        talk.happens(CancelRequested(ANNA))
    else:
        other = wish("c1", Ruling.ASK, tool="refund", arguments={"n": 2}, digest="e" * 64)
        talk.happens(ApprovalEdited(about, DIGEST, BEN, talk.now, other, "", BEN.id))
        assert talk.approval().id != about
    gone = {"cancelled": Refusal.RUN_ENDED}.get(end, Refusal.NOT_FOUND)
    assert asks(talk, "And?", about=about).refused in (gone, Refusal.ALREADY_DECIDED)
    assert says(talk, about=about).refused in (gone, Refusal.ALREADY_DECIDED)
    if placed == "before":
        assert subjects(talk, EffectKind.UPDATE_INQUIRY) == ["1"]
    elif end == "cancelled":
        assert talk.happens(post).effects[0].kind is EffectKind.UPDATE_INQUIRY
    else:  # its turn or its place was left behind: the store remembers the place, and redraws
        assert talk.happens(post).run.turn.by_approval(about) is None


def test_what_was_answered_stands_with_the_changed_question_too() -> None:
    talk = waiting(edits=Edits.SAME, quorum=2)
    asks(talk)
    asks(talk, "And how much?")
    says(talk)
    other = wish("c1", Ruling.ASK, tool="refund", arguments={"n": 2}, digest="e" * 64)
    talk.happens(ApprovalEdited(talk.approval().id, DIGEST, BEN, talk.now, other, "", BEN.id))
    assert [q.text for q in talk.approval().questions] == [WHY]
    assert says(talk, "Again.").refused is Refusal.ALREADY_DECIDED


def test_what_is_asked_before_the_request_can_be_seen_is_said_when_it_can() -> None:
    talk = Conversation().asks(wish("c1", Ruling.ASK, tool="refund"))
    asks(talk)
    talk.waiting.clear()  # there was nothing to say it under
    talk.happens(ApprovalPosted(talk.approval().id, "C0OPS", "17.1"))
    assert subjects(talk, EffectKind.POST_INQUIRY) == ["1"]


def test_both_are_evidence_and_so_is_who_was_refused() -> None:
    talk = waiting()
    kinds = []
    for event in (
        QuestionAsked(talk.approval().id, EVE, talk.now, WHY, EVE.id),
        QuestionAsked(talk.approval().id, BEN, talk.now, WHY, BEN.id),
        InquiryPosted(talk.approval().id, 1, "C0OPS", "17.2"),
        QuestionAnswered(talk.approval().id, 1, ANNA, talk.now, "So.", ANNA.id),
    ):
        before = talk.run
        entries = evidence.follow(before, event, talk.happens(event))
        kinds += [e.kind for e in entries]
    assert kinds == [EntryKind.DECISION_REFUSED, EntryKind.ASKED_BACK, EntryKind.ANSWERED_BACK]
    assert (entries[0].facts["answer"], entries[0].facts["by"]["id"]) == ("So.", ANNA.id)


def test_an_ended_run_remembers_where_it_was_asked_and_nothing_else() -> None:
    talk = waiting()
    asks(talk)
    talk.happens(CancelRequested(ANNA))
    after = talk.happens(InquiryPosted(talk.approval().id, 1, "C0OPS", "17.2"))
    assert after.run.turn.calls[0].approval is not None
    assert after.run.turn.calls[0].approval.status is ApprovalStatus.WITHDRAWN
    assert after.run.turn.calls[0].approval.questions == (
        Inquiry(BEN, talk.now, WHY, places=(Place("C0OPS", "17.2"),)),
    )


def test_a_run_that_was_never_asked_about_knows_no_question() -> None:
    run = open_run("run_1", recipe(), "please", ANNA, now=Conversation().now).run
    asked = QuestionAsked("apr_1", BEN, Conversation().now, WHY, BEN.id)
    assert decide(run, asked, policy=Policy(), now=Conversation().now).refused is Refusal.NOT_FOUND
