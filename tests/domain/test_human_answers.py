"""People answer instead of a tool, or what the agent asks; a no stops the run; and how many at once."""

from datetime import timedelta
from typing import Any

import pytest
from support.conversation import ANNA, BEN, DIGEST, OK, TERMS, Conversation, wish

from orchestrator.domain import human
from orchestrator.domain.assessment import Ruling
from orchestrator.domain.consent import ApprovalStatus, Edits, Terms, Verdict
from orchestrator.domain.decision import Decision, Refusal
from orchestrator.domain.effects import EffectKind
from orchestrator.domain.events import ApprovalDecided, ApprovalEdited, ApprovalExpired, CallClaimed
from orchestrator.domain.evidence import word
from orchestrator.domain.model import CallStatus, Outcome, OutcomeKind, Policy, RunStatus, ToolCall
from orchestrator.domain.transcript import summary
from orchestrator.domain.values import replace
from orchestrator.errors import InvalidError

INSTEAD = replace(TERMS, answers=True)
ASKED: dict[str, Any] = {"question": "Which colour?", "kind": "choice", "choices": ["red", "blue"]}


def gated(terms: Terms = INSTEAD, *others: str) -> Conversation:
    return Conversation().asks(wish("c1", Ruling.ASK, tool="refund", terms=terms), *(wish(o) for o in others))


def question(terms: Terms = INSTEAD, **arguments: Any) -> Conversation:
    asked = arguments or ASKED
    return Conversation().asks(
        wish("c1", Ruling.ASK, tool=human.ASK_HUMAN, terms=terms, arguments=asked), wish("c2")
    )


def says(talk: Conversation, *, approve: bool = False, current: Terms | None = None, **more: Any) -> Decision:
    about, by = talk.approval(), more.pop("by", ANNA)
    digest = more.pop("digest", about.digest)
    verdict = Verdict(approve, by, talk.now, **more)
    return talk.happens(ApprovalDecided(about.id, digest, verdict, by.id, current=current))


def outcome(talk: Conversation) -> Outcome:
    turns = (*talk.turns, talk.run.turn)
    return next(c.outcome for t in turns for c in t.calls if c.call_id == "c1" and c.outcome)


# --- instead of the tool --------------------------------------------------------------------


def test_an_answer_settles_the_call_and_leaves_nothing_to_run() -> None:
    talk = gated(INSTEAD, "c2")
    key = talk.call("c1").id
    assert says(talk, answer={"paid": True}).refused is None
    assert talk.call("c1").status is CallStatus.SETTLED
    assert outcome(talk) == Outcome(
        OutcomeKind.SUCCEEDED, {"answered_by_a_person": {"paid": True}, "note": human.NOT_RUN}
    )
    assert talk.approval().status is ApprovalStatus.APPROVED
    assert talk.approval().answered
    assert f"{EffectKind.EXECUTE_TOOL}:{key}" not in talk.waiting
    assert f"{EffectKind.EXPIRE_APPROVAL}:{talk.approval().id}" not in talk.waiting
    gate = talk.happens(CallClaimed(key, "k1", wish("c1", Ruling.ASK, tool="refund")))
    assert gate.refused is Refusal.NOT_NOW  # a worker that comes all the same
    for late in ({"answer": "no"}, {"approve": True}, {}):
        assert says(talk, by=BEN, **late).refused is Refusal.ALREADY_DECIDED
    assert word(talk.approval().verdict or Verdict(True, BEN, talk.now)) == "answer"
    assert "was answered by a person and did not run" in summary(talk.run, [talk.run.turn])


def test_even_a_ready_call_does_not_run_by_an_answer() -> None:
    """Whatever had put it back: the gate itself sees no approval in it."""
    talk = gated()
    verdict = Verdict(False, ANNA, talk.now, answer="x")
    granted = replace(
        talk.approval(), status=ApprovalStatus.APPROVED, verdict=verdict, start_by=talk.now + timedelta(1)
    )
    ready = replace(talk.call("c1"), status=CallStatus.READY, approval=granted)
    talk.run = replace(talk.run, status=RunStatus.RUNNING, turn=talk.run.turn.with_call(ready))
    assert talk.claims("c1").refused is Refusal.CHANGED
    assert talk.call("c1").status is CallStatus.IN_DOUBT


@pytest.mark.parametrize(
    ("terms", "current"),
    [
        (TERMS, None),
        (INSTEAD, TERMS),  # the policy lets nobody answer any more
        (replace(INSTEAD, quorum=2), None),
    ],
)
def test_an_answer_counts_only_where_the_terms_allow_it(terms: Terms, current: Terms | None) -> None:
    talk = gated(terms)
    before = talk.run
    assert says(talk, answer="x", current=current).refused is Refusal.NOT_NOW
    assert talk.run == before


def test_an_answer_passes_the_same_gate_as_a_yes() -> None:
    talk = gated()
    stranger = replace(ANNA, id="U0EVE")
    assert says(talk, answer="x", by=stranger).refused is Refusal.NOT_ENTITLED
    assert says(talk, answer="x", digest="e" * 64).refused is Refusal.CHANGED
    assert says(talk, answer="x", approve=True).refused is Refusal.NOT_NOW
    talk.now = talk.approval().expires_at
    assert says(talk, answer="x").refused is Refusal.EXPIRED


# --- what the agent asks --------------------------------------------------------------------


def test_a_question_takes_an_answer_or_a_no_and_nothing_else() -> None:
    talk = question()
    assert says(talk, approve=True).refused is Refusal.NOT_NOW
    fresh = wish("c1", Ruling.ASK, tool=human.ASK_HUMAN, digest="e" * 64)
    edit = ApprovalEdited(talk.approval().id, DIGEST, ANNA, talk.now, fresh, "", ANNA.id)
    talk.run = replace(talk.run, turn=talk.run.turn.with_call(editable(talk.call("c1"))))
    assert talk.happens(edit).refused is Refusal.NOT_NOW
    assert says(talk, answer="blue").refused is None
    assert outcome(talk).result == {"answer": "blue", "answered_by": "a person"}
    talk.runs("c2")
    assert talk.run.turn.number == 2


def editable(call: ToolCall) -> ToolCall:
    assert call.approval is not None
    terms = replace(call.approval.terms, edits=Edits.SAME)
    return replace(call, approval=replace(call.approval, terms=terms))


def test_declining_and_silence_are_told_apart() -> None:
    talk = question()
    says(talk, reason="ask sales")
    assert outcome(talk) == Outcome(
        OutcomeKind.REJECTED, f'{human.DECLINED_TEXT} In their words: "ask sales"'
    )
    talk = question()
    about = talk.approval()
    talk.happens(ApprovalExpired(about.id), after=about.expires_at - talk.now)
    assert outcome(talk) == Outcome(OutcomeKind.EXPIRED, human.UNANSWERED_TEXT)


FIELDS = {
    "name": {"type": "string", "minLength": 2, "maxLength": 5},
    "day": {"type": "string", "format": "date"},
    "size": {"type": "string", "enum": ["S", "M"]},
    "count": {"type": "integer", "minimum": 1, "maximum": 9},
    "price": {"type": "number"},
    "gift": {"type": "boolean"},
    "extras": {"type": "array", "items": {"type": "string", "enum": ["bow", "card"]}},
}
FORM = {
    "question": "?",
    "kind": "form",
    "schema": {"type": "object", "properties": FIELDS, "required": ["count"]},
}
MANY = {"question": "?", "kind": "multi_choice", "choices": ["a", "b", "c"]}
TEXT = {"question": "?", "kind": "text"}


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (TEXT, "as you like"),
        (ASKED, "red"),
        (MANY, ["c", "a"]),
        (MANY, []),
        (FORM, {"count": 3}),
        (
            FORM,
            {
                "name": "Ann",
                "day": "2026-11-22",
                "size": "M",
                "count": 9,
                "price": 1.5,
                "gift": False,
                "extras": ["bow"],
            },
        ),
    ],
)
def test_answers_that_fit(arguments: dict[str, Any], answer: Any) -> None:
    assert human.faults(arguments) == []
    human.check(question(**arguments).call("c1"), answer)


@pytest.mark.parametrize(
    ("arguments", "answer", "where"),
    [
        (TEXT, None, "answer"),
        (TEXT, "  ", "answer"),
        (TEXT, 5, "answer"),
        (TEXT, "\ud800", "answer"),
        (TEXT, "x" * 20_001, "answer"),
        (ASKED, "green", "answer"),
        (ASKED, ["red"], "answer"),
        (ASKED, {"red": 1}, "answer"),
        (MANY, "a", "answer"),
        (MANY, ["a", "a"], "answer"),
        (MANY, ["a", ["b"]], "answer"),
        (FORM, [], "answer"),
        (FORM, {}, "answer.count"),
        (FORM, {"count": True}, "answer.count"),
        (FORM, {"count": 2.0}, "answer.count"),
        (FORM, {"count": 10}, "answer.count"),
        (FORM, {"count": 0}, "answer.count"),
        (FORM, {"count": 1, "other": 1}, "answer.other"),
        (FORM, {"count": 1, "name": "A"}, "answer.name"),
        (FORM, {"count": 1, "name": "Annabel"}, "answer.name"),
        (FORM, {"count": 1, "day": "22.11.2026"}, "answer.day"),
        (FORM, {"count": 1, "size": "L"}, "answer.size"),
        (FORM, {"count": 1, "price": "1"}, "answer.price"),
        (FORM, {"count": 1, "price": float("inf")}, "answer"),
        (FORM, {"count": 1, "gift": 1}, "answer.gift"),
        (FORM, {"count": 1, "extras": ["ribbon"]}, "answer.extras"),
    ],
)
def test_answers_that_do_not_fit_name_the_place(arguments: dict[str, Any], answer: Any, where: str) -> None:
    with pytest.raises(InvalidError) as refused:
        human.check(question(**arguments).call("c1"), answer)
    assert where in [path for path, _ in refused.value.fields]


@pytest.mark.parametrize(
    ("arguments", "where"),
    [
        ({"kind": "text", "question": " \n"}, "question"),
        ({"kind": "text", "question": "\u200b\u202e"}, "question"),
        ({"kind": "picture"}, "kind"),
        ({"kind": "choice"}, "choices"),
        ({"kind": "choice", "choices": ["one"]}, "choices"),
        ({"kind": "choice", "choices": ["one", "One "]}, "choices"),
        ({"kind": "choice", "choices": ["caf\u00e9", "cafe\u0301"]}, "choices"),
        ({"kind": "choice", "choices": ["one", "two\nlines"]}, "choices"),
        ({"kind": "choice", "choices": ["one", "x" * 76]}, "choices"),
        ({"kind": "multi_choice", "choices": [str(n) for n in range(21)]}, "choices"),
        ({"kind": "text", "choices": ["a", "b"]}, "choices"),
        ({"kind": "text", "schema": {}}, "schema"),
        ({"kind": "form"}, "schema"),
        ({"kind": "form", "schema": {"type": "object", "properties": {}}}, "schema.properties"),
        ({"kind": "form", "schema": {"type": "object", "properties": FIELDS, "$defs": {}}}, "schema"),
        (
            {"kind": "form", "schema": {"type": "object", "properties": FIELDS, "required": ["x"]}},
            "schema.required",
        ),
    ],
)
def test_questions_nobody_can_be_asked(arguments: dict[str, Any], where: str) -> None:
    assert where in [path for path, _ in human.faults({"question": "?", **arguments})]


@pytest.mark.parametrize(
    "field",
    [
        "text",
        {"type": "object", "properties": {}},
        {"type": ["string", "null"]},
        {"type": "string", "pattern": "x"},
        {"type": "string", "minLength": 3, "maxLength": 2},
        {"type": "string", "minLength": 3_001},
        {"type": "string", "maxLength": True},
        {"type": "string", "enum": []},
        {"type": "string", "enum": ["a", "a"]},
        {"type": "string", "enum": ["a", "a "]},
        {"type": "string", "format": "email"},
        {"type": "integer", "minimum": "1"},
        {"type": "array", "items": {"type": "integer"}},
        {"type": "array", "items": {"type": "string", "enum": ["a"], "minLength": 1}},
        {"type": "boolean", "description": 5},
    ],
)
def test_a_form_says_only_what_every_door_can_show(field: Any) -> None:
    schema = {"type": "object", "properties": {"it": field}}
    found = human.faults({"question": "?", "kind": "form", "schema": schema})
    assert found
    assert all(path.startswith("schema.properties.it") for path, _ in found)


# --- a no that stops the run, and how many at once ---------------------------------------------------


def test_a_no_can_stop_the_whole_run_in_the_same_moment() -> None:
    talk = gated(TERMS, "c2")
    assert says(talk, approve=True, stop=True).refused is Refusal.NOT_NOW
    says(talk, stop=True, reason="wrong customer")
    assert talk.run.status is RunStatus.CANCELLED
    assert talk.run.reason == "stopped by anna, who rejected refund: wrong customer"
    assert talk.approval().status is ApprovalStatus.REJECTED
    assert outcome(talk).kind is OutcomeKind.REJECTED
    assert talk.call("c2").outcome is not None  # withdrawn: nothing of it starts any more
    assert EffectKind.EXECUTE_TOOL not in talk.kinds()
    assert EffectKind.CANCEL_INTERACTION in talk.kinds()


def test_only_so_many_requests_of_a_run_are_open_at_a_time() -> None:
    gates = [wish(f"c{n}", Ruling.ASK, tool="refund") for n in range(1, 4)]
    talk = Conversation(policy=Policy(max_open=2)).asks(*gates, wish("c4"))
    assert [talk.call(f"c{n}").status for n in (1, 2)] == [CallStatus.AWAITING_APPROVAL] * 2
    denied = talk.call("c3").outcome
    assert denied is not None
    assert denied.kind is OutcomeKind.DENIED
    assert denied.result == (
        "denied by policy: 2 requests of this run are open already; wait for their answers"
    )
    # The policy has changed its mind about the one that was allowed: it is too many as well.
    talk.claims("c4", ruling=Ruling.ASK, terms=TERMS)
    late = talk.call("c4").outcome
    assert late is not None
    assert late.kind is OutcomeKind.DENIED
    # What was approved is no new request.
    talk.answers("c1", True)
    talk.runs("c1")
    assert talk.call("c1").outcome == OK
