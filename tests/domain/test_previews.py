"""What a call would do is shown before it is asked about, and looked at again before it starts."""

from datetime import timedelta
from typing import Any

import pytest
from support.conversation import ANNA, BEN, TERMS, Conversation, wish

from orchestrator.domain.asking import TO_ACT
from orchestrator.domain.assessment import Assessment, Ruling
from orchestrator.domain.calls import BLIND_TEXT, DRIFTED, LAPSED_TEXT
from orchestrator.domain.consent import Actor, Approval, ApprovalStatus, AtTimeout, Edits, Preview, Verdict
from orchestrator.domain.decision import Decision, Refusal
from orchestrator.domain.effects import EffectKind
from orchestrator.domain.events import (
    ApprovalDecided,
    ApprovalEdited,
    ApprovalPosted,
    CallClaimed,
    CallCutOff,
    CallDeferred,
    CallPreviewed,
    CancelRequested,
)
from orchestrator.domain.model import CallStatus, OutcomeKind, RunStatus, ToolCall
from orchestrator.domain.values import replace

LESS, MORE = Preview("-12.50"), Preview("-99.00")
SEALED = {LESS: "a" * 64, MORE: "b" * 64, None: "c" * 64}
CARL = Actor("U0CARL", "carl", "slack")


def fresh(preview: Preview | None = None, n: int = 1, **more: Any) -> Assessment:
    """Of a tool that can tell, sealed with what it tells."""
    digest = more.pop("digest", None) or SEALED.get(preview) or "d" * 64
    return wish(
        "c1",
        more.pop("ruling", Ruling.ASK),
        arguments={"n": n},
        digest=digest,
        previews=True,
        preview=preview,
        **more,
    )


def looking(**more: Any) -> Conversation:
    """A run whose one call waits to be looked at."""
    return Conversation().asks(fresh(**more))


def tells(talk: Conversation, preview: Preview = LESS, n: int = 1, **more: Any) -> Decision:
    return talk.happens(CallPreviewed(the_call(talk).id, {"n": n}, fresh(preview, n, **more)))


def asked(**more: Any) -> Conversation:
    talk = looking(**more)
    tells(talk, **more)
    return talk.hear(ApprovalPosted(question(talk).id, "C0OPS", "1.0"))


def approved(**more: Any) -> Conversation:
    talk = asked(**more)
    assert talk.answers("c1", True).refused is None
    return talk


def comes(talk: Conversation, now_it: Preview, then: str = SEALED[LESS], claim: str = "k1") -> Decision:
    """A worker comes to the gate with what it would do now; the tool is as it was."""
    call = the_call(talk)
    seen = replace(fresh(now_it), idempotent=call.idempotent)
    return talk.happens(CallClaimed(call.id, claim, seen, then))


def the_call(talk: Conversation) -> ToolCall:
    return (talk.run.turn.calls or talk.turns[-1].calls)[0]


def question(talk: Conversation) -> Approval:
    approval = the_call(talk).approval
    assert approval is not None
    return approval


def test_nobody_is_asked_before_it_is_known_what_it_would_do() -> None:
    talk = looking()
    call = the_call(talk)
    assert (call.status, call.approval, talk.run.status) == (CallStatus.PREVIEWING, None, RunStatus.RUNNING)
    assert talk.kinds() >= {EffectKind.PREVIEW_CALL}
    assert not talk.kinds() & {EffectKind.REQUEST_APPROVAL, EffectKind.EXECUTE_TOOL}
    tells(talk)
    assert the_call(talk).status is CallStatus.AWAITING_APPROVAL
    assert (question(talk).preview, question(talk).digest) == (LESS, SEALED[LESS])
    assert talk.run.status is RunStatus.WAITING
    assert talk.kinds() >= {
        EffectKind.REQUEST_APPROVAL,
        EffectKind.EXPIRE_APPROVAL,
        EffectKind.WARN_FORGETTING,
    }


def test_doubled_late_and_foreign_previews_change_nothing() -> None:
    talk = looking()
    assert tells(talk, n=2).run.turn.calls[0].status is CallStatus.PREVIEWING
    assert "as it is now" in talk.notes[-1]
    unsaid = CallPreviewed(the_call(talk).id, {"n": 1}, fresh(None))
    assert talk.happens(unsaid).run.turn.calls[0].status is CallStatus.PREVIEWING
    tells(talk)
    before = question(talk).preview
    assert tells(talk, MORE).effects == ()
    talk.answers("c1", True)
    assert tells(talk, MORE).effects == ()
    assert question(talk).preview == before
    gone = looking()
    gone.hear(CancelRequested(ANNA))
    assert tells(gone).refused is Refusal.RUN_ENDED


def test_without_the_preview_it_needs_a_call_is_over_and_the_model_is_told_why() -> None:
    talk = looking()
    tells(talk, Preview("", "There is no order A-1."))
    outcome = the_call(talk).outcome
    assert outcome is not None
    assert (outcome.kind, outcome.result) == (OutcomeKind.FAILED, f"{BLIND_TEXT} There is no order A-1.")
    assert talk.run.status is RunStatus.RESUMING


def test_where_it_may_do_without_people_are_asked_with_the_note_and_the_same_note_lets_it_start() -> None:
    none = Preview("", "The preview failed.")
    talk = looking(preview_required=False)
    tells(talk, none, preview_required=False)
    assert question(talk).preview == none
    talk.answers("c1", True)
    same = fresh(none, preview_required=False)
    talk.happens(CallClaimed(the_call(talk).id, "k1", same, same.digest))
    assert the_call(talk).status is CallStatus.EXECUTING


@pytest.mark.parametrize(
    ("ruling", "status"),
    [
        (Ruling.DENY, CallStatus.SETTLED),
        (Ruling.INVALID, CallStatus.SETTLED),
        (Ruling.ALLOW, CallStatus.READY),
    ],
)
def test_what_the_policy_says_by_then_counts(ruling: Ruling, status: CallStatus) -> None:
    talk = looking()
    tells(talk, ruling=ruling)
    assert the_call(talk).status is status
    assert the_call(talk).approval is None


def test_what_would_still_do_the_same_starts() -> None:
    talk = approved()
    assert comes(talk, LESS).refused is None
    assert the_call(talk).status is CallStatus.EXECUTING


def test_what_would_do_something_else_by_now_is_asked_about_anew_in_the_same_message() -> None:
    talk = approved()
    first = question(talk)
    talk.now += timedelta(minutes=30)
    decision = comes(talk, MORE)
    assert (decision.refused, decision.note) == (Refusal.CHANGED, DRIFTED)
    anew = question(talk)
    assert the_call(talk).status is CallStatus.AWAITING_APPROVAL
    assert (anew.revision, anew.status, anew.verdict, anew.votes) == (2, ApprovalStatus.PENDING, None, ())
    assert anew.preview == Preview("-99.00", before="-12.50")
    assert (anew.digest, anew.channel, anew.ts) == (SEALED[MORE], "C0OPS", "1.0")
    assert anew.expires_at == talk.now + TERMS.expires_after
    assert f"{EffectKind.UPDATE_APPROVAL}:{anew.id}" in {e.key for e in decision.effects}
    assert EffectKind.REQUEST_APPROVAL not in {e.kind for e in decision.effects}
    late = ApprovalDecided(first.id, first.digest, Verdict(True, BEN, talk.now), BEN.id)
    assert talk.happens(late).refused is Refusal.NOT_FOUND, "an old button counts"
    assert talk.answers("c1", True).refused is None
    assert comes(talk, MORE, SEALED[MORE], "k2").refused is None
    assert the_call(talk).status is CallStatus.EXECUTING


def test_what_differs_in_anything_else_is_in_doubt_and_not_asked_anew() -> None:
    talk = approved()
    decision = comes(talk, MORE, then="e" * 64)
    assert (decision.refused, decision.alarm) == (Refusal.CHANGED, True)
    assert the_call(talk).status is CallStatus.IN_DOUBT
    assert question(talk).status is ApprovalStatus.WITHDRAWN
    unproven = approved()
    comes(unproven, MORE, then="")
    assert the_call(unproven).status is CallStatus.IN_DOUBT


def test_what_cannot_be_looked_at_waits_and_lapses_in_the_end() -> None:
    talk = approved()
    before = talk.run
    assert comes(talk, Preview("", "no connection")).refused is Refusal.NOT_NOW
    assert talk.run == before
    talk.now += TERMS.start_within + timedelta(seconds=1)
    comes(talk, MORE)
    outcome = the_call(talk).outcome
    assert outcome is not None
    assert (outcome.kind, outcome.result) == (OutcomeKind.EXPIRED, LAPSED_TEXT)


def test_a_policy_that_asks_by_now_asks_with_the_preview() -> None:
    talk = Conversation().asks(wish("c1"))
    call = the_call(talk)
    blind = talk.happens(CallClaimed(call.id, "k1", fresh(None)))
    assert (blind.refused, the_call(talk).status) == (Refusal.NOT_NOW, CallStatus.READY)
    talk.happens(CallClaimed(call.id, "k1", fresh(LESS)))
    assert (the_call(talk).status, question(talk).preview) == (CallStatus.AWAITING_APPROVAL, LESS)


# Edits


def changes(talk: Conversation, who: Actor = BEN) -> Decision:
    approval = question(talk)
    event = ApprovalEdited(
        approval.id, approval.digest, who, talk.now, fresh(None, 2, terms=approval.terms), "less", who.id
    )
    return talk.happens(event)


def editable(edits: Edits = Edits.SAME, **more: Any) -> Conversation:
    return asked(terms=replace(TERMS, edits=edits, **more))


def test_an_edit_is_looked_at_before_it_is_asked_and_its_authors_yes_waits_for_that() -> None:
    talk = editable()
    first = question(talk)
    talk.now += timedelta(hours=1)
    decision = changes(talk)
    call = the_call(talk)
    assert (decision.refused, call.status, call.arguments) == (None, CallStatus.PREVIEWING, {"n": 2})
    assert question(talk).status is ApprovalStatus.WITHDRAWN
    assert EffectKind.EXPIRE_APPROVAL not in talk.kinds()
    assert talk.answers("c1", True).refused is Refusal.ALREADY_DECIDED, "nobody has seen what it does"
    assert tells(talk, LESS, n=1).effects == (), "what was worked out for the former arguments"
    tells(talk, MORE, n=2, terms=first.terms)
    anew = question(talk)
    assert (anew.revision, anew.ts, anew.expires_at) == (2, "1.0", first.expires_at)
    assert (anew.preview, anew.votes, the_call(talk).status) == (MORE, (), CallStatus.AWAITING_APPROVAL)
    assert talk.answers("c1", True, by=BEN).refused is None


def test_whose_edit_needs_another_person_stays_out_after_the_preview() -> None:
    talk = editable(Edits.OTHER)
    terms = question(talk).terms
    changes(talk)
    tells(talk, MORE, n=2, terms=terms)
    assert question(talk).terms.never == (BEN.id,)
    assert talk.answers("c1", True, by=BEN).refused is Refusal.NOT_ENTITLED
    assert talk.answers("c1", True, by=ANNA).refused is None


def test_who_was_kept_out_stays_out_when_it_drifts() -> None:
    talk = editable(Edits.OTHER)
    terms = question(talk).terms
    changes(talk)
    tells(talk, MORE, n=2, terms=terms)
    talk.answers("c1", True, by=ANNA)
    now_it = fresh(LESS, 2, terms=terms)
    assert talk.happens(CallClaimed(the_call(talk).id, "k1", now_it, SEALED[MORE])).refused is Refusal.CHANGED
    assert question(talk).terms.never == (BEN.id,)
    assert talk.answers("c1", True, by=BEN).refused is Refusal.NOT_ENTITLED


def test_an_edited_call_that_cannot_be_looked_at_is_over() -> None:
    talk = editable()
    changes(talk)
    tells(talk, Preview("", "too much"), n=2)
    assert the_call(talk).outcome is not None
    assert question(talk).status is ApprovalStatus.WITHDRAWN


def test_a_question_about_an_edit_lapses_with_the_time_the_first_one_had() -> None:
    talk = editable(at_timeout=AtTimeout.REJECT)
    first = question(talk)
    talk.now = first.expires_at - timedelta(seconds=1)
    changes(talk)
    talk.now += timedelta(minutes=1)
    tells(talk, MORE, n=2, terms=first.terms)
    anew = question(talk)
    assert anew.expires_at == first.expires_at
    assert talk.due(EffectKind.EXPIRE_APPROVAL, anew.id) <= talk.now


def test_no_preview_outlives_what_gemini_remembers() -> None:
    talk = looking()
    forgotten = talk.run.turn.forgotten_at
    assert forgotten is not None
    talk.now = forgotten - TO_ACT - timedelta(minutes=1)
    tells(talk)
    assert question(talk).expires_at == forgotten - TO_ACT


def test_what_was_cut_off_and_comes_too_late_is_not_said_never_to_have_run() -> None:
    talk = approved(idempotent=True)
    comes(talk, LESS)
    talk.hear(CallCutOff(the_call(talk).id, "k1", "the process ended"))
    assert the_call(talk).status is CallStatus.READY
    talk.now += TERMS.start_within + timedelta(seconds=1)
    assert comes(talk, LESS, claim="k2").alarm
    assert the_call(talk).status is CallStatus.IN_DOUBT


def test_what_was_put_off_did_not_start_and_lapses() -> None:
    talk = approved(idempotent=True)
    comes(talk, LESS)
    talk.hear(CallDeferred(the_call(talk).id, "k1", "no room"))
    assert the_call(talk).started_at is None, "it would go on without another look"
    talk.now += TERMS.start_within + timedelta(seconds=1)
    comes(talk, LESS, claim="k2")
    outcome = the_call(talk).outcome
    assert outcome is not None
    assert outcome.result == LAPSED_TEXT


def test_an_edit_that_changes_nothing_is_none() -> None:
    talk = editable()
    before = talk.run
    approval = question(talk)
    same = fresh(None, 1, terms=approval.terms)
    event = ApprovalEdited(approval.id, approval.digest, BEN, talk.now, same, "", BEN.id)
    assert talk.happens(event).refused is Refusal.NOT_NOW
    assert talk.run == before
