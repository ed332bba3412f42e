"""Slack's other two addresses: who may use the command, what is listed, whose Home tab is drawn."""

import json
from typing import Any
from urllib.parse import urlencode

import pytest
from litestar.testing import TestClient
from web_kit import APP, TEAM, House, later, slack_signed

from orchestrator.domain.consent import Stage, Terms
from orchestrator.domain.values import replace
from orchestrator.emulator.slack.validation import validate_view
from orchestrator.slack.home import HELP
from orchestrator.web.inbox import NOT_FOUND

COMMANDS, EVENTS = "/slack/commands", "/slack/events"


def typed(client: TestClient, text: str = "", user: str = "U0ALICE", **more: str) -> Any:
    fields = {
        "command": "/approvals",
        "text": text,
        "user_id": user,
        "team_id": TEAM,
        "api_app_id": APP,
        **more,
    }
    body = urlencode(fields).encode()
    return client.post(COMMANDS, content=body, headers=slack_signed(body))


def happened(client: TestClient, payload: dict[str, Any], **headers: str) -> Any:
    body = json.dumps(payload).encode()
    return client.post(EVENTS, content=body, headers={**slack_signed(body), **headers})


def opened(user: str = "U0ALICE", tab: str = "home", **more: Any) -> dict[str, Any]:
    event = {"type": "app_home_opened", "user": user, "channel": "D0ALICE", "tab": tab}
    return {
        "type": "event_callback",
        "team_id": TEAM,
        "api_app_id": APP,
        "event": event,
        "event_id": "Ev1",
        **more,
    }


def text_of(answer: Any) -> str:
    return json.dumps(answer.json(), ensure_ascii=False)


@pytest.fixture
def homes(house: House) -> list[tuple[str, dict[str, Any]]]:
    """Every Home tab that was published."""
    published: list[tuple[str, dict[str, Any]]] = []

    async def publish(user: str, view: Any) -> None:
        published.append((user, dict(view)))

    assert house.doors.slack is not None
    house.doors = replace(house.doors, slack=replace(house.doors.slack, publish=publish))
    return published


def test_the_list_is_of_those_who_are_asked_now(house: House) -> None:
    later_stage = Terms((), "C0APPR", stages=(Stage("risk", ("U0ALICE",), 1), Stage("legal", ("U0BOB",), 1)))
    house.asked(terms=later_stage)
    house.asked(terms=Terms(("U0ALICE", "U0BOB"), "C0APPR", never=("U0BOB",)))
    with TestClient(house.app()) as client:
        mine = typed(client).json()
        assert mine["response_type"] == "ephemeral"
        assert mine["text"] == "2 questions are waiting for you."
        assert [b["accessory"]["action_id"] for b in mine["blocks"] if "accessory" in b] == ["details"] * 2
        assert "A-1042" not in json.dumps(mine)
        assert typed(client, "mine", "U0BOB").json()["text"] == "No question is waiting for you."
        assert typed(client, "all", "U0BOB").json()["text"] == "One question is open that you have a part in."
        assert typed(client, "all", "U0EVE").json()["text"] == "No question is open that you have a part in."


def test_nothing_waits_for_who_asked_for_the_work_before_and_is_shut_out_by_four_eyes(
    house: House, homes: list[tuple[str, dict[str, Any]]]
) -> None:
    """Somebody else had the run take up what ALICE asked for: she is refused, so it is not listed for her."""
    terms = Terms(("U0ALICE", "U0BOB"), "C0APPR", four_eyes=True)
    house.asked(terms=terms, asked_before=("U0ALICE",))
    with TestClient(house.app()) as client:
        assert typed(client, user="U0ALICE").json()["text"] == "No question is waiting for you."
        assert typed(client, user="U0BOB").json()["text"] == "One question is waiting for you."
        happened(client, opened())
    [(_, home)] = homes
    assert "refund_order" not in json.dumps(home)


def test_one_question_by_its_id_and_help(house: House) -> None:
    approval = house.asked().turn.calls[0].approval
    assert approval is not None
    with TestClient(house.app()) as client:
        assert approval.id in text_of(typed(client, approval.id))
        assert NOT_FOUND in text_of(typed(client, approval.id, "U0EVE"))
        assert NOT_FOUND in text_of(typed(client, "apr_unknown"))
        assert [typed(client, text).json()["text"] for text in ("help", "what <!channel>?")] == [HELP] * 2
        house.clock.now = approval.expires_at  # overdue is over, whatever the timer does
        body = urlencode(
            {"command": "/approvals", "text": "", "user_id": "U0ALICE", "team_id": TEAM}
        ).encode()
        answer = client.post(COMMANDS, content=body, headers=slack_signed(body, at=house.clock.now))
    assert answer.json()["text"] == "No question is waiting for you."


def test_a_command_that_is_too_long_is_told_so(house: House) -> None:
    with TestClient(house.app()) as client:
        answer = typed(client, "x" * 9_000)
    [error] = answer.json()["errors"]
    assert (answer.status_code, error["field"]) == (400, "text")
    assert "9000 characters; at most 4000" in error["message"]


def test_members_of_a_group_are_asked(house: House) -> None:
    async def standing(person: str, among: Any, never: Any = ()) -> tuple[str, ...]:
        return tuple(entry for entry in among if entry == "S0RISK" and person == "U0BOB")

    house.asked(approvers=("S0RISK",))
    house.doors = replace(house.doors, standing=standing)
    with TestClient(house.app()) as client:
        told = [typed(client, "", user).json()["text"] for user in ("U0BOB", "U0ALICE")]
    assert told == ["One question is waiting for you.", "No question is waiting for you."]


def test_a_home_tab_is_drawn_when_it_is_opened_and_only_that(house: House, homes: list[Any]) -> None:
    for _ in range(5):
        house.asked(calls=5)
    with TestClient(house.app()) as client:
        for payload in (opened(), opened(tab="messages"), {"type": "event_callback", "event": {"type": "x"}}):
            answer = happened(
                client, payload, **{"x-slack-retry-num": "1", "x-slack-retry-reason": "http_timeout"}
            )
            assert (answer.status_code, answer.content) == (200, b"")
    [(user, view)] = homes
    assert user == "U0ALICE"
    assert validate_view(view, kinds=("home",)) == ()
    assert "And 5 more." in json.dumps(view)


def test_slack_asks_whether_the_address_is_ours(house: House) -> None:
    with TestClient(house.app()) as client:
        answer = happened(client, {"type": "url_verification", "challenge": "3eZbrw1aB10FEMAGAZd4FyFQ"})
        assert answer.json() == {"challenge": "3eZbrw1aB10FEMAGAZd4FyFQ"}
        unsigned = client.post(EVENTS, json={"type": "url_verification", "challenge": "x"})
    assert unsigned.status_code == 401


@pytest.mark.parametrize(
    ("event", "told"),
    [
        ({"type": "app_uninstalled"}, ["app_uninstalled"]),
        ({"type": "tokens_revoked", "tokens": {"oauth": ["U0ALICE"], "bot": ["U0BOT"]}}, ["tokens_revoked"]),
        ({"type": "tokens_revoked", "tokens": {"oauth": ["U0ALICE"], "bot": []}}, []),
        ({"type": "tokens_revoked", "tokens": "all"}, []),
    ],
)
def test_that_the_app_was_removed_is_heard_of_our_workspace_alone(
    house: House, event: dict[str, Any], told: list[str]
) -> None:
    heard: list[str] = []
    assert house.doors.slack is not None
    house.doors = replace(house.doors, slack=replace(house.doors.slack, removed=heard.append))
    with TestClient(house.app(), raise_server_exceptions=False) as client:
        assert happened(client, opened(event=event)).status_code == 200
        refused = happened(client, opened(event=event, team_id="T0OTHER")).status_code
    assert heard == told
    assert refused == (403 if told else 200)


def test_strangers_and_nonsense_are_refused(house: House, homes: list[Any]) -> None:
    with TestClient(house.app(), raise_server_exceptions=False) as client:
        codes = [
            typed(client, team_id="T0OTHER").status_code,
            typed(client, api_app_id="A0OTHER").status_code,
            happened(client, opened(team_id="T0OTHER")).status_code,
            happened(client, opened(user="nobody")).status_code,
            typed(client, user="<@U0ALICE>").status_code,
            typed(client, "x" * 5_000).status_code,
        ]
        body = b"text=a&text=b"
        codes.append(client.post(COMMANDS, content=body, headers=slack_signed(body)).status_code)
        body = b'{"type": "event_callback", "type": "x"}'
        codes.append(client.post(EVENTS, content=body, headers=slack_signed(body)).status_code)
        body = urlencode({"text": "", "user_id": "U0ALICE", "team_id": TEAM}).encode()
        old = slack_signed(body, at=later(seconds=-301))
        codes.append(client.post(COMMANDS, content=body, headers=old).status_code)
    assert codes == [403, 403, 403, 400, 400, 400, 400, 400, 401]
    assert homes == []
