"""The Web API, met with Slack's own client: answers, refusals, threads, history, trouble on order."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import httpx
import pytest
from slack_kit import refused
from slack_sdk.web.async_client import AsyncWebClient

from orchestrator.emulator.serving import authorities, running
from orchestrator.emulator.slack.app import build
from orchestrator.emulator.slack.local import LocalSlack
from orchestrator.emulator.slack.settings import SlackChannel, SlackEmulatorSettings

pytestmark = pytest.mark.asyncio

TOKEN = "xoxb-local"
METADATA = {"event_type": "approval_request", "event_payload": {"delivery_id": "dlv_01"}}
LARGE = {"event_type": "a", "event_payload": {"x": "y" * 20_000}}
SECTION = {"type": "section", "text": {"type": "mrkdwn", "text": "*Hello*"}}
CHANNELS = (
    SlackChannel("C0APPR", "approvals"),
    SlackChannel("C0OTHER", "other", bot_is_member=False),
    SlackChannel("C0OLD", "old", is_archived=True),
    SlackChannel("C0FEW", "few", is_private=True, members=frozenset({"U0ALICE"})),
)


class Clock:
    """Time that moves when told."""

    def __init__(self) -> None:
        self.now = 1_795_290_000.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def slack(
    settings: SlackEmulatorSettings | None = None, *, token: str = TOKEN, clock: Clock | None = None
) -> AsyncIterator[tuple[AsyncWebClient, LocalSlack, str]]:
    app = build(settings or SlackEmulatorSettings(channels=CHANNELS), clock=clock or Clock())
    async with running(app) as base:
        yield (
            AsyncWebClient(token=token, base_url=f"{base}/api/", retry_handlers=[], timeout=30),
            app.state.slack,
            base,
        )


async def test_auth_test_names_the_app() -> None:
    async with slack() as (client, _, base):
        answer = await client.auth_test()

    assert (answer["team_id"], answer["user_id"], answer["bot_id"]) == ("T0LOCAL", "U0BOT", "B0BOT")
    assert answer["url"] == f"{base}/"


@pytest.mark.parametrize(("token", "error"), [("", "not_authed"), ("xoxb-wrong", "invalid_auth")])
async def test_a_wrong_token_is_refused_with_status_200(token: str, error: str) -> None:
    async with slack(token=token) as (client, _, _base):
        answer = await refused(client.auth_test())

    assert answer["error"] == error
    assert answer.status_code == 200


async def test_an_unknown_method() -> None:
    async with slack() as (client, _, _base):
        assert (await refused(client.api_call("reminders.invent")))["error"] == "unknown_method"


async def test_posting_stores_what_was_sent() -> None:
    async with slack() as (client, local, _):
        answer = await client.chat_postMessage(
            channel="C0APPR", text="Hi", blocks=[SECTION], metadata=METADATA
        )

    (row,) = local.messages()
    assert (answer["channel"], answer["ts"]) == ("C0APPR", "1795290000.000000")
    assert answer["message"]["text"] == "Hi"
    assert answer["message"]["metadata"] == METADATA
    assert row["blocks"][0]["text"] == SECTION["text"]
    assert row["blocks"][0]["block_id"]
    assert (row["ts"], row["metadata"], row["edits"], row["only_for"]) == (answer["ts"], METADATA, [], None)


async def test_no_two_messages_share_a_timestamp() -> None:
    async with slack() as (client, _, _base):
        stamps = [(await client.chat_postMessage(channel="C0APPR", text="x"))["ts"] for _ in range(3)]

    assert stamps == ["1795290000.000000", "1795290000.000001", "1795290000.000002"]


@pytest.mark.parametrize(
    ("args", "error"),
    [
        ({"channel": "C0NONE", "text": "x"}, "channel_not_found"),
        ({"channel": "C0OTHER", "text": "x"}, "not_in_channel"),
        ({"channel": "C0OLD", "text": "x"}, "is_archived"),
        ({"channel": "C0APPR"}, "no_text"),
        ({"channel": "C0APPR", "blocks": []}, "no_text"),
        ({"channel": "C0APPR", "blocks": "[{"}, "invalid_blocks_format"),
        ({"channel": "C0APPR", "text": "x", "thread_ts": "1.000000"}, "thread_not_found"),
        ({"channel": "C0APPR", "text": "x", "metadata": {"event_type": "a"}}, "invalid_metadata_schema"),
        (
            {"channel": "C0APPR", "text": "x", "metadata": LARGE},
            "metadata_too_large",
        ),
        ({"channel": "C0APPR", "blocks": [{"type": "markdown", "text": 7}]}, "invalid_blocks"),
    ],
)  # fmt: skip
async def test_what_posting_refuses(args: dict[str, Any], error: str) -> None:
    async with slack() as (client, local, _):
        assert (await refused(client.api_call("chat.postMessage", json=args)))["error"] == error

    assert local.messages() == []


async def test_the_text_budget_is_met_and_not_passed() -> None:
    def blocks(total: int) -> list[dict[str, Any]]:
        sizes = [3000, 3000, 3000, 3000, total - 12_000]
        return [{"type": "section", "text": {"type": "plain_text", "text": "x" * n}} for n in sizes]

    async with slack() as (client, _, _base):
        assert (await client.chat_postMessage(channel="C0APPR", text="x", blocks=blocks(13_200)))["ok"]
        over = await refused(client.chat_postMessage(channel="C0APPR", text="x", blocks=blocks(13_201)))

    assert over["error"] == "msg_blocks_too_long"


async def test_broken_blocks_come_back_with_a_pointer_each() -> None:
    broken: list[dict[str, Any]] = [
        SECTION,
        {"type": "section", "text": {"type": "mrkdwn", "text": ""}},
        {"type": "nope"},
    ]
    async with slack() as (client, _, _base):
        answer = await refused(client.chat_postMessage(channel="C0APPR", text="x", blocks=broken))

    assert answer["error"] == "invalid_blocks"
    assert answer["response_metadata"]["messages"] == [
        "[ERROR] must be more than 0 characters [json-pointer:/blocks/1/text/text]",
        "[ERROR] unsupported type: nope [json-pointer:/blocks/2/type]",
    ]


async def test_blocks_validate_tells_apart_what_was_given() -> None:
    view = {"type": "modal", "title": {"type": "plain_text", "text": "T" * 25}, "blocks": []}
    async with slack() as (client, _, _base):
        assert (await client.blocks_validate(blocks=[SECTION]))["ok"]
        blocks = await refused(client.blocks_validate(blocks=[{"type": "nope"}]))
        message = await refused(client.blocks_validate(message={"blocks": [{"type": "nope"}]}))
        modal = await refused(client.blocks_validate(view=view))

    assert (blocks["error"], blocks["errors"][0]["pointer"]) == ("invalid_blocks", "/0/type")
    assert (message["error"], message["errors"][0]["pointer"]) == ("invalid_message", "/blocks/0/type")
    assert (modal["error"], modal["errors"][0]["pointer"]) == ("invalid_view", "/title/text")


async def test_an_update_replaces_the_look_and_keeps_the_metadata() -> None:
    async with slack() as (client, local, _):
        posted = await client.chat_postMessage(
            channel="C0APPR", text="Old", blocks=[SECTION], metadata=METADATA
        )
        await client.chat_update(channel="C0APPR", ts=posted["ts"], text="New", blocks=[{"type": "divider"}])

    (row,) = local.messages()
    assert (row["text"], row["blocks"][0]["type"], row["metadata"]) == ("New", "divider", METADATA)
    assert [(edit["text"], edit["blocks"][0]["type"]) for edit in row["edits"]] == [("Old", "section")]


async def test_an_update_with_text_only_takes_the_blocks_away() -> None:
    async with slack() as (client, local, _):
        posted = await client.chat_postMessage(channel="C0APPR", text="Old", blocks=[SECTION])
        answer = await client.chat_update(channel="C0APPR", ts=posted["ts"], text="New")

    assert local.messages()[0]["blocks"] == []
    assert answer["message"]["edited"]["user"] == "U0BOT"


async def test_what_updating_refuses() -> None:
    async with slack() as (client, local, _):
        posted = await client.chat_postMessage(channel="C0APPR", text="Old")
        local.workspace.messages["C0APPR", posted["ts"]].user = "U0ALICE"
        foreign = await refused(client.chat_update(channel="C0APPR", ts=posted["ts"], text="x"))
        gone = await refused(client.chat_update(channel="C0APPR", ts="1.000000", text="x"))
        by_name = await refused(client.chat_update(channel="approvals", ts=posted["ts"], text="x"))

    assert foreign["error"] == "cant_update_message"
    assert gone["error"] == "message_not_found"
    assert by_name["error"] == "channel_not_found"


async def test_an_updated_text_is_measured_in_bytes() -> None:
    async with slack() as (client, _, _base):
        ts = (await client.chat_postMessage(channel="#approvals", text="Old"))["ts"]
        await client.chat_update(channel="C0APPR", ts=ts, text="é" * 2000)
        over = await refused(client.chat_update(channel="C0APPR", ts=ts, text="é" * 2000 + "e"))

    assert over["error"] == "msg_too_long"


async def test_an_ephemeral_is_stored_for_its_person_and_nobody_else() -> None:
    async with slack() as (client, local, _):
        answer = await client.chat_postEphemeral(channel="C0APPR", user="U0ALICE", text="Psst")
        history = await client.conversations_history(channel="C0APPR")
        update = await refused(client.chat_update(channel="C0APPR", ts=answer["message_ts"], text="x"))
        delete = await refused(client.chat_delete(channel="C0APPR", ts=answer["message_ts"]))

    assert [(m["text"], m["only_for"]) for m in local.messages()] == [("Psst", "U0ALICE")]
    assert history["messages"] == []
    assert update["error"] == delete["error"] == "message_not_found"


async def test_an_ephemeral_to_somebody_outside_the_channel() -> None:
    async with slack() as (client, _, _base):
        assert (await client.chat_postEphemeral(channel="C0FEW", user="U0ALICE", text="x"))["ok"]
        answer = await refused(client.chat_postEphemeral(channel="C0FEW", user="U0BOB", text="x"))

    assert answer["error"] == "user_not_in_channel"


async def test_a_deleted_message_is_gone_but_remembered() -> None:
    async with slack() as (client, local, _):
        ts = (await client.chat_postMessage(channel="C0APPR", text="x"))["ts"]
        await client.chat_delete(channel="C0APPR", ts=ts)
        again = await refused(client.chat_delete(channel="C0APPR", ts=ts))
        history = await client.conversations_history(channel="C0APPR")

    assert again["error"] == "message_not_found"
    assert history["messages"] == []
    assert local.messages()[0]["deleted"] is True


async def test_a_permalink_leads_to_the_message() -> None:
    async with slack() as (client, _, base):
        ts = (await client.chat_postMessage(channel="C0APPR", text="x"))["ts"]
        answer = await client.chat_getPermalink(channel="C0APPR", message_ts=ts)

    assert answer["permalink"] == f"{base}/?channel=C0APPR#p{ts.replace('.', '')}"


async def test_history_is_newest_first_with_metadata_only_on_request() -> None:
    clock = Clock()
    async with slack(clock=clock) as (client, _, _base):
        for text in ("one", "two", "three"):
            clock.now += 10
            await client.chat_postMessage(channel="C0APPR", text=text, metadata=METADATA)
        plain = await client.conversations_history(channel="C0APPR", limit=2)
        rest = await client.conversations_history(
            channel="C0APPR", cursor=plain["response_metadata"]["next_cursor"]
        )
        told = await client.conversations_history(
            channel="C0APPR", oldest=str(clock.now - 15), include_all_metadata=True
        )
        edge = await client.conversations_history(channel="C0APPR", oldest=str(clock.now), inclusive=True)

    assert [m["text"] for m in plain["messages"]] == ["three", "two"]
    assert plain["has_more"] is True
    assert "metadata" not in plain["messages"][0]
    assert [m["text"] for m in rest["messages"]] == ["one"]
    assert [(m["text"], m["metadata"]) for m in told["messages"]] == [("three", METADATA), ("two", METADATA)]
    assert [m["text"] for m in edge["messages"]] == ["three"]


async def test_a_thread_reads_from_its_parent_on() -> None:
    async with slack() as (client, _, _base):
        parent = (await client.chat_postMessage(channel="C0APPR", text="parent"))["ts"]
        reply = (await client.chat_postMessage(channel="C0APPR", text="reply", thread_ts=parent))["ts"]
        await client.chat_postMessage(channel="C0APPR", text="loud", thread_ts=parent, reply_broadcast=True)
        thread = await client.conversations_replies(channel="C0APPR", ts=parent)
        history = await client.conversations_history(channel="C0APPR")
        to_reply = await refused(client.chat_postMessage(channel="C0APPR", text="x", thread_ts=reply))
        no_thread = await refused(client.conversations_replies(channel="C0APPR", ts="1.000000"))
        as_float = await refused(
            client.api_call(
                "chat.postMessage", json={"channel": "C0APPR", "text": "x", "thread_ts": float(parent)}
            )
        )

    assert [m["text"] for m in thread["messages"]] == ["parent", "reply", "loud"]
    assert thread["messages"][0]["reply_count"] == 2
    assert [m["text"] for m in history["messages"]] == ["loud", "parent"]
    assert to_reply["error"] == "cannot_reply_to_message"
    assert no_thread["error"] == as_float["error"] == "thread_not_found"


async def test_a_direct_channel_is_opened_and_named_by_its_own_id() -> None:
    async with slack() as (client, local, _):
        opened = await client.conversations_open(users=["U0ALICE"])
        posted = await client.chat_postMessage(channel="U0ALICE", text="x")
        info = await client.conversations_info(channel=opened["channel"]["id"])
        nobody = await refused(client.conversations_open(users="U0NOBODY"))

    assert opened["channel"]["id"] == posted["channel"] == "D0ALICE"
    assert info["channel"]["is_im"] is True
    assert nobody["error"] == "user_not_found"
    assert local.messages()[0]["channel"] == "D0ALICE"


async def test_people_groups_and_channels_can_be_looked_up() -> None:
    async with slack() as (client, _, _base):
        user = await client.users_info(user="U0ALICE")
        group = await client.usergroups_users_list(usergroup="S0APPROVERS")
        channel = await client.conversations_info(channel="C0OTHER")
        no_user = await refused(client.users_info(user="U0NOBODY"))
        no_group = await refused(client.usergroups_users_list(usergroup="S0NONE"))

    assert user["user"]["profile"]["display_name"] == "Alice Approver"
    assert group["users"] == ["U0ALICE", "U0BOB"]
    assert (channel["channel"]["name"], channel["channel"]["is_member"]) == ("other", False)
    assert (no_user["error"], no_group["error"]) == ("user_not_found", "no_such_subteam")


async def test_a_home_tab_is_published_and_guarded_by_its_hash() -> None:
    home = {"type": "home", "blocks": [SECTION]}
    async with slack() as (client, _, _base):
        view = (await client.views_publish(user_id="U0ALICE", view=home))["view"]
        again = await client.views_publish(user_id="U0ALICE", view=home, hash=view["hash"])
        stale = await refused(client.views_publish(user_id="U0ALICE", view=home, hash=view["hash"]))

    assert again["view"]["id"] == view["id"]
    assert stale["error"] == "hash_conflict"


async def test_forms_queries_and_json_all_work() -> None:
    async with (
        slack() as (_, local, base),
        httpx.AsyncClient(base_url=base, timeout=60, verify=authorities()) as http,
    ):
        auth = {"Authorization": "Bearer xoxb-local"}
        form = {"channel": "C0APPR", "text": "form", "blocks": '[{"type": "divider"}]', "token": "xoxb-local"}
        assert (await http.post("/api/chat.postMessage", data=form)).json()["ok"]
        query = {"channel": "C0APPR", "text": "query"}
        assert (await http.get("/api/chat.postMessage", params=query, headers=auth)).json()["ok"]
        as_json = {**auth, "Content-Type": "application/json; charset=utf-8"}
        odd = _ascii({"channel": "C0APPR", "text": "half \ud83d pair"})
        assert (await http.post("/api/chat.postMessage", content=odd, headers=as_json)).json()["ok"]
        bad = await http.post("/api/chat.postMessage", content=b"{", headers=as_json)
        xml = await http.post(
            "/api/chat.postMessage", content=b"<x/>", headers={**auth, "Content-Type": "text/xml"}
        )

    assert bad.json() == {"ok": False, "error": "invalid_json"}
    assert xml.json() == {"ok": False, "error": "invalid_post_type"}
    assert [m["text"] for m in local.messages()] == ["form", "query", "half \ufffd pair"]
    assert all("token" not in call.args for call in local.calls)


def _ascii(value: dict[str, Any]) -> bytes:
    """JSON with every odd character escaped, half a surrogate pair too."""
    return json.dumps(value).encode()


async def test_a_429_says_how_long_to_wait() -> None:
    async with slack() as (client, local, _):
        local.fault("chat.postMessage", "status", status=429, retry_after=7)
        answer = await refused(client.chat_postMessage(channel="C0APPR", text="x"))
        assert (await client.chat_postMessage(channel="C0APPR", text="x"))["ok"]

    assert (answer.status_code, answer["error"], answer.headers["Retry-After"]) == (429, "ratelimited", "7")
    assert len(local.messages()) == 1


async def test_a_server_error_says_nothing_useful() -> None:
    async with slack() as (client, local, _):
        local.fault("*", "status", status=500)
        answer = await refused(client.chat_postMessage(channel="C0APPR", text="x"))

    assert (answer.status_code, answer.data) == (500, "out of order")


async def test_an_html_page_comes_instead_of_json() -> None:
    async with slack() as (client, local, _):
        local.fault("chat.postMessage", "html")
        answer = await refused(client.chat_postMessage(channel="C0APPR", text="x"))

    assert (answer.status_code, answer.get("error")) == (503, None)


async def test_an_error_of_choice_before_or_after_the_write() -> None:
    async with slack() as (client, local, _):
        local.fault("chat.postMessage", "ok_false", error="restricted_action")
        local.fault("chat.postMessage", "ok_false", error="fatal_error", stored=True)
        before = await refused(client.chat_postMessage(channel="C0APPR", text="lost"))
        after = await refused(client.chat_postMessage(channel="C0APPR", text="kept"))

    assert (before["error"], after["error"]) == ("restricted_action", "fatal_error")
    assert [m["text"] for m in local.messages()] == ["kept"]


@pytest.mark.parametrize(("kind", "stored"), [("reset", []), ("accept_then_reset", ["x"])])
async def test_a_dropped_connection_before_and_after_the_write(kind: Any, stored: list[str]) -> None:
    async with slack() as (client, local, _):
        local.fault("chat.postMessage", kind)
        with pytest.raises(aiohttp.ClientError):
            await client.chat_postMessage(channel="C0APPR", text="x")
        assert (await client.auth_test())["ok"]

    assert [m["text"] for m in local.messages()] == stored


@pytest.mark.parametrize(("stored", "kept"), [(False, []), (True, ["x"])])
async def test_a_hanging_call_outlasts_its_caller(stored: bool, kept: list[str]) -> None:
    async with slack() as (client, local, _):
        client.timeout = 1.0  # type: ignore[assignment]  # declared int, handed to aiohttp as it is
        local.fault("chat.postMessage", "hang", seconds=600, stored=stored)
        with pytest.raises(TimeoutError):
            await client.chat_postMessage(channel="C0APPR", text="x")

    assert [m["text"] for m in local.messages()] == kept


async def test_a_short_hang_still_answers() -> None:
    async with slack() as (client, local, _):
        local.fault("chat.postMessage", "hang", seconds=0.05)
        assert (await client.chat_postMessage(channel="C0APPR", text="x"))["ok"]


async def test_a_fault_meets_its_method_as_often_as_ordered() -> None:
    async with slack() as (client, local, _):
        local.fault("chat.postMessage", "ok_false", error="rate_limited", count=2)
        assert (await client.auth_test())["ok"]
        for _ in range(2):
            assert (await refused(client.chat_postMessage(channel="C0APPR", text="x")))[
                "error"
            ] == "rate_limited"
        assert (await client.chat_postMessage(channel="C0APPR", text="x"))["ok"]

    assert local.faults.pending() == []


async def test_rate_limits_count_per_channel_and_second() -> None:
    clock = Clock()
    settings = SlackEmulatorSettings(channels=CHANNELS, rate_limits=True)
    async with slack(settings, clock=clock) as (client, _, _base):
        await client.chat_postMessage(channel="C0APPR", text="x")
        await client.chat_postMessage(channel="C0FEW", text="x")
        answer = await refused(client.chat_postMessage(channel="C0APPR", text="x"))
        clock.now += 1
        assert (await client.chat_postMessage(channel="C0APPR", text="x"))["ok"]
        for _ in range(20):
            await client.usergroups_users_list(usergroup="S0APPROVERS")
        tier = await refused(client.usergroups_users_list(usergroup="S0APPROVERS"))

    assert (answer.status_code, answer["error"], answer.headers["Retry-After"]) == (429, "ratelimited", "1")
    assert tier.headers["Retry-After"] == "60"
