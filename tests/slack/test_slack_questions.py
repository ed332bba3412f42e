"""The run's own questions as people see and answer them: an agent's plan, and a token limit, a restart."""

import json
import re
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from support.slack_cards import (
    ALICE,
    BACK,
    DIGEST,
    ID,
    LINK,
    NOW,
    PLAN,
    card,
    limit_card,
    own_states,
    plan_card,
    restart_card,
    states,
)
from support.slack_limits import faults, markup, texts
from support.slack_messages import block, shown

from orchestrator.domain.cards import Card
from orchestrator.domain.consent import ApprovalStatus, Verdict
from orchestrator.domain.model import CallStatus, RunStatus
from orchestrator.domain.values import replace
from orchestrator.emulator.slack.validation import text_length, validate_blocks
from orchestrator.errors import InvalidError
from orchestrator.slack.action import NOTE_CHARS, Click, OtherAction, note_block
from orchestrator.slack.blocks import TEXT_BUDGET, draw, plain
from orchestrator.slack.interactivity import parse
from orchestrator.slack.looks import Look, look, sentence
from orchestrator.slack.message import Message
from orchestrator.slack.text import prose

HOSTILE = "<!channel> <https://evil.example|Carry out here> `*_~ :white_check_mark: <@U0BOB> @here"


def buttons(message: Message) -> list[tuple[str, str]]:
    found = [e for b in message.blocks if b["type"] == "actions" for e in b["elements"]]
    return [(e["action_id"], e["text"]["text"]) for e in found]


def subject(message: Message) -> str:
    return "\n".join(texts(block(message, "a")))


@pytest.mark.parametrize("name", own_states())
def test_every_state_is_a_message_slack_takes(name: str) -> None:
    base = own_states()[name]
    message = draw(base, now=NOW)
    assert faults(message.blocks) == []
    assert validate_blocks(message.blocks) == ()
    assert text_length(message.blocks) <= TEXT_BUDGET
    assert all(re.fullmatch(r"[a-z]+(:[0-9a-f]{8})?:1:[a-z_]+", b["block_id"]) for b in message.blocks)
    assert bool(buttons(message)) == name.endswith("pending")
    assert [b for b in message.blocks if b["type"] == "input"] == (
        [block(message, "note")] if name == "plan pending" else []
    )
    assert "agent:plan" not in shown(message) + message.text
    assert "run:go_on" not in shown(message) + message.text
    assert "run:restart" not in shown(message) + message.text
    assert plain(base, now=NOW).text.startswith(message.text)


@pytest.mark.parametrize(
    ("name", "headline", "words"),
    [
        ("plan carried out", "Plan to be carried out", "The agent carries it out."),
        ("plan carried out, run over", "Plan to be carried out", "The run has ended."),
        (
            "plan sent back",
            "Plan sent back",
            "It is not carried out; the agent plans anew, with the note below.",
        ),
        ("plan stopped", "Stopped at the plan", "It is not carried out. The run was cancelled."),
        (
            "plan expired",
            "Plan expired",
            "No decision in time. It is not carried out. The run has failed.",
        ),
        ("plan withdrawn", "Plan withdrawn", "The run was cancelled. It is not carried out."),
        ("limit granted", "Goes on beyond the token limit", "The run goes on."),
        ("limit stopped", "Stopped at the token limit", "The run does not go on. The run has failed."),
        (
            "limit expired",
            "Expired at the token limit",
            "No decision in time. The run does not go on. The run has failed.",
        ),
        (
            "limit withdrawn",
            "Withdrawn at the token limit",
            "The run was cancelled. The run does not go on.",
        ),
        ("restart wanted", "To be restarted", "Another run is being opened that takes its work up."),
        (
            "restart made",
            "Restarted",
            "It was restarted as another run, with a record of what was done, and is closed.",
        ),
        (
            "restart wanted, then cancelled",
            "Not restarted",
            "The run was cancelled. It is not restarted.",
        ),
        ("restart refused", "Given up", "It is not restarted. The run has failed."),
        (
            "restart expired",
            "Restart expired",
            "No decision in time. It is not restarted. The run has failed.",
        ),
        ("restart not needed", "Restart withdrawn", "It went on after all. It is not restarted."),
        ("restart withdrawn", "Restart withdrawn", "The run was cancelled. It is not restarted."),
        (
            "restart by another door",
            "Restarted",
            "It was restarted as another run, with a record of what was done, and is closed.",
        ),
    ],
)
def test_an_answered_question_says_what_became_of_it(name: str, headline: str, words: str) -> None:
    message = draw(own_states()[name], now=NOW)
    assert block(message, "h")["text"]["text"] == headline
    assert block(message, "state")["text"]["text"] == words
    assert message.text == f"{headline} (workflow research)."
    assert "It is about the run itself." not in shown(message)  # the question is not put again
    assert (PLAN in subject(message)) == name.startswith("plan")


@pytest.mark.parametrize("approval", ApprovalStatus)
@pytest.mark.parametrize("status", CallStatus)
@pytest.mark.parametrize(
    "base", [plan_card(), limit_card(), restart_card()], ids=["plan", "limit", "restart"]
)
def test_every_combination_of_statuses_has_words(
    approval: ApprovalStatus, status: CallStatus, base: Card
) -> None:
    for run in RunStatus:
        for verdict in (None, BACK, replace(BACK, refine=False), replace(BACK, refine=False, approve=True)):
            asked = replace(base.approval, status=approval, verdict=verdict)
            odd = replace(base, approval=asked, call=replace(base.call, status=status), run_status=run)
            message, state = draw(odd, now=NOW), look(odd, NOW)
            assert faults(message.blocks) == []
            assert bool(buttons(message)) == (state is Look.PENDING)
            assert bool(sentence(odd, state)) == (state is not Look.PENDING)


def test_a_plan_is_shown_as_it_is_written_with_three_ways_to_answer() -> None:
    message = draw(plan_card(), now=NOW)
    assert (
        message.text == "An agent's plan needs a decision (workflow research). Expires 2026-11-21 15:00 UTC."
    )
    assert block(message, "a")["elements"][0]["elements"][0]["text"] == "The plan"
    assert block(message, "a")["elements"][1] == {
        "type": "rich_text_preformatted",
        "elements": [{"type": "text", "text": PLAN}],
    }
    assert buttons(message) == [("approve", "Carry out"), ("refine", "Send back"), ("reject", "Stop")]
    elements = block(message, "decide")["elements"]
    assert {e["value"] for e in elements} == {f"{ID}|1|{DIGEST[:16]}"}
    assert [e.get("style") for e in elements] == ["primary", None, "danger"]
    assert elements[0]["confirm"]["title"]["text"] == "Carry out this plan?"
    field = block(message, "note")
    assert (field["block_id"], field["optional"]) == (note_block(1), True)
    assert "dispatch_action" not in field
    assert (field["element"]["multiline"], field["element"]["max_length"]) == (True, NOTE_CHARS)


def test_a_plan_that_does_not_fit_is_not_carried_out_blindly() -> None:
    message = draw(plan_card(plan="Step, and step. " * 2_000), now=NOW)
    assert buttons(message) == [("review", "Review…"), ("refine", "Send back"), ("reject", "Stop")]
    assert block(message, "decide")["elements"][0]["url"] == LINK
    assert "Shortened: 2 000 of 32 000 characters" in shown(message)
    assert "All of it" in shown(message)
    bare = draw(replace(plan_card(plan="x" * 20_000), link=""), now=NOW)
    assert buttons(bare) == [("refine", "Send back"), ("reject", "Stop")]


@pytest.mark.parametrize("size", [6_000, 7_000, 7_500, 8_000, 8_400, 9_000])
def test_carry_out_goes_exactly_where_the_plan_stops_fitting(size: int) -> None:
    message = draw(plan_card(plan="x" * size, forgotten_at=NOW + timedelta(days=1)), now=NOW)
    assert text_length(message.blocks) <= TEXT_BUDGET
    assert faults(message.blocks) == []
    assert (("approve", "Carry out") in buttons(message)) == ("x" * size in shown(message))


@pytest.mark.parametrize("verdict", [None, BACK, replace(BACK, refine=False)])
def test_no_text_of_others_is_ever_markup(verdict: Verdict | None) -> None:
    said = verdict and replace(verdict, reason=HOSTILE)
    message = draw(plan_card(said, plan=f"{HOSTILE}\n\u202eback\u200b"), now=NOW)
    assert faults(message.blocks) == []
    live = "\n".join([*markup(message.blocks), message.text])
    assert "evil" not in live
    assert "!channel" not in live
    assert "\u202e" not in shown(message)
    assert "\\u{202E}back\\u{200B}" in subject(message)
    assert "Contains hidden characters" in subject(message)


def test_different_plans_never_look_the_same() -> None:
    alike = [
        "a\u200bb",
        "a\\u{200B}b",
        "a\\\\u{200B}b",
        "a\\\u200bb",
        "ab",
        "a\\b",
        "a\\\\b",
        "a\nb",
        "a\\nb",
    ]
    assert len({prose(text).text for text in alike}) == len(alike)
    assert prose("C:\\temp stays\nreadable").text == "C:\\temp stays\nreadable"
    assert "Letters of different alphabets" in "".join(prose("p\u0430ypal").notes)
    assert prose("1. ok\n2. p\u0430ypal").ascii == "2. p\\u{430}ypal"


def test_who_answered_and_their_words_stand_on_the_card() -> None:
    back = draw(plan_card(replace(BACK, reason="n" * NOTE_CHARS)), now=NOW)
    assert "*Sent back by*\n<@U0ALICE>" in shown(back)
    assert ", in Slack" in shown(back)
    assert "n" * NOTE_CHARS in shown(back)
    assert block(back, "r")["elements"][0]["elements"][0]["text"] == "Note to the agent"
    states_ = own_states()
    assert "*Stopped by*\n<@U0BOB>" in shown(draw(states_["plan stopped"], now=NOW))
    assert "Reason given" in shown(draw(states_["plan stopped"], now=NOW))
    carried = draw(states_["plan carried out"], now=NOW)
    assert {"type": "mrkdwn", "verbatim": True, "text": "*Carried out on the word of*\n<@U0ALICE>"} in block(
        carried, "m"
    )["fields"]
    assert "*Let go on by*\n<@U0ALICE>" in shown(draw(states_["limit granted"], now=NOW))


def test_the_token_limit_is_told_in_words() -> None:
    message = draw(limit_card(), now=NOW)
    assert message.text.startswith("Token limit reached: go on? (workflow research).")
    assert subject(message) == (
        "20 500 tokens used in 3 turns.\n"
        "People are asked after every 10 000 tokens.\n"
        "Going on allows 10 000 more tokens."
    )
    assert buttons(message) == [("approve", "Go on"), ("reject", "Stop")]
    confirm = block(message, "decide")["elements"][0]["confirm"]
    assert confirm["text"]["text"] == "The run may then use 10 000 more tokens."


def test_a_restart_is_one_press_on_the_plain_facts() -> None:
    message = draw(restart_card(), now=NOW)
    assert message.text.startswith("Gemini does not go on: restart? (workflow research).")
    assert subject(message) == (
        "Gemini refused the request for turn 3.\n2 calls of it succeeded; a new run is told so.\n"
        "What Gemini said (not checked)\nHTTP 400: no"
    )
    assert buttons(message) == [("approve", "Restart"), ("reject", "Give up")]
    confirm = block(message, "decide")["elements"][0]["confirm"]
    assert confirm["title"]["text"] == "Restart this run?"
    assert confirm["text"]["text"] == "A new run begins with a record of what was done; this one is closed."
    none = restart_card()
    none = replace(none, call=replace(none.call, arguments={**none.call.arguments, "calls_made": 0}))
    assert "None of its calls succeeded." in subject(draw(none, now=NOW))


@pytest.mark.parametrize("said", [HOSTILE, "\u202eback\u200b", "x" * 5_000, ""])
def test_what_gemini_said_is_shown_as_its_own_text_alone(said: str) -> None:
    message = draw(restart_card(said=said), now=NOW)
    assert faults(message.blocks) == []
    assert text_length(message.blocks) <= TEXT_BUDGET
    live = "\n".join([*markup(message.blocks), message.text])
    assert "evil" not in live
    assert "\u202e" not in shown(message)
    assert ("What Gemini said" in shown(message)) == bool(said)
    assert buttons(message) == [("approve", "Restart"), ("reject", "Give up")]


def test_the_card_leads_to_the_run_that_took_the_work_up() -> None:
    made = own_states()["restart made"]
    assert "*Restarted as*\nrun_new" in shown(draw(made, now=NOW))
    linked = draw(replace(made, taken_up_link="https://ops.example/v1/runs/run_new"), now=NOW)
    assert "*Restarted as*\n<https://ops.example/v1/runs/run_new|run_new>" in shown(linked)
    assert shown(draw(own_states()["restart by another door"], now=NOW)).count("run_new") == 1, (
        "once is enough"
    )
    assert "*Restart asked for by*\n<@U0ALICE>" in shown(linked)
    assert "*Given up by*\n<@U0BOB>" in shown(draw(own_states()["restart refused"], now=NOW))


def test_a_tool_of_such_a_name_is_drawn_as_the_tool_it_is() -> None:
    odd = card({"plan": "x"})
    message = draw(replace(odd, call=replace(odd.call, tool="agent:plan")), now=NOW)
    assert block(message, "h")["text"]["text"] == "Approval needed: agent:plan"
    assert [b for b in message.blocks if b["type"] == "input"] == []


# --- what every card says about its neighbours and about time --------------------------------------


def test_how_far_the_other_calls_are_is_shown_while_this_one_is_open() -> None:
    def fields(base: Card) -> list[str]:
        message = draw(replace(base, progress="2 of 3 calls decided"), now=NOW)
        return [f["text"] for f in block(message, "m")["fields"]]

    assert "Progress\n2 of 3 calls decided" in fields(card())
    assert "Progress\n2 of 3 calls decided" in fields(states()["running"])
    assert not any(f.startswith("Progress") for f in fields(states()["done"]))  # its turn may be over
    assert not any("Progress" in f["text"] for f in block(draw(card(), now=NOW), "m")["fields"])


@pytest.mark.parametrize(
    ("after", "told"),
    [(timedelta(hours=1), True), (timedelta(hours=47, minutes=59), True), (timedelta(hours=48), False)],
)
@pytest.mark.parametrize("base", [card(), plan_card(), limit_card()], ids=["tool", "plan", "limit"])
def test_gemini_forgetting_soon_after_the_expiry_is_said(base: Card, after: timedelta, told: bool) -> None:
    at = base.approval.expires_at + after
    message = draw(replace(base, forgotten_at=at), now=NOW)
    assert faults(message.blocks) == []
    words = f"Gemini keeps this until <!date^{int(at.timestamp())}^"
    said = [e["text"] for e in block(message, "c")["elements"] if e["text"].startswith(words)]
    assert bool(said) is told
    assert all(text.endswith(">, no answer counts after that") for text in said)


def test_nobody_is_told_of_forgetting_once_it_is_decided() -> None:
    later = replace(states()["approved"], forgotten_at=NOW + timedelta(hours=2))
    assert "Gemini keeps" not in shown(draw(later, now=NOW))


# --- the press ---------------------------------------------------------------------------------------


def press(kind: str, values: Any, **changes: Any) -> Click | OtherAction:
    """A press on one of the drawn card's buttons, read."""
    drawn = block(draw(plan_card(), now=NOW), "decide")["elements"]
    payload = {
        "type": "block_actions",
        "api_app_id": "A0APPROVE1",
        "trigger_id": "1.2.x",
        "team": {"id": "T0ACME"},
        "user": {"id": "U0ALICE", "username": "alice", "team_id": "T0ACME"},
        "container": {"type": "message", "message_ts": "1.000100", "channel_id": "C0APPR"},
        "channel": {"id": "C0APPR"},
        "state": {"values": values},
        "actions": [next(e for e in drawn if e["action_id"] == kind)],
        **changes,
    }
    return parse(urlencode({"payload": json.dumps(payload)}).encode())


def typed(text: Any, block_id: str = note_block(1)) -> dict[str, Any]:
    return {block_id: {"note": {"type": "plain_text_input", "value": text}}}


@pytest.mark.parametrize(
    ("kind", "values", "note"),
    [
        ("refine", typed("  Ask first,\n\tthen\x00 compare.\n"), "Ask first,\n\tthen compare."),
        ("refine", typed("n" * 3_000), "n" * 3_000),  # too long is for the door to say
        ("refine", typed(None), ""),
        ("refine", typed(" \n "), ""),
        ("refine", {}, ""),
        ("refine", None, ""),
        ("refine", typed("of another revision", note_block(2)), ""),
        ("refine", {"other": {"note": {"value": "x"}}}, ""),
        ("reject", typed("No time."), "No time."),
        ("approve", typed("and this"), ""),  # it is sent along with Send back alone
    ],
)
def test_the_note_comes_from_its_own_field(kind: str, values: Any, note: str) -> None:
    click = press(kind, values)
    assert isinstance(click, Click)
    assert (click.kind, click.note, click.approval, click.user_id) == (kind, note, ID, ALICE.id)


@pytest.mark.parametrize(
    "values", [typed(["x"]), typed("n" * 3_001), typed("\ud800"), {note_block(1): "x"}, []]
)
def test_a_note_of_a_wrong_form_is_refused(values: Any) -> None:
    with pytest.raises(InvalidError):
        press("refine", values)
