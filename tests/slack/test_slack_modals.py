"""Windows: Slack takes them, what they show is whole, and nothing hides in them."""

import json
import random
from datetime import timedelta

import pytest
from support.slack_cards import ALICE, DIGEST, ID, NOW, card, decided, states, under
from support.slack_limits import texts

from orchestrator.domain.cards import Card
from orchestrator.domain.consent import Actor, ApprovalStatus, Edits, Stage, Terms, Vote
from orchestrator.domain.model import CallStatus, Outcome, OutcomeKind
from orchestrator.domain.values import replace
from orchestrator.emulator.slack.validation import VIEW_BYTES, validate_blocks, validate_view, view_bytes
from orchestrator.slack import modals, past
from orchestrator.slack.batches import approve_all
from orchestrator.slack.blocks import draw
from orchestrator.slack.forms import form
from orchestrator.slack.pages import fits
from orchestrator.slack.text import render, visible

SCHEMA = {"properties": {"order": {"type": "integer"}, "note": {"type": "string"}}, "required": ["order"]}


def taken(view: modals.View) -> modals.View:
    assert validate_view(view) == ()
    assert view_bytes(view) <= VIEW_BYTES
    return view


def pages(view: modals.View) -> str:
    """The arguments as they stand in the window, put together."""
    parts = [b["elements"][1] for b in view["blocks"] if b["block_id"].startswith("a:")]
    return "".join(part["elements"][0]["text"] for part in parts)


def actions(view: modals.View) -> list[str]:
    found = [b for b in view["blocks"] if b["type"] == "actions"]
    return [e["action_id"] for block in found for e in block["elements"]]


def test_the_details_hold_everything_and_the_ways_to_answer() -> None:
    view = taken(modals.details(under(card(), edits=Edits.SAME, risk="high: moves money"), open_=True))
    assert pages(view) == '{\n  "note": "twice",\n  "order": 4711\n}'
    assert (view["submit"]["text"], view["callback_id"]) == ("Approve", "details")
    assert view["private_metadata"] == f"{ID}|1|{DIGEST[:16]}"
    assert actions(view) == ["edit", "reject_reason", "ask"]
    assert "Risk\nhigh: moves money" in "\n".join(texts(view["blocks"]))
    assert actions(taken(modals.details(card(), open_=True))) == ["reject_reason", "ask"]


def test_the_details_of_what_is_over_have_nothing_to_press() -> None:
    for name, shown in states().items():
        if name != "pending":
            view = taken(modals.details(shown, open_=False))
            assert "submit" not in view
            assert actions(view) == []
    long = replace(states()["done"].call, arguments={"k": "x" * 300_000})
    said = "\n".join(
        texts(taken(modals.details(replace(states()["done"], call=long), open_=False))["blocks"])
    )
    assert "Too long to show here. " in said
    assert "approve" not in said


def shown_with_past(one: Card) -> str:
    return "\n".join(texts(taken(modals.details(one, open_=False, past=past.told(one, NOW)))["blocks"]))


def test_the_details_tell_what_has_become_of_it() -> None:
    for shown in states().values():
        assert "*Asked*\n<!date^" in shown_with_past(shown)
    done = shown_with_past(states()["done"])
    assert "Done: refund_order. Approved, and the tool has finished." in done
    for part in (
        "*Approved by*\n<@U0ALICE>",
        "*When*\n<!date^",
        ", in Slack",
        "*Took*\n2.5 s",
        "<@U0BOB> ok",
    ):
        assert part in done
    no = shown_with_past(states()["rejected"])
    assert "*Rejected by*\n<@U0BOB>" in no
    assert "Ask <!channel> first" in no
    assert "stopped by `dana`" in shown_with_past(states()["withdrawn"])
    one_of_two = under(card(), quorum=2)
    voted = replace(one_of_two.approval, votes=(Vote(ALICE, NOW),))
    assert "1 of 2 approved: <@U0ALICE>" in shown_with_past(replace(one_of_two, approval=voted))


def test_who_may_see_the_arguments_sees_the_result_too() -> None:
    kept_back = under(states()["done"], discreet=True)
    assert "<@U0BOB> ok" not in "\n".join(texts(draw(kept_back, now=NOW).blocks))
    assert "<@U0BOB> ok" in shown_with_past(kept_back)


@pytest.mark.parametrize("size", [2_800, 2_900, 3_100, 18_400, 64_000, 150_000])
@pytest.mark.parametrize("kind", ["one line", "lines", "wide"])
def test_long_arguments_are_shown_whole_or_not_approved(size: int, kind: str) -> None:
    text = {"one line": "x" * size, "wide": "🦊" * (size // 2)}.get(kind)
    arguments = {"k": text if text is not None else [f"row {n}" for n in range(size // 12)]}
    view = taken(modals.details(card(arguments), open_=True))
    whole = pages(view) == render(arguments).text
    assert whole == ("submit" in view) == fits(card(arguments))
    assert whole or "cannot be approved here" in "\n".join(texts(view["blocks"]))
    assert size > 64_000 or whole or kind == "wide"


HARD = [
    "<!channel>",
    "*",
    "`",
    "~",
    ":smile:",
    "\u200b",
    "\u202e",
    "é",
    "e\u0301",
    "а",
    "\n",
    "\\u{200B}",
    "🦊",
    " ",
]


def test_500_pairs_of_different_arguments_show_different_text() -> None:
    rng = random.Random(11)
    for _ in range(500):
        text = "".join(rng.choices([*HARD, "x" * 700, "abc"], k=rng.randint(1, 12)))
        place = rng.randint(0, len(text))
        other = text[:place] + rng.choice(HARD) + text[place:]
        one, two = (modals.details(card({"k": t}), open_=True) for t in (text, other))
        assert list(texts(one["blocks"])) != list(texts(two["blocks"]))
        assert pages(one) != pages(two)
        assert not visible(pages(one))[1]


def test_a_part_that_ends_within_a_line_says_so() -> None:
    cut = list(texts(modals.details(card({"k": "x" * 4_000}), open_=True)["blocks"]))
    assert any(t.endswith("part 2 of 2, in the middle of a line") for t in cut)
    lines = list(texts(modals.details(card({"k": ["x" * 90] * 60}), open_=True)["blocks"]))
    assert any("part 2 of" in t for t in lines)
    assert not any("in the middle" in t for t in lines)


def test_a_reason_is_asked_for_as_the_terms_say() -> None:
    for required in (True, False):
        view = taken(modals.reject(under(card(), reason_required=required)))
        field = next(b for b in view["blocks"] if b["type"] == "input")
        assert field["optional"] is not required
        assert view["callback_id"] == "reject"


@pytest.mark.parametrize(
    ("edits", "submit", "words"),
    [(Edits.SAME, "Approve", "approved by you"), (Edits.OTHER, "Propose", "somebody else has to approve")],
)
def test_the_form_says_who_approves_what_is_changed(edits: Edits, submit: str, words: str) -> None:
    base = under(card(), edits=edits)
    fields = form(SCHEMA, base.call.arguments)
    assert fields is not None
    view = taken(modals.edit(base, fields))
    assert view["submit"]["text"] == submit
    assert words in "\n".join(texts(view["blocks"]))


def test_words_with_a_person_in_them_are_a_window_too() -> None:
    view = taken(modals.said("Not recorded", "Already approved by <@U0ALICE>. <!channel> *x*"))
    assert {"type": "user", "user_id": "U0ALICE"} in view["blocks"][0]["elements"][0]["elements"]
    assert "mrkdwn" not in json.dumps(view)


# --- what the card says of it -------------------------------------------------------------------------------


def drawn(base: Card) -> tuple[list[str], str]:
    message = draw(base, now=NOW)
    assert validate_blocks(message.blocks) == ()
    found = [b for b in message.blocks if b["type"] == "actions"]
    return [e["action_id"] for b in found for e in b["elements"]], "\n".join(texts(message.blocks))


def test_a_discreet_card_shows_no_arguments_and_no_approve() -> None:
    secret = under(card({"iban": "DE02120300000000202051"}), discreet=True, edits=Edits.SAME)
    buttons, shown = drawn(secret)
    assert buttons == ["details", "edit", "reject_reason"]
    assert "DE02" not in shown
    assert "iban" not in shown
    done = decided(
        ApprovalStatus.APPROVED,
        CallStatus.SETTLED,
        arguments={"iban": "DE02120300000000202051"},
        outcome=Outcome(OutcomeKind.SUCCEEDED, "sent to DE02120300000000202051"),
        started=True,
    )
    buttons, shown = drawn(under(done, discreet=True))
    assert buttons == ["details"]
    assert "DE02" not in shown
    assert "DE02" in pages(modals.details(secret, open_=True))


def test_edit_and_risk_are_on_the_card_as_the_terms_say() -> None:
    buttons, shown = drawn(under(card(), edits=Edits.OTHER, risk="high: moves money"))
    assert buttons == ["approve", "edit", "reject_reason", "details"]
    assert "Risk\nhigh: moves money" in shown


def test_the_card_counts_the_yeses() -> None:
    vote = Vote(ALICE, NOW)
    base = under(card(), quorum=2)
    assert "0 of 2 approved" in drawn(base)[1]
    one = replace(base, approval=replace(base.approval, votes=(vote,)))
    assert "1 of 2 approved: <@U0ALICE>" in drawn(one)[1]


def test_the_card_goes_through_the_stages() -> None:
    stages = (Stage("risk", ("U0ALICE",)), Stage("legal", ("U0BOB", "S0LEGAL"), 2))
    base = replace(card(), approval=replace(card().approval, terms=Terms((), "C0APPR", stages=stages)))
    shown = drawn(base)[1]
    assert "risk: 0 of 1 approved" in shown
    assert "may decide: <@U0ALICE>" in shown
    votes = (Vote(ALICE, NOW), Vote(Actor("api:ci", "ci", "api"), NOW + timedelta(seconds=1), 1))
    later = drawn(replace(base, approval=replace(base.approval, votes=votes)))[1]
    assert "risk: 1 of 1 approved: <@U0ALICE>" in later
    assert "legal: 1 of 2 approved: api:ci" in later
    assert "may decide: <@U0BOB> <!subteam^S0LEGAL>" in later


def test_what_its_tool_keeps_from_view_stands_nowhere() -> None:
    canary = "canary-41f0b6d2"
    base = under(card({"order": 1, "key": canary}), hidden=("key",), edits=Edits.SAME, answers=True)
    properties = {"order": {"type": "integer"}}
    fields = form({"properties": properties}, {"order": 1})
    assert fields is not None
    views = [
        taken(modals.details(base, open_=True)),
        taken(modals.edit(base, fields)),
        taken(modals.answer(base, fields)),
        {"blocks": modals.whole(base)},
        approve_all([base, replace(base)]),
        {"blocks": draw(base, now=NOW).blocks},
    ]
    for number, view in enumerate(views):
        assert canary not in json.dumps(view)
        assert ("[hidden, 15 characters]" in json.dumps(view)) == (number != 1), "the form has no field of it"
        assert "Kept from view, but sealed and run as it is: key." in json.dumps(view)
    assert "submit" in views[0], "a cover hides nothing that anybody could read elsewhere"
