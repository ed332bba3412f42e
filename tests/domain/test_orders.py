"""Events come doubled and in any order; the record at the end is the same (promise P3)."""

import itertools
import random

from support.conversation import OK, TERMS, Conversation, record, seen, wish

from orchestrator.domain.assessment import Ruling
from orchestrator.domain.consent import approval_key
from orchestrator.domain.events import (
    ApprovalPosted,
    CallClaimed,
    CallFinished,
    Event,
    InteractionSignalled,
)
from orchestrator.domain.model import RunStatus, call_key

CALL = call_key("run_1", "i1", "c1")
ASKED = call_key("run_1", "i1", "c2")


def small_run() -> Conversation:
    """One free call and one question, asked for by an interaction that is being read."""
    return Conversation().asks(wish("c1"), wish("c2", Ruling.ASK, terms=TERMS))


SIX: tuple[Event, ...] = (
    InteractionSignalled("i1", "interaction.requires_action"),
    InteractionSignalled("i1", "interaction.in_progress"),
    seen("i1", "in_progress"),
    seen("i1", "requires_action", wish("c1"), wish("c2", Ruling.ASK)),
    InteractionSignalled("i0", "interaction.completed"),
    ApprovalPosted(approval_key(ASKED, 1), "C0OPS", "17.1"),
)


def finish(talk: Conversation) -> Conversation:
    """What is due is done, as the worker would: until the run has ended."""
    talk.claims("c1")
    talk.hear(CallFinished(CALL, "k1", OK))
    talk.answers("c2", True)
    talk.claims("c2", "k2")
    talk.hear(CallFinished(ASKED, "k2", OK))
    talk.live("i2").hear(seen("i2", "completed", turn=2, output="both done", usage={"total": 9}))
    return talk


def test_all_orders_of_six_events_each_up_to_three_times() -> None:
    dice = random.Random(6)
    records = []
    for order in itertools.permutations(SIX):
        talk = small_run()
        for event in order:
            talk.hear(*[event] * dice.randint(1, 3))
        asked = talk.call("c2").approval
        assert asked is not None
        assert asked.ts == "17.1"
        records.append(record(finish(talk).run))
    assert len(records) == 720
    assert all(r == records[0] for r in records)
    assert records[0]["status"] is RunStatus.COMPLETED


def test_readings_of_a_whole_run_in_any_order_between_its_steps() -> None:
    """Old readings, signals and places come in at random moments of the whole story."""
    noise: tuple[Event, ...] = (
        *SIX,
        seen("i1", "requires_action", wish("c1"), former=False),
        CallClaimed(CALL, "k7", wish("c1")),
    )
    plain = record(finish(small_run()).run)
    for seed in range(300):
        dice = random.Random(seed)
        talk = small_run()
        for step in ("claim c1", "finish c1", "approve c2", "claim c2", "finish c2"):
            move(talk, step)
            for event in dice.choices(noise, k=dice.randint(0, 4)):
                talk.hear(stale(event, talk))
        talk.live("i2")
        for event in dice.choices(noise, k=4):
            talk.hear(stale(event, talk))
        talk.hear(seen("i2", "completed", turn=2, output="both done", usage={"total": 9}))
        for event in dice.choices(noise, k=4):
            talk.hear(stale(event, talk))
        assert record(talk.run) == plain, f"seed {seed}"


def move(talk: Conversation, step: str) -> None:
    verb, call = step.split()
    if verb == "approve":
        talk.answers(call, True)
    else:
        (talk.claims if verb == "claim" else talk.finishes)(call, f"k{call}")


def stale(event: Event, talk: Conversation) -> Event:
    """A reading of the first interaction, as the step would mark it by then."""
    if talk.run.turn.number == 1 or not hasattr(event, "former"):
        return event
    return type(event)(event.turn, event.attempt, event.snapshot, event.assessments, True)  # type: ignore
