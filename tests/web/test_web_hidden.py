"""Arguments kept from view: no answer of the API and no window of Slack's holds them."""

import json
from typing import Any

import pytest
from litestar.testing import TestClient
from web_kit import House, Report, bearer, click_payload, form, slack_signed

from orchestrator.domain.consent import Edits, Terms
from orchestrator.domain.hidden import cover, kept
from orchestrator.domain.values import replace
from orchestrator.web.stream import part

CANARY = "canary-0c77d1f2e6a94b7e"
COVER = f"[hidden, {len(CANARY)} characters]"
ARGUMENTS = {"order_id": "A-1042", "token": CANARY}
SCHEMA = {
    "parameters": {
        "type": "object",
        "properties": {"order_id": {"type": "string"}, "token": {"type": "string"}},
        "required": ["order_id", "token"],
    }
}


@pytest.mark.parametrize("where", ["terms", "tool"])
def test_no_answer_of_the_api_holds_it(house: House, where: str) -> None:
    """Frozen with the question, or as the tool has it now: either is enough."""
    now, frozen = (("token",), ()) if where == "tool" else ((), ("token",))
    house.doors = replace(house.doors, tools=(Report("refund_order", SCHEMA, secret=now),))
    run = house.asked(terms=Terms(("U0ALICE",), "C0APPR", hidden=frozen), arguments=ARGUMENTS)
    own, approval = f"/v1/runs/{run.id}", run.turn.calls[0].approval
    assert approval is not None
    paths = (own, f"{own}/calls", f"{own}/approvals", "/v1/approvals", f"/v1/approvals/{approval.id}")
    with TestClient(house.app()) as client:
        answers = [client.get(path, headers=bearer()) for path in paths]
        record = client.get(f"{own}/events", headers=bearer())
    assert [a.status_code for a in (*answers, record)] == [200] * 6
    assert all(COVER in a.text and CANARY not in a.text for a in (*answers, record))
    seen = next(e["data"] for e in record.json()["items"] if e["kind"] == "InteractionObserved")
    for call in (seen["assessments"][0], seen["snapshot"]["calls"][0]):
        assert call["arguments"] == {"order_id": "A-1042", "token": COVER}
    streamed = house.write(part, run.id, 0, house.doors.hidden).entries
    assert [e.data for e in streamed if e.kind == "InteractionObserved"] == [seen]


def test_a_window_shows_its_cover_and_the_form_leaves_it_out(house: House) -> None:
    house.doors = replace(house.doors, tools=(Report("refund_order", SCHEMA),))
    terms = Terms(("U0ALICE",), "C0APPR", edits=Edits.SAME, hidden=("token",))
    approval = house.asked(terms=terms, arguments=ARGUMENTS).turn.calls[0].approval
    assert approval is not None
    with TestClient(house.app()) as client:
        for kind in ("details", "edit"):
            body = form(click_payload(approval.id, kind=kind))
            assert client.post("/slack/interactivity", content=body, headers=slack_signed(body)).is_success
    details, edit = house.windows
    assert COVER in json.dumps(details)
    assert "Kept from view, but sealed and run as it is: token." in json.dumps(details)
    assert CANARY not in json.dumps(house.windows)
    fields = [b["label"]["text"] for b in edit["blocks"] if b["type"] == "input"]
    assert fields == ["order_id", "Note"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [("x", "[hidden, 1 character]"), ("é" * 40, "[hidden, 40 characters]"), (7, "[hidden]"), (None, None)],
)
def test_a_cover_tells_a_length_and_stands_for_what_it_covers(value: Any, shown: Any) -> None:
    stored = {"a": 1, "token": value}
    assert cover(value) == shown
    assert kept({"a": 2}, stored, ("token",)) == {"a": 2, "token": value}
    assert kept({"a": 2, "token": shown}, stored, ("token",)) == {"a": 2, "token": value}
    assert kept({"a": 2, "token": "[hidden, 9 characters]"}, stored, ("token",))["token"] == value
    assert kept({"a": 2, "token": "new"}, stored, ("token",)) == {"a": 2, "token": "new"}
