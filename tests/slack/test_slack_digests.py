"""The message over the questions of unattended runs: what it shows, what it cuts, what it offers."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from support.slack_cards import ALICE, NO, NOW, YES, C, S, card, decided
from support.slack_limits import faults, markup, texts
from support.slack_messages import shown

from orchestrator.domain.cards import Card, DigestCard
from orchestrator.domain.consent import Place
from orchestrator.domain.values import replace
from orchestrator.emulator.serving import running
from orchestrator.emulator.slack.app import build
from orchestrator.emulator.slack.validation import validate_blocks
from orchestrator.slack.action import MOST_TOGETHER
from orchestrator.slack.digests import MOST_LINES, draw_digest, in_one_go, is_digest, plain_digest
from orchestrator.slack.gateway import SlackGateway
from orchestrator.slack.home import HomeEntry, home
from orchestrator.slack.message import Message

HOSTILE = "<!channel> <https://evil.example|Approve here> `*_~ <@U0BOB>\u202e"
CHANNEL = "C0APPR"


def one(number: int, base: Card | None = None, **terms: Any) -> Card:
    """The question of a run of its own."""
    base = base or card({"order": number})
    known = replace(base.approval.terms, **{"together": True, **terms})
    digest = f"{number % 256:02x}" * 32
    approval = replace(base.approval, id=f"apr_{number:024x}", digest=digest, terms=known)
    call = replace(base.call, id=f"call_{number}", approval=approval)
    return replace(base, approval=approval, call=call, run_id=f"run_{number}")


def digest(*cards: Card, ts: str = "", more: int = 0) -> DigestCard:
    asked_at = NOW.replace(second=0)
    return DigestCard(f"{CHANNEL}@{asked_at:%Y-%m-%dT%H:%MZ}", Place(CHANNEL, ts), asked_at, cards, more)


def drawn(*cards: Card, more: int = 0, now: datetime = NOW) -> Message:
    message = draw_digest(digest(*cards, more=more), now=now)
    assert faults(message.blocks) == []
    assert validate_blocks(message.blocks) == ()
    return message


def labels(message: Message) -> list[str]:
    return [e["text"]["text"] for b in message.blocks if b["type"] == "actions" for e in b["elements"]]


def test_a_line_for_each_with_its_fingerprint_run_requester_and_a_piece_of_it() -> None:
    other = replace(card({"note": HOSTILE}), workflow="billing")
    message = drawn(one(1), one(2), one(3, other))
    said = shown(message)
    assert "3 questions of unattended runs: 3 to be decided" in said
    assert "support · refund_order" in said
    assert "billing · refund_order" in said
    assert all(part in said for part in ("sha256 01010101", "· run_2 for dana", '"order": 2'))
    assert labels(message) == ["Approve all 2…", "Reject all 2…"]  # the third is alone in its kind
    assert "\\u{202E}" in said
    assert not any("evil" in text or "channel" in text for text in markup(message.blocks))
    assert "evil" not in message.text


def test_what_nobody_may_see_or_answer_here_is_neither_shown_nor_offered() -> None:
    discreet = [one(n, discreet=True) for n in (1, 2)]
    assert '"order"' not in shown(drawn(*discreet))
    apart = [one(n, together=False) for n in (1, 2)]
    assert labels(drawn(*apart)) == []
    others = [one(1), one(2, approvers=("U0BOB",))]  # asked of other people
    assert labels(drawn(*others)) == []
    long = [one(n, card({"text": "x" * 300_000})) for n in (1, 2)]
    assert labels(drawn(*long)) == []
    assert labels(drawn(one(3), one(4), *long)) == ["Approve 2 of 4…", "Reject 2 of 4…"]


def test_it_is_drawn_as_they_are_decided() -> None:
    gone = [
        one(1, decided(S.APPROVED, C.READY, verdict=YES)),
        one(2, decided(S.REJECTED, C.SETTLED, verdict=NO)),
    ]
    message = drawn(*gone, one(3))
    said = shown(message)
    assert f"by {ALICE.name}" in said
    assert "1 to be decided" in said
    assert labels(message) == []  # one that is left is decided on its card
    over = drawn(*gone)
    assert "nothing to be decided" in shown(over)


@pytest.mark.parametrize(("count", "more"), [(MOST_TOGETHER + 5, 0), (150, 40)])
def test_many_are_cut_and_it_is_said_how_many(count: int, more: int) -> None:
    message = drawn(*(one(n) for n in range(1, count + 1)), more=more)
    said = shown(message)
    assert labels(message)[0] == f"Approve {MOST_TOGETHER} of {count}…"
    assert (f"and {count - MOST_LINES} more" in said) == (count > MOST_LINES)
    assert (f"And {more} more, each" in said) == bool(more)
    assert ("150 or more to be decided" in said) == bool(more)


def test_many_kinds_are_cut_and_every_one_is_counted() -> None:
    cards = [one(n, replace(card({"n": n}), workflow=f"flow{n // 3}")) for n in range(60)]
    said = shown(drawn(*cards))
    lines = said.count("sha256 ")
    cut = sum(
        int(part.split()[0]) for part in said.replace("And ", "and ").split("and ") if " more" in part[:9]
    )
    assert lines + cut == 60


def test_one_window_takes_the_first_that_fit() -> None:
    cards: Sequence[Card] = [one(n, card({"text": "x" * 60_000})) for n in range(1, 9)]
    chosen = in_one_go(cards)
    assert 1 < len(chosen) < 8
    assert chosen == tuple(cards[: len(chosen)])
    assert len(in_one_go([one(n) for n in range(40)])) == MOST_TOGETHER
    assert in_one_go([]) == ()


@pytest.mark.asyncio
async def test_the_local_slack_takes_it_and_one_that_got_through_is_found_again() -> None:
    cards = [one(n, card({"text": HOSTILE * 40})) for n in range(1, 30)]
    app = build(clock=NOW.timestamp)
    async with running(app) as address:
        gateway = SlackGateway("xoxb-local", clock=lambda: NOW, base_url=f"{address}/api/")
        place = await gateway.post_batch(digest(*cards), seen_before=False)
        assert await gateway.post_batch(digest(*cards), seen_before=True) == place
        over = [one(n, decided(S.APPROVED, C.READY, verdict=YES)) for n in range(1, 30)]
        await gateway.update_batch(digest(*over))
        message = app.state.slack.workspace.find(CHANNEL, place.ts)
        assert message is not None
        assert "nothing to be decided" in "\n".join(texts(message.blocks))
        await gateway.aclose()


def test_the_plainer_form_says_where_they_are_and_is_the_same_message() -> None:
    told = plain_digest(digest(one(1)), now=NOW)
    assert told.blocks == []
    assert "in the thread" in told.text
    assert is_digest(told.metadata, digest(one(2)))
    assert not is_digest(told.metadata, replace(digest(), name="C0OTHER@2026-11-21T14:00Z"))


def test_on_the_home_tab_one_that_waits_for_its_hour_says_when_it_is_shown() -> None:
    asked = one(1)
    waits = replace(asked.approval, collected=digest().name, expires_at=NOW + timedelta(days=50))
    there = "\n".join(markup(home([HomeEntry(replace(asked, approval=waits))], [], now=NOW)["blocks"]))
    assert "Shown in its channel" in there
    assert "Expires" not in there
