"""Reminders in the thread of a message: who is told what, once, on the local Slack and on a scripted one."""

import json
from datetime import timedelta
from typing import Any

import pytest
from support.slack_cards import ID, NOW, card, limit_card, plan_card, states
from support.slack_server import ME, POSTED, FakeSlack, no, ok
from support.slack_standing import standing, thread

from orchestrator.domain.cards import Card
from orchestrator.domain.consent import Actor, AtTimeout, Stage, Terms
from orchestrator.domain.outcomes import OUTCOME
from orchestrator.domain.values import replace
from orchestrator.emulator.slack.validation import validate_blocks
from orchestrator.engine.ports import SlackPort
from orchestrator.errors import RejectedError, UncertainError
from orchestrator.slack.blocks import draw
from orchestrator.slack.gateway import SlackGateway
from orchestrator.slack.notices import draw_notice, mentions

UNTIL, LATER = "2026-11-21 15:00 UTC", "2026-11-22 14:00 UTC"
TERMS = Terms(approvers=("U0ALICE", "S0OPS", "api:ci", "<!channel>", "U0BOB"), channel="C0APPR")


def asked(terms: Terms = TERMS, **changes: Any) -> Card:
    """A card that stands in the channel, under those terms; `changes` to its approval."""
    base = card({"note": "<!channel> *now*"}, forgotten_at=NOW + timedelta(days=1))
    return replace(base, approval=replace(base.approval, terms=terms, **changes))


def words(shown: Card, what: str) -> str:
    """The notice as its notification reads."""
    return draw_notice(shown, what).text.removeprefix("Approval needed: refund_order (workflow support). ")


WHO = "<@U0ALICE> <!subteam^S0OPS> <@U0BOB>"
ESCALATED = replace(
    TERMS,
    approvers=("U0ALICE", "U0ZOE", "S0BOSS"),
    at_timeout=AtTimeout.ESCALATE,
    escalate_to=("U0ZOE", "S0BOSS"),
)
HELD = replace(TERMS, at_timeout=AtTimeout.ATTENTION)


@pytest.mark.parametrize(
    ("shown", "what", "said"),
    [
        (asked(), "1", f"{WHO} Reminder 1 of 2: this still waits for a decision. It lapses at {UNTIL}."),
        (asked(), "2", f"{WHO} Reminder 2 of 2: this still waits for a decision. It lapses at {UNTIL}."),
        (
            asked(replace(TERMS, at_timeout=AtTimeout.ESCALATE)),
            "1",
            f"{WHO} Reminder 1 of 2: this still waits for a decision. Others are asked too at {UNTIL}.",
        ),
        (
            asked(HELD),
            "1",
            f"{WHO} Reminder 1 of 2: this still waits for a decision. "
            f"An operator has to see to it at {UNTIL}.",
        ),
        (
            asked(ESCALATED, escalated=True),
            "3",
            "<@U0ALICE> <@U0ZOE> <!subteam^S0BOSS> Reminder 1 of 2: this still waits for a decision. "
            f"It lapses at {UNTIL}.",
        ),
        (
            asked(),
            "forgetting",
            f"{WHO} Gemini forgets this at {LATER}; no answer counts after {UNTIL}.",
        ),
        (
            asked(ESCALATED, escalated=True),
            "overdue",
            f"Nobody has decided: <@U0ZOE> <!subteam^S0BOSS> may decide now too, until {UNTIL}.",
        ),
        (
            asked(replace(ESCALATED, escalate_to=("api:ops",)), escalated=True),
            "overdue",
            f"Nobody has decided: it can still be decided, until {UNTIL}.",
        ),
        (
            asked(HELD, escalated=True),
            "overdue",
            f"{WHO} Nobody has decided in time, and the run waits. It can still be decided, until {UNTIL}.",
        ),
    ],
)
def test_who_is_told_what(shown: Card, what: str, said: str) -> None:
    assert words(shown, what) == said


def test_a_notice_shows_nothing_the_model_wrote_and_moments_as_the_reader_sees_them() -> None:
    message = draw_notice(asked(), "1")
    assert "channel" not in message.text.replace("C0APPR", "")
    head, said = (block["text"] for block in message.blocks)
    assert head == {"type": "plain_text", "emoji": False, "text": "Approval needed: refund_order"}
    assert (said["type"], said["verbatim"], "<!date^" in said["text"]) == ("mrkdwn", True, True)
    assert message.metadata["event_payload"] == {"request_id": ID, "rev": 1, "notice": "1"}
    assert draw_notice(plan_card(), "1").text.startswith(
        "An agent's plan needs a decision (workflow research)"
    )
    assert draw_notice(limit_card(), "1").text.startswith("Token limit reached: go on? (workflow research)")


def test_only_who_can_still_decide_is_mentioned() -> None:
    stages = (Stage("risk", ("U0ALICE",)), Stage("legal", ("U0BOB",)))
    before = replace(asked(replace(TERMS, four_eyes=True)), asked_before=("U0BOB",))
    assert mentions(before, "1") == "<@U0ALICE> <!subteam^S0OPS>"
    terms = replace(TERMS, never=("U0ALICE",), four_eyes=True)
    assert mentions(asked(terms), "1") == "<!subteam^S0OPS> <@U0BOB>"
    asker = replace(asked(terms), requester=Actor("U0BOB", "bob", "slack"))
    assert mentions(asker, "1") == "<!subteam^S0OPS>"
    assert mentions(asked(replace(TERMS, stages=stages)), "1") == "<@U0ALICE>"
    many = replace(TERMS, approvers=tuple(f"U0{n:03}" for n in range(25)))
    assert mentions(asked(many), "1").endswith("<@U0019> and 5 more")
    assert mentions(asked(replace(TERMS, approvers=("api:ci",))), "1") == ""


@pytest.mark.parametrize("name", ["done", "failed", "rejected", "lapsed", "refused"])
def test_what_came_of_it_is_told_to_whoever_asked(name: str) -> None:
    shown = states()[name]
    message = draw_notice(shown, OUTCOME)
    assert validate_blocks(message.blocks) == ()
    headline = draw(shown, now=NOW).blocks[0]["text"]["text"]
    head, said, *more = message.blocks
    assert head["text"]["text"] == headline
    assert message.text == f"{headline} (workflow support). <@U0DANA>"
    assert said["text"]["text"].startswith("<@U0DANA> ")
    assert [block["type"] for block in more] == ["rich_text"] * (name in ("done", "failed", "rejected"))
    assert message.metadata["event_payload"] == {"request_id": ID, "rev": 1, "notice": OUTCOME}
    machine = draw_notice(replace(shown, requester=Actor("api:shop", "*shop*")), OUTCOME)
    assert machine.text == f"{headline} (workflow support)."
    assert "shop" not in json.dumps(machine.blocks)
    kept = replace(shown.approval, terms=replace(shown.approval.terms, discreet=True))
    assert "<@U0BOB> ok" not in json.dumps(draw_notice(replace(shown, approval=kept), OUTCOME).blocks)


# --- on the wire --------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_reminder_stands_in_the_thread_and_the_last_one_in_the_channel_too() -> None:
    async with standing(asked()) as (slack, gateway, shown):
        port: SlackPort = gateway
        await port.remind(shown, what="1", last=False, seen_before=False)
        await port.remind(shown, what="2", last=True, seen_before=False)
        first, second = thread(slack, shown)
        assert ("Reminder 1 of 2" in first["text"], "Reminder 2 of 2" in second["text"]) == (True, True)
        assert [m["broadcast"] for m in (first, second)] == [False, True]


@pytest.mark.asyncio
@pytest.mark.parametrize(("fault", "before"), [("accept_then_reset", 1), ("reset", 0)])
async def test_a_reminder_whose_answer_got_lost_is_said_once(fault: str, before: int) -> None:
    async with standing(asked()) as (slack, gateway, shown):
        await gateway.remind(shown, what="1", last=False, seen_before=False)
        slack.fault("chat.postMessage", fault)
        with pytest.raises(UncertainError):
            await gateway.remind(shown, what="2", last=True, seen_before=False)
        assert len(thread(slack, shown)) == 1 + before
        for _ in range(2):
            await gateway.remind(shown, what="2", last=True, seen_before=True)
        assert len(thread(slack, shown)) == 2


@pytest.mark.asyncio
async def test_a_thread_that_cannot_be_read_gets_a_twin() -> None:
    slack_says = {
        "chat__postMessage": POSTED,
        "auth__test": ME,
        "conversations__replies": no("missing_scope", needed="channels:history"),
    }
    async with FakeSlack(**slack_says) as slack:
        gateway = SlackGateway("xoxb-test", clock=lambda: NOW, base_url=slack.base_url)
        await gateway.remind(asked(channel="C0APPR", ts="1.1"), what="1", last=False, seen_before=True)
        await gateway.aclose()
        (sent,) = slack.made("chat.postMessage")
        assert (sent["channel"], sent["thread_ts"], "reply_broadcast" in sent) == ("C0APPR", "1.1", False)
        (looked,) = slack.made("conversations.replies")
        assert (looked["channel"], looked["ts"], looked["include_all_metadata"]) == ("C0APPR", "1.1", "1")


@pytest.mark.asyncio
async def test_only_our_own_notice_of_this_very_kind_is_taken_for_it() -> None:
    told = draw_notice(asked(), "1").metadata
    others = [
        {"ts": "1.2", "user": "U0EVE", "bot_id": "B0EVE", "metadata": told},
        {"ts": "1.3", "bot_id": "B0BOT", "metadata": draw_notice(asked(), "2").metadata},
        {"ts": "1.4", "bot_id": "B0BOT", "metadata": draw_notice(asked(revision=2), "1").metadata},
        {"ts": "1.5", "bot_id": "B0BOT", "metadata": {**told, "event_type": "approval_request"}},
        {"ts": "1.6", "bot_id": "B0BOT"},
        "noise",
    ]
    ours = {"ts": "1.7", "bot_id": "B0BOT", "metadata": told}
    pages = [
        ok(messages=others, response_metadata={"next_cursor": "2"}),
        ok(messages=[]),
        ok(messages=others, response_metadata={"next_cursor": "2"}),
        ok(messages=[ours]),
    ]
    script: dict[str, Any] = {"auth__test": ME, "conversations__replies": pages, "chat__postMessage": POSTED}
    async with FakeSlack(**script) as slack:
        gateway = SlackGateway("xoxb-test", clock=lambda: NOW, base_url=slack.base_url)
        for _ in range(2):
            await gateway.remind(asked(channel="C0APPR", ts="1.1"), what="1", last=False, seen_before=True)
        await gateway.aclose()
        assert len(slack.made("chat.postMessage")) == 1
        assert slack.made("conversations.replies")[1]["cursor"] == "2"


@pytest.mark.asyncio
async def test_a_drawing_slack_refuses_is_said_in_words_and_a_final_no_is_final() -> None:
    answers = [no("invalid_blocks"), POSTED, no("is_archived")]
    async with FakeSlack(chat__postMessage=answers) as slack:
        gateway = SlackGateway("xoxb-test", clock=lambda: NOW, base_url=slack.base_url)
        shown = asked(channel="C0APPR", ts="1.1")
        await gateway.remind(shown, what="2", last=True, seen_before=False)
        _, plainer = slack.made("chat.postMessage")
        assert "blocks" not in plainer
        assert ("Reminder 2 of 2" in plainer["text"], plainer["reply_broadcast"]) == (True, True)
        with pytest.raises(RejectedError):
            await gateway.remind(shown, what="2", last=True, seen_before=False)
        await gateway.aclose()


def several(count: int) -> list[Card]:
    """Questions of one turn under one message, each with an approver of its own beside the common one."""
    return [
        replace(
            asked(
                replace(TERMS, approvers=("U0ALICE", f"U0P{n:02}")),
                id=f"apr_{n:02}",
                channel="C0APPR",
                ts=f"1.{n}",
            ),
            thread="1.000",
            shown_link=f"https://acme.slack.com/archives/C0APPR/p{n}",
        )
        for n in range(count)
    ]


@pytest.mark.parametrize("count", [2, 12, 41, 100])
def test_several_are_told_of_in_one_message_that_slack_takes(count: int) -> None:
    first, *others = several(count)
    message = draw_notice(first, "1", others)
    validate_blocks(message.blocks)
    shown = json.dumps(message.blocks)
    assert message.text.count("<@U0ALICE>") == 1
    assert f"Reminder 1 of 2: {count} questions still wait for a decision" in message.text
    assert shown.count("https://acme.slack.com/archives/C0APPR/p") == min(count, 40)
    assert (f"and {count - 40} more" in shown) == (count > 40)


@pytest.mark.asyncio
@pytest.mark.parametrize("decided", [False, True])
async def test_of_several_whose_answer_got_lost_each_is_told_of_once(decided: bool) -> None:
    """Also where the first of them was decided meanwhile, so that another stands first."""
    cards = several(3)
    told = draw_notice(cards[0], "1", cards[1:]).metadata
    link = ok(permalink="https://acme.slack.com/archives/C0APPR/p1")
    said = {"ts": "1.9", "bot_id": "B0BOT", "metadata": told}
    async with FakeSlack(
        chat__postMessage=POSTED,
        auth__test=ME,
        chat__getPermalink=[link, no("message_not_found"), link],
        conversations__replies=[ok(messages=[]), ok(messages=[said])],
    ) as slack:
        gateway = SlackGateway("xoxb-test", clock=lambda: NOW, base_url=slack.base_url)
        await gateway.remind(cards[0], what="1", last=False, seen_before=True, others=cards[1:])
        first, *others = cards[1:] if decided else cards
        await gateway.remind(first, what="1", last=False, seen_before=True, others=others)
        await gateway.aclose()
        (sent,) = slack.made("chat.postMessage")
        assert (sent["thread_ts"], sent["metadata"]) == ("1.000", told)
        assert json.dumps(sent["blocks"]).count("archives/C0APPR/p1") == 2, "one has no link, and is listed"
