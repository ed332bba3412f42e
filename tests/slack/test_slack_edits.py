"""What people changed of the arguments stands on the card and in the window: who, before and after."""

import json
from datetime import timedelta
from typing import Any

import pytest
from support.slack_cards import ALICE, DIGEST, NOW, YES, C, K, S, card, decided
from support.slack_limits import faults, texts

from orchestrator.domain.cards import Card
from orchestrator.domain.consent import Actor
from orchestrator.domain.edits import Edited, changes
from orchestrator.domain.model import Outcome
from orchestrator.domain.values import replace
from orchestrator.emulator.slack.validation import VIEW_BYTES, validate_blocks, validate_view, view_bytes
from orchestrator.slack import modals
from orchestrator.slack.blocks import TEXT_BUDGET, draw
from orchestrator.slack.text import weight

CANARY = "canary-7f00a1"


def changed(
    before: dict[str, Any],
    now: dict[str, Any],
    *by: Actor,
    base: Card | None = None,
    hidden: tuple[str, ...] = (),
    **terms: Any,
) -> Card:
    """A card about `now` that was proposed as `before`."""
    shown = base or card(now)
    approval = replace(shown.approval, revision=2, terms=replace(shown.approval.terms, **terms))
    edited = Edited(before, by or (ALICE,), NOW - timedelta(minutes=5), frozenset(hidden))
    call = replace(shown.call, arguments=now, approval=approval)
    return replace(shown, approval=approval, call=call, edited=edited)


def difference(shown: Card) -> dict[str, Any]:
    """What its card says was changed."""
    parts = _block(shown, "f")["elements"]
    return dict(json.loads(parts[1]["elements"][0]["text"]))


def _block(shown: Card, name: str) -> Any:
    return next(b for b in draw(shown, now=NOW).blocks if b["block_id"].startswith(f"{name}:"))


def said(shown: Card) -> str:
    return "\n".join(texts(draw(shown, now=NOW).blocks))


def test_the_card_says_who_changed_what_from_what_to_what() -> None:
    asked = changed({"amount": 120, "order": 1, "why": "late"}, {"amount": 20, "order": 1, "note": None})
    assert difference(asked) == {
        "amount": {"from": 120, "to": 20},
        "note": {"to": None},
        "why": {"from": "late"},
    }
    assert [f["text"].split("\n")[0] for f in _block(asked, "e")["fields"]] == [
        "*Changed by*",
        "*Changed at*",
    ]
    assert "*Changed by*\n<@U0ALICE>" in said(asked)
    assert "Changed by" not in said(card())
    assert DIGEST[:8] in said(asked), "the seal is that of what runs"


@pytest.mark.parametrize(("one", "other"), [(1, 1.0), (1, "1"), (1, True), (None, ""), ([1], (1, 1))])
def test_values_that_look_alike_are_a_change(one: Any, other: Any) -> None:
    edited = Edited({"n": one}, (ALICE,), NOW)
    assert set(changes(edited, {"n": other}, ())) == {"n"}
    assert changes(edited, {"n": one}, ()) == {}


def test_letters_that_can_be_mistaken_are_pointed_at() -> None:
    shown = said(changed({"to": "paypal"}, {"to": "p\u0430ypal"}))
    assert shown.count("p\\u{430}ypal") >= 4, "beside the arguments and beside the change"
    hostile = changed({"to": "\u202egro.live"}, {"to": "a <!channel> `b`"})
    assert "\\u{202E}gro.live" in said(hostile)
    assert validate_blocks(draw(hostile, now=NOW).blocks) == ()
    assert "<!channel>" not in json.dumps(
        [b for b in draw(hostile, now=NOW).blocks if b["type"] != "rich_text"]
    )


@pytest.mark.parametrize("where", ["now", "before"])
def test_what_its_tool_keeps_from_view_is_covered_on_both_sides(where: str) -> None:
    """Also where it was hidden only when the call was proposed."""
    terms: dict[str, Any] = {"hidden": ("key",)} if where == "before" else {}
    before, now = {"key": f"{CANARY}-old"}, {"key": f"{CANARY}-newer" if where == "now" else "open"}
    asked = changed(before, now, **({"hidden": ("key",)} if where == "now" else terms))
    views = [modals.details(asked, open_=True), {"blocks": draw(asked, now=NOW).blocks}]
    for view in views:
        assert f"{CANARY}-old" not in json.dumps(view)
        assert f"[hidden, {len(CANARY) + 4} characters]" in json.dumps(view).replace("\\\\", "\\")


def test_the_channel_of_a_discreet_call_hears_who_and_not_what() -> None:
    asked = changed({"iban": "DE02"}, {"iban": "DE99"}, discreet=True)
    assert "DE" not in said(asked).replace("Details", "")
    assert "*Changed by*\n<@U0ALICE>" in said(asked)
    inside = "\n".join(texts(modals.details(asked, open_=True)["blocks"]))
    assert "DE02" in inside
    assert "DE99" in inside


def test_it_stays_on_the_card_that_is_decided() -> None:
    base = decided(S.APPROVED, C.READY, verdict=YES, arguments={"n": 2})
    shown = changed({"n": 1}, {"n": 2}, base=base)
    assert difference(shown) == {"n": {"from": 1, "to": 2}}
    assert draw(shown, now=NOW).text.startswith("Approved with changes: refund_order")
    assert draw(base, now=NOW).text.startswith("Approved: refund_order")
    outcome = Outcome(K.SUCCEEDED, "ok")
    over = decided(S.APPROVED, C.SETTLED, verdict=YES, arguments={"n": 2}, outcome=outcome, started=True)
    assert difference(changed({"n": 1}, {"n": 2}, base=over)) == {"n": {"from": 1, "to": 2}}


@pytest.mark.parametrize("letter", ["x", "p\u0430", "\u202e", "\U0001f600", '"'])
@pytest.mark.parametrize("size", [10, 900, 3_500, 7_000, 20_000])
def test_long_changes_are_cut_and_say_so_and_never_cost_the_arguments_their_place(
    letter: str, size: int
) -> None:
    asked = changed({"text": letter * size, "n": 1}, {"text": letter * size, "n": 2, "more": letter * size})
    plain = replace(asked, edited=None)
    for one in (
        asked,
        changed({"a": letter * size}, {"a": letter}),
        changed({"a": letter}, {"a": letter * size}),
    ):
        message = draw(one, now=NOW)
        assert faults(message.blocks) == []
        assert validate_blocks(message.blocks) == ()
        view = modals.details(one, open_=True)
        assert validate_view(view) == ()
        assert view_bytes(view) <= VIEW_BYTES
    labels = "Approve" in json.dumps(draw(plain, now=NOW).blocks[-1])
    assert ("Approve" in json.dumps(draw(asked, now=NOW).blocks[-1])) is labels
    if size == 20_000:
        cut = said(changed({"a": letter * size}, {"a": "short"}))
        assert "Shortened: " in cut
        assert '"action_id": "approve"' in json.dumps(
            draw(changed({"a": letter * size}, {"a": ""}), now=NOW).blocks
        )


def test_of_many_who_changed_it_the_newest_are_named() -> None:
    people = tuple(Actor(f"U0{n:04}", f"p{n}", "slack") for n in range(9))
    shown = said(changed({"n": 1}, {"n": 2}, *people))
    assert "<@U00008>" in shown
    assert "<@U00003>" not in shown
    assert "4 others before" in shown
    assert weight(shown) < TEXT_BUDGET
