"""What the agent asks, drawn within Slack's limits; what is entered in the form is the answer."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support.slack_limits import faults
from support.slack_messages import actions

from orchestrator.domain import human as questions
from orchestrator.domain.cards import Card
from orchestrator.domain.consent import Actor, Approval, ApprovalStatus, Terms, Verdict
from orchestrator.domain.model import CallStatus, Outcome, OutcomeKind, RunStatus, ToolCall
from orchestrator.domain.values import replace
from orchestrator.emulator.slack.validation import validate_view
from orchestrator.emulator.slack.workspace import initial_state
from orchestrator.slack import human, modals
from orchestrator.slack.blocks import draw

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
ALICE = Actor("U0ALICE", "alice", "slack")
TERMS = Terms(("U0ALICE",), "C0APPR", answers=True)
LONG = ("<!channel> *what*" + "\u202e" * 10) * 70
FIELDS = {
    "when": {"type": "string", "format": "date"},
    "count": {"type": "integer"},
    "gift": {"type": "boolean"},
    "extras": {"type": "array", "items": {"type": "string", "enum": ["bow", "card"]}},
}
KINDS: dict[str, dict[str, Any]] = {
    "text": {"kind": "text"},
    "few": {"kind": "choice", "choices": ["red", "blue"]},
    "many": {"kind": "choice", "choices": [f"colour {n}" for n in range(20)]},
    "several": {"kind": "multi_choice", "choices": ["a", "b", "c"]},
    "form": {"kind": "form", "schema": {"type": "object", "properties": FIELDS, "required": ["count"]}},
}


def card(arguments: dict[str, Any], *, tool: str = questions.ASK_HUMAN, terms: Terms = TERMS) -> Card:
    approval = Approval(
        "apr_1", ApprovalStatus.PENDING, "d" * 64, terms, NOW, NOW + timedelta(hours=1), ts="1.0"
    )
    call = ToolCall("call_1", "c1", tool, arguments, CallStatus.AWAITING_APPROVAL, approval=approval)
    return Card(approval, call, "run_1", "paint", ALICE, RunStatus.WAITING, description="Ask a person.")


def text_of(value: Any) -> str:
    if isinstance(value, dict):
        return "\n".join(text_of(v) for v in value.values())
    return "\n".join(map(text_of, value)) if isinstance(value, list) else str(value)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("question", ["Which one?", LONG[:2_000]])
@pytest.mark.parametrize("discreet", [False, True])
def test_a_question_keeps_within_the_limits(kind: str, question: str, discreet: bool) -> None:
    asked = card({"question": question, "why": "For the <b>record</b>.", **KINDS[kind]})
    asked = replace(asked, approval=replace(asked.approval, terms=replace(TERMS, discreet=discreet)))
    buttons = actions(draw(asked, now=NOW))
    on_card = kind == "few" and not discreet
    assert buttons == (["choose_0", "choose_1"] if on_card else ["answer"]) + ["reject_reason", "ask"]
    drawn = draw(asked, now=NOW)
    assert drawn.text.startswith("Question from paint")
    assert ("Which one?" in text_of(drawn.blocks)) is (question == "Which one?" and not discreet)
    form = human.form(asked.call)
    assert form is not None
    for view in (modals.answer(asked, form), modals.details(asked, open_=True), modals.reject(asked)):
        assert validate_view(view) == ()
    assert "submit" not in modals.details(asked, open_=True)
    assert "Shortened" not in text_of(modals.answer(asked, form))


def test_wide_choices_fit_their_buttons() -> None:
    choices = [f"{letter}{chr(0x1F600) * 74}" for letter in "ab"]  # as long as the agent may make them
    message = draw(card({"question": "Which?", "kind": "choice", "choices": choices}), now=NOW)
    assert faults(message.blocks) == []
    assert actions(message)[:2] == ["choose_0", "choose_1"]


def filled(asked: Card, **entered: dict[str, Any]) -> Any:
    form = human.form(asked.call)
    assert form is not None
    values = initial_state(form.blocks)
    for block in form.blocks:
        values[block["block_id"]]["v"] |= entered.get(block["label"]["text"], {})
    found = form.filled(values)
    assert found.arguments is not None, found.errors
    return human.answer_of(asked.call, found.arguments)


def option(value: str) -> dict[str, Any]:
    return {"value": value}


@pytest.mark.parametrize(
    ("kind", "entered", "answer"),
    [
        ("text", {"Answer": {"value": "as *you* like"}}, "as *you* like"),
        ("few", {"Answer": {"selected_option": option("1")}}, "blue"),
        ("many", {"Answer": {"selected_option": option("19")}}, "colour 19"),
        ("several", {"Answer": {"selected_options": [option("2"), option("0")]}}, ["a", "c"]),
        ("several", {}, []),
        ("form", {"count": {"value": "3"}}, {"count": 3, "extras": []}),
    ],
)
def test_what_is_entered_is_the_answer(kind: str, entered: Any, answer: Any) -> None:
    asked = card({"question": "?", **KINDS[kind]})
    found = filled(asked, **entered)
    if kind == "form":
        found.setdefault("extras", [])
    assert found == answer
    questions.check(asked.call, found)


def test_few_choices_are_all_to_be_seen() -> None:
    kinds = {k: human.form(card({"question": "?", **KINDS[k]}).call) for k in ("few", "many", "several")}
    elements = {k: f.blocks[0]["element"]["type"] for k, f in kinds.items() if f}
    assert elements == {"few": "radio_buttons", "many": "static_select", "several": "checkboxes"}


def test_an_answer_is_shown_where_the_channel_may_see_it() -> None:
    asked = card({"amount": 5}, tool="pay")
    assert "answer" in actions(draw(asked, now=NOW))
    verdict = Verdict(False, ALICE, NOW, answer="*paid* already")
    outcome = Outcome(OutcomeKind.SUCCEEDED, questions.result(asked.call, verdict.answer))
    approval = replace(asked.approval, status=ApprovalStatus.APPROVED, verdict=verdict)
    call = replace(asked.call, status=CallStatus.SETTLED, outcome=outcome, approval=approval)
    over = replace(asked, approval=approval, call=call)
    shown = text_of(draw(over, now=NOW).blocks)
    assert "Answered instead: pay" in shown
    assert "Answered by" in shown
    assert "*paid* already" in shown
    kept = replace(over, approval=replace(approval, terms=replace(TERMS, discreet=True)))
    assert "*paid* already" not in text_of(draw(kept, now=NOW).blocks)
    assert "answer" not in actions(draw(card({}, tool="pay", terms=replace(TERMS, quorum=2)), now=NOW))


def test_a_repeated_call_says_who_said_no() -> None:
    verdict = Verdict(False, ALICE, NOW - timedelta(minutes=5))
    again = replace(card({}, tool="pay"), rejected_before=verdict, rejections=2)
    shown = text_of(draw(again, now=NOW).blocks)
    assert "The same call was rejected by <@U0ALICE> at" in shown
    assert "(2 times)" in shown


def test_what_is_not_shown_whole_is_not_answered_in_slack() -> None:
    """Spelled out, what nobody sees takes more room than any window has."""
    asked = card({"kind": "text", "question": "\u200b" * 1_900 + "Pay it twice?"})
    assert human.form(asked.call) is None
    assert actions(draw(asked, now=NOW)) == ["reject_reason", "ask"]
    assert "HTTP API" in str(draw(asked, now=NOW).blocks)
    assert validate_view(modals.details(asked, open_=True)) == ()
    hidden = card(asked.call.arguments, terms=replace(TERMS, discreet=True))
    assert actions(draw(hidden, now=NOW)) == ["reject_reason", "ask"]
    assert "in a window" not in str(draw(hidden, now=NOW).blocks)
