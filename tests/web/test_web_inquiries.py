"""Asking back and deciding about several, over the API and in windows of Slack."""

from typing import Any

import pytest
from litestar.testing import TestClient
from web_kit import (
    CHANNEL,
    DIGEST,
    House,
    bearer,
    click_payload,
    later,
)
from window_kit import because, press, sent, words

from orchestrator.domain.consent import Approval, ApprovalStatus, Place, Terms
from orchestrator.domain.inquiries import CHARS
from orchestrator.domain.values import replace
from orchestrator.emulator.slack.validation import validate_view
from orchestrator.store import questions, run_rows
from orchestrator.web.clicks import CHANGED, GONE
from orchestrator.web.inquiry_clicks import EMPTY, TOO_LONG, YOURSELF

MAY = Terms(("U0ALICE", "U0BOB", "api:ops"), CHANNEL)


def asked(house: House, requester: str = "", **terms: Any) -> Approval:
    """A request under terms of ours; its run asked for by `api:all`, or by somebody else."""
    run = house.asked(terms=replace(MAY, **terms))
    if requester:
        changed = {"id": requester, "name": requester.lower(), "door": "slack"}
        house.write(_asked_for_by, run.id, changed)
    approval = run.turn.calls[0].approval
    assert approval is not None
    return approval


def _asked_for_by(s: Any, run_id: str, who: dict[str, str]) -> None:
    s.connection().execute(run_rows.run_t.update().where(run_rows.run_t.c.id == run_id).values(requester=who))


def post(client: TestClient, path: str, body: Any, by: str = "all") -> tuple[int, Any]:
    answer = client.post(f"/v1/approvals{path}", json=body, headers=bearer(by))
    return answer.status_code, answer.json()


# --- the API ------------------------------------------------------------------------------------------


def test_asked_and_answered_over_the_api(client: TestClient, house: House) -> None:
    approval = asked(house)
    path = f"/{approval.id}/questions"
    status, told = post(client, path, {"question": "Why <b>twice</b>?"}, "alice")
    assert status == 200
    assert [(q["number"], q["question"], q["answer"]) for q in told["questions"]] == [
        (1, "Why <b>twice</b>?", None)
    ]
    assert (told["questions"][0]["by"]["id"], told["digest"]) == ("U0ALICE", DIGEST)
    assert post(client, f"{path}/1/answer", {"answer": "It broke."}, "trigger")[0] == 403  # not their run
    assert post(client, f"{path}/2/answer", {"answer": "It broke."})[0] == 404
    status, told = post(client, f"{path}/1/answer", {"answer": "It broke."})
    assert (status, told["answer"], told["answered_by"]["id"]) == (200, "It broke.", "api:all")
    status, told = post(client, f"{path}/1/answer", {"answer": "Or not."})
    assert (status, "already answered by all at" in told["detail"]) == (409, True)
    shown = client.get(f"/v1/approvals/{approval.id}", headers=bearer()).json()
    assert [q["answer"] for q in shown["questions"]] == ["It broke."]
    assert shown["status"] == "pending"
    receipt = client.get(f"/v1/approvals/{approval.id}/receipt", headers=bearer())
    assert ("asked_back" in receipt.text, "answered_back" in receipt.text) == (True, True)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"question": "?"}, 200),
        ({"question": "q" * CHARS}, 200),
        ({"question": "q" * (CHARS + 1)}, 400),
        ({"question": ""}, 400),
        ({"question": "  "}, 409),
        ({"question": "?", "more": 1}, 400),
        ({}, 400),
    ],
)
def test_what_a_question_is(client: TestClient, house: House, body: Any, status: int) -> None:
    approval = asked(house)
    assert post(client, f"/{approval.id}/questions", body, "ops")[0] == status
    assert len(house.stands(approval).questions) == (status == 200)


def test_who_may_not_decide_may_not_ask_and_after_the_end_nobody_may(
    client: TestClient, house: House
) -> None:
    approval = asked(house, four_eyes=True)
    path = f"/{approval.id}/questions"
    assert post(client, path, {"question": "?"})[0] == 403
    assert post(client, "/apr_none/questions", {"question": "?"})[0] == 404
    assert post(client, f"/{approval.id}/decision", {"verdict": "reject"}, "ops")[0] == 200
    status, told = post(client, path, {"question": "?"}, "ops")
    assert (status, "already rejected by ops" in told["detail"]) == (409, True)


def test_several_are_decided_each_by_itself(client: TestClient, house: House) -> None:
    good, bad, gone, theirs = asked(house), asked(house), asked(house), asked(house, never=("api:ops",))
    house.write(questions.place_copy, good.id, Place(CHANNEL, "17.1", "U0BOB"), 100)
    post(client, f"/{gone.id}/decision", {"verdict": "reject"}, "ops")

    def one(approval: str, verdict: str = "approve", digest: str = DIGEST[:16]) -> dict[str, str]:
        return {"approval": approval, "verdict": verdict, "digest": digest}

    wishes = [one(good.id), one(bad.id, digest="0" * 64), one(gone.id), one("apr_none"), one(theirs.id)]
    status, told = post(client, "/decisions", {"decisions": wishes}, "ops")
    assert (status, told["recorded"]) == (200, 1)
    assert [d["status"] for d in told["decisions"]] == [200, 409, 409, 404, 403]
    assert [d["approval_id"] for d in told["decisions"]] == [w["approval"] for w in wishes]
    first, second, third, fourth, _ = told["decisions"]
    assert (first["approval"]["status"], first["approval"]["verdict"]["by"]["id"]) == ("approved", "api:ops")
    assert first["approval"]["copies"] == [{"channel": CHANNEL, "ts": "17.1", "person": "U0BOB"}]
    assert first["approval"]["together"] is False
    assert (second["approval"]["status"], "has changed" in second["detail"]) == ("pending", True)
    assert "already rejected by ops" in third["detail"]
    assert fourth["approval"] is None
    again = post(client, "/decisions", {"decisions": [one(good.id, "reject")]}, "ops")[1]
    assert (again["recorded"], "already approved by ops" in again["decisions"][0]["detail"]) == (0, True)


def test_of_several_one_that_can_be_no_id_stops_no_other(client: TestClient, house: House) -> None:
    good = asked(house)
    wishes = [
        {"approval": own, "verdict": "approve", "digest": DIGEST}
        for own in ("", "../x", "a" * 64, "é\u202e", good.id)
    ]
    status, told = post(client, "/decisions", {"decisions": wishes}, "ops")
    assert (status, told["recorded"]) == (200, 1)
    assert [d["status"] for d in told["decisions"]] == [404, 404, 404, 404, 200]
    assert {d["detail"] for d in told["decisions"][:4]} == {"there is no approval of that id"}
    assert house.stands(good).status == "approved"


@pytest.mark.parametrize("count", [0, 1, 50, 51])
def test_how_many_at_once(client: TestClient, count: int) -> None:
    wishes = [{"approval": f"apr_{n}", "verdict": "reject", "digest": DIGEST} for n in range(count)]
    assert post(client, "/decisions", {"decisions": wishes})[0] == (200 if 1 <= count <= 50 else 400)


@pytest.mark.parametrize(
    "spoiled",
    [{"digest": ""}, {"digest": "9f2c"}, {"verdict": "answer"}, {"stop": True}, {"approval": "apr_1"}],
)
def test_what_does_not_fit_decides_nothing(client: TestClient, house: House, spoiled: Any) -> None:
    approval = asked(house)
    good = {"approval": approval.id, "verdict": "approve", "digest": DIGEST}
    other = {"approval": "apr_1", "verdict": "approve", "digest": DIGEST}
    assert post(client, "/decisions", {"decisions": [other, good | spoiled]}, "ops")[0] == 400
    assert house.stands(approval).open


# --- windows of Slack -----------------------------------------------------------------------------------


def wrote(kind: str, approval: Approval, text: Any, user: str) -> Any:
    return sent(kind, approval, because(text), user=user)


CLEAR = [(200, {"response_action": "clear"})]


def test_a_press_a_question_a_press_an_answer(house: House) -> None:
    approval = asked(house, requester="U0DANA")
    assert press(house, click_payload(approval.id, kind="ask")) == [(200, None)]
    assert house.windows[-1]["callback_id"] == "ask"
    assert press(house, wrote("ask", approval, " Why? ", "U0ALICE")) == CLEAR
    assert press(house, wrote("ask", approval, "Why?", "U0ALICE")) == CLEAR  # sent twice
    house.write(questions.place_inquiry, approval.id, 1, Place(CHANNEL, "17.2"))
    assert press(house, click_payload(approval.id, kind="reply_1", user="U0DANA")) == [(200, None)]
    view = {k: v for k, v in house.windows[-1].items() if k != "pushed"}
    assert (view["callback_id"], validate_view(view)) == ("reply_1", ())
    assert press(house, wrote("reply_1", approval, "It broke.", "U0DANA")) == CLEAR
    (asked_back,) = house.stands(approval).questions
    assert (asked_back.by.id, asked_back.text, asked_back.answer) == ("U0ALICE", "Why?", "It broke.")
    assert house.whispered.said == []
    [late] = press(house, wrote("reply_1", approval, "Or not.", "U0DANA"))
    assert words(late).startswith("Already answered by u0dana at")
    press(house, click_payload(approval.id, kind="reply_1", user="U0DANA"))
    assert house.whispered.said[-1]["text"].startswith("Already answered by u0dana at")


def test_a_window_is_opened_for_who_may_and_believed_no_more_than_a_card(house: House) -> None:
    approval = asked(house, requester="U0DANA")
    press(house, wrote("ask", approval, "Why?", "U0ALICE"))
    shown = len(house.windows)
    clicks = [
        click_payload(approval.id, kind="ask", user="U0EVE"),
        click_payload(approval.id, kind="reply_1", user="U0ALICE"),
        click_payload(approval.id, kind="reply_2", user="U0DANA"),
        click_payload(approval.id, kind="ask", digest="0" * 16),
    ]
    press(house, *clicks)
    whispered = house.whispered.texts
    assert whispered[0].startswith("You are not an approver")
    assert whispered[1:] == ["Only <@U0DANA>, who asked for this run, can answer that.", GONE, CHANGED]
    assert len(house.windows) == shown
    [not_asked, not_answered] = press(
        house, wrote("ask", approval, "Me too?", "U0EVE"), wrote("reply_1", approval, "Me.", "U0ALICE")
    )
    assert words(not_asked).startswith("You are not an approver")
    assert words(not_answered) == "Only <@U0DANA>, who asked for this run, can answer that."
    assert [(q.text, q.answer) for q in house.stands(approval).questions] == [("Why?", "")]


@pytest.mark.parametrize(("text", "error"), [(None, EMPTY), (" ", EMPTY), ("q" * 3_000, "")])
def test_what_was_written_is_looked_at_in_the_window(house: House, text: Any, error: str) -> None:
    approval = asked(house, requester="U0DANA")
    [answer] = press(house, wrote("ask", approval, text, "U0ALICE"))
    errors = {"response_action": "errors", "errors": {"reason": error}}
    assert answer == ((200, errors) if error else CLEAR[0])
    assert TOO_LONG.startswith("At most")


def test_when_it_is_over_they_are_told_how_it_ended(house: House) -> None:
    approval = asked(house, requester="U0DANA")
    press(house, wrote("ask", approval, "Why?", "U0ALICE"), click_payload(approval.id, user="U0BOB"))
    assert house.stands(approval).status is ApprovalStatus.APPROVED
    [answer] = press(house, wrote("reply_1", approval, "So.", "U0DANA"))
    assert words(answer).startswith("Already approved by <@U0BOB>")
    press(house, click_payload(approval.id, kind="reply_1", user="U0DANA"))
    press(house, click_payload(approval.id, kind="ask"))
    assert [w["text"][:27] for w in house.whispered.said] == ["Already approved by <@U0BOB"] * 2
    other = asked(house, requester="U0DANA")
    press(house, wrote("ask", other, "Why?", "U0ALICE"))
    house.clock.now = later(days=2)
    assert words(press(house, wrote("reply_1", other, "So.", "U0DANA"))[0]) == "Its time is up."


def test_who_asked_for_the_run_does_not_ask_themselves(house: House) -> None:
    approval = asked(house, requester="U0ALICE")
    press(house, click_payload(approval.id, kind="ask"))
    assert house.whispered.texts == [YOURSELF]
    assert words(press(house, wrote("ask", approval, "?", "U0ALICE"))[0]).startswith(
        "Not recorded: you asked"
    )
