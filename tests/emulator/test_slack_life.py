"""Groups, notifications, forms, Home tab, commands, events and sockets: Slack's real client opposite."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, parse_qsl

import httpx
import pytest
from slack_kit import refused
from slack_sdk.signature import SignatureVerifier
from slack_sdk.socket_mode.aiohttp import SocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest
from slack_sdk.socket_mode.response import SocketModeResponse
from slack_sdk.web.async_client import AsyncWebClient
from support.slack_people import Person

from orchestrator.emulator.serving import authorities, running
from orchestrator.emulator.slack.app import build
from orchestrator.emulator.slack.inputs import CannotClick
from orchestrator.emulator.slack.local import LocalSlack
from orchestrator.emulator.slack.settings import (
    SlackChannel,
    SlackEmulatorSettings,
    SlackUser,
    SlackUserGroup,
)

pytestmark = pytest.mark.asyncio

SIGNING_SECRET = "local-signing-secret"


def words(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": text}


def button(action_id: str) -> dict[str, Any]:
    return {"type": "button", "action_id": action_id, "text": words(action_id)}


def field_of(block_id: str, kind: str, **more: Any) -> dict[str, Any]:
    element = {"type": kind, "action_id": "v", **more}
    return {"type": "input", "block_id": block_id, "label": words(block_id), "element": element}


def modal(*blocks: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "modal", "title": words("Edit"), "submit": words("Send"), "blocks": list(blocks), **more}


OPTIONS = [{"text": words(one), "value": one} for one in ("low", "high", "none")]
ASK = [{"type": "actions", "block_id": "ask", "elements": [button("edit")]}]
HOME = {"type": "home", "blocks": [{"type": "actions", "block_id": "h", "elements": [button("refresh")]}]}


@dataclass
class App:
    """The service's side: checks each signature with Slack's own verifier, then answers by `on`."""

    heard: list[tuple[str, dict[str, Any], dict[str, str]]] = field(default_factory=list)
    on: Callable[[str, dict[str, Any]], Any] = lambda _path, _payload: None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for kind in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{kind}.complete"})
            return
        raw, more = b"", True
        while more:
            part = await receive()
            raw, more = raw + part.get("body", b""), part.get("more_body", False)
        headers = {key.decode(): value.decode() for key, value in scope["headers"]}
        assert SignatureVerifier(SIGNING_SECRET).is_valid_request(raw, headers)
        payload = _payload(headers["content-type"], raw.decode())
        self.heard.append((scope["path"], payload, headers))
        answer = self.on(scope["path"], payload)
        plain = answer is None or isinstance(answer, str)
        body = (answer or "").encode() if plain else json.dumps(answer).encode()
        kind = b"text/plain" if plain else b"application/json"
        status = 500 if answer == "broken" else 200
        head = {"type": "http.response.start", "status": status, "headers": [(b"content-type", kind)]}
        await send(head)
        await send({"type": "http.response.body", "body": body})


def _payload(kind: str, raw: str) -> dict[str, Any]:
    if kind == "application/json":
        return dict(json.loads(raw))
    form = parse_qs(raw)
    return (
        dict(json.loads(form["payload"][0]))
        if "payload" in form
        else dict(parse_qsl(raw, keep_blank_values=True))
    )


@dataclass
class Stage:
    slack: LocalSlack
    client: AsyncWebClient
    http: httpx.AsyncClient
    app: App
    base: str


@asynccontextmanager
async def stage(**settings: Any) -> AsyncIterator[Stage]:
    app, made = App(), build(SlackEmulatorSettings(**settings))
    async with (
        running(made) as base,
        running(app) as heard,
        httpx.AsyncClient(base_url=base, trust_env=False, timeout=60, verify=authorities()) as http,
    ):
        slack: LocalSlack = made.state.slack
        slack.set_interactivity_url(f"{heard}/slack/interactivity")
        slack.set_commands_url(f"{heard}/slack/commands")
        slack.set_events_url(f"{heard}/slack/events")
        client = AsyncWebClient(token="xoxb-local", base_url=f"{base}/api/", retry_handlers=[], timeout=30)
        yield Stage(slack, client, http, app, base)


async def control(s: Stage, path: str, **body: Any) -> Any:
    answer = await s.http.post(f"/_emulator/{path}", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_groups_people_and_plans_change_while_it_runs() -> None:
    async with stage() as s:
        await control(s, "groups", id="S0LEGAL", handle="legal", users=["U0DANA"])
        s.slack.set_group(SlackUserGroup("S0OLD", "old", ("U0BOB",), disabled=True))
        listed = await s.client.usergroups_list(include_users=True, include_count=True)
        old = await refused(s.client.usergroups_users_list(usergroup="S0OLD"))
        await s.http.delete("/_emulator/groups/S0LEGAL")
        gone = await refused(s.client.usergroups_users_list(usergroup="S0LEGAL"))
        s.slack.add_user(SlackUser("U0EVE", "eve", "Eve Gone", deleted=True))
        s.slack.add_user(SlackUser("U0ZED", "zed", "Zed Guest", team_id="T0OTHER", tz="Asia/Tokyo"))
        guest = (await s.client.users_lookupByEmail(email="zed@local.example"))["user"]
        eve = (await s.client.users_info(user="U0EVE"))["user"]
        disabled = await refused(s.client.conversations_open(users="U0EVE"))
        await control(s, "switches", paid_plan=False, scopes=["chat:write"])
        free = await refused(s.client.usergroups_list())
        scopes = (await s.client.auth_test()).headers["x-oauth-scopes"]
        s.slack.switches.scopes = ("usergroups:read",)
        unpaid = await refused(s.client.usergroups_list())
        wrong = await s.http.post("/_emulator/switches", json={"paid_plans": True})

    found = {g["id"]: (g["handle"], g["user_count"], g["users"]) for g in listed["usergroups"]}
    assert found == {
        "S0APPROVERS": ("approvers", 2, ["U0ALICE", "U0BOB"]),
        "S0LEGAL": ("legal", 1, ["U0DANA"]),
    }
    assert (old["error"], gone["error"]) == ("no_such_subteam", "no_such_subteam")
    assert (guest["id"], guest["team_id"], guest["tz"], eve["deleted"]) == (
        "U0ZED",
        "T0OTHER",
        "Asia/Tokyo",
        True,
    )
    assert disabled["error"] == "user_disabled"
    assert (free["error"], free["needed"], scopes) == ("missing_scope", "usergroups:read", "chat:write")
    assert unpaid["error"] == "plan_upgrade_required"
    assert wrong.status_code == 404


async def test_a_message_makes_a_sound_for_those_it_is_for() -> None:
    few = SlackChannel("C0FEW", "few", members=frozenset({"U0BOB", "U0DANA"}))
    channels = (SlackChannel("C0APPR", "approvals"), few)
    async with stage(channels=channels) as s:
        post = s.client.chat_postMessage
        first = await post(channel="C0APPR", text="For <@U0DANA> and `<@U0BOB>`")
        group = {"type": "context", "elements": [{"type": "mrkdwn", "text": "1 of <!subteam^S0APPROVERS>"}]}
        await post(channel="C0FEW", text="<@U0DANA> is only in the text", blocks=[group])
        reply = await post(channel="C0APPR", thread_ts=first["ts"], text="Reminder", reply_broadcast=True)
        direct = (await s.client.conversations_open(users="U0ALICE"))["channel"]["id"]
        sent = await post(channel=direct, text="Yours to decide")
        await s.client.chat_postEphemeral(channel="C0APPR", user="U0BOB", text="<@U0BOB> quietly")
        await s.client.chat_update(channel=direct, ts=sent["ts"], text="<@U0ALICE> again")
        told = (await s.http.get("/_emulator/notifications")).json()["notifications"]
        page = (await s.http.get("/", params={"as": "U0ALICE", "channel": direct})).text
        s.slack.switches.messages_tab = False
        closed = await refused(post(channel=direct, text="x"))

    assert [(n["user"], n["reason"], n["ts"]) for n in told] == [
        ("U0DANA", "mention", first["ts"]),
        ("U0BOB", "group", told[1]["ts"]),
        ("U0DANA", "thread", reply["ts"]),
        ("U0ALICE", "direct", sent["ts"]),
    ]
    assert [n.text for n in Person(s.slack, "U0ALICE").notified()] == ["Yours to decide"]
    assert "wrote to you" in page
    assert "Direct messages" in page
    assert closed["error"] == "messages_tab_disabled"


FORM = (
    field_of("amount", "number_input", is_decimal_allowed=False, min_value="1", max_value="100"),
    field_of("why", "plain_text_input", min_length=3, max_length=10),
    field_of("risk", "static_select", options=OPTIONS),
    field_of("kind", "radio_buttons", options=OPTIONS),
    {**field_of("tags", "checkboxes", options=OPTIONS), "optional": True},
    {**field_of("more", "multi_static_select", options=OPTIONS, max_selected_items=2), "optional": True},
    field_of("day", "datepicker"),
)
FILLED = {"amount": 12, "why": "fine", "risk": "low", "kind": "high", "tags": ["none"], "day": "2026-11-30"}


async def test_every_kind_of_field_is_filled_checked_and_sent() -> None:
    async with stage() as s:
        alice = Person(s.slack, "U0ALICE")
        message = await s.client.chat_postMessage(channel="C0APPR", text="x", blocks=ASK)
        opened: list[Any] = []

        async def open_it() -> None:
            trigger = s.slack.clicks[-1].payload["trigger_id"]
            opened.append(await s.client.views_open(trigger_id=trigger, view=modal(*FORM)))
            opened.append(await refused(s.client.views_push(trigger_id=trigger, view=modal())))

        assert not (await alice.press("edit")).failed
        await open_it()
        wrong = {"amount": "1.5", "why": "no", "day": "tomorrow", "more": ["low", "high", "none"]}
        with pytest.raises(CannotClick):
            await alice.submit(**{**FILLED, **wrong})
        errors = dict(alice.modal().errors)
        s.app.on = lambda _path, _payload: {"response_action": "errors", "errors": {"why": "Say more"}}
        await alice.submit(**FILLED, more=[])
        kept = dict(alice.modal().errors)
        page = (await s.http.get("/", params={"as": "U0ALICE"})).text
        s.app.on = lambda _path, _payload: None
        click = await alice.submit()

    values = click.payload["view"]["state"]["values"]
    assert set(errors) == set(wrong)
    assert kept == {"why": "Say more"}
    assert "Say more" in page
    assert values["amount"]["v"] == {"type": "number_input", "value": "12"}
    assert values["kind"]["v"]["selected_option"]["value"] == "high"
    assert values["tags"]["v"]["selected_options"] == [OPTIONS[2]]
    assert values["day"]["v"]["selected_date"] == "2026-11-30"
    assert s.slack.modal("U0ALICE") is None
    assert (message["ok"], opened[1]["error"]) == (True, "exchanged_trigger_id")


@pytest.mark.parametrize(
    ("block", "pointer"),
    [
        (field_of("a", "number_input", is_decimal_allowed=False, initial_value="1.5"), "initial_value"),
        (field_of("a", "number_input", is_decimal_allowed=True, min_value="2", max_value="1"), "min_value"),
        (field_of("a", "plain_text_input", min_length=5, max_length=4), "min_length"),
        (field_of("a", "datepicker", initial_date="30.11.2026"), "initial_date"),
        (field_of("a", "timepicker", initial_time="25:00"), "initial_time"),
    ],
)
async def test_a_field_that_cannot_be_is_refused_where_it_is_wrong(
    block: dict[str, Any], pointer: str
) -> None:
    made = LocalSlack(SlackEmulatorSettings())
    focused = field_of("b", "plain_text_input", focus_on_load=True)
    twice = field_of("c", "plain_text_input", focus_on_load=True)
    told = await s_error(made, modal(block, focused, twice))
    assert f"/view/blocks/0/element/{pointer}" in told
    assert "/view/blocks/2/element/focus_on_load" in told


async def s_error(slack: LocalSlack, view: dict[str, Any]) -> str:
    trigger = slack.tickets.trigger("U0ALICE")
    with pytest.raises(Exception, match="invalid_arguments") as caught:
        slack.call("views.open", {"trigger_id": trigger, "view": view})
    return str(caught.value.extra)  # type: ignore[attr-defined]


async def test_modals_are_pushed_and_closing_clears_and_tells() -> None:
    async with stage() as s:
        bob = Person(s.slack, "U0BOB")
        await s.client.chat_postMessage(channel="C0APPR", text="x", blocks=ASK)
        first = await bob.press("edit")
        early = await refused(s.client.views_push(trigger_id=first.payload["trigger_id"], view=modal()))
        second = await bob.press("edit")
        more = {"type": "actions", "block_id": "m", "elements": [button("more")]}
        asks = field_of("why", "plain_text_input")
        view = modal(more, asks, notify_on_close=True)
        await s.client.views_open(trigger_id=second.payload["trigger_id"], view=view)
        press = await bob.press_in_modal("more", values={"why": "typed"})
        pushed = modal(clear_on_close=True, notify_on_close=True, callback_id="top")
        await s.client.views_push(trigger_id=press.payload["trigger_id"], view=pushed)
        told = await bob.cancel()

    assert early["error"] == "invalid_trigger_id"
    assert press.payload["view"]["state"]["values"]["why"]["v"]["value"] == "typed"
    assert told is not None
    assert told.payload["view"]["callback_id"] == "top"
    closed = [p for _, p, _ in s.app.heard if p["type"] == "view_closed"]
    assert [(p["view"]["callback_id"], p["is_cleared"]) for p in closed] == [("top", True), ("", True)]
    assert s.slack.modal("U0BOB") is None


async def test_the_home_tab_is_opened_told_and_told_again() -> None:
    async with stage() as s:
        s.app.on = lambda _path, payload: {"challenge": payload.get("challenge")}
        proof = (await control(s, "urls", events=s.slack.courier.urls["events_api"]))["verification"]
        s.app.on = lambda _path, _payload: "broken"
        failed = await s.slack.open_home("U0ALICE")
        s.app.on = lambda _path, _payload: None
        again = await control(s, "event/again", number=failed.number)
        await s.client.views_publish(user_id="U0ALICE", view=HOME)
        opened = await s.http.get("/ui/home", params={"as": "U0ALICE"})
        page = (await s.http.get(opened.headers["location"])).text
        alice = Person(s.slack, "U0ALICE")
        pressed = await alice.press_at_home("refresh")
        await s.slack.events.send({"type": "app_uninstalled"})
        s.slack.switches.home_tab = False
        off = await refused(s.client.views_publish(user_id="U0ALICE", view=HOME))

    assert proof["failed"] is False
    first, repeated, third = [(p, h) for _, p, h in s.app.heard if p["type"] == "event_callback"][:3]
    assert failed.failed
    assert not again["failed"]
    assert first[0]["event"]["type"] == "app_home_opened"
    assert first[0]["event"]["tab"] == "home"
    assert (first[0]["event_id"], "x-slack-retry-num" in first[1]) == (repeated[0]["event_id"], False)
    assert (repeated[1]["x-slack-retry-num"], repeated[1]["x-slack-retry-reason"]) == ("1", "http_timeout")
    assert third[0]["event"]["view"]["type"] == "home"
    assert "refresh" in page
    assert pressed.payload["container"] == {
        "type": "view",
        "view_id": pressed.payload["view"]["id"],
    }
    assert s.app.heard[-1][1]["event"] == {"type": "app_uninstalled"}
    assert off["error"] == "not_enabled"


async def test_a_slash_command_is_posted_and_its_answer_shown() -> None:
    async with stage() as s:
        dana = Person(s.slack, "U0DANA")
        s.app.on = lambda _path, _payload: {"response_type": "in_channel", "text": "Two are open"}
        form = {"as": "U0DANA", "line": "/approvals mine  now", "channel": "C0APPR"}
        back = await s.http.post("/ui/command", data=form)
        s.app.on = lambda _path, _payload: "only *you*"
        await control(s, "command", user="U0DANA", line="/approvals", channel="C0APPR")
        s.app.on = lambda _path, _payload: None
        quiet = await dana.command("/approvals")
        later = {"text": "later", "response_type": "ephemeral"}
        await s.http.post(quiet.payload["response_url"].removeprefix(s.base), json=later)
        s.app.on = lambda _path, _payload: "broken"
        bad = await dana.command("/approvals")
        page = (await s.http.get("/", params={"as": "U0DANA", "channel": "C0APPR"})).text
        with pytest.raises(CannotClick, match="not a valid command"):
            await dana.command("/nonsense")

    path, sent, headers = s.app.heard[0]
    assert (back.status_code, path, headers["content-type"]) == (
        303,
        "/slack/commands",
        "application/x-www-form-urlencoded",
    )
    assert (sent["command"], sent["text"], sent["user_name"]) == ("/approvals", "mine  now", "dana")
    assert [m.text for m in s.slack.workspace.listed() if not m.only_for] == ["Two are open"]
    assert [m.text for m in dana.whispers()][:2] == ["only *you*", "later"]
    assert bad.failed
    assert "dispatch_failed" in dana.whispers()[-1].text
    assert "Slackbot" in page
    assert "typed /approvals mine" in page


async def test_shortcuts_name_their_message_if_they_have_one() -> None:
    async with stage() as s:
        message = await s.client.chat_postMessage(channel="C0APPR", text="x", blocks=ASK)
        await control(s, "shortcut", user="U0BOB", callback_id="my_pending")
        await control(s, "shortcut", user="U0BOB", callback_id="show", channel="C0APPR", ts=message["ts"])
    whole, about = [p for _, p, _ in s.app.heard]
    assert (whole["type"], "message" in whole) == ("shortcut", False)
    assert (about["type"], about["message_ts"]) == ("message_action", message["ts"])
    assert not any("api_app_id" in payload for payload in (whole, about))  # as Slack's name no app


async def test_sockets_carry_what_is_else_posted() -> None:
    async with stage() as s:
        s.slack.switches.socket_mode = True
        alice = Person(s.slack, "U0ALICE")
        await s.client.chat_postMessage(channel="C0APPR", text="x", blocks=ASK)
        alone = await alice.press("edit")
        no_app = await refused(s.client.apps_connections_open(app_token="xoxb-local"))
        heard: list[SocketModeRequest] = []
        answers: dict[str, Any] = {"slash_commands": {"text": "one open"}, "interactive": {"text": "ignored"}}
        silent: list[bool] = []

        async def listen(client: Any, request: SocketModeRequest) -> None:
            heard.append(request)
            if not silent:
                answer = SocketModeResponse(request.envelope_id, answers.get(request.type))
                await client.send_socket_mode_response(answer)

        sdk = SocketModeClient("xapp-local", web_client=s.client, ping_interval=0.2)
        sdk.socket_mode_request_listeners.append(listen)
        try:
            await sdk.connect()  # type: ignore[no-untyped-call]
            await alice.sees(lambda: s.slack.sockets.connected or None, "a socket")
            clicked, typed = await alice.press("edit"), await alice.command("/approvals")
            opened = await s.slack.open_home("U0ALICE")
            answers["interactive"] = {"response_action": "errors", "errors": {"why": "no"}}
            s.slack.views.open("U0ALICE", modal(field_of("why", "plain_text_input")))
            submitted = await alice.submit(why="because")
            silent.append(True)
            s.slack.courier.answer_seconds = 0.1
            late = await alice.press("edit")
            silent.clear()
            s.slack.courier.answer_seconds = 3.0
            told = (await control(s, "sockets/disconnect", reason="refresh_requested"))["told"]
            await alice.sees(lambda: s.slack.sockets.connected or None, "a new socket")
            anew = await alice.press("edit")
        finally:
            await sdk.close()  # type: ignore[no-untyped-call]

    assert (alone.error, no_app["error"]) == ("no socket is connected", "not_allowed_token_type")
    assert [c.error for c in (clicked, typed, opened, submitted, anew)] == [None] * 5
    assert [r.type for r in heard[:4]] == ["interactive", "slash_commands", "events_api", "interactive"]
    assert [r.accepts_response_payload for r in heard[:4]] == [False, True, False, True]
    assert [m.text for m in alice.whispers()] == ["one open"]
    assert alice.modal().errors == {"why": "no"}
    assert late.error == "no answer within 0.1 s"
    assert told == 1
    assert s.app.heard == []


async def test_history_may_be_read_once_a_minute_and_15_at_a_time() -> None:
    async with stage() as s:
        for number in range(17):
            await s.client.chat_postMessage(channel="C0APPR", text=str(number))
        s.slack.switches.history_limited = True
        page = await s.client.conversations_history(channel="C0APPR", limit=100)
        again = await refused(s.client.conversations_history(channel="C0APPR"))

    assert (len(page["messages"]), page["has_more"]) == (15, True)
    assert (again.status_code, again.headers["Retry-After"]) == (429, "60")
