"""Clicks on an agent's plan: carried out, sent back with a note, stopped; and what a note may be."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from litestar.testing import TestClient
from web_kit import CHANNEL, NOW, House, click_payload, form, slack_signed

from orchestrator.domain.consent import Actor, Approval, ApprovalStatus, Terms, Verdict
from orchestrator.domain.decision import Refusal
from orchestrator.domain.events import CreateClaimed, InteractionObserved
from orchestrator.domain.exchange import Snapshot
from orchestrator.domain.model import Recipe, Run, RunStatus
from orchestrator.domain.values import replace
from orchestrator.engine.intake import Decided
from orchestrator.slack.action import NOTE_CHARS, note_block
from orchestrator.web.clicks import CHANGED, GONE, LONG_NOTE, NO_NOTE, words

TERMS = Terms(("U0ALICE", "U0BOB"), CHANNEL, timedelta(hours=24))
RESEARCH = Recipe(
    workflow="research",
    agent="deep-research-pro",
    agent_config={"type": "deep-research", "collaborative_planning": True},
    terms=TERMS,
)


def planned(house: House, recipe: Recipe = RESEARCH) -> tuple[Run, Approval]:
    """A run whose agent has shown its plan."""
    started = asyncio.run(house.intake.start(recipe, "Why?", Actor("api:all", "all", "api")))
    snapshot = Snapshot(f"int_{started.run_id}", "completed", output="1. Look\n2. Write")
    run = house.apply(started.run_id, CreateClaimed(1, 1), InteractionObserved(1, 1, snapshot, ()))
    approval = run.turn.calls[0].approval
    assert approval is not None
    return run, approval


def clicked(approval: Approval, kind: str, note: Any = None, **more: Any) -> dict[str, Any]:
    values = {note_block(1): {"note": {"type": "plain_text_input", "value": note}}}
    payload = click_payload(approval.id, kind=kind, digest=approval.digest[:16], **more)
    return {**payload, "state": {"values": values}}


def story(house: House, *payloads: Any) -> tuple[list[int], list[str]]:
    """Press in order; the statuses and what was whispered."""
    with TestClient(house.app()) as client:
        codes = []
        for body in map(form, payloads):
            answer = client.post("/slack/interactivity", content=body, headers=slack_signed(body))
            codes.append(answer.status_code)
    return codes, house.whispered.texts


def test_sent_back_with_a_note(house: House) -> None:
    run, approval = planned(house)
    assert story(house, clicked(approval, "refine", " Look twice. ")) == ([200], [])
    verdict = house.stands(approval).verdict
    assert verdict is not None
    assert (verdict.approve, verdict.refine, verdict.reason, verdict.by.id) == (
        False,
        True,
        "Look twice.",
        "U0ALICE",
    )
    turn = house.load(run.id).turn
    assert (turn.number, turn.planning, turn.note) == (2, True, "Look twice.")


def test_a_plan_that_is_carried_out_goes_on_without_a_note(house: House) -> None:
    run, approval = planned(house)
    assert story(house, clicked(approval, "approve", "not for the agent")) == ([200], [])
    verdict = house.stands(approval).verdict
    assert verdict is not None
    assert (verdict.approve, verdict.reason) == (True, "")
    turn = house.load(run.id).turn
    assert (turn.number, turn.planning, turn.note) == (2, False, "")


def test_stopped_with_a_reason(house: House) -> None:
    run, approval = planned(house)
    assert story(house, clicked(approval, "reject", "Too dear.")) == ([200], [])
    now = house.load(run.id)
    assert now.status is RunStatus.CANCELLED
    assert now.reason.endswith("Too dear.")


@pytest.mark.parametrize(
    ("kind", "note", "said"),
    [
        ("refine", None, NO_NOTE),
        ("refine", " \n", NO_NOTE),
        ("refine", "n" * (NOTE_CHARS + 1), LONG_NOTE),
        ("reject", "n" * (NOTE_CHARS + 1), LONG_NOTE),
    ],
)
def test_a_note_that_will_not_do_records_nothing(house: House, kind: str, note: Any, said: str) -> None:
    run, approval = planned(house)
    before = house.load(run.id)
    assert story(house, clicked(approval, kind, note)) == ([200], [said])
    assert house.stands(approval).open
    assert house.load(run.id) == before  # not even a line in its record
    assert story(house, clicked(approval, "refine", "n" * NOTE_CHARS))[0] == [200]
    assert not house.stands(approval).open


def test_who_decides_as_one_of_a_group_is_asked_for_the_note_too(house: House) -> None:
    async def standing(person: str, among: Any, never: Any = ()) -> tuple[str, ...]:
        await asyncio.sleep(0)
        return ("S0TEAM",) if person == "U0CARL" else ()

    house.doors = replace(house.doors, standing=standing)
    recipe = replace(RESEARCH, terms=Terms(("U0ALICE", "S0TEAM"), CHANNEL, timedelta(hours=24)))
    _, approval = planned(house, recipe)
    mute, long = (clicked(approval, "refine", note, user="U0CARL") for note in (None, "n" * (NOTE_CHARS + 1)))
    assert story(house, mute, long) == ([200] * 2, [NO_NOTE, LONG_NOTE])
    assert house.stands(approval).open


def test_who_comes_second_is_told_what_was_done(house: House) -> None:
    when = "<@U0ALICE> at 2026-11-21 12:00 UTC."
    done = {
        "refine": f"Already sent back by {when}",
        "approve": f"Already approved to be carried out by {when}",
        "reject": f"Already stopped by {when}",
    }
    for kind, said in done.items():
        _, approval = planned(house)
        again = clicked(approval, kind, "Look twice.")
        others = [clicked(approval, other, user="U0BOB") for other in done if other != kind]
        house.whispered.said.clear()
        assert story(house, again, again, *others) == ([200] * 4, [said] * 2)


def test_a_bystander_is_told_whom_to_ask(house: House) -> None:
    _, approval = planned(house)
    expected = "You are not one of those who decide about this plan. Ask <@U0ALICE> or <@U0BOB>."
    assert story(house, clicked(approval, "refine", user="U0EVE")) == ([200], [expected])
    assert house.stands(approval).open


def test_a_tools_call_is_not_sent_back(house: House) -> None:
    approval = house.asked().turn.calls[0].approval
    assert approval is not None
    said = "Not recorded: only a plan can be sent back with a note."
    assert story(house, clicked(approval, "refine", "Do better.")) == ([200], [said])
    assert house.stands(approval).status is ApprovalStatus.PENDING


def test_a_note_beside_a_tools_call_goes_nowhere(house: House) -> None:
    approval = house.asked().turn.calls[0].approval
    assert approval is not None
    assert story(house, clicked(approval, "reject", "smuggled"))[0] == [200]
    verdict = house.stands(approval).verdict
    assert verdict is not None
    assert verdict.reason == ""


@pytest.mark.parametrize(
    ("refused", "approve", "said"),
    [
        (Refusal.ALREADY_DECIDED, True, "Already allowed to go on by ops at 2026-11-21 12:00 UTC."),
        (Refusal.RUN_ENDED, False, "Already stopped by ops at 2026-11-21 12:00 UTC."),
        (
            Refusal.NOT_ENTITLED,
            True,
            "You are not one of those who decide whether this run goes on. Ask <@U0ALICE> or <@U0BOB>.",
        ),
        (Refusal.EXPIRED, True, GONE),
        (Refusal.CHANGED, True, CHANGED),
    ],
)
def test_words_about_a_token_limit(house: House, refused: Refusal, approve: bool, said: str) -> None:
    approval = planned(house)[1]
    verdict = Verdict(approve, Actor("api:ops", "ops", "api"), NOW)
    answer = Decided(replace(approval, verdict=verdict), "run:go_on", "", refused)
    assert words(answer, by=Actor("U0ALICE"), approve=True) == said
