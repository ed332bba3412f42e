"""Clicks, submissions, response addresses, control API: what the service hears, and what its answers do."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
from slack_kit import error_of, refused
from slack_sdk.signature import SignatureVerifier
from slack_sdk.web.async_client import AsyncWebClient

from orchestrator.emulator.serving import authorities, free_port, running
from orchestrator.emulator.slack.app import build
from orchestrator.emulator.slack.inputs import CannotClick
from orchestrator.emulator.slack.local import LocalSlack
from orchestrator.emulator.slack.settings import SlackEmulatorSettings

pytestmark = pytest.mark.asyncio

METADATA = {"event_type": "approval_request", "event_payload": {"request_id": "req_01"}}
BUTTON = {
    "type": "button",
    "action_id": "approve",
    "style": "primary",
    "value": "req_01|1|q8Zt",
    "text": {"type": "plain_text", "text": "Approve"},
}
CHOICE = {
    "type": "static_select",
    "action_id": "pick",
    "options": [{"text": {"type": "plain_text", "text": "One"}, "value": "1"}],
}
BLOCKS = [{"type": "actions", "block_id": "decide:1", "elements": [BUTTON, CHOICE]}]
MODAL = {
    "type": "modal",
    "callback_id": "edit_args",
    "private_metadata": "req_01",
    "notify_on_close": True,
    "title": {"type": "plain_text", "text": "Edit"},
    "submit": {"type": "plain_text", "text": "Approve"},
    "blocks": [
        {"type": "section", "block_id": "words", "text": {"type": "plain_text", "text": "Careful"}},
        {
            "type": "input",
            "block_id": "args",
            "label": {"type": "plain_text", "text": "Arguments"},
            "element": {"type": "plain_text_input", "action_id": "v", "multiline": True, "max_length": 20},
        },
        {
            "type": "input",
            "block_id": "why",
            "optional": True,
            "label": {"type": "plain_text", "text": "Why"},
            "element": {**CHOICE, "action_id": "w"},
        },
    ],
}
DONE = {"type": "modal", "title": {"type": "plain_text", "text": "Done"}, "blocks": []}


class Clock:
    """Time that moves when told; also what the signature verifier asks."""

    def __init__(self) -> None:
        self.time = 1_795_290_000.0

    def __call__(self) -> float:
        return self.time

    def now(self) -> float:
        return self.time


@dataclass
class Receiver:
    """The service's side: keeps what came in, verified with Slack's own verifier, and answers as told."""

    verifier: SignatureVerifier
    status: int = 200
    body: bytes = b""
    wait: float = 0.0
    payloads: list[dict[str, Any]] = field(default_factory=list)
    verified: list[bool] = field(default_factory=list)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        raw = b""
        while True:
            part = await receive()
            raw += part.get("body", b"")
            if not part.get("more_body"):
                break
        headers = {key.decode(): value.decode() for key, value in scope["headers"]}
        self.verified.append(self.verifier.is_valid_request(raw, headers))
        self.payloads.append(json.loads(parse_qs(raw.decode())["payload"][0]))
        await asyncio.sleep(self.wait)
        kind = b"application/json" if self.body else b"text/plain"
        await send(
            {"type": "http.response.start", "status": self.status, "headers": [(b"content-type", kind)]}
        )
        await send({"type": "http.response.body", "body": self.body})

    def answer(self, body: dict[str, Any]) -> None:
        self.body = json.dumps(body).encode()


async def _lifespan(receive: Any, send: Any) -> None:
    for kind in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{kind}.complete"})


@dataclass
class Stage:
    """A local Slack with the service's endpoint behind it."""

    slack: LocalSlack
    client: AsyncWebClient
    http: httpx.AsyncClient
    service: Receiver
    clock: Clock
    base: str

    async def post(self, **more: Any) -> str:
        answer = await self.client.chat_postMessage(
            channel="C0APPR", text="Approval needed", blocks=BLOCKS, metadata=METADATA, **more
        )
        return str(answer["ts"])

    async def open_modal(self, view: dict[str, Any] | None = None) -> str:
        click = await self.slack.click("C0APPR", await self.post(), "approve", "U0ALICE")
        opened = await self.client.views_open(trigger_id=click.payload["trigger_id"], view=view or MODAL)
        return str(opened["view"]["id"])


@asynccontextmanager
async def stage(answer_seconds: float = 3.0) -> AsyncIterator[Stage]:
    clock = Clock()
    settings = SlackEmulatorSettings(answer_seconds=answer_seconds)
    service = Receiver(SignatureVerifier(settings.signing_secret, clock=clock))  # type: ignore[arg-type]
    app = build(settings, clock=clock)
    async with (
        running(app) as base,
        running(service) as heard,
        httpx.AsyncClient(base_url=base, timeout=60, verify=authorities()) as http,
    ):
        app.state.slack.set_interactivity_url(f"{heard}/slack/interactivity")
        client = AsyncWebClient(token="xoxb-local", base_url=f"{base}/api/", retry_handlers=[], timeout=30)
        yield Stage(app.state.slack, client, http, service, clock, base)


async def test_a_click_is_posted_signed_and_in_slacks_shape() -> None:
    async with stage() as s:
        ts = await s.post()
        click = await s.slack.click("C0APPR", ts, "approve", "U0ALICE")

    (payload,) = s.service.payloads
    assert s.service.verified == [True]
    assert (click.status, click.failed, click.error, click.body) == (200, False, None, "")
    assert 0 < click.took_seconds < 3
    assert payload == click.payload
    assert payload["user"] == {"id": "U0ALICE", "username": "alice", "name": "alice", "team_id": "T0LOCAL"}
    assert payload["container"] == {
        "type": "message",
        "message_ts": ts,
        "channel_id": "C0APPR",
        "is_ephemeral": False,
    }
    assert payload["channel"] == {"id": "C0APPR", "name": "approvals"}
    assert (payload["message"]["ts"], payload["message"]["metadata"]) == (ts, METADATA)
    assert payload["message"]["app_id"] == payload["api_app_id"] == "A0LOCAL"
    assert payload["response_url"].startswith(f"{s.base}/actions/T0LOCAL/")
    assert payload["actions"] == [{**BUTTON, "block_id": "decide:1", "action_ts": "1795290000.000000"}]
    assert payload["state"]["values"]["decide:1"]["pick"] == {
        "type": "static_select",
        "selected_option": None,
    }
    assert (payload["enterprise"], payload["is_enterprise_install"]) == (None, False)


async def test_every_click_has_a_trigger_of_its_own() -> None:
    async with stage() as s:
        ts = await s.post()
        clicks = [await s.slack.click("C0APPR", ts, "approve", "U0ALICE") for _ in range(2)]

    assert clicks[0].payload["trigger_id"] != clicks[1].payload["trigger_id"]
    assert [click.number for click in s.slack.clicks] == [1, 2]


async def test_a_choice_is_in_the_action_and_stays_in_the_state() -> None:
    async with stage() as s:
        ts = await s.post()
        chosen = await s.slack.click("C0APPR", ts, "pick", "U0ALICE", choice="1")
        later = await s.slack.click("C0APPR", ts, "approve", "U0ALICE")
        with pytest.raises(CannotClick):
            await s.slack.click("C0APPR", ts, "pick", "U0ALICE", choice="2")

    assert chosen.payload["actions"][0]["selected_option"]["value"] == "1"
    assert later.payload["state"]["values"]["decide:1"]["pick"]["selected_option"]["value"] == "1"
    assert len(s.service.payloads) == 2


async def test_a_click_in_a_thread_and_on_an_ephemeral() -> None:
    async with stage() as s:
        parent = await s.post()
        reply = await s.post(thread_ts=parent)
        whisper = await s.client.chat_postEphemeral(channel="C0APPR", user="U0ALICE", text="x", blocks=BLOCKS)
        await s.slack.click("C0APPR", reply, "approve", "U0ALICE")
        await s.slack.click("C0APPR", whisper["message_ts"], "approve", "U0ALICE")

    assert s.service.payloads[0]["container"]["thread_ts"] == parent
    assert s.service.payloads[1]["container"]["is_ephemeral"] is True
    assert "message" not in s.service.payloads[1]


@pytest.mark.parametrize(
    ("channel", "action_id", "user"),
    [("C0GENERAL", "approve", "U0ALICE"), ("C0APPR", "nope", "U0ALICE"), ("C0APPR", "approve", "U0NOBODY")],
)
async def test_what_cannot_be_clicked(channel: str, action_id: str, user: str) -> None:
    async with stage() as s:
        ts = await s.post()
        with pytest.raises(CannotClick):
            await s.slack.click(channel, ts, action_id, user)

    assert s.slack.clicks == []


async def test_a_late_answer_is_a_failed_click() -> None:
    async with stage(answer_seconds=0.1) as s:
        s.service.wait = 0.5
        click = await s.slack.click("C0APPR", await s.post(), "approve", "U0ALICE")
        page = (await s.http.get("/", params={"as": "U0ALICE"})).text
        other = (await s.http.get("/", params={"as": "U0BOB"})).text

    assert (click.status, click.failed, click.error) == (None, True, "no answer within 0.1 s")
    assert "did not go through: no answer within 0.1 s" in page
    assert "did not go through" not in other


@pytest.mark.parametrize("status", [201, 302, 401, 500])
async def test_any_answer_but_200_is_a_failed_click(status: int) -> None:
    async with stage() as s:
        s.service.status = status
        click = await s.slack.click("C0APPR", await s.post(), "approve", "U0ALICE")

    assert (click.status, click.error) == (status, f"the service answered HTTP {status}")


async def test_a_service_that_is_down_is_a_failed_click() -> None:
    async with stage() as s:
        s.slack.set_interactivity_url(f"http://127.0.0.1:{free_port()}/")
        click = await s.slack.click("C0APPR", await s.post(), "approve", "U0ALICE")

    assert click.status is None
    assert click.error is not None
    assert click.error.startswith("the service could not be reached")


async def test_without_an_address_there_is_nothing_to_click_with() -> None:
    async with stage() as s:
        s.slack.set_interactivity_url(None)
        with pytest.raises(CannotClick, match="no interactivity address"):
            await s.slack.click("C0APPR", await s.post(), "approve", "U0ALICE")


async def test_a_trigger_opens_one_modal_within_three_seconds() -> None:
    async with stage() as s:
        ts = await s.post()
        first = await s.slack.click("C0APPR", ts, "approve", "U0ALICE")
        late = await s.slack.click("C0APPR", ts, "approve", "U0ALICE")
        opened = await s.client.views_open(trigger_id=first.payload["trigger_id"], view=MODAL)
        again = await error_of(s.client.views_open(trigger_id=first.payload["trigger_id"], view=MODAL))
        s.clock.time += 3.1
        expired = await error_of(s.client.views_open(trigger_id=late.payload["trigger_id"], view=MODAL))
        invented = await error_of(s.client.views_open(trigger_id="1.2.3", view=MODAL))

    assert opened["view"]["state"]["values"]["args"]["v"] == {"type": "plain_text_input", "value": None}
    assert (again, expired, invented) == ("exchanged_trigger_id", "expired_trigger_id", "invalid_trigger_id")


async def test_a_broken_view_comes_back_with_a_pointer() -> None:
    async with stage() as s:
        click = await s.slack.click("C0APPR", await s.post(), "approve", "U0ALICE")
        broken = {**MODAL, "submit": None}
        answer = await refused(s.client.views_open(trigger_id=click.payload["trigger_id"], view=broken))

    assert answer["error"] == "invalid_arguments"
    assert answer["response_metadata"]["messages"] == [
        "[ERROR] missing required field: submit [json-pointer:/view]"
    ]


async def test_a_view_may_not_be_larger_than_250_kilobytes() -> None:
    words = {"type": "section", "text": {"type": "plain_text", "text": "é" * 3000}}
    async with stage() as s:
        click = await s.slack.click("C0APPR", await s.post(), "approve", "U0ALICE")
        view = {**DONE, "blocks": [words] * 45}
        error = await error_of(s.client.views_open(trigger_id=click.payload["trigger_id"], view=view))

    assert error == "view_too_large"


async def test_a_submission_carries_what_was_typed_and_closes_the_modal() -> None:
    async with stage() as s:
        view_id = await s.open_modal()
        click = await s.slack.submit("U0ALICE", {"args": {"v": '{"a": 1}'}, "why": {"w": "1"}})

    payload = s.service.payloads[-1]
    assert s.service.verified == [True, True]
    assert not click.failed
    assert (payload["type"], payload["view"]["id"]) == ("view_submission", view_id)
    assert (payload["view"]["callback_id"], payload["view"]["private_metadata"]) == ("edit_args", "req_01")
    assert payload["view"]["state"]["values"]["args"]["v"]["value"] == '{"a": 1}'
    assert payload["view"]["state"]["values"]["why"]["w"]["selected_option"]["value"] == "1"
    assert payload["response_urls"] == []
    assert s.slack.views.stack("U0ALICE") == []


@pytest.mark.parametrize(
    ("values", "said"), [({}, "required field"), ({"args": {"v": "x" * 21}}, "at most 20 characters")]
)
async def test_a_form_slack_would_not_send_is_not_sent(values: dict[str, Any], said: str) -> None:
    async with stage() as s:
        await s.open_modal()
        with pytest.raises(CannotClick, match=said):
            await s.slack.submit("U0ALICE", values)

    assert [payload["type"] for payload in s.service.payloads] == ["block_actions"]


async def test_errors_stay_in_the_modal_beside_their_field() -> None:
    async with stage() as s:
        await s.open_modal()
        s.service.answer({"response_action": "errors", "errors": {"args": "Not valid JSON: line 3"}})
        click = await s.slack.submit("U0ALICE", {"args": {"v": "{"}})
        page = (await s.http.get("/", params={"as": "U0ALICE"})).text

    assert not click.failed
    assert s.slack.views.stack("U0ALICE")[0].errors == {"args": "Not valid JSON: line 3"}
    assert "Not valid JSON: line 3" in page


@pytest.mark.parametrize(
    "answer",
    [
        {"response_action": "errors", "errors": {"words": "not an input"}},
        {"response_action": "errors", "errors": {}},
        {"response_action": "update", "view": {"type": "modal"}},
        {"response_action": "dance"},
    ],
)
async def test_an_answer_slack_cannot_use_leaves_the_modal_open(answer: dict[str, Any]) -> None:
    async with stage() as s:
        await s.open_modal()
        s.service.answer(answer)
        click = await s.slack.submit("U0ALICE", {"args": {"v": "{}"}})

    assert click.error is not None
    assert click.error.startswith("the answer cannot be used")
    assert s.slack.views.stack("U0ALICE")[0].trouble == click.error


async def test_update_push_and_clear() -> None:
    async with stage() as s:
        view_id = await s.open_modal()
        s.service.answer({"response_action": "push", "view": {**MODAL, "callback_id": "second"}})
        await s.slack.submit("U0ALICE", {"args": {"v": "{}"}})
        pushed = s.slack.views.stack("U0ALICE")[-1]
        s.service.answer({"response_action": "update", "view": DONE})
        await s.slack.submit("U0ALICE", {"args": {"v": "{}"}})
        titles = [view.definition["title"]["text"] for view in s.slack.views.stack("U0ALICE")]
        s.service.answer({"response_action": "clear"})
        await s.slack.submit("U0ALICE")

    assert (pushed.previous, pushed.root) == (view_id, view_id)
    assert titles == ["Edit", "Done"]
    assert s.slack.views.stack("U0ALICE") == []


async def test_a_view_is_updated_by_id_and_guarded_by_its_hash() -> None:
    async with stage() as s:
        view_id = await s.open_modal()
        old = s.slack.views.find(view_id).hash
        updated = await s.client.views_update(view_id=view_id, view=DONE, hash=old)
        stale = await error_of(s.client.views_update(view_id=view_id, view=DONE, hash=old))
        missing = await error_of(s.client.views_update(view_id="V0NONE", view=DONE))

    assert updated["view"]["title"]["text"] == "Done"
    assert (stale, missing) == ("hash_conflict", "not_found")


async def test_closing_is_told_where_the_view_asks_for_it() -> None:
    async with stage() as s:
        await s.open_modal()
        told = await s.slack.close("U0ALICE")
        await s.open_modal(DONE)
        untold = await s.slack.close("U0ALICE")

    assert told is not None
    assert (told.payload["type"], told.payload["is_cleared"]) == ("view_closed", False)
    assert untold is None


async def test_a_button_in_a_modal_names_its_view() -> None:
    view = {**DONE, "blocks": BLOCKS}
    async with stage() as s:
        view_id = await s.open_modal(view)
        click = await s.slack.interactivity.click_view(view_id, "approve")

    assert click.payload["container"] == {"type": "view", "view_id": view_id}
    assert click.payload["view"]["id"] == view_id
    assert not {"channel", "message", "response_url"} & click.payload.keys()


async def respond(s: Stage, url: str, **body: Any) -> httpx.Response:
    return await s.http.post(url, json=body)


async def test_a_response_address_whispers_says_replaces_and_deletes() -> None:
    async with stage() as s:
        ts = await s.post()
        url = (await s.slack.click("C0APPR", ts, "approve", "U0ALICE")).payload["response_url"]
        await respond(s, url, text="psst")
        await respond(s, url, text="hear", response_type="in_channel")
        await respond(s, url, text="new look", replace_original=True)
        seen = [(m["text"], m["only_for"], len(m["blocks"])) for m in s.slack.messages()]
        await respond(s, url, delete_original=True)

    assert seen == [("new look", None, 0), ("psst", "U0ALICE", 0), ("hear", None, 0)]
    assert [m["deleted"] for m in s.slack.messages()] == [True, False, False]


async def test_an_ephemeral_is_replaced_through_its_response_address() -> None:
    async with stage() as s:
        whisper = await s.client.chat_postEphemeral(channel="C0APPR", user="U0BOB", text="x", blocks=BLOCKS)
        click = await s.slack.click("C0APPR", whisper["message_ts"], "approve", "U0BOB")
        await respond(s, click.payload["response_url"], text="done", replace_original=True)

    assert [(m["text"], m["only_for"]) for m in s.slack.messages()] == [("done", "U0BOB")]


async def test_a_response_address_works_five_times() -> None:
    async with stage() as s:
        url = (await s.slack.click("C0APPR", await s.post(), "approve", "U0ALICE")).payload["response_url"]
        answers = [await respond(s, url, text=str(n)) for n in range(6)]

    assert [answer.status_code for answer in answers] == [200] * 5 + [404]
    assert answers[-1].json()["error"] == "used_url"


async def test_a_response_address_works_for_half_an_hour() -> None:
    async with stage() as s:
        url = (await s.slack.click("C0APPR", await s.post(), "approve", "U0ALICE")).payload["response_url"]
        s.clock.time += 1800
        assert (await respond(s, url, text="x")).status_code == 200
        s.clock.time += 1
        answer = await respond(s, url, text="x")
        unknown = await respond(s, "/actions/T0LOCAL/none", text="x")

    assert (answer.status_code, answer.json()["error"]) == (404, "expired_url")
    assert (unknown.status_code, unknown.json()["error"]) == (404, "no_service")


@pytest.mark.parametrize(
    ("body", "error"),
    [({}, "no_text"), ({"blocks": [{"type": "nope"}]}, "invalid_blocks"), ([], "invalid_payload")],
)
async def test_a_response_slack_would_refuse(body: Any, error: str) -> None:
    async with stage() as s:
        url = (await s.slack.click("C0APPR", await s.post(), "approve", "U0ALICE")).payload["response_url"]
        answer = await s.http.post(url, json=body)

    assert (answer.status_code, answer.json()["error"]) == (400, error)


async def test_the_control_api_clicks_the_newest_message_that_fits() -> None:
    async with stage() as s:
        first = await s.post()
        await s.client.chat_postMessage(channel="C0APPR", text="Other", blocks=BLOCKS)
        body = {"text_contains": "Approval", "action_id": "approve", "user": "U0BOB"}
        click = (await s.http.post("/_emulator/click", json=body)).json()
        listed = (await s.http.get("/_emulator/clicks")).json()["clicks"]
        nothing = await s.http.post("/_emulator/click", json={**body, "text_contains": "nowhere"})

    assert (click["ts"], click["status"], click["failed"]) == (first, 200, False)
    assert listed == [click]
    assert (nothing.status_code, nothing.json()) == (404, {"error": "no such message"})


async def test_the_control_api_submits_and_closes_modals() -> None:
    async with stage() as s:
        await s.open_modal()
        views = (await s.http.get("/_emulator/views")).json()["views"]
        values = {"args": {"v": "{}"}}
        click = await s.http.post("/_emulator/submit", json={"user": "U0ALICE", "values": values})
        closed = await s.http.post("/_emulator/close", json={"user": "U0ALICE"})

    assert [view["user"] for view in views] == ["U0ALICE"]
    assert click.json()["payload"]["view"]["state"]["values"]["args"]["v"]["value"] == "{}"
    assert closed.json() == {"error": "U0ALICE has no modal open"}


async def test_the_control_api_shows_everything_and_forgets_it() -> None:
    async with stage() as s:
        ts = await s.post()
        await s.client.chat_update(channel="C0APPR", ts=ts, text="New")
        await s.client.chat_postEphemeral(channel="C0APPR", user="U0ALICE", text="psst")
        rows = (await s.http.get("/_emulator/messages", params={"channel": "C0APPR"})).json()["messages"]
        calls = (await s.http.get("/_emulator/calls")).json()["calls"]
        assert (await s.http.post("/_emulator/reset")).json() == {"ok": True}
        after = (await s.http.get("/_emulator/messages")).json()

    assert [(m["text"], m["channel_name"], m["only_for"]) for m in rows] == [
        ("New", "approvals", None),
        ("psst", "approvals", "U0ALICE"),
    ]
    assert rows[0]["edits"][0]["text"] == "Approval needed"
    assert [call["method"] for call in calls] == ["chat.postMessage", "chat.update", "chat.postEphemeral"]
    assert after == {"messages": []}
    assert s.slack.interactivity.url is not None


async def test_the_control_api_orders_trouble_and_adds_people_and_channels() -> None:
    async with stage() as s:
        fault = {"method": "chat.postMessage", "kind": "ok_false", "error": "is_archived"}
        assert (await s.http.post("/_emulator/faults", json=fault)).json()["pending"][0]["kind"] == "ok_false"
        assert await error_of(s.post()) == "is_archived"
        eve = {"id": "U0EVE", "name": "eve", "display_name": "Eve"}
        await s.http.post("/_emulator/users", json=eve)
        await s.http.post("/_emulator/channels", json={"id": "C0NEW", "name": "new", "members": ["U0EVE"]})
        await s.client.chat_postMessage(channel="C0NEW", text="x", blocks=BLOCKS)
        url = {"url": s.slack.interactivity.url}
        assert (await s.http.post("/_emulator/interactivity_url", json=url)).json() == url
        click = await s.http.post(
            "/_emulator/click", json={"channel": "C0NEW", "action_id": "approve", "user": "U0EVE"}
        )

    assert click.json()["user"] == "U0EVE"


async def test_another_sites_page_may_link_here_but_press_nothing() -> None:
    async with stage() as s:
        headers = {"Sec-Fetch-Site": "cross-site"}
        assert (await s.http.post("/_emulator/reset", headers=headers)).status_code == 403
        assert (await s.http.post("/ui/click", headers=headers)).status_code == 403
        assert (await s.http.get("/ui/visit", headers=headers)).status_code == 403
        assert (await s.http.get("/", headers=headers)).status_code == 200
