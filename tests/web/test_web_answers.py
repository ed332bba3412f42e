"""Answers over Slack's doors and the API's: by place, in a form, and refused where they do not belong."""

from typing import Any

import pytest
from litestar.testing import TestClient
from web_kit import House, bearer, click_payload
from window_kit import because, press, sent

from orchestrator.domain.choosing import CHOOSE_MEDIA
from orchestrator.domain.consent import Approval, ApprovalStatus, Terms
from orchestrator.domain.human import ASK_HUMAN
from orchestrator.emulator.slack.validation import validate_view
from orchestrator.web.clicks import GONE, NO_ANSWERS
from orchestrator.web.submissions import NO_NOTE
from orchestrator.web.windows import NOT_ANEW

COLOUR = {"question": "Which?", "kind": "choice", "choices": ["red", "blue"]}
WHY = {"question": "Why?", "kind": "text"}


def asked(house: House, arguments: dict[str, Any] | None = None, **terms: Any) -> Approval:
    """A question of the agent's; without arguments about a tool's call."""
    more = {"tool": ASK_HUMAN, "arguments": arguments} if arguments else {}
    run = house.asked(terms=Terms(("U0ALICE", "U0BOB", "api:ops"), "C0APPR", **terms), **more)
    approval = run.turn.calls[0].approval
    assert approval is not None
    return approval


def test_a_choice_is_taken_by_its_place(house: House) -> None:
    approval = asked(house, COLOUR)
    by_place = [click_payload(approval.id, kind=f"choose_{n}") for n in (4, 1, 0)]
    refused = click_payload(approval.id, kind="choose_1", user="U0EVE")
    taken_back = sent("reject", approval, because("no"))
    answers = press(house, by_place[0], refused, *by_place[1:], taken_back)
    assert [status for status, _ in answers] == [200] * 5
    now = house.stands(approval)
    assert now.verdict is not None
    assert (now.status, now.verdict.approve, now.verdict.answer) == (ApprovalStatus.APPROVED, False, "blue")
    again = "Already answered by <@U0ALICE> at 2026-11-21 12:00 UTC."
    assert house.whispered.texts == [
        GONE,
        "You are not one of those who may answer this question. Ask <@U0ALICE> or <@U0BOB>.",
        again,
    ]
    assert answers[-1][1]["response_action"] == "update"  # their own no after it is told, too


def test_a_choice_of_a_question_without_choices_is_none(house: House) -> None:
    approval, plain = asked(house, WHY), asked(house)
    press(house, *(click_payload(a.id, kind="choose_0") for a in (approval, plain)))
    assert house.whispered.texts == [GONE, GONE]
    assert house.stands(approval).open
    assert house.stands(plain).open


FILES = ["run_1/job_1-1.mp4", *(f"run_1/job_2-{n}.mp4" for n in range(1, 14))]
MEDIA = {"question": "Which?", "files": FILES, "labels": None, "again_allowed": True}


def choosing(house: House, **more: Any) -> Approval:
    terms = Terms(("U0ALICE", "U0BOB"), "C0APPR")
    run = house.asked(terms=terms, tool=CHOOSE_MEDIA, arguments={**MEDIA, **more})
    approval = run.turn.calls[0].approval
    assert approval is not None
    return approval


def test_a_file_is_chosen_by_its_place(house: House) -> None:
    approval = choosing(house)
    places = ("choose_14", "choose_12", "choose_1")
    press(house, *(click_payload(approval.id, kind=place) for place in places))
    now = house.stands(approval)
    assert now.verdict is not None
    assert now.verdict.answer == {"file": FILES[12], "number": 13}
    assert house.whispered.texts == [GONE, "Already answered by <@U0ALICE> at 2026-11-21 12:00 UTC."]


def test_files_are_asked_for_anew_in_a_window(house: House) -> None:
    approval = choosing(house)
    assert press(house, click_payload(approval.id, kind="again")) == [(200, None)]
    window = house.windows[-1]
    assert validate_view({k: v for k, v in window.items() if k != "pushed"}) == ()
    empty, good = ({"reason": {"reason": {"value": v}}} for v in (" ", "Darker."))
    stranger = sent("again", approval, good, user="U0EVE")
    answers = press(house, stranger, *(sent("again", approval, v) for v in (empty, good, good)))
    assert "You are not one of those who may choose here" in str(answers[0][1])
    assert answers[1][1] == {"response_action": "errors", "errors": {"reason": NO_NOTE}}
    assert answers[2] == (200, {"response_action": "clear"})
    assert "Already answered by" in str(answers[3][1])
    now = house.stands(approval)
    assert now.verdict is not None
    assert now.verdict.answer == {"again": True, "note": "Darker."}


def test_where_nothing_is_made_anew_there_is_no_window(house: House) -> None:
    approval = choosing(house, again_allowed=False)
    press(house, click_payload(approval.id, kind="again"))
    assert (house.whispered.texts, house.windows) == ([NOT_ANEW], [])
    press(house, sent("again", approval, because("Darker.")))
    assert house.stands(approval).open


def test_words_are_given_in_a_window(house: House) -> None:
    approval = asked(house, WHY)
    assert press(house, click_payload(approval.id, kind="answer")) == [(200, None)]
    window = house.windows[-1]
    assert validate_view({k: v for k, v in window.items() if k != "pushed"}) == ()
    [field] = [b["block_id"] for b in window["blocks"] if b["type"] == "input"]
    empty, good = ({field: {"v": {"type": "plain_text_input", "value": v}}} for v in (None, "Because."))
    late = sent("answer", approval, good, user="U0BOB")
    answers = press(house, *(sent("answer", approval, v) for v in (empty, good)), late)
    assert answers[0][1] == {"response_action": "errors", "errors": {field: "is required"}}
    assert answers[1] == (200, {"response_action": "clear"})
    assert "Already answered by" in str(answers[2][1])
    now = house.stands(approval)
    assert now.verdict is not None
    assert now.verdict.answer == "Because."


def test_where_the_terms_allow_no_answer_there_is_no_window(house: House) -> None:
    approval = asked(house)
    press(house, click_payload(approval.id, kind="answer"))
    assert house.whispered.texts == [NO_ANSWERS]
    assert house.windows == []
    field = {"f:0:9bdfbb42": {"v": {"value": "x"}}}
    [(status, _)] = press(house, sent("answer", approval, field))
    assert status == 200
    assert house.stands(approval).open


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"verdict": "answer"}, 400),
        ({"verdict": "answer", "answer": None}, 400),
        ({"verdict": "approve", "answer": "red"}, 400),
        ({"verdict": "approve", "stop": True}, 400),
        ({"verdict": "answer", "answer": "green"}, 400),
        ({"verdict": "approve"}, 409),
        ({"verdict": "answer", "answer": "red", "digest": "0" * 16}, 409),
        ({"verdict": "answer", "answer": "red"}, 200),
        ({"verdict": "reject", "stop": True, "reason": "no"}, 200),
    ],
)
def test_the_api_takes_an_answer_that_fits(client: TestClient, house: House, body: Any, status: int) -> None:
    approval = asked(house, COLOUR)
    got = client.post(f"/v1/approvals/{approval.id}/decision", json=body, headers=bearer("ops"))
    assert got.status_code == status, got.text
    assert house.stands(approval).open is (status != 200)
    if body.get("stop") and status == 200:
        run = client.get(got.json()["links"]["run"], headers=bearer("ops")).json()
        assert run["status"] == "cancelled"
