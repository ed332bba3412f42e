"""Whatever people say about a question passes the same checks, with the same refusal for the same fault."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, get_args

import pytest
from support.conversation import ANNA, BEN, DIGEST, TERMS, Conversation, wish

from orchestrator.domain import events
from orchestrator.domain.assessment import Ruling
from orchestrator.domain.consent import Actor, ApprovalStatus, Edits, Verdict
from orchestrator.domain.decision import Refusal
from orchestrator.domain.values import replace
from orchestrator.domain.verdicts import SHOWN_CHARS, Said

Change = Callable[[Conversation, Any], Any]
EVE = Actor("U0EVE", "eve", "slack")
TERMS_HERE = replace(TERMS, edits=Edits.SAME)
OTHERS = replace(TERMS_HERE, approvers=(BEN.id,))


def yes(talk: Conversation, approval: str) -> events.ApprovalDecided:
    return events.ApprovalDecided(approval, DIGEST, Verdict(True, ANNA, talk.now), ANNA.id)


def other(talk: Conversation, approval: str) -> events.ApprovalEdited:
    fresh = wish("c1", Ruling.ASK, digest="e" * 64, arguments={"n": 2}, terms=TERMS_HERE)
    return events.ApprovalEdited(approval, DIGEST, ANNA, talk.now, fresh, "", ANNA.id)


def decided_before(talk: Conversation, event: Any) -> Any:
    talk.answers("c1", True, by=BEN)
    return event


def too_late(talk: Conversation, event: Any) -> Any:
    talk.now += timedelta(hours=24)
    return event


def not_sayable(talk: Conversation, event: Any) -> Any:
    if isinstance(event, events.ApprovalEdited):
        return replace(event, assessment=replace(event.assessment, digest=DIGEST))
    return replace(event, together=True)


FAULTS: dict[str, tuple[Change, Refusal]] = {
    "no such question": (lambda _, e: replace(e, approval="apr_none"), Refusal.NOT_FOUND),
    "not entitled": (lambda _, e: replace(e, entitled_as=EVE.id), Refusal.NOT_ENTITLED),
    "not any more": (lambda _, e: replace(e, current=OTHERS), Refusal.NOT_ENTITLED),
    "decided": (decided_before, Refusal.ALREADY_DECIDED),
    "too late": (too_late, Refusal.EXPIRED),
    "shown otherwise": (lambda _, e: replace(e, digest="f" * 64), Refusal.CHANGED),
    "hardly shown": (lambda _, e: replace(e, digest=DIGEST[: SHOWN_CHARS - 1]), Refusal.CHANGED),
    "not sayable": (not_sayable, Refusal.NOT_NOW),
}


def asked() -> tuple[Conversation, str]:
    talk = Conversation().asks(wish("c1", Ruling.ASK, terms=TERMS_HERE), wish("c2", Ruling.ASK))
    approval = talk.call("c1").approval
    assert approval is not None
    return talk, approval.id


@pytest.mark.parametrize("say", [yes, other])
@pytest.mark.parametrize("fault", FAULTS)
def test_the_same_fault_is_refused_alike(say: Callable[[Conversation, str], Any], fault: str) -> None:
    change, refusal = FAULTS[fault]
    talk, approval = asked()
    event = change(talk, say(talk, approval))
    before = talk.call("c1")
    assert talk.happens(event).refused is refusal
    late = talk.call("c1").approval
    assert late is not None
    assert talk.call("c1") == before or (fault == "too late" and late.status is ApprovalStatus.EXPIRED)


@pytest.mark.parametrize("say", [yes, other])
def test_without_a_fault_it_is_heard(say: Callable[[Conversation, str], Any]) -> None:
    talk, approval = asked()
    assert talk.happens(replace(say(talk, approval), digest=DIGEST[:SHOWN_CHARS])).refused is None


def test_nothing_that_names_what_was_shown_goes_by_another_way() -> None:
    named = {e for e in get_args(events.Event) if {"digest", "entitled_as"} <= {*e.__struct_fields__}}
    assert named == set(get_args(Said))
