"""What a call would do, on cards and in windows: whole before anybody may approve, and never markup."""

from typing import Any

import pytest
from support.slack_cards import NOW, YES, C, S, card, decided, states
from support.slack_limits import faults, texts
from support.slack_messages import actions, shown

from orchestrator.domain.cards import Card
from orchestrator.domain.consent import Edits, Preview
from orchestrator.domain.values import replace
from orchestrator.emulator.slack.validation import validate_view
from orchestrator.slack import modals, pages, previews
from orchestrator.slack.blocks import draw
from orchestrator.slack.forms import form
from orchestrator.slack.looks import look, sentence

HOSTILE = "<!channel> *free* <https://evil.example|here> \u202e refund \u0430"


def telling(text: str = "-12.50 EUR", base: Card | None = None, **more: Any) -> Card:
    base = base or card()
    edits = more.pop("edits", Edits.NO)
    terms = replace(base.approval.terms, edits=edits, discreet=more.pop("discreet", False))
    approval = replace(base.approval, preview=Preview(text, **more), terms=terms)
    return replace(base, approval=approval, call=replace(base.call, approval=approval))


def test_it_stands_before_the_arguments() -> None:
    message = draw(telling(), now=NOW)
    said = shown(message)
    assert said.index(previews.WOULD) < said.index("-12.50 EUR") < said.index("Arguments")
    assert actions(message) == ["approve", "reject_reason", "details"]
    assert faults(message.blocks) == []


def test_after_a_drift_both_are_shown_and_what_happened() -> None:
    said = shown(draw(telling("-99 EUR", before="-12.50 EUR"), now=NOW))
    assert previews.CHANGED in said
    assert said.index("-99 EUR") < said.index(previews.BEFORE) < said.index("-12.50 EUR")
    over = shown(
        draw(telling("-99 EUR", decided(S.APPROVED, C.READY, verdict=YES), before="-12.50 EUR"), now=NOW)
    )
    assert previews.CHANGED not in over, "news of yesterday"
    assert "-99 EUR" in over


def test_where_there_is_none_that_is_said() -> None:
    said = shown(draw(telling("", trouble="The preview failed."), now=NOW))
    assert previews.BLIND in said
    assert "The preview failed." in said
    assert previews.WOULD not in said


@pytest.mark.parametrize("name", sorted(states()))
def test_hostile_words_of_a_tool_are_only_text(name: str) -> None:
    for before in (None, HOSTILE):
        message = draw(telling(HOSTILE, states()[name], before=before), now=NOW)
        assert faults(message.blocks) == []
        for block in message.blocks:
            for text in texts([{k: v for k, v in block.items() if block["type"] != "rich_text"}]):
                assert "free" not in text
        assert "\u202e" not in shown(message)


@pytest.mark.parametrize(
    "text", ["x" * 4000, "\u202e" * 4000, "\U0001f4b6" * 4000], ids=["long", "hidden", "wide"]
)
@pytest.mark.parametrize("note", ["", "n" * 9000])
def test_what_is_not_whole_has_no_approve_button(text: str, note: str) -> None:
    asked = telling(text, card({"note": note}), before="y" * 4000)
    message = draw(asked, now=NOW)
    assert faults(message.blocks) == []
    whole = previews.would(Preview(text)).text in shown(message) and (note in shown(message))
    assert ("approve" in actions(message)) == whole
    view = modals.details(asked, open_=True)
    assert validate_view(view) == ()
    assert ("submit" in view) == pages.fits(asked)


def test_the_channel_of_a_discreet_question_is_told_nothing_of_it() -> None:
    asked = telling(discreet=True)
    assert "-12.50" not in shown(draw(asked, now=NOW))
    assert "-12.50" in "\n".join(texts(modals.details(asked, open_=True)["blocks"]))


def test_an_edit_says_that_it_is_asked_anew() -> None:
    fields = form({"properties": {"order": {"type": "integer"}}, "required": ["order"]}, {"order": 1})
    assert fields is not None
    asked = telling(base=card({"order": 1}), edits=Edits.SAME)
    view = modals.edit(asked, fields)
    assert (view["submit"]["text"], view["title"]["text"]) == ("Propose", "Change the arguments")
    assert "worked out" in "\n".join(texts(view["blocks"]))


def test_between_an_edit_and_its_preview_the_old_card_says_so() -> None:
    waiting = decided(S.WITHDRAWN, C.PREVIEWING)
    assert "is being worked out" in sentence(waiting, look(waiting, NOW))
    assert actions(draw(waiting, now=NOW)) == []
