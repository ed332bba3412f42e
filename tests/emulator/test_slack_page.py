"""The page: what a person reads, that nothing hostile comes alive, and that its buttons really press."""

# ruff: noqa: E501  a table reads better with one row a line

import html
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from orchestrator.emulator.serving import authorities, running
from orchestrator.emulator.slack.app import build
from orchestrator.emulator.slack.local import LocalSlack
from orchestrator.emulator.slack.render import Renderer, plain
from orchestrator.emulator.slack.settings import SlackEmulatorSettings
from orchestrator.emulator.slack.workspace import Workspace

CLOCK = 1_795_290_000.0
EVIL = "<script>alert(1)</script><!channel> <https://evil.example|Approve here> *b* :x: \"&amp;'"


def words(kind: str, text: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, "text": text, **more}


def button(action_id: str, **more: Any) -> dict[str, Any]:
    return {"type": "button", "action_id": action_id, "text": words("plain_text", action_id.title()), **more}


CONFIRM = {
    "title": words("plain_text", "Run refund?"),
    "text": words("plain_text", "It runs now."),
    "confirm": words("plain_text", "Approve"),
    "deny": words("plain_text", "Go back"),
}


@pytest.fixture
def renderer() -> Renderer:
    return Renderer(Workspace(SlackEmulatorSettings()))


MRKDWN: list[tuple[str, str]] = [
    ("*bold* _it_ ~no~ `co*de*`", "<strong>bold</strong> <em>it</em> <s>no</s> <code>co*de*</code>"),
    ("*bold _both_*", "<strong>bold <em>both</em></strong>"),
    ("2*3*4 a_b_c * x *", "2*3*4 a_b_c * x *"),
    ("one\ntwo", "one<br>two"),
    ("> quoted\n&gt; more\nafter", "<blockquote>quoted<br>more</blockquote>after"),
    ("```\na *b* <x>\n```", "<pre>a *b* &lt;x&gt;</pre>"),
    ("&lt;b&gt; &amp;lt;", "&lt;b&gt; &amp;lt;"),
    ("<@U0ALICE> <@U0NOBODY>", '<span class="mention person">@Alice Approver</span> <span class="mention person">@U0NOBODY</span>'),
    ("<#C0APPR> <#C9|gone>", '<span class="mention person">#approvals</span> <span class="mention person">#gone</span>'),
    ("<!subteam^S0APPROVERS>", '<span class="mention person">@approvers</span>'),
    ("<!channel>", '<span class="mention everyone">@channel</span>'),
    ("<https://e.example/?a=1&amp;b=2|run *9*>", '<a href="https://e.example/?a=1&amp;b=2" rel="noopener noreferrer" target="_blank">run *9*</a>'),
    ("<javascript:alert(1)|hi>", "&lt;javascript:alert(1)|hi&gt;"),
    ('<https://e.example/"onclick="x|hi>', '<a href="https://e.example/&#34;onclick=&#34;x" rel="noopener noreferrer" target="_blank">hi</a>'),
    ("<!date^1795291800^{time}|15:30 UTC>", "20:10 UTC"),
    ("<!date^1795291800^{date_num} {time_secs}|x>", "2026-11-21 20:10:00 UTC"),
    ("<!date^1795291800^{fancy}|fall &amp; back>", "fall &amp; back"),
    ("<!date^nope^{time}|back>", "back"),
    (":x: :no_such_thing:", "❌ :no_such_thing:"),
    ("see https://e.example/a", 'see <a href="https://e.example/a" rel="noopener noreferrer" target="_blank">https://e.example/a</a>'),
    ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "drawn"), MRKDWN)
def test_mrkdwn_is_drawn_as_slack_draws_it(renderer: Renderer, text: str, drawn: str) -> None:
    assert str(renderer.mrkdwn(text)) == drawn


def test_verbatim_leaves_bare_addresses_alone(renderer: Renderer) -> None:
    assert str(renderer.mrkdwn("https://e.example", verbatim=True)) == "https://e.example"


def test_plain_text_knows_emoji_only_where_they_are_on() -> None:
    assert str(plain("*a* <b> :x:")) == "*a* &lt;b&gt; ❌"
    assert str(plain("*a* :x:", emoji=False)) == "*a* :x:"


def test_many_stars_are_no_work(renderer: Renderer) -> None:
    text = "*a<" * 1000 + "_b" * 500
    assert html.unescape(str(renderer.mrkdwn(text))) == text


@asynccontextmanager
async def site(
    settings: SlackEmulatorSettings | None = None,
) -> AsyncIterator[tuple[LocalSlack, httpx.AsyncClient]]:
    app = build(settings, clock=lambda: CLOCK)
    async with (
        running(app) as base,
        httpx.AsyncClient(base_url=base, timeout=60, verify=authorities()) as http,
    ):
        yield app.state.slack, http


def post(slack: LocalSlack, *blocks: dict[str, Any], **more: Any) -> str:
    answer = slack.call(
        "chat.postMessage", {"channel": "C0APPR", "text": "fallback", "blocks": list(blocks), **more}
    )
    return str(answer["ts"])


async def shown(http: httpx.AsyncClient, **query: str) -> str:
    answer = await http.get("/", params=query)
    assert answer.status_code == 200
    return answer.text


HOSTILE: list[dict[str, Any]] = [
    {"type": "header", "text": words("plain_text", EVIL, emoji=False)},
    {"type": "section", "text": words("plain_text", EVIL, emoji=False)},
    {"type": "context", "elements": [words("plain_text", EVIL, emoji=False)]},
    {"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": [words("text", EVIL)]}]},
    {
        "type": "rich_text",
        "elements": [{"type": "rich_text_preformatted", "elements": [words("text", EVIL)]}],
    },
    {"type": "rich_text", "elements": [{"type": "rich_text_quote", "elements": [words("text", EVIL)]}]},
    {"type": "table", "rows": [[words("raw_text", EVIL)]]},
    {"type": "image", "alt_text": EVIL, "image_url": "https://e.example/x.png"},
    {
        "type": "input",
        "label": words("plain_text", EVIL, emoji=False),
        "element": {"type": "plain_text_input"},
    },
]


@pytest.mark.asyncio
@pytest.mark.parametrize("block", HOSTILE, ids=[b["type"] for b in HOSTILE])
async def test_hostile_text_stays_literal(block: dict[str, Any]) -> None:
    async with site() as (slack, http):
        post(slack, block)
        page = await shown(http)

    body = page.split('<div class="stream">')[1]
    assert "<script" not in body
    assert "evil.example" in body
    assert 'href="https://evil' not in body
    assert EVIL in html.unescape(re.sub(r"</?(?:em|strong)>", "!", body))


@pytest.mark.asyncio
async def test_hostile_names_and_ids_stay_literal() -> None:
    evil = '"><script>x</script>'
    async with site() as (slack, http):
        actions = {
            "type": "actions",
            "block_id": evil,
            "elements": [button(evil, value=evil, accessibility_label=evil)],
        }
        post(slack, actions)
        page = await shown(http, **{"as": evil, "channel": evil})
        asked = await http.get("/ui/confirm", params={"action_id": evil, "channel": evil, "ts": evil})

    assert "<script>x" not in page
    assert html.escape(evil, quote=True).replace("&quot;", "&#34;") in page
    assert asked.status_code == 404
    assert "<script>" not in asked.text


@pytest.mark.asyncio
async def test_a_long_name_breaks_rather_than_push_a_windows_buttons_away() -> None:
    """What a browser makes of it `bench.cards` shows; here only that both rules which keep it are given out."""
    async with site() as (_, http):
        style = (await http.get("/assets/slack.css")).text
    rules = {
        name.strip(): rule for name, rule in re.findall(r"^([^\s{}@][^{}]*)\{([^}]*)\}", style, re.MULTILINE)
    }
    assert "overflow-wrap: anywhere" in rules["body"]
    assert "grid-template-columns: minmax(0, 1fr)" in rules[".shade"]


@pytest.mark.asyncio
async def test_the_page_allows_nothing_from_outside() -> None:
    async with site() as (slack, http):
        post(slack, {"type": "image", "alt_text": "A chart", "image_url": "https://e.example/x.png"})
        answer = await http.get("/")
        style, script = await http.get("/assets/slack.css"), await http.get("/assets/slack.js")
        other = await http.get("/assets/page.html")

    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "<img" not in answer.text
    assert "A chart" in answer.text
    assert " style=" not in answer.text
    assert not re.search(r"\son[a-z]+=", answer.text)
    assert (style.status_code, script.status_code, other.status_code) == (200, 200, 404)
    assert "http" not in style.text + script.text


@pytest.mark.asyncio
async def test_a_person_sees_their_own_whispers_and_no_others() -> None:
    async with site() as (slack, http):
        parent = post(slack)
        args = {"channel": "C0APPR", "user": "U0ALICE", "text": "psst", "thread_ts": parent}
        slack.call("chat.postEphemeral", args)
        hers, his = await shown(http, **{"as": "U0ALICE"}), await shown(http, **{"as": "U0BOB"})

    assert "Only visible to you (Alice Approver)" in hers
    assert "1 reply" in hers
    assert "psst" not in his
    assert "Only visible" not in his


@pytest.mark.asyncio
async def test_a_button_may_be_for_some_eyes_only() -> None:
    async with site() as (slack, http):
        post(slack, {"type": "actions", "elements": [button("approve", visible_to_user_ids=["U0ALICE"])]})
        hers, his = await shown(http, **{"as": "U0ALICE"}), await shown(http, **{"as": "U0BOB"})

    assert ">Approve</button>" in hers
    assert ">Approve</button>" not in his


ONE = {"text": words("plain_text", "First choice"), "value": "1"}
EVERYTHING: list[dict[str, Any]] = [
    {"type": "divider"},
    {"type": "section", "text": words("mrkdwn", "*Words*"), "accessory": button("side")},
    {"type": "context", "elements": [{"type": "image", "alt_text": "A face", "image_url": "https://e.example/f"}]},
    {
        "type": "rich_text",
        "elements": [
            {
                "type": "rich_text_list",
                "style": "ordered",
                "elements": [{"type": "rich_text_section", "elements": [words("text", "Item")]}],
            },
            {
                "type": "rich_text_section",
                "elements": [
                    words("text", "all", style=dict.fromkeys(("bold", "italic", "strike", "code", "underline"), True)),
                    {"type": "user", "user_id": "U0BOB"},
                    {"type": "usergroup", "usergroup_id": "S0APPROVERS"},
                    {"type": "channel", "channel_id": "C0APPR"},
                    {"type": "broadcast", "range": "here"},
                    {"type": "emoji", "name": "eyes"},
                    {"type": "color", "value": "#ff0000"},
                    {"type": "date", "timestamp": 0, "format": "{date_long}"},
                    {"type": "link", "url": "https://e.example/l", "text": "A link"},
                ],
            },
        ],
    },
    {"type": "actions", "elements": [
        {"type": "static_select", "action_id": "a", "options": [ONE], "initial_option": ONE},
        {"type": "multi_static_select", "action_id": "b", "option_groups": [{"label": words("plain_text", "Group"), "options": [ONE]}]},
        {"type": "users_select", "action_id": "c", "initial_user": "U0BOB"},
        {"type": "multi_channels_select", "action_id": "d"},
        {"type": "overflow", "action_id": "e", "options": [ONE]},
        {"type": "radio_buttons", "action_id": "f", "options": [ONE]},
        {"type": "datepicker", "action_id": "g", "initial_date": "2026-11-21"},
        {"type": "timepicker", "action_id": "h"},
        {"type": "datetimepicker", "action_id": "i"},
        button("danger", style="danger"),
    ]},
    {"type": "context_actions", "elements": [
        {"type": "icon_button", "action_id": "x", "icon": "trash", "text": words("plain_text", "Bin")},
        {"type": "feedback_buttons", "action_id": "y", "positive_button": {"text": words("plain_text", "Good"), "value": "g"}, "negative_button": {"text": words("plain_text", "Bad"), "value": "b"}},
    ]},
    {"type": "task_card", "task_id": "1", "title": "A task", "status": "in_progress", "sources": [{"type": "url", "url": "https://e.example/s", "text": "A source"}]},
    {"type": "plan", "title": "A plan", "tasks": [{"type": "task_card", "task_id": "2", "title": "Inner task", "status": "complete"}]},
    {"type": "container", "title": words("plain_text", "A box"), "is_collapsible": True, "child_blocks": [{"type": "actions", "elements": [button("inside")]}]},
    {"type": "table", "rows": [[words("raw_text", "Key"), {"type": "raw_number", "value": 7}]]},
    {"type": "markdown", "text": "**not drawn**"},
]  # fmt: skip


@pytest.mark.asyncio
async def test_every_block_and_element_is_drawn() -> None:
    async with connected() as (slack, http):
        ts = post(slack, *EVERYTHING)
        page = await shown(http)
        for action_id, choice in (
            ("a", "1"),
            ("c", "U0BOB"),
            ("d", "C0APPR"),
            ("e", "1"),
            ("g", "2026-01-01"),
            ("y", "negative"),
            ("inside", ""),
        ):
            form = {"as": "U0BOB", "channel": "C0APPR", "ts": ts, "action_id": action_id, "choice": choice}
            assert (await http.post("/ui/click", data=form)).status_code == 404, "a block id is needed too"
            block_id = next(
                b["block_id"] for b in slack.messages()[0]["blocks"] if f"'{action_id}'" in str(b)
            )
            await slack.click(
                "C0APPR",
                ts,
                action_id,
                "U0BOB",
                choice=choice,
                block_id=None if action_id == "inside" else block_id,
            )

    for said in (
        "<strong>Words</strong>", ">Side</button>", "A face", "<li>Item</li>",
        "<u><strong><em><s><code>all</code></s></em></strong></u>", "@Bob Reviewer", "@approvers", "#approvals", "@here", "👀",
        "#ff0000", "Thursday, January 1, 1970", ">A link</a>", "First choice", '<optgroup label="Group">', 'value="2026-11-21"',
        "button danger", ">Bin</button>", ">Good</button>", ">Bad</button>", "in progress", "A source", "Inner task", "A box", ">Inside</button>",
        "<td>Key</td><td>7</td>", "**not drawn**",
    ):  # fmt: skip
        assert said in page, said
    actions = [click.payload["actions"][0] for click in slack.clicks]
    assert [next(v for k, v in a.items() if k.startswith(("selected", "value", "text"))) for a in actions] == [
        ONE, "U0BOB", ["C0APPR"], ONE, "2026-01-01", "b", words("plain_text", "Inside"),
    ]  # fmt: skip


@pytest.mark.asyncio
async def test_threads_deletions_and_edits_show() -> None:
    async with site() as (slack, http):
        parent, gone = post(slack), post(slack)
        slack.call("chat.postMessage", {"channel": "C0APPR", "text": "a reply", "thread_ts": parent})
        slack.call("chat.update", {"channel": "C0APPR", "ts": parent, "text": "changed"})
        slack.call("chat.delete", {"channel": "C0APPR", "ts": gone})
        page = await shown(http)

    assert page.count("<article") == 2
    assert "1 reply" in page
    assert "a reply" in page
    assert re.search(r"changed\s*<span class=\"faint\">\(edited\)", page)


def form_of(page: str, action: str) -> dict[str, str]:
    """The hidden fields of the first form that posts to `action`, as a browser would send them."""
    form = page.split(f'action="{action}"', 1)[1].split("</form>", 1)[0]
    found = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', form)
    return {html.unescape(key): html.unescape(value) for key, value in found}


async def service(scope: Any, receive: Any, send: Any) -> None:
    """Takes every click."""
    if scope["type"] == "lifespan":
        for kind in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{kind}.complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[LocalSlack, httpx.AsyncClient]]:
    async with running(service) as url, site(SlackEmulatorSettings(interactivity_url=url)) as made:
        yield made


@pytest.mark.asyncio
async def test_pressing_a_button_posts_it_and_comes_back_to_the_message() -> None:
    async with connected() as (slack, http):
        ts = post(
            slack, {"type": "actions", "block_id": "decide:1", "elements": [button("approve", value="r|1")]}
        )
        form = form_of(await shown(http, **{"as": "U0BOB"}), "/ui/click")
        answer = await http.post("/ui/click", data=form)
        page = await shown(http, **{"as": "U0BOB"})

    (click,) = slack.clicks
    assert (click.user, click.ts, click.action_id, click.status) == ("U0BOB", ts, "approve", 200)
    assert click.payload["actions"][0]["value"] == "r|1"
    assert answer.status_code == 303
    assert answer.headers["location"] == f"/?as=U0BOB&channel=C0APPR#p{ts.replace('.', '')}"
    assert "Bob Reviewer</strong> pressed approve" in page


@pytest.mark.asyncio
async def test_a_button_with_a_confirm_asks_on_a_second_page() -> None:
    async with connected() as (slack, http):
        post(slack, {"type": "actions", "elements": [button("approve", confirm=CONFIRM)]})
        page = await shown(http)
        asked = await http.get("/ui/confirm", params=form_of(page, "/ui/confirm"))
        assert slack.clicks == []
        answer = await http.post("/ui/click", data=form_of(asked.text, "/ui/click"))

    assert 'action="/ui/click"' not in page
    for said in ("Run refund?", "It runs now.", "Approve", "Go back"):
        assert said in asked.text
    assert answer.status_code == 303
    assert len(slack.clicks) == 1


@pytest.mark.asyncio
async def test_a_link_button_tells_the_service_and_opens_its_address() -> None:
    async with connected() as (slack, http):
        post(slack, {"type": "actions", "elements": [button("review", url="https://e.example/r?a=1&b=2")]})
        page = await shown(http)
        link = html.unescape(re.search(r'href="(/ui/visit[^"]*)"', page)[1])  # type: ignore[index]
        answer = await http.get(link)

    assert answer.headers["location"] == "https://e.example/r?a=1&b=2"
    assert [click.action_id for click in slack.clicks] == ["review"]


MODAL = {
    "type": "modal",
    "title": words("plain_text", "Edit"),
    "submit": words("plain_text", "Send"),
    "blocks": [
        {
            "type": "input",
            "block_id": "args",
            "label": words("plain_text", "Arguments"),
            "element": {
                "type": "plain_text_input",
                "action_id": "v",
                "multiline": True,
                "initial_value": "\n</textarea><b>x",
            },
        },
        {
            "type": "input",
            "block_id": "tags",
            "optional": True,
            "label": words("plain_text", "Tags"),
            "element": {
                "type": "checkboxes",
                "action_id": "t",
                "options": [{"text": words("mrkdwn", f"*{n}*"), "value": n} for n in "abc"],
            },
        },
        {"type": "actions", "block_id": "more", "elements": [button("help")]},
    ],
}


@pytest.mark.asyncio
async def test_a_modal_is_filled_in_and_sent_from_the_page() -> None:
    async with connected() as (slack, http):
        slack.views.open("U0BOB", MODAL)
        page, other = await shown(http, **{"as": "U0BOB"}), await shown(http, **{"as": "U0ALICE"})
        form: dict[str, Any] = form_of(page, "/ui/submit")
        form[json.dumps(["args", "v"])] = "line 1\r\nline 2"
        form[json.dumps(["tags", "t"])] = ["a", "c"]
        button = re.search(r'name="pressed" value="([^"]+)"', page)
        assert button is not None
        pressed = await http.post("/ui/click", data={**form, "pressed": html.unescape(button[1])})
        answer = await http.post("/ui/submit", data=form)

    assert "\n\n&lt;/textarea&gt;&lt;b&gt;x</textarea>" in page
    assert "<strong>a</strong>" in page
    assert "modal-form" not in other
    assert re.search(r'<section class="modal"[^>]* tabindex="-1" autofocus>', page), "a keyboard begins in it"
    assert re.search(r"<nav [^>]* inert>", page), "and does not leave it"
    assert "<main inert>" in page
    state = slack.clicks[-1].payload["view"]["state"]["values"]
    assert (pressed.status_code, answer.status_code) == (303, 303)
    assert [click.kind for click in slack.clicks] == ["block_actions", "view_submission"]
    assert state["args"]["v"]["value"] == "line 1\nline 2"
    assert [option["value"] for option in state["tags"]["t"]["selected_options"]] == ["a", "c"]
    assert slack.views.stack("U0BOB") == []


@pytest.mark.asyncio
async def test_a_required_field_left_empty_is_told_in_the_modal() -> None:
    async with connected() as (slack, http):
        slack.views.open("U0BOB", MODAL)
        form = form_of(await shown(http, **{"as": "U0BOB"}), "/ui/submit")
        answer = await http.post("/ui/submit", data=form)
        page = await shown(http, **{"as": "U0BOB"})
        closed = await http.post("/ui/close", data=form)

    assert answer.status_code == 303
    assert "Please complete this required field." in page
    assert closed.status_code == 303
    assert slack.clicks == []
    assert slack.views.stack("U0BOB") == []


@pytest.mark.asyncio
async def test_the_home_tab_shows_and_presses() -> None:
    async with connected() as (slack, http):
        empty = await shown(http, home="true")
        slack.views.publish(
            "U0ALICE", {"type": "home", "blocks": [{"type": "actions", "elements": [button("mine")]}]}
        )
        page = await shown(http, home="true")
        answer = await http.post("/ui/click", data=form_of(page, "/ui/click"))

    assert "published nothing" in empty
    assert answer.headers["location"].startswith("/?as=U0ALICE&home=true")
    assert slack.clicks[0].payload["container"]["type"] == "view"


@pytest.mark.asyncio
async def test_the_version_changes_with_the_page_and_only_then() -> None:
    async with site() as (slack, http):
        post(slack)
        page = await shown(http)
        place = html.unescape(re.search(r'data-place="/([^"]*)"', page)[1])  # type: ignore[index]
        same = (await http.get("/ui/version" + place)).text
        post(slack)
        changed = (await http.get("/ui/version" + place)).text

    assert f'data-version="{same}"' in page
    assert changed != same


@pytest.mark.asyncio
async def test_pressing_what_is_gone_is_said_in_words() -> None:
    async with connected() as (_, http):
        answer = await http.post(
            "/ui/click", data={"as": "U0BOB", "channel": "C0APPR", "ts": "1.0", "action_id": "a"}
        )

    assert answer.status_code == 404
    assert "no message 1.0 in C0APPR" in answer.text


WITH_A_FIELD = [
    {
        "type": "input",
        "block_id": "note",
        "optional": True,
        "label": words("plain_text", "Note"),
        "element": {"type": "plain_text_input", "action_id": "n", "multiline": True, "max_length": 20},
    },
    {
        "type": "actions",
        "block_id": "decide",
        "elements": [button("refine", value="r|1"), button("approve", value="r|1", confirm=CONFIRM)],
    },
]


@pytest.mark.asyncio
async def test_what_is_typed_into_a_message_goes_along_with_its_buttons() -> None:
    async with connected() as (slack, http):
        ts = post(slack, *WITH_A_FIELD)
        page = await shown(http, **{"as": "U0BOB"})
        form = form_of(page, "/ui/click")
        shared = f'form="f{ts.replace(".", "")}"'
        typed = {json.dumps(["note", "n"]): "line 1\r\nline <2>"}
        pressed = {"pressed": json.dumps(["decide", "refine"])}
        gone = await http.post("/ui/click", data={**form, **typed, **pressed})
        asked = await http.get(
            "/ui/confirm", params={**form, **typed, "pressed": json.dumps(["decide", "approve"])}
        )
        sure = await http.post("/ui/click", data=form_of(asked.text, "/ui/click"))
        long = await http.post("/ui/click", data={**form, **pressed, json.dumps(["note", "n"]): "x" * 21})
        odd = [
            (await http.post("/ui/click", data={**form, "pressed": value})).status_code
            for value in ("x", "7", '["decide", "dance"]', '["note", "n"]')
        ]
        mine, others = await shown(http, **{"as": "U0BOB"}), await shown(http, **{"as": "U0ALICE"})

    assert page.count(shared) == 3  # the field and both buttons
    assert "Choose</button>" not in page
    assert (gone.status_code, sure.status_code, long.status_code, odd) == (303, 303, 404, [404] * 4)
    assert [click.action_id for click in slack.clicks] == ["refine", "approve"]
    for click in slack.clicks:
        assert click.payload["state"]["values"]["note"]["n"]["value"] == "line 1\nline <2>"
    assert "line 1\nline &lt;2&gt;</textarea>" in mine
    assert "line 1" not in others


@pytest.mark.asyncio
async def test_the_control_api_types_too() -> None:
    async with connected() as (slack, http):
        post(slack, *WITH_A_FIELD)
        body = {"action_id": "refine", "user": "U0BOB", "values": {"note": {"n": "Look twice."}}}
        click = (await http.post("/_emulator/click", json=body)).json()
        wrong = [
            (await http.post("/_emulator/click", json={**body, "values": values})).status_code
            for values in ({"note": {"m": "x"}}, {"decide": {"approve": "x"}}, {"note": {"n": "x" * 21}})
        ]

    assert click["payload"]["state"]["values"]["note"]["n"]["value"] == "Look twice."
    assert wrong == [404] * 3
