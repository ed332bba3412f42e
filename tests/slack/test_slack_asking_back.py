"""Asking back on the local Slack: messages under a request and directly, windows, and the words of others."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from support.slack_cards import ALICE, NOW, card
from support.slack_standing import standing, thread

from orchestrator.domain.cards import Card
from orchestrator.domain.consent import Actor, ApprovalStatus, Inquiry, Place, Terms
from orchestrator.domain.inquiries import MOST, Telling
from orchestrator.domain.values import replace
from orchestrator.emulator.slack.faults import Kind
from orchestrator.emulator.slack.local import LocalSlack
from orchestrator.emulator.slack.validation import text_length, validate_blocks, validate_view
from orchestrator.engine.ports import SlackPort
from orchestrator.errors import RejectedError, UncertainError
from orchestrator.slack import asking_back, modals, past
from orchestrator.slack.asking_back import WITHHELD, draw_inquiry
from orchestrator.slack.blocks import TEXT_BUDGET, draw
from orchestrator.slack.gateway import SlackGateway

EVIL = "<!channel> *bold* <@U0BOB> `x` \u202eecila & <https://e.example|press>"
DANA = Actor("U0DANA", "dana", "slack")


def inquiry(text: str = "Why twice?", answer: str = "") -> Inquiry:
    asked = Inquiry(ALICE, NOW, text)
    return replace(asked, answer=answer, answered_by=DANA, answered_at=NOW) if answer else asked


def asked(*questions: Inquiry, terms: Terms | None = None, **changes: Any) -> Card:
    plain = card()
    approval = replace(plain.approval, questions=questions, **changes)
    return replace(plain, approval=replace(approval, terms=terms or approval.terms))


def texts(value: Any, kind: str) -> list[str]:
    """What stands in text objects of that type, wherever they are."""
    if isinstance(value, list):
        return [t for entry in value for t in texts(entry, kind)]
    if not isinstance(value, dict):
        return []
    own = [str(value["text"])] if value.get("type") == kind and isinstance(value.get("text"), str) else []
    return own + [t for entry in value.values() for t in texts(entry, kind)]


def buttons(blocks: list[dict[str, Any]]) -> list[str]:
    return [e["action_id"] for b in blocks if b["type"] == "actions" for e in b["elements"]]


@pytest.mark.parametrize("telling", [Telling(1), Telling(1, person=DANA.id), Telling(1, answer=True)])
@pytest.mark.parametrize("answer", ["", EVIL])
@pytest.mark.parametrize("words", [EVIL, "\u200b" * 3_000, "é" * 3_000])
def test_the_words_of_others_are_never_markup_and_fit(telling: Telling, answer: str, words: str) -> None:
    shown = asked(inquiry(words, answer or ("so" if telling.answer else "")))
    message = draw_inquiry(shown, telling)
    assert validate_blocks(message.blocks) == ()
    marked = [message.text, *texts(message.blocks, "mrkdwn")]
    assert not any("bold" in text or "e.example" in text for text in marked)
    assert "<@U0DANA>" in message.text
    assert "<@U0ALICE>" in message.text
    open_ = not (answer or telling.answer)
    assert buttons(message.blocks) == (["reply_1"] if open_ else [])
    assert ("a question does not stop the clock" in str(marked)) is open_


def test_once_the_request_is_over_there_is_nothing_to_press() -> None:
    over = asked(inquiry(), status=ApprovalStatus.REJECTED)
    message = draw_inquiry(over, Telling(1))
    assert buttons(message.blocks) == []
    assert "nothing to answer any more" in str(message.blocks)


def test_nobody_in_slack_can_press_what_a_machine_has_to_answer() -> None:
    machine = replace(asked(inquiry()), requester=Actor("api:shop", "shop"))
    message = draw_inquiry(machine, Telling(1))
    assert buttons(message.blocks) == []
    assert "It is answered by the HTTP API." in str(message.blocks)


def test_whoever_asked_for_many_runs_is_told_which_one_it_is_about() -> None:
    shown = asked(inquiry())
    assert f"<{shown.link}|run_9> of support" in str(draw_inquiry(shown, Telling(1, person=DANA.id)).blocks)
    assert "run_9 of support" in str(asking_back.reply(replace(shown, link=""), 1))


@pytest.mark.parametrize("words", ["\u200b" * 3_000, "\U0001f600" * 3_000])
def test_a_long_question_and_its_long_answer_fit_into_one_message(words: str) -> None:
    message = draw_inquiry(asked(inquiry(words, words)), Telling(1))
    assert validate_blocks(message.blocks) == ()
    assert text_length(message.blocks) <= TEXT_BUDGET
    assert str(message.blocks).count("All of it is in the HTTP API") == 2


def test_a_channel_that_sees_no_arguments_sees_no_question_and_the_person_does() -> None:
    hidden = asked(inquiry("Why A-1042?"), terms=Terms(("U0ALICE",), "C0APPR", discreet=True))
    there, here = draw_inquiry(hidden, Telling(1)), draw_inquiry(hidden, Telling(1, person=DANA.id))
    assert (WITHHELD in str(there), "A-1042" in str(there)) == (True, False)
    assert "A-1042" in str(here)
    assert buttons(there.blocks) == ["reply_1"]
    assert "A-1042" in str(asking_back.reply(hidden, 1))


def test_the_windows() -> None:
    ask, reply = asking_back.ask(asked()), asking_back.reply(asked(inquiry(EVIL)), 1)
    for view, callback in ((ask, "ask"), (reply, "reply_1")):
        assert validate_view(view) == ()
        assert view["callback_id"] == callback
        assert not any("bold" in t for t in texts(view, "mrkdwn"))
        assert "a question does not stop the clock" in str(view)
    assert "under the request and directly" in str(ask)
    machine = replace(asked(), requester=Actor("api:shop", "*shop*"))
    assert "and directly" not in str(asking_back.ask(machine))


@pytest.mark.parametrize("words", ["w" * 3_000, "\u200b" * 3_000])
def test_the_details_show_all_that_was_asked_and_fit(words: str) -> None:
    many = asked(*(inquiry(words, words) for _ in range(MOST)))
    view = modals.details(many, open_=True, past=past.told(many, NOW))
    assert validate_view(view) == ()
    assert "dana answered" in str(view)
    assert "ask" not in buttons(view["blocks"])  # there is no room for one more
    assert "ask" in buttons(modals.details(asked(inquiry()), open_=True)["blocks"])
    assert "ask" not in buttons(modals.details(asked(inquiry()), open_=False)["blocks"])
    nobody = replace(asked(), requester=Actor("system"))
    assert "ask" not in buttons(modals.details(nobody, open_=True)["blocks"])


def test_the_details_show_long_arguments_beside_what_was_asked() -> None:
    plain = card({"note": "x" * 9_000})
    questions = tuple(inquiry(answer="It broke.") for _ in range(3))
    view = modals.details(replace(plain, approval=replace(plain.approval, questions=questions)), open_=True)
    assert validate_view(view) == ()
    assert "part 3 of" in str(view)
    assert str(view).count("It broke.") == 3


def test_the_card_says_that_something_was_asked() -> None:
    told = "Asked back: 2 · answered: 1."
    assert told in str(draw(asked(inquiry(), inquiry(answer="so")), now=NOW).blocks)
    assert "Asked back" not in str(draw(asked(), now=NOW).blocks)


# --- on the wire --------------------------------------------------------------------------------------


@asynccontextmanager
async def local() -> AsyncIterator[tuple[LocalSlack, SlackGateway, Card]]:
    """A local Slack, the gateway to it, and a request that stands there, since when something is asked."""
    async with standing(asked()) as (slack, gateway, shown):
        approval = replace(shown.approval, questions=(inquiry(),))
        yield slack, gateway, replace(shown, approval=approval)


@pytest.mark.asyncio
async def test_asked_in_the_thread_and_directly_and_redrawn_when_it_is_answered() -> None:
    async with local() as (slack, gateway, shown):
        port: SlackPort = gateway
        person = next(iter(slack.workspace.users.values()))
        here = await port.ask_back(shown, Telling(1), seen_before=False)
        there = await port.ask_back(shown, Telling(1, person=person.id), seen_before=False)
        assert (here.person, there.person) == ("", person.id)
        assert there.channel.startswith("D")
        done = replace(shown, approval=replace(shown.approval, questions=(inquiry(answer="It broke."),)))
        for place in (here, there):
            await port.redraw_asked_back(done, 1, place)
        await port.ask_back(done, Telling(1, answer=True), seen_before=False)
        first, last = thread(slack, shown)
        assert buttons(first["blocks"]) == buttons(last["blocks"]) == []
        assert ("It broke." in str(first), "It broke." in str(last)) == (True, True)
        assert await port.find_asked_back(shown, Telling(1)) == here
        assert await port.find_asked_back(shown, Telling(2)) is None
        assert await port.find_asked_back(shown, Telling(1, person=person.id)) == there
        with pytest.raises(RejectedError):
            await port.ask_back(shown, Telling(1, person="U0NOBODY"), seen_before=False)


@pytest.mark.asyncio
@pytest.mark.parametrize(("fault", "before"), [("accept_then_reset", 1), ("reset", 0)])
async def test_one_whose_answer_got_lost_is_said_once(fault: Kind, before: int) -> None:
    async with local() as (slack, gateway, shown):
        slack.fault("chat.postMessage", fault)
        with pytest.raises(UncertainError):
            await gateway.ask_back(shown, Telling(1), seen_before=False)
        assert len(thread(slack, shown)) == before
        for _ in range(2):
            place = await gateway.ask_back(shown, Telling(1), seen_before=True)
        assert [m["ts"] for m in thread(slack, shown)] == [place.ts]
        assert place == Place("C0APPR", place.ts)
        later = replace(shown.approval, requested_at=NOW - timedelta(days=1))
        assert await gateway.find_asked_back(replace(shown, approval=later), Telling(1)) == place
