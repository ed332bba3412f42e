"""Several questions of one turn: one message over them, and each its own decision."""

from datetime import timedelta

from support.conversation import ANNA, DIGEST, TERMS, Conversation, wish

from orchestrator.domain import batches
from orchestrator.domain.assessment import Assessment, Ruling
from orchestrator.domain.consent import Place, Stage, Terms, Verdict
from orchestrator.domain.decision import Decision, Refusal
from orchestrator.domain.effects import Effect, EffectKind
from orchestrator.domain.events import (
    ApprovalDecided,
    ApprovalExpired,
    BatchPosted,
    BatchUndelivered,
    CancelRequested,
)
from orchestrator.domain.model import CallStatus
from orchestrator.domain.values import replace

CHANNEL = "C0APPR"
ASKING = replace(TERMS, channel=CHANNEL, together=True)


def gated(call_id: str, terms: Terms = ASKING) -> Assessment:
    return wish(call_id, Ruling.ASK, terms=terms)


def turn_of(*wishes: Assessment) -> Conversation:
    return Conversation().sent().live().asks(*wishes)


def shown(talk: Conversation) -> Conversation:
    face = batches.face(talk.run.turn)
    talk.happens(BatchPosted(1, CHANNEL, "1.0", face))
    return talk


def keys(decision: Decision) -> set[str]:
    return {effect.key for effect in decision.effects}


def says(talk: Conversation, call_id: str, approve: bool, digest: str = DIGEST) -> Decision:
    verdict = Verdict(approve, ANNA, talk.now)
    event = ApprovalDecided(talk.approval(call_id).id, digest, verdict, ANNA.id, together=True)
    return talk.happens(event)


def test_two_questions_for_one_channel_stand_under_one_message_which_comes_first() -> None:
    talk = turn_of(gated("c1"), gated("c2"), wish("c3"))
    turn = talk.run.turn
    assert turn.batch == Place(CHANNEL, "")
    assert all(batches.awaited(turn, talk.approval(c)) for c in ("c1", "c2"))
    decision = talk.happens(BatchPosted(1, CHANNEL, "1.0", batches.face(turn)))
    assert keys(decision) == {f"{EffectKind.REQUEST_APPROVAL}:{talk.approval(c).id}" for c in ("c1", "c2")}
    assert not batches.awaited(talk.run.turn, talk.approval("c1"))


def test_one_question_or_one_for_each_channel_stands_alone() -> None:
    other = replace(ASKING, channel="C0OTHER")
    assert turn_of(gated("c1"), wish("c2")).run.turn.batch is None
    assert turn_of(gated("c1"), gated("c2", other)).run.turn.batch is None
    assert turn_of(gated("c1", replace(ASKING, channel="")), gated("c2")).run.turn.batch is None
    talk = turn_of(gated("c1", other), gated("c2"), gated("c3"))
    assert [c.call_id for c in batches.members(talk.run.turn)] == ["c2", "c3"]
    assert not batches.awaited(talk.run.turn, talk.approval("c1"))


def test_where_the_message_is_refused_every_question_is_shown_alone() -> None:
    talk = turn_of(gated("c1"), gated("c2"))
    decision = talk.happens(BatchUndelivered(1, "channel_not_found"))
    assert talk.run.turn.batch is None
    assert len([e for e in decision.effects if e.kind is EffectKind.REQUEST_APPROVAL]) == 2
    assert "channel_not_found" in decision.note
    again = talk.happens(BatchPosted(1, CHANNEL, "1.0"))  # late, from a try before
    assert (again.run, again.effects) == (talk.run, ())


def test_two_of_three_are_decided_one_by_one_and_the_third_lapses() -> None:
    talk = shown(turn_of(gated("c1"), gated("c2"), gated("c3")))
    redraw = f"{EffectKind.UPDATE_BATCH}:1"
    assert redraw in keys(talk.answers("c1", True))
    assert redraw in keys(talk.answers("c2", False))
    assert [c.call_id for c in batches.still_open(talk.run.turn)] == ["c3"]
    assert redraw in keys(talk.runs("c1"))
    last = talk.approval("c3")
    decision = talk.happens(ApprovalExpired(last.id), after=timedelta(days=2))
    assert redraw in keys(decision)  # the turn was left behind; its message tells the end all the same
    assert decision.left is not None
    assert decision.left.batch == Place(CHANNEL, "1.0")
    assert [c.outcome.kind for c in decision.left.calls if c.outcome] == ["succeeded", "rejected", "expired"]
    assert talk.run.turn.batch is None


def test_what_changed_while_it_was_posted_is_drawn_anew() -> None:
    talk = turn_of(gated("c1"), gated("c2"))
    face = batches.face(talk.run.turn)
    talk.answers("c1", True)
    decision = talk.happens(BatchPosted(1, CHANNEL, "1.0", face))
    assert keys(decision) == {
        f"{EffectKind.UPDATE_BATCH}:1",
        f"{EffectKind.REQUEST_APPROVAL}:{talk.approval('c2').id}",
    }


def test_nothing_is_drawn_for_news_it_does_not_show() -> None:
    talk = shown(turn_of(gated("c1"), gated("c2")))
    refused = says(talk, "c1", True, digest="f" * 64)
    assert refused.refused is Refusal.CHANGED
    assert keys(refused) == set()


def test_answered_together_one_that_changed_is_refused_and_the_others_count() -> None:
    talk = shown(turn_of(gated("c1"), gated("c2"), gated("c3")))
    assert says(talk, "c1", True).refused is None
    assert says(talk, "c2", True, digest="f" * 64).refused is Refusal.CHANGED
    assert says(talk, "c3", True).refused is None
    assert [talk.call(c).status for c in ("c1", "c2", "c3")] == [
        CallStatus.READY,
        CallStatus.AWAITING_APPROVAL,
        CallStatus.READY,
    ]


def test_one_whose_terms_say_nothing_of_it_is_not_answered_together() -> None:
    talk = shown(turn_of(gated("c1"), gated("c2", replace(ASKING, together=False))))
    assert says(talk, "c2", True).refused is Refusal.NOT_NOW
    assert talk.call("c2").status is CallStatus.AWAITING_APPROVAL
    assert talk.answers("c2", True).refused is None  # by itself it is


def test_together_means_all_of_them_by_the_same_people() -> None:
    def may(*terms: Terms) -> bool:
        talk = turn_of(*(gated(f"c{n}", t) for n, t in enumerate(terms)))
        return batches.together(batches.still_open(talk.run.turn))

    assert may(ASKING, ASKING)
    assert may(ASKING, replace(ASKING, risk="high", reason_required=True))
    assert not may(ASKING)
    assert not may(ASKING, replace(ASKING, together=False))
    assert not may(ASKING, replace(ASKING, approvers=("U0BOB",)))
    assert not may(ASKING, replace(ASKING, four_eyes=True))
    assert not may(ASKING, replace(ASKING, never=("U0EVE",)))
    assert not may(ASKING, replace(ASKING, stages=(Stage("legal", ASKING.approvers),)))


def test_a_cancel_before_and_after_the_post_leaves_no_message_that_asks() -> None:
    talk = turn_of(gated("c1"), gated("c2"))
    talk.happens(CancelRequested(ANNA))
    late = talk.happens(BatchPosted(1, CHANNEL, "1.0", batches.face(talk.run.turn)))
    assert late.effects == (Effect(EffectKind.UPDATE_BATCH, "1", talk.now),)
    talk = shown(turn_of(gated("c1"), gated("c2")))
    assert f"{EffectKind.UPDATE_BATCH}:1" in keys(talk.happens(CancelRequested(ANNA)))
