"""What an entry of a run's record says to a person in a shell."""

from typing import Any

import pytest

from orchestrator.cli.entries import sentence


def entry(kind: str, note: str = "", **data: Any) -> dict[str, Any]:
    return {"kind": kind, "note": note, "refused": None, "data": data}


def observed(*assessments: dict[str, Any]) -> dict[str, Any]:
    calls = [{"id": a["call_id"], "name": a["tool"], "arguments": {"to": "x"}} for a in assessments]
    snapshot = {"status": "requires_action", "calls": calls}
    return entry("InteractionObserved", snapshot=snapshot, assessments=list(assessments))


@pytest.mark.parametrize(
    ("ruling", "told"),
    [
        ("invalid", '; mail is not called: "kind: is required"'),
        ("unknown", '; mail is not called: "kind: is required"'),
        ("deny", '; mail is not called: "kind: is required"'),
        ("allow", ""),
        ("ask", ""),
    ],
)
def test_why_a_call_came_to_nothing_stands_where_it_was_asked_for(ruling: str, told: str) -> None:
    one = {"call_id": "c1", "tool": "mail", "ruling": ruling, "reason": "kind: is required"}
    said = sentence(observed(one))
    assert said == 'Gemini says requires_action and asks for mail({"to": "x"})' + told


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (entry("ApprovalCopied", person="U0A"), "U0A has the question as a direct message"),
        (entry("ApprovalCopied", person=""), "a message of ours with the question was found in Slack"),
        (
            entry("ApprovalNotCopied", person="U0A", why="no_dm"),
            "U0A cannot be sent the question as a direct message: no_dm",
        ),
        (entry("InteractionMissing", interaction_id="v1_x"), "Gemini has no interaction v1_x"),
        (
            entry("CreateUncertain", turn=2, why="timed out"),
            "Gemini's answer got lost, it may have taken interaction 2: timed out",
        ),
        (
            entry("CreateDeferred", turn=2, why="HTTP 429"),
            "interaction 2 is not taken now and goes out again later: HTTP 429",
        ),
        (entry("CreateRefused", turn=2, why="HTTP 400"), "Gemini refused interaction 2: HTTP 400"),
        (entry("ReminderDue"), "it is time to remind people"),
        (entry("RunOverdue"), "the run's time was up"),
    ],
)
def test_an_entry_is_told_in_words(told: dict[str, Any], said: str) -> None:
    assert sentence(told) == said


def test_a_reason_is_told_once() -> None:
    why = "Slack refused (channel_not_found)"
    note = f"the request could not be shown in Slack: {why}"
    assert sentence(entry("ApprovalUndelivered", note, why=why)) == note
    assert sentence(entry("ApprovalUndelivered", "later", why=why)).endswith(f"Slack: {why} (later)")
    assert sentence(entry("CreateUncertain", "later", turn=1, why="")).endswith("interaction 1 (later)")
