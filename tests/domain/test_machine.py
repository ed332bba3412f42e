"""Any history at all: a Hypothesis state machine over `decide`, held to the invariants at each step."""

from datetime import timedelta
from typing import Any

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from support.conversation import ANNA, BEN, DIGEST, OK, Conversation, seen, wish, without_tidying

from orchestrator.domain.decision import Decision, Refusal
from orchestrator.domain.events import (
    ApprovalDecided,
    ApprovalExpired,
    ApprovalPosted,
    ApprovalUndelivered,
    AttentionResolved,
    CallClaimed,
    CallCutOff,
    CallDeferred,
    CallFinished,
    CancelRequested,
    Choice,
    CreateClaimed,
    CreateDeferred,
    CreateGraceEnded,
    CreateRefused,
    CreateUncertain,
    Event,
    InteractionMissing,
    InteractionSignalled,
    RunOverdue,
)
from orchestrator.domain.model import Actor, ApprovalStatus, Outcome, OutcomeKind, Policy, Ruling, Verdict
from orchestrator.domain.turns import MEANING

NUMBERS = st.integers(1, 3)
INTERACTIONS = st.sampled_from(["i1", "i2", "i3"])
CLAIMS = st.sampled_from(["k1", "k2", "k3"])
WISHES = st.lists(
    st.builds(
        lambda call_id, ruling, idempotent: wish(call_id, ruling, idempotent=idempotent),
        st.sampled_from(["c1", "c2", "c3"]),
        st.sampled_from([Ruling.ALLOW, Ruling.ASK, Ruling.ASK, Ruling.DENY, Ruling.UNKNOWN]),
        st.booleans(),
    ),
    max_size=4,
)
STATUSES = st.sampled_from([*MEANING, "in_progress", "requires_action", "requires_action", "dreaming"])
OUTCOMES = st.sampled_from([OK, Outcome(OutcomeKind.FAILED, "no")])


class AnyHistory(RuleBasedStateMachine):
    """Events as they come, true or not; every step goes through `Conversation.happens`."""

    def __init__(self) -> None:
        super().__init__()
        policy = Policy(missing_readings=3, strange_readings=4)
        self.talk = Conversation(policy=policy, max_turns=3, max_calls_per_turn=3, max_bad_calls=2)
        self.final: Any = None
        self.effects: dict[str, int] = {}
        self.decided: dict[str, Verdict] = {}

    def hear(self, event: Event) -> Decision:
        decision = self.talk.happens(event)
        if self.talk.run.closed and self.final is None:
            self.final = without_tidying(self.talk.run)
        return decision

    def one_call(self, which: int) -> str:
        calls = [c for t in (*self.talk.turns, self.talk.run.turn) for c in t.calls]
        return calls[which % len(calls)].id if calls else "call_none"

    def one_approval(self, which: int) -> str:
        turns = (*self.talk.turns, self.talk.run.turn)
        asked = [c.approval.id for t in turns for c in t.calls if c.approval]
        return asked[which % len(asked)] if asked else "apr_none"

    # --- the likely, so that histories get somewhere ----------------------------------

    @precondition(lambda self: self.talk.run.turn.interaction_id is None)
    @rule()
    def create(self) -> None:
        turn = self.talk.run.turn
        self.hear(CreateClaimed(turn.number, turn.attempt))
        name = f"i{turn.number}.{turn.attempt}"
        self.hear(seen(name, "in_progress", turn=turn.number, attempt=turn.attempt))

    @rule(status=STATUSES, wishes=WISHES)
    def read(self, status: str, wishes: list[Any]) -> None:
        turn = self.talk.run.turn
        self.hear(
            seen(
                turn.interaction_id or "i9",
                status,
                *wishes,
                turn=turn.number,
                attempt=turn.attempt,
                continuation="tok",
                usage={"total": 1},
            )
        )

    @rule(which=st.integers(0, 9), claim=CLAIMS, ruling=st.sampled_from(Ruling), same=st.booleans())
    def claim(self, which: int, claim: str, ruling: Ruling, same: bool) -> None:
        fresh = wish("c1", ruling, digest=DIGEST if same else "e" * 64)
        self.hear(CallClaimed(self.one_call(which), claim, fresh))

    @rule(which=st.integers(0, 9), claim=CLAIMS, outcome=OUTCOMES)
    def finish(self, which: int, claim: str, outcome: Outcome) -> None:
        self.hear(CallFinished(self.one_call(which), claim, outcome))

    @rule(which=st.integers(0, 9), approve=st.booleans(), by=st.sampled_from([ANNA, BEN, Actor("U0EVE")]))
    def decide(self, which: int, approve: bool, by: Actor) -> None:
        approval = self.one_approval(which)
        verdict = Verdict(approve, by, self.talk.now)
        decision = self.hear(ApprovalDecided(approval, DIGEST, verdict, by.id))
        if decision.refused is None and approval != "apr_none":
            assert by.id != "U0EVE"
            assert approval not in self.decided, "a second decision stood"
            self.decided[approval] = verdict
        elif by.id == "U0EVE" and not self.talk.run.closed:
            assert decision.refused in (Refusal.NOT_ENTITLED, Refusal.NOT_FOUND)

    # --- the late, the lost, the wrong ------------------------------------------------

    @rule(turn=NUMBERS, attempt=NUMBERS, name=INTERACTIONS, status=STATUSES, wishes=WISHES)
    def read_anything(self, turn: int, attempt: int, name: str, status: str, wishes: list[Any]) -> None:
        self.hear(seen(name, status, *wishes, turn=turn, attempt=attempt))

    @rule(
        turn=NUMBERS,
        attempt=NUMBERS,
        kind=st.sampled_from(
            [CreateClaimed, CreateUncertain, CreateDeferred, CreateRefused, CreateGraceEnded]
        ),
    )
    def create_anything(self, turn: int, attempt: int, kind: Any) -> None:
        if kind is not CreateRefused or turn == 3:  # it ends most histories too early
            self.hear(kind(turn, attempt))

    @rule(name=INTERACTIONS, gone=st.booleans())
    def signal(self, name: str, gone: bool) -> None:
        self.hear(InteractionMissing(name) if gone else InteractionSignalled(name, "interaction.completed"))

    @rule(which=st.integers(0, 9), claim=CLAIMS, deferred=st.booleans())
    def cut_off(self, which: int, claim: str, deferred: bool) -> None:
        call = self.one_call(which)
        self.hear(CallDeferred(call, claim, "x") if deferred else CallCutOff(call, claim, "x"))

    @rule(which=st.integers(0, 9), kind=st.sampled_from(["posted", "undelivered", "expired"]))
    def about_a_question(self, which: int, kind: str) -> None:
        approval = self.one_approval(which)
        events: dict[str, Event] = {
            "posted": ApprovalPosted(approval, "C", "1"),
            "undelivered": ApprovalUndelivered(approval, "no"),
            "expired": ApprovalExpired(approval),
        }
        self.hear(events[kind])

    @rule(choice=st.sampled_from(Choice), which=st.integers(-1, 9))
    def resolve(self, choice: Choice, which: int) -> None:
        self.hear(AttentionResolved(choice, ANNA, self.one_call(which) if which >= 0 else "", "r"))

    @rule(minutes=st.sampled_from([1, 61, 24 * 60]))
    def wait(self, minutes: int) -> None:
        self.talk.now += timedelta(minutes=minutes)

    @rule(overdue=st.booleans(), sure=st.integers(0, 9))
    def end(self, overdue: bool, sure: int) -> None:
        if sure == 0:
            self.hear(RunOverdue(self.talk.now) if overdue else CancelRequested(ANNA))

    # --- what holds all along ---------------------------------------------------------

    @invariant()
    def an_ended_run_stays_as_it_ended(self) -> None:
        if self.final is not None:
            assert without_tidying(self.talk.run) == self.final

    @invariant()
    def turns_left_behind_are_answered_in_full(self) -> None:
        for turn in self.talk.turns:
            assert all(c.outcome is not None for c in turn.calls)

    @invariant()
    def every_recorded_verdict_is_the_one_that_was_accepted(self) -> None:
        for turn in (*self.talk.turns, self.talk.run.turn):
            for call in turn.calls:
                approval = call.approval
                if approval is not None and approval.verdict is not None:
                    assert self.decided[approval.id] == approval.verdict
                    assert approval.status is not ApprovalStatus.PENDING

    @invariant()
    def somebody_will_move_a_live_run(self) -> None:
        run = self.talk.run
        if not run.closed and run.status != "attention":
            assert f"end_run:{run.id}" in self.talk.waiting


TestAnyHistory = AnyHistory.TestCase
TestAnyHistory.settings = settings(
    max_examples=150,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
