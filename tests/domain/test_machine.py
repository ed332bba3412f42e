"""Any history at all: a Hypothesis state machine over `decide`, held to the invariants at each step."""

from datetime import timedelta
from typing import Any

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from support.conversation import (
    ANNA,
    BEN,
    DIGEST,
    OK,
    TERMS,
    Conversation,
    recipe,
    seen,
    wish,
    without_tidying,
)

from orchestrator.domain.asking import RESTART
from orchestrator.domain.assessment import Ruling
from orchestrator.domain.consent import Actor, ApprovalStatus, AtTimeout, Verdict
from orchestrator.domain.deadlines import no_timers, reminders
from orchestrator.domain.decision import Decision, Refusal, needs_a_person
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
    ForgettingNear,
    InteractionMissing,
    InteractionSignalled,
    ReminderDue,
    RunOverdue,
    TakenUp,
)
from orchestrator.domain.interaction_status import MEANING
from orchestrator.domain.lifecycle import decide as decide_about
from orchestrator.domain.model import CallStatus, Outcome, OutcomeKind, Policy, RunStatus, TurnStatus
from orchestrator.domain.values import replace

NUMBERS = st.integers(1, 3)
INTERACTIONS = st.sampled_from(["i1", "i2", "i3"])
CLAIMS = st.sampled_from(["k1", "k2", "k3"])
WISHES = st.lists(
    st.builds(
        lambda call_id, ruling, idempotent, end: wish(
            call_id,
            ruling,
            idempotent=idempotent,
            terms=replace(TERMS, at_timeout=end, escalate_to=("U0FAY",)),
        ),
        st.sampled_from(["c1", "c2", "c3"]),
        st.sampled_from([Ruling.ALLOW, Ruling.ASK, Ruling.ASK, Ruling.DENY, Ruling.UNKNOWN]),
        st.booleans(),
        st.sampled_from(AtTimeout),
    ),
    max_size=4,
)
STATUSES = st.sampled_from([*MEANING, "in_progress", "requires_action", "requires_action", "dreaming"])
DIGESTS = st.sampled_from([True, True, True, False])
OUTCOMES = st.sampled_from([OK, Outcome(OutcomeKind.FAILED, "no")])


class AnyHistory(RuleBasedStateMachine):
    """Events as they come, true or not; every step goes through `Conversation.happens`."""

    @initialize(
        plans=st.booleans(),
        most=st.sampled_from([None, 1, 5]),
        retention=st.sampled_from([timedelta(days=55), timedelta(days=1), timedelta(minutes=90)]),
    )
    def begin(self, plans: bool, most: int | None, retention: timedelta) -> None:
        policy = Policy(missing_readings=3, strange_readings=4, retention=retention)
        limited = recipe(max_turns=5, max_calls_per_turn=3, max_bad_calls=2, max_tokens=most)
        config = {"collaborative_planning": True} if plans else None
        workflow = replace(limited, agent_config=config, terms=TERMS)
        self.talk = Conversation(policy=policy, workflow=workflow)
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

    def digests(self) -> dict[str, str]:
        turns = (*self.talk.turns, self.talk.run.turn)
        return {c.approval.id: c.approval.digest for t in turns for c in t.calls if c.approval}

    # --- the likely, so that histories get somewhere ----------------------------------

    @precondition(lambda self: self.talk.run.turn.interaction_id is None)
    @rule()
    def create(self) -> None:
        turn = self.talk.run.turn
        self.hear(CreateClaimed(turn.number, turn.attempt))
        name = f"i{turn.number}.{turn.attempt}"
        self.hear(seen(name, "in_progress", turn=turn.number, attempt=turn.attempt))

    @rule(
        asks=st.lists(st.sampled_from([Ruling.ALLOW, Ruling.ASK]), max_size=2),
        tokens=st.integers(0, 3),
        answer=st.sampled_from(["approve", "approve", "refine", "refine", "reject"]),
        steps=st.integers(1, 6),
    )
    def get_on(self, asks: list[Ruling], tokens: int, answer: str, steps: int) -> None:
        """What is next, done as it should be: histories that only stumble never get far."""
        for _ in range(steps):
            self.next_step(asks, tokens, answer)

    def next_step(self, asks: list[Ruling], tokens: int, answer: str) -> None:
        turn = self.talk.run.turn
        waiting = [c.approval for c in turn.calls if c.approval and c.approval.open]
        ready = [c for c in turn.calls if c.status is CallStatus.READY]
        if waiting:
            verdict = Verdict(answer == "approve", ANNA, self.talk.now, "shorter", refine=answer == "refine")
            self.answer(waiting[0].id, waiting[0].digest, verdict)
        elif ready:
            ruling = Ruling.ASK if ready[0].approval else Ruling.ALLOW
            self.hear(CallClaimed(ready[0].id, "k1", wish(ready[0].call_id, ruling)))
            self.hear(CallFinished(ready[0].id, "k1", OK))
        elif turn.interaction_id is None:
            self.create()
        else:
            wishes = [wish(f"c{n}", ruling) for n, ruling in enumerate(asks)]
            status = "requires_action" if asks else "requires_continuation"
            self.read("completed" if turn.planning else status, wishes, tokens)

    @rule(status=STATUSES, wishes=WISHES, tokens=st.integers(0, 3))
    def read(self, status: str, wishes: list[Any], tokens: int) -> None:
        turn = self.talk.run.turn
        self.hear(
            seen(
                turn.interaction_id or "i9",
                status,
                *wishes,
                turn=turn.number,
                attempt=turn.attempt,
                continuation="tok",
                usage={"total_tokens": tokens},
            )
        )

    @rule(which=st.integers(0, 9), claim=CLAIMS, ruling=st.sampled_from(Ruling), same=st.booleans())
    def claim(self, which: int, claim: str, ruling: Ruling, same: bool) -> None:
        fresh = wish("c1", ruling, digest=DIGEST if same else "e" * 64)
        self.hear(CallClaimed(self.one_call(which), claim, fresh))

    @rule(which=st.integers(0, 9), claim=CLAIMS, outcome=OUTCOMES)
    def finish(self, which: int, claim: str, outcome: Outcome) -> None:
        self.hear(CallFinished(self.one_call(which), claim, outcome))

    @precondition(lambda self: self.talk.run.turn.planning and self.talk.run.turn.interaction_id)
    @rule(tokens=st.integers(0, 3))
    def plan(self, tokens: int) -> None:
        self.read("completed", [], tokens)

    @rule(
        which=st.integers(0, 9),
        answer=st.sampled_from(["approve", "approve", "reject", "refine", "refine mutely"]),
        by=st.sampled_from([ANNA, BEN, Actor("U0EVE")]),
        same=DIGESTS,
    )
    def decide(self, which: int, answer: str, by: Actor, same: bool) -> None:
        approval = self.one_approval(which)
        note = "shorter" if answer == "refine" else ""
        verdict = Verdict(answer == "approve", by, self.talk.now, note, refine=answer.startswith("refine"))
        shown = self.digests().get(approval, DIGEST) if same else "f" * 64
        self.answer(approval, shown, verdict)

    def answer(self, approval: str, shown: str, verdict: Verdict) -> None:
        by = verdict.by
        decision = self.hear(ApprovalDecided(approval, shown, verdict, by.id))
        if decision.refused is None and approval != "apr_none":
            assert by.id != "U0EVE"
            assert approval not in self.decided, "a second decision stood"
            self.decided[approval] = verdict
        elif by.id == "U0EVE" and not self.talk.run.closed:
            assert decision.refused in (Refusal.NOT_ENTITLED, Refusal.NOT_FOUND)

    # --- the late, the lost, the wrong ------------------------------------------------

    @rule(turn=NUMBERS, attempt=NUMBERS, name=INTERACTIONS, status=STATUSES, wishes=WISHES)
    def read_anything(self, turn: int, attempt: int, name: str, status: str, wishes: list[Any]) -> None:
        self.hear(seen(f"{name}@{turn}", status, *wishes, turn=turn, attempt=attempt))

    @rule(
        turn=NUMBERS,
        attempt=NUMBERS,
        kind=st.sampled_from(
            [CreateClaimed, CreateUncertain, CreateDeferred, CreateRefused, CreateGraceEnded]
        ),
    )
    def create_anything(self, turn: int, attempt: int, kind: Any) -> None:
        if kind is not CreateRefused or turn > 1:  # it ends most histories too early
            self.hear(kind(turn, attempt))

    @precondition(lambda self: self.talk.run.turn.number > 1 and self.talk.run.turn.interaction_id is None)
    @rule(
        code=st.sampled_from(["invalid_request", "unimplemented", "failed_precondition", "not_found"]),
        then=st.sampled_from([*Choice, None, None]),
    )
    def refuse(self, code: str, then: Choice | None) -> None:
        turn = self.talk.run.turn
        self.hear(CreateClaimed(turn.number, turn.attempt))
        if code != "not_found" or turn.number > 3:  # it ends them too early
            self.hear(CreateRefused(turn.number, turn.attempt, "no", code))
        if then is not None:
            self.hear(AttentionResolved(then, ANNA))

    @rule(sure=st.integers(0, 4))
    def take_up(self, sure: int) -> None:
        waits = self.talk.run.status is RunStatus.ATTENTION
        if sure == 0 or not waits:
            self.hear(TakenUp(ANNA, "run_2"))
            assert self.talk.run.closed or not waits

    @rule(own=st.booleans(), name=INTERACTIONS)
    def forgetting(self, own: bool, name: str) -> None:
        self.hear(ForgettingNear(self.talk.run.turn.interaction_id or name if own else name))

    @rule(name=INTERACTIONS, own=st.booleans(), gone=st.booleans())
    def signal(self, name: str, own: bool, gone: bool) -> None:
        name = self.talk.run.turn.interaction_id or name if own else name
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

    @rule(which=st.integers(0, 9), number=st.integers(1, 4))
    def remind(self, which: int, number: int) -> None:
        self.hear(ReminderDue(self.one_approval(which), number))

    @rule(number=st.integers(1, 4), ahead=st.integers(-1, 1))
    def run_out(self, number: int, ahead: int) -> None:
        """The first open question's time is up, almost or just; a reminder is about as late."""
        for call in self.talk.run.turn.calls:
            if call.approval is not None and call.approval.open:
                self.talk.now = max(self.talk.now, call.approval.expires_at - timedelta(seconds=ahead))
                self.hear(ReminderDue(call.approval.id, number))
                self.hear(ApprovalExpired(call.approval.id))
                return

    @rule(choice=st.sampled_from(Choice), which=st.integers(-1, 9))
    def resolve(self, choice: Choice, which: int) -> None:
        self.hear(AttentionResolved(choice, ANNA, self.one_call(which) if which >= 0 else "", "r"))

    @rule(minutes=st.sampled_from([1, 61, 24 * 60]))
    def wait(self, minutes: int) -> None:
        self.talk.now += timedelta(minutes=minutes)

    @rule(overdue=st.booleans(), sure=st.integers(0, 29))
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
        run, turn = self.talk.run, self.talk.run.turn
        if run.closed:
            return
        awaited = {f"end_run:{run.id}"}
        attempt = f"{turn.number}.{turn.attempt}"
        if turn.status in (TurnStatus.INTENDED, TurnStatus.SENDING):
            awaited.add(f"create_interaction:{attempt}")
        if turn.status is TurnStatus.UNKNOWN:
            awaited.add(f"end_create_grace:{attempt}")
        if turn.status in (TurnStatus.LIVE, TurnStatus.ACTION):
            awaited.add(f"fetch_interaction:{turn.interaction_id}")
        awaited |= {f"expire_approval:{c.approval.id}" for c in turn.calls if c.approval and c.approval.open}
        awaited |= {
            f"restart_run:{c.approval.id}"
            for c in turn.calls
            if c.tool == RESTART and c.approval and c.approval.status is ApprovalStatus.APPROVED
        }
        for approval in (c.approval for c in turn.calls if c.approval and c.approval.open):
            ahead = {n for n, at in reminders(approval) if self.talk.now < at and n > approval.reminded}
            awaited |= {f"remind_approval:{approval.id}.{n}" for n in ahead}
        awaited |= {f"execute_tool:{c.id}" for c in turn.calls if c.status is CallStatus.READY}
        assert awaited <= set(self.talk.waiting)
        assert turn.status is not TurnStatus.ACTION or not all(c.settled for c in turn.calls)

    @invariant()
    def nobody_is_reminded_of_what_is_settled(self) -> None:
        for turn in (*self.talk.turns, self.talk.run.turn):
            for approval in (c.approval for c in turn.calls if c.approval and not c.approval.open):
                assert not set(no_timers(approval)) & set(self.talk.waiting)

    @invariant()
    def a_person_can_always_leave_it(self) -> None:
        run = self.talk.run
        if run.status is not RunStatus.ATTENTION:
            return
        doubtful = [c.id for c in run.turn.calls if needs_a_person(c)]
        for call in doubtful or [""]:
            about = run.turn.call(call)
            started = about is not None and about.status is CallStatus.IN_DOUBT
            for choice in (Choice.RETRY, Choice.GIVE_UP, *([Choice.HAPPENED] if started else [])):
                after = self.imagine(AttentionResolved(choice, ANNA, call, "r"))
                assert after.refused is None
                left = after.run.turn.call(call) if call else None
                assert after.run.status is not RunStatus.ATTENTION or (left and not needs_a_person(left))
        assert self.imagine(CancelRequested(ANNA)).run.closed
        assert self.imagine(RunOverdue(run.deadline), run.deadline - self.talk.now).run.closed

    def imagine(self, event: Event, after: timedelta = timedelta(0)) -> Decision:
        now = self.talk.now + max(after, timedelta(0))
        return decide_about(self.talk.run, event, policy=self.talk.policy, now=now)


TestAnyHistory = AnyHistory.TestCase
TestAnyHistory.settings = settings(
    max_examples=150,
    stateful_step_count=40,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
