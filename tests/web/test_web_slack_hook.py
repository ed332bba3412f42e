"""Slack's clicks: the decision is committed before the 200, a refusal is whispered to the one who pressed."""

import asyncio
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from litestar.testing import TestClient
from web_kit import (
    APP,
    CHANNEL,
    SLACK_SECRET,
    TEAM,
    House,
    bearer,
    build,
    click_payload,
    form,
    later,
    slack_signed,
)

from orchestrator.domain.consent import Approval, ApprovalStatus, Place
from orchestrator.domain.values import replace
from orchestrator.errors import RejectedError
from orchestrator.store import questions
from orchestrator.web.clicks import CHANGED, GONE, OUTSIDER
from orchestrator.web.shortcuts import SHOWS_NONE

DOOR = "/slack/interactivity"


def press(client: TestClient, payload: Any, **headers: str) -> Any:
    body = form(payload)
    return client.post(DOOR, content=body, headers={**slack_signed(body), **headers})


def now_is(client: TestClient, approval: Approval) -> Any:
    return client.get(f"/v1/approvals/{approval.id}", headers=bearer("reader")).json()


def test_a_click_decides(house: House) -> None:
    approval = house.question()
    with TestClient(house.app()) as client:
        answer = press(client, click_payload(approval.id))
        assert (answer.status_code, answer.content) == (200, b"")
        assert answer.headers["content-type"].startswith("text/plain")
        shown = now_is(client, approval)
    assert (shown["status"], shown["call_status"]) == ("approved", "ready")
    assert shown["verdict"]["by"] == {"id": "U0ALICE", "name": "u0alice", "door": "slack"}
    assert house.whispered.said == []
    assert house.woken


def test_a_click_rejects(house: House) -> None:
    approval = house.question()
    with TestClient(house.app()) as client:
        assert press(client, click_payload(approval.id, kind="reject")).status_code == 200
        assert now_is(client, approval)["status"] == "rejected"


def story(house: House, *payloads: Any, app: Any = None) -> tuple[list[int], list[str]]:
    """Press in order, let the service end; the statuses and what was whispered."""
    with TestClient(app or house.app(), raise_server_exceptions=False) as client:
        codes = [press(client, p).status_code for p in payloads]
    return codes, house.whispered.texts


def stands(house: House, approval: Approval) -> ApprovalStatus:
    found = house.write(questions.load_approval, approval.id)
    return found[0].status  # type: ignore[no-any-return]


def test_a_bystander_is_told_whom_to_ask(house: House) -> None:
    approval = house.question(approvers=("U0ALICE", "U0BOB", "api:ops"))
    codes, said = story(house, click_payload(approval.id, user="U0EVE"))
    assert (codes, said) == ([200], ["You are not an approver for refund_order. Ask <@U0ALICE> or <@U0BOB>."])
    (whisper,) = house.whispered.said
    assert (whisper["channel"], whisper["user"]) == (CHANNEL, "U0EVE")
    assert whisper["response_url"] == "https://hooks.slack.com/actions/T0ACME/1/x"
    assert stands(house, approval) is ApprovalStatus.PENDING


def test_where_only_machines_decide(house: House) -> None:
    approval = house.question(approvers=("api:ops",))
    _, said = story(house, click_payload(approval.id))
    assert said == [
        "You are not an approver for refund_order. Nobody in Slack is; it is decided by the HTTP API."
    ]


def test_the_second_is_told_who_was_first(house: House) -> None:
    approval = house.question(approvers=("U0ALICE", "U0BOB"))
    codes, said = story(
        house, click_payload(approval.id), click_payload(approval.id, kind="reject", user="U0BOB")
    )
    assert codes == [200, 200]
    assert said == ["Already approved by <@U0ALICE> at 2026-11-21 12:00 UTC."]
    assert stands(house, approval) is ApprovalStatus.APPROVED


def test_pressing_twice_is_pressing_once(house: House) -> None:
    approval = house.question()
    codes, said = story(house, *[click_payload(approval.id)] * 3)
    assert (codes, said) == ([200] * 3, [])


@pytest.mark.parametrize("kind", ["approve", "reject_reason"])
def test_a_button_counts_only_on_a_message_that_shows_its_question(house: House, kind: str) -> None:
    """A value copied onto another question's message, in the channel or a copy, or onto another app's."""
    approval, other = house.question(), house.question()
    house.write(questions.place, approval.id, CHANNEL, "17.000001")
    house.write(questions.place, other.id, CHANNEL, "17.000002")
    house.write(questions.place_copy, other.id, Place("D0BOB", "18.000001", "U0BOB"), 9)

    def on(ts: str, channel: str = CHANNEL, app: str = APP) -> Any:
        where = {"type": "message", "message_ts": ts, "channel_id": channel}
        message = {"type": "message", "app_id": app, "ts": ts, "text": "Approval needed"}
        more = {"container": where, "channel": {"id": channel}, "message": message}
        return click_payload(approval.id, kind=kind, **more)

    amiss = [on("17.000002"), on("18.000001", "D0BOB"), on("17.000001", app="A0OTHER")]
    codes, said = story(house, *amiss)
    assert (codes, said, house.windows) == ([200] * 3, [GONE] * 3, [])
    assert stands(house, approval) is stands(house, other) is ApprovalStatus.PENDING
    codes, said = story(house, on("17.000003"))  # a twin: the answer to its post got lost
    assert (codes, said[3:]) == ([200], [])
    assert (len(house.windows), stands(house, approval)) == (
        (0, ApprovalStatus.APPROVED) if kind == "approve" else (1, ApprovalStatus.PENDING)
    )
    found = house.write(questions.load_approval, approval.id)[0]
    assert found.copies == (Place(CHANNEL, "17.000003"),)  # and is redrawn with the message from now on
    assert house.write(questions.shown_at, CHANNEL, "17.000003").id == approval.id


def test_a_stray_is_redrawn_whatever_comes_of_the_click(house: House) -> None:
    approval = house.question()
    house.write(questions.place, approval.id, CHANNEL, "17.000001")
    story(house, click_payload(approval.id, user="U0MAL"))  # at another place, by nobody who may
    assert stands(house, approval) is ApprovalStatus.PENDING
    twin = house.write(questions.load_approval, approval.id)[0].copies
    assert [(p.channel, p.person) for p in twin] == [(CHANNEL, "")]
    story(house, click_payload(approval.id), click_payload(approval.id, user="U0MAL"))
    now = house.write(questions.load_approval, approval.id)[0]
    assert (now.status, now.copies) == (ApprovalStatus.APPROVED, twin)


def shortcut(kind: str, **more: Any) -> Any:
    base = click_payload("apr_x")
    head = {k: base[k] for k in ("team", "user", "api_app_id", "trigger_id")}
    return {**head, "type": kind, "callback_id": "any", **more}


def on_message(ts: str, **more: Any) -> Any:
    where = {"channel": {"id": CHANNEL}, "message_ts": ts, "message": {"type": "message", "ts": ts}}
    answer = {"response_url": "https://hooks.slack.com/app/T0ACME/2/y"}
    return shortcut("message_action", **{**where, **answer, **more})


def test_a_global_shortcut_shows_what_waits(house: House) -> None:
    approval = house.question()
    assert story(house, shortcut("shortcut")) == ([200], [])
    [window] = house.windows
    assert (window["type"], window["pushed"]) == ("modal", False)
    assert approval.id in str(window["blocks"])
    story(house, shortcut("shortcut", user={"id": "U0MAL", "team_id": TEAM}))
    assert approval.id not in str(house.windows[1]["blocks"])
    evil = {"id": "U0ALICE", "team_id": "T0EVIL"}
    assert story(house, shortcut("shortcut", user=evil)) == ([200], [])
    assert OUTSIDER in str(house.windows[2]["blocks"])


def test_a_message_shortcut_shows_the_question_our_rows_name(house: House) -> None:
    approval = house.question()
    house.write(questions.place, approval.id, CHANNEL, "17.000001")
    forged = on_message("17.000009", message={"ts": "17.000009", "text": approval.id, "app_id": APP})
    assert story(house, on_message("17.000001"), forged) == ([200, 200], [SHOWS_NONE])
    [window] = house.windows
    assert window["private_metadata"].startswith(approval.id)
    assert stands(house, approval) is ApprovalStatus.PENDING


def test_shortcuts_come_without_the_name_of_the_app_and_with_no_other(house: House) -> None:
    """Slack's shortcuts name no app (slack.md, part 4): that they are for ours is what the signature says."""
    approval = house.question()
    house.write(questions.place, approval.id, CHANNEL, "17.000001")
    bare = [shortcut("shortcut"), on_message("17.000001")]
    for payload in bare:
        del payload["api_app_id"]
    assert story(house, *bare) == ([200, 200], [])
    assert [approval.id in str(window) for window in house.windows] == [True, True]
    others = [shortcut("shortcut", api_app_id="A0OTHER"), on_message("17.000001", api_app_id="A0OTHER")]
    assert story(house, *others) == ([403, 403], [])


def test_a_window_that_cannot_be_opened_for_a_shortcut_shows_as_a_failure(house: House) -> None:
    house.trouble = RejectedError("too late", code="expired_trigger_id")
    assert story(house, shortcut("shortcut"))[0] == [503]


def test_changing_ones_mind_is_too_late(house: House) -> None:
    approval = house.question()
    _, said = story(house, click_payload(approval.id), click_payload(approval.id, kind="reject"))
    assert said == ["Already approved by <@U0ALICE> at 2026-11-21 12:00 UTC."]


def test_decided_by_the_api_meanwhile(house: House) -> None:
    approval = house.question()
    with TestClient(house.app()) as client:
        body = {"verdict": "reject"}
        client.post(f"/v1/approvals/{approval.id}/decision", json=body, headers=bearer("ops"))
        assert press(client, click_payload(approval.id)).status_code == 200
    assert house.whispered.texts == ["Already rejected by ops at 2026-11-21 12:00 UTC."]


def test_a_decision_of_a_run_that_ended_since(house: House) -> None:
    run = house.asked(approvers=("U0ALICE", "U0BOB"))
    approval = run.turn.calls[0].approval
    assert approval is not None
    with TestClient(house.app()) as client:
        press(client, click_payload(approval.id))
        client.post(f"/v1/runs/{run.id}/cancel", headers=bearer())
        press(client, click_payload(approval.id, user="U0BOB"))
    assert house.whispered.texts == ["Already approved by <@U0ALICE> at 2026-11-21 12:00 UTC."]


def test_a_click_that_comes_too_late_lets_the_question_expire(house: House) -> None:
    approval = house.question()
    body = form(click_payload(approval.id))
    house.clock.now = later(hours=24)
    with TestClient(house.app()) as client:
        assert (
            client.post(DOOR, content=body, headers=slack_signed(body, at=later(hours=24))).status_code == 200
        )
    assert house.whispered.texts == [GONE]
    assert stands(house, approval) is ApprovalStatus.EXPIRED


@pytest.mark.parametrize("more", [{"digest": "0" * 16}, {"revision": 2}])
def test_a_picture_of_another_question(house: House, more: dict[str, Any]) -> None:
    approval = house.question()
    assert story(house, click_payload(approval.id, **more)) == ([200], [CHANGED])
    assert stands(house, approval) is ApprovalStatus.PENDING


def test_the_run_has_ended(house: House) -> None:
    run = house.asked()
    approval = run.turn.calls[0].approval
    assert approval is not None
    with TestClient(house.app()) as client:
        client.post(f"/v1/runs/{run.id}/cancel", headers=bearer())
        assert press(client, click_payload(approval.id)).status_code == 200
    assert house.whispered.texts == [GONE]


def test_an_unknown_question(house: House) -> None:
    assert story(house, click_payload("apr_" + "0" * 24)) == ([200], [GONE])


def test_a_value_copied_from_another_question(house: House) -> None:
    """The digest binds the picture to its question; here both look alike but for what they ask."""
    mine, theirs = house.question(), house.question(approvers=("U0BOB",))
    codes, said = story(house, click_payload(theirs.id))
    assert (codes, said) == ([200], ["You are not an approver for refund_order. Ask <@U0BOB>."])
    assert stands(house, mine) is stands(house, theirs) is ApprovalStatus.PENDING


@pytest.mark.parametrize(
    "changes",
    [
        {"team": {"id": "T0EVIL"}},
        {"team": None},
        {"team": {}},
        {"api_app_id": "A0OTHER"},
        {"api_app_id": None},
        {"user": {"id": "U0ALICE", "name": "alice", "team_id": "T0ACME", "is_bot": True}},
    ],
)
def test_another_workspace_app_or_a_bot(house: House, changes: dict[str, Any]) -> None:
    approval = house.question()
    assert story(house, {**click_payload(approval.id), **changes}) == ([403], [])
    assert stands(house, approval) is ApprovalStatus.PENDING


@pytest.mark.parametrize(
    ("team", "codes", "said"),
    [({"team_id": "T0EVIL"}, [200], [OUTSIDER]), ({}, [200], [OUTSIDER]), ({"team_id": ""}, [400], [])],
)
def test_a_person_of_another_workspace(
    house: House, team: dict[str, str], codes: list[int], said: list[str]
) -> None:
    """Somebody of another company, in a channel we share with it; not being told counts as foreign."""
    approval = house.question()
    payload = {**click_payload(approval.id), "user": {"id": "U0ALICE", "name": "alice", **team}}
    assert story(house, payload) == (codes, said)
    assert stands(house, approval) is ApprovalStatus.PENDING


def test_while_our_workspace_is_not_known_no_click_counts(house: House) -> None:
    approval = house.question()
    assert house.doors.slack is not None
    app = house.app(slack=replace(house.doors.slack, teams=lambda: ()))
    assert story(house, click_payload(approval.id), app=app) == ([403], [])
    assert stands(house, approval) is ApprovalStatus.PENDING


@pytest.mark.parametrize(
    "smuggled", [{"arguments": {"amount_cents": 1}}, {"decision": "approve"}, {"token": "x"}]
)
def test_what_is_smuggled_in_reaches_nothing(house: House, smuggled: dict[str, Any]) -> None:
    approval = house.question()
    payload = {**click_payload(approval.id), **smuggled}
    payload["actions"][0].update(smuggled)
    with TestClient(house.app()) as client:
        press(client, payload)
        assert now_is(client, approval)["arguments"] == {"order_id": "A-1042", "amount_cents": 1250}


def test_other_buttons_and_payloads(house: House) -> None:
    base = click_payload("apr_x")
    unknown = {**base, "actions": [{"type": "button", "action_id": "dance", "value": "x"}]}
    link = {**base, "actions": [{"type": "button", "action_id": "review", "value": "x"}]}
    shortcut = {k: base[k] for k in ("team", "user", "channel", "response_url", "api_app_id")} | {
        "type": "shortcut"
    }
    stranger = {"type": "shortcut", "user": {"id": "U0ALICE"}}
    codes, said = story(house, unknown, link, shortcut, stranger)
    assert (codes, said) == ([200] * 4, [GONE])


def test_other_payloads_of_another_workspace(house: House) -> None:
    payload = {"type": "shortcut", "user": {"id": "U0ALICE"}, "team": {"id": "T0EVIL"}, "api_app_id": APP}
    payload["trigger_id"] = "1.2"
    assert story(house, payload) == ([403], [])


def test_a_whisper_that_fails_changes_nothing(house: House) -> None:
    approval = house.question()
    house.whispered.fail = True
    with structlog.testing.capture_logs() as logs:
        codes, _ = story(house, click_payload(approval.id, user="U0EVE"), click_payload(approval.id))
    assert codes == [200, 200]
    assert stands(house, approval) is ApprovalStatus.APPROVED
    assert "whisper_failed" in [e["event"] for e in logs]


def test_a_mistake_of_ours_shows_as_a_failure(house: House) -> None:
    approval = house.question()

    class Broken:
        async def terms_now(self, _: str) -> None: ...

        async def decide(self, *_: Any, **__: Any) -> None:
            raise RuntimeError("canary")

    with structlog.testing.capture_logs() as logs:
        codes, said = story(house, click_payload(approval.id), app=house.app(intake=Broken()))
    assert (codes, said) == ([500], [])
    assert "canary" not in str(logs)
    assert "U0ALICE" not in str(logs)


def test_slack_hears_of_a_failure_before_it_gives_up(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.web.slack_handler.ANSWER_SECONDS", 0.05)
    approval = house.question()

    class Stuck:
        async def terms_now(self, _: str) -> None: ...

        async def stray(self, *_: Any) -> bool:
            return False

        async def decide(self, *_: Any, **__: Any) -> None:
            await asyncio.Event().wait()

    codes, said = story(house, click_payload(approval.id), app=house.app(intake=Stuck()))
    assert (codes, said) == ([503], [])
    assert stands(house, approval) is ApprovalStatus.PENDING


def test_without_slack_there_is_no_door(house: House) -> None:
    assert story(house, click_payload("apr_x"), app=house.app(slack=None)) == ([404], [])


# ------------------------------------------------------------------ signatures and forms

GOOD = form(click_payload("apr_" + "0" * 24))


def headers(**changes: str | None) -> dict[str, str]:
    named = {k.replace("_", "-"): v for k, v in changes.items()}
    return {k: v for k, v in {**slack_signed(GOOD), **named}.items() if v is not None}


UNSIGNED = {
    "no timestamp": headers(x_slack_request_timestamp=None),
    "no signature": headers(x_slack_signature=None),
    "another secret": slack_signed(GOOD, secret="x" * 32),
    "empty secret": slack_signed(GOOD, secret=""),
    "301 s old": slack_signed(GOOD, at=later(seconds=-301)),
    "301 s ahead": slack_signed(GOOD, at=later(seconds=301)),
    "garbled timestamp": headers(x_slack_request_timestamp="soon"),
    "empty timestamp": headers(x_slack_request_timestamp=""),
    "garbled signature": headers(x_slack_signature="v0=nothex"),
    "the retired token": {"authorization": f"Bearer {SLACK_SECRET}"},
    "upper case": headers(x_slack_signature=slack_signed(GOOD)["x-slack-signature"].upper()),
    "two signatures": headers(x_slack_signature=slack_signed(GOOD)["x-slack-signature"] * 2),
}


@pytest.mark.parametrize("sent", UNSIGNED.values(), ids=UNSIGNED)
@pytest.mark.parametrize(
    "body", [GOOD, b"ssl_check=1&token=x", b'{"type":"url_verification","challenge":"x"}', b""]
)
def test_unsigned_is_a_401_before_anything_is_looked_at(
    shared: TestClient, sent: dict[str, str], body: bytes
) -> None:
    answer = shared.post(DOOR, content=body, headers=sent)
    assert (answer.status_code, answer.json()["detail"]) == (401, "not signed by Slack for us, now")


def test_one_byte_changed(shared: TestClient) -> None:
    assert shared.post(DOOR, content=GOOD + b"&", headers=slack_signed(GOOD)).status_code == 401


def test_a_signature_beyond_ascii(shared: TestClient) -> None:
    sent = [*headers(x_slack_signature=None).items(), (b"x-slack-signature", b"v0=\xff\xfe")]
    raw = [
        (k.encode() if isinstance(k, str) else k, v.encode() if isinstance(v, str) else v) for k, v in sent
    ]
    assert shared.post(DOOR, content=GOOD, headers=raw).status_code == 401


FORMS = {
    "empty": b"",
    "no payload": b"a=b",
    "two payloads": GOOD + b"&payload=%7B%7D",
    "another field": GOOD + b"&x=1",
    "not json": b"payload=x",
    "a list": b"payload=%5B%5D",
    "broken utf-8": b"payload=%ff",
    "raw bytes": b"\xff\xfe\x00",
    "deep": b"payload=" + b"%5B" * 20_000,
    "json": b'{"payload": {}}',
    "a user of a wrong type": form({**click_payload("apr_x"), "user": "U0ALICE"}),
    "a user's id of a wrong type": form({**click_payload("apr_x"), "user": {"id": ["U0ALICE"]}}),
    "actions of a wrong type": form({**click_payload("apr_x"), "actions": {"0": 1}}),
    "no actions": form({**click_payload("apr_x"), "actions": []}),
}


@pytest.mark.parametrize("body", FORMS.values(), ids=FORMS)
def test_a_signed_body_that_is_no_click(shared: TestClient, body: bytes) -> None:
    assert shared.post(DOOR, content=body, headers=slack_signed(body)).status_code in (200, 400)


@pytest.mark.parametrize(("method", "status"), [("GET", 405), ("PUT", 405), ("OPTIONS", 405)])
def test_only_a_post_is_taken(shared: TestClient, method: str, status: int) -> None:
    assert shared.request(method, DOOR).status_code == status


def test_too_large(shared: TestClient) -> None:
    body = form("x" * 70_000)
    assert shared.post(DOOR, content=body, headers=slack_signed(body)).status_code == 413


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Any:
    built = build(tmp_path_factory.mktemp("clicks"))
    approval = built.question()
    with TestClient(built.app(), raise_server_exceptions=False) as client:
        yield built, client, approval
    built.database.close()


_json = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=20)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
_place = st.sampled_from(
    [
        "type",
        "team",
        "user",
        "container",
        "channel",
        "message",
        "actions",
        "response_url",
        "trigger_id",
        "api_app_id",
    ]
)


@given(place=_place, value=_json)
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_odd_payload_breaks_us(front: Any, place: str, value: Any) -> None:
    """A click by somebody who may not, with one part of it replaced by anything."""
    house, client, approval = front
    answer = press(client, {**click_payload(approval.id, user="U0EVE"), place: value})
    assert answer.status_code in (200, 400, 403)
    assert stands(house, approval) is ApprovalStatus.PENDING


@given(body=st.binary(max_size=300))
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_signed_bytes_break_us(front: Any, body: bytes) -> None:
    _, client, _ = front
    assert client.post(DOOR, content=body, headers=slack_signed(body)).status_code in (200, 400)
