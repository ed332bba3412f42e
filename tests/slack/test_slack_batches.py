"""The message over several questions of a turn, and the windows that answer them in one go."""

import json
from typing import Any
from urllib.parse import urlencode

import pytest
from support.slack_cards import ALICE, NO, NOW, YES, C, S, card, decided
from support.slack_limits import faults, markup, texts
from support.slack_messages import actions, shown
from support.slack_server import ME, FakeSlack, no, ok

from orchestrator.domain.cards import BatchCard, Card
from orchestrator.domain.consent import Place, Preview, Vote
from orchestrator.domain.model import RunStatus
from orchestrator.domain.values import replace
from orchestrator.emulator.slack.validation import validate_blocks
from orchestrator.slack.action import MOST_TOGETHER, Click, OtherAction, Submission
from orchestrator.slack.batches import (
    approve_all,
    draw_batch,
    fits,
    is_batch,
    open_cards,
    plain_batch,
    reject_all,
)
from orchestrator.slack.gateway import SlackGateway
from orchestrator.slack.interactivity import parse

HOSTILE = "<!channel> <https://evil.example|Approve here> `*_~ <@U0BOB>"
LONG = {"text": "x" * 20_000}
TS, CHANNEL = "1795290000.000100", "C0APPR"


def numbered(number: int, base: Card | None = None, **terms: Any) -> Card:
    """A card of its own id and digest."""
    base = base or card({"order": number})
    terms_ = replace(base.approval.terms, together=True, **terms)
    digest = f"{number:02x}" * 32
    approval = replace(base.approval, id=f"apr_{number:024x}", digest=digest, terms=terms_)
    return replace(base, approval=approval, call=replace(base.call, id=f"call_{number}", approval=approval))


def batch(*cards: Card, together: bool = True, **changes: Any) -> BatchCard:
    shown = cards or tuple(numbered(n) for n in (1, 2, 3))
    whole = BatchCard(
        run_id="run_9",
        turn=2,
        workflow="support",
        requester=ALICE,
        run_status=RunStatus.WAITING,
        place=Place(CHANNEL, ""),
        asked_at=NOW,
        cards=shown,
        together=together,
        link="https://hitl.example.com/runs/run_9",
    )
    return replace(whole, **changes)


def test_it_names_every_call_and_how_it_stands_and_who_may_decide() -> None:
    done = numbered(1, decided(S.APPROVED, C.READY, verdict=YES))
    refused = numbered(2, decided(S.REJECTED, C.SETTLED, verdict=NO))
    message = draw_batch(batch(done, refused, numbered(3), numbered(4), preparing=("ship",)), now=NOW)
    assert faults(message.blocks) == []
    validate_blocks(message.blocks, surface="message")
    said = shown(message)
    assert "support wants to do 5 things" in said
    for words in ("sha256 01010101", "Approved by alice", "Rejected by bob", "being prepared", "<@U0ALICE>"):
        assert words in said
    assert said.count("Approval needed") == 2
    assert message.text == "support wants to do 5 things: 2 still to be decided."
    assert actions(message) == ["approve_all", "reject_all"]


def test_once_nothing_is_open_it_says_so_and_has_nothing_to_press() -> None:
    over = [numbered(n, decided(S.APPROVED, C.READY, verdict=YES)) for n in (1, 2)]
    message = draw_batch(batch(*over), now=NOW)
    assert (actions(message), "wanted to do 2 things" in shown(message)) == ([], True)
    late = draw_batch(batch(), now=NOW.replace(year=2027))  # overdue is over before its timer comes
    assert (actions(late), shown(late).count("Expired")) == ([], 3)
    assert faults(draw_batch(batch(cards=()), now=NOW).blocks) == []


def test_nothing_the_model_wrote_stands_in_it() -> None:
    hostile = [numbered(n, card({HOSTILE: HOSTILE}, run_reason=HOSTILE)) for n in (1, 2)]
    message = draw_batch(batch(*hostile, workflow=HOSTILE), now=NOW)
    assert "evil" not in "".join(markup(message.blocks))
    assert "<!channel>" not in message.text
    assert "evil" in message.blocks[0]["text"]["text"]  # the workflow's name, as plain text
    assert shown(message).count("evil") == 1  # and nothing of the arguments


def test_all_in_one_go_only_where_it_is_allowed_and_all_is_shown_whole() -> None:
    assert actions(draw_batch(batch(together=False), now=NOW)) == []
    assert actions(draw_batch(batch(numbered(1), numbered(2, card({"text": "x" * 300_000}))), now=NOW)) == []
    assert not fits([numbered(n) for n in range(1, MOST_TOGETHER + 2)])
    assert not fits([numbered(1)])
    assert not fits([numbered(n, card({"text": "x" * 90_000})) for n in range(1, 6)])  # each would, not all
    assert fits([numbered(n, card(LONG)) for n in (1, 2)])


def test_the_window_shows_every_call_whole_and_carries_what_it_showed() -> None:
    would = numbered(2, card(LONG))
    would = replace(would, approval=replace(would.approval, preview=Preview("balance -5")))
    view = approve_all([numbered(1), would])
    assert faults(view["blocks"]) == [] or all("characters of text" in f for f in faults(view["blocks"]))
    said = "".join(texts(view["blocks"]))
    assert said.count("x" * 100) >= 190
    for words in ('"order": 1', "balance -5", "sha256 01010101", "sha256 02020202"):
        assert words in said
    assert view["private_metadata"] == (f"apr_{1:024x}|1|0101010101010101 apr_{2:024x}|1|0202020202020202")
    assert len(approve_all([numbered(n) for n in range(1, 21)])["private_metadata"]) <= 3_000


def test_a_reason_for_all_is_needed_where_one_of_them_needs_it() -> None:
    def optional(*cards: Card) -> bool:
        return bool(next(b for b in reject_all(cards)["blocks"] if b["type"] == "input")["optional"])

    assert optional(numbered(1), numbered(2))
    assert not optional(numbered(1), numbered(2, reason_required=True))


def test_one_yes_of_two_is_told() -> None:
    voted = numbered(1, quorum=2)
    voted = replace(voted, approval=replace(voted.approval, votes=(Vote(ALICE, NOW),)))
    assert "Approval needed, 1 of 2 approved" in shown(draw_batch(batch(voted, numbered(2)), now=NOW))


# --- what comes back -------------------------------------------------------------------------------------


def submitted(metadata: str, kind: str = "approve_all") -> Any:
    view = {"id": "V0A1", "callback_id": kind, "private_metadata": metadata, "state": {"values": {}}}
    payload = {
        "type": "view_submission",
        "team": {"id": "T0ACME"},
        "user": {"id": "U0ALICE", "username": "alice"},
        "view": view,
    }
    return parse(urlencode({"payload": json.dumps(payload)}).encode())


def test_a_line_that_changed_makes_its_block_a_new_one() -> None:
    voted = numbered(1, quorum=2)
    votes = replace(voted, approval=replace(voted.approval, votes=(Vote(ALICE, NOW),)))
    before, after = (draw_batch(batch(one, numbered(2)), now=NOW).blocks for one in (voted, votes))
    known = {b["block_id"]: b for b in before}
    assert [b["type"] for b in after if b["block_id"] not in known] == ["rich_text", "context"]
    assert all(known[b["block_id"]] == b for b in after if b["block_id"] in known)


def test_a_window_names_every_question_once() -> None:
    first, second = f"apr_{1:024x}|1|{'01' * 8}", f"apr_{2:024x}|3|{'02' * 8}"
    sent = submitted(f"{first} {second}")
    assert isinstance(sent, Submission)
    assert [(s.approval, s.revision, s.digest_prefix) for s in sent.shown] == [
        (f"apr_{1:024x}", 1, "01" * 8),
        (f"apr_{2:024x}", 3, "02" * 8),
    ]
    many = " ".join(f"apr_{n:024x}|1|{'01' * 8}" for n in range(MOST_TOGETHER + 1))
    for wrong in (first, f"{first} {first}", f"{first}  {second}", f"{first} {second} x", many, ""):
        assert isinstance(submitted(wrong), OtherAction), wrong
    assert isinstance(submitted(f"{first} {second}", kind="details"), OtherAction)
    assert isinstance(submitted(first, kind="details"), Submission)


def test_its_buttons_are_presses_of_ours() -> None:
    [actions] = [b for b in draw_batch(batch(), now=NOW).blocks if b["type"] == "actions"]
    action = actions["elements"][0]
    payload = {
        "type": "block_actions",
        "trigger_id": "1.2.3",
        "team": {"id": "T0ACME"},
        "user": {"id": "U0ALICE", "username": "alice"},
        "container": {"channel_id": CHANNEL, "message_ts": TS},
        "actions": [{k: action[k] for k in ("type", "action_id", "value")}],
    }
    click = parse(urlencode({"payload": json.dumps(payload)}).encode())
    assert isinstance(click, Click)
    assert click.kind == "approve_all"


# --- posted once, and its questions under it -------------------------------------------------------------


def gateway(slack: FakeSlack) -> SlackGateway:
    return SlackGateway(
        "xoxb-test", clock=lambda: NOW, base_url=slack.base_url, timeout_seconds=30, blip_seconds=0.001
    )


def posted(ts: str) -> Any:
    return ok(channel=CHANNEL, ts=ts)


@pytest.mark.asyncio
async def test_one_that_got_through_is_adopted_and_redrawn_where_it_is() -> None:
    drawn = draw_batch(batch(), now=NOW)
    assert is_batch(drawn.metadata, batch())
    assert not is_batch(drawn.metadata, batch(turn=3))
    ours = {"bot_id": "B0BOT", "ts": TS, "metadata": drawn.metadata}
    others = [
        {"bot_id": "B0OTHER", "ts": "1.1", "metadata": drawn.metadata},
        {"bot_id": "B0BOT", "ts": "1.2"},
    ]
    async with FakeSlack(
        auth__test=ME,
        conversations__history=ok(messages=[*others, ours]),
        chat__update=ok(),
        chat__postMessage=posted(TS),
    ) as slack:
        slacks = gateway(slack)
        assert await slacks.post_batch(batch(), seen_before=True) == Place(CHANNEL, TS)
        assert slack.made("chat.postMessage") == []
        await slacks.update_batch(batch())
        assert [sent["ts"] for sent in slack.made("chat.update")] == [TS]
        assert await slacks.post_batch(batch(), seen_before=False) == Place(CHANNEL, TS)
        await slacks.aclose()


@pytest.mark.asyncio
async def test_a_question_goes_into_the_thread_and_is_looked_for_there() -> None:
    under = replace(card(), thread=TS)
    async with FakeSlack(
        auth__test=ME,
        conversations__replies=ok(messages=[]),
        conversations__history=ok(messages=[]),
        chat__postMessage=posted("2.2"),
    ) as slack:
        slacks = gateway(slack)
        await slacks.post(under, seen_before=True)
        assert slack.made("conversations.replies")[0]["ts"] == TS
        placed = replace(under, approval=replace(under.approval, channel=CHANNEL, ts="2.2"))
        await slacks.remind(placed, what="1", last=False, seen_before=False)
        assert [sent["thread_ts"] for sent in slack.made("chat.postMessage")] == [TS, TS]
        await slacks.aclose()


@pytest.mark.asyncio
async def test_where_its_thread_is_gone_a_question_stands_in_the_channel() -> None:
    async with FakeSlack(chat__postMessage=[no("thread_not_found"), posted("2.2")]) as slack:
        slacks = gateway(slack)
        assert await slacks.post(replace(card(), thread=TS), seen_before=False) == (CHANNEL, "2.2")
        assert ["thread_ts" in sent for sent in slack.made("chat.postMessage")] == [True, False]
        await slacks.aclose()


def test_refused_as_a_drawing_it_is_words() -> None:
    message = plain_batch(batch(), now=NOW)
    assert (message.blocks, "3 still to be decided" in message.text) == ([], True)
    assert len(open_cards(batch(), NOW)) == 3
