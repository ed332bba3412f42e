"""Domain tests are scripts: a run, events that arrive, the run and the effects that follow."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from support.clock import NOON

from orchestrator.domain.asking import GO_ON, PLAN, RESTART, TO_ACT, is_own
from orchestrator.domain.assessment import Assessment, Ruling
from orchestrator.domain.consent import Actor, Approval, ApprovalStatus, Terms, Verdict
from orchestrator.domain.decision import Decision, status_of
from orchestrator.domain.effects import SURVIVES_CLOSING, Effect, EffectKind
from orchestrator.domain.events import (
    ApprovalDecided,
    CallClaimed,
    CallFinished,
    CreateClaimed,
    Event,
    InteractionObserved,
)
from orchestrator.domain.exchange import FunctionCall, Snapshot
from orchestrator.domain.lifecycle import decide, open_run
from orchestrator.domain.model import (
    CallStatus,
    Limits,
    Outcome,
    OutcomeKind,
    Policy,
    Recipe,
    Run,
    ToolCall,
    Turn,
    TurnStatus,
)
from orchestrator.domain.onward import TOKENS, over_tokens
from orchestrator.domain.values import replace

ANNA, BEN = Actor("U0ANNA", "anna", "slack"), Actor("U0BEN", "ben", "slack")
TERMS = Terms(approvers=(ANNA.id, BEN.id, "api:ops"), channel="C0OPS")
DIGEST = "d" * 64
OK = Outcome(OutcomeKind.SUCCEEDED, {"ok": True})


def recipe(**limits: Any) -> Recipe:
    return Recipe("refunds", model="gemini-3.8-flash", tools=("lookup", "refund"), limits=Limits(**limits))


def wish(call_id: str, ruling: Ruling = Ruling.ALLOW, **more: Any) -> Assessment:
    """What policy says about one function call; a gated one is asked under `TERMS`."""
    terms = TERMS if ruling is Ruling.ASK else None
    given: dict[str, Any] = {"arguments": {"n": 1}, "reason": "no", "digest": DIGEST, "terms": terms}
    return Assessment(call_id, more.pop("tool", "lookup"), ruling, **{**given, **more})


def seen(
    interaction_id: str,
    status: str,
    *wishes: Assessment,
    turn: int = 1,
    attempt: int = 1,
    former: bool = False,
    **more: Any,
) -> InteractionObserved:
    """A reading of that interaction, with the calls it waits for."""
    calls = tuple(FunctionCall(w.call_id, w.tool, w.arguments) for w in wishes)
    snapshot = Snapshot(interaction_id, status, calls, **more)
    return InteractionObserved(turn, attempt, snapshot, wishes, former)


class Conversation:
    """One run under `decide`, with the waiting effects as the outbox would keep them.

    Every step is held to the invariants of `check`.
    """

    def __init__(
        self,
        *,
        policy: Policy | None = None,
        now: datetime = NOON,
        workflow: Recipe | None = None,
        **limits: Any,
    ) -> None:
        self.policy = policy or Policy()
        self.now = now
        self.waiting: dict[str, Effect] = {}
        self.turns: list[Turn] = []
        self.notes: list[str] = []
        opened = open_run("run_1", workflow or recipe(**limits), "please", ANNA, now=now)
        self.run = opened.run
        self._keep(opened)

    def happens(self, event: Event, *, after: timedelta = timedelta(0)) -> Decision:
        """The event arrives, `after` later than the one before."""
        self.now += after
        before = self.run
        decision = decide(before, event, policy=self.policy, now=self.now)
        check(before, event, decision)
        self.run = decision.run
        self._keep(decision)
        return decision

    def hear(self, *events: Event) -> "Conversation":
        for event in events:
            self.happens(event)
        return self

    def _keep(self, decision: Decision) -> None:
        if decision.left is not None:
            self.turns.append(decision.left)
        if decision.note:
            self.notes.append(decision.note)
        if decision.run.closed:
            self.waiting = {k: e for k, e in self.waiting.items() if e.kind in SURVIVES_CLOSING}
        for key in decision.drop:
            self.waiting.pop(key, None)
        for effect in decision.effects:
            self.waiting[effect.key] = effect

    # --- what is asked of it ----------------------------------------------------------

    def call(self, call_id: str) -> ToolCall:
        return next(c for c in self.run.turn.calls if c.call_id == call_id)

    def approval(self, call_id: str = "c1") -> Approval:
        """The question about that call; it has one."""
        found = self.call(call_id).approval
        assert found is not None
        return found

    def kinds(self) -> set[EffectKind]:
        return {e.kind for e in self.waiting.values()}

    def due(self, kind: EffectKind, subject: str) -> datetime:
        return self.waiting[f"{kind}:{subject}"].due_at

    # --- moves many stories share -----------------------------------------------------

    def sent(self) -> "Conversation":
        """The current turn's create is on the wire."""
        turn = self.run.turn
        return self.hear(CreateClaimed(turn.number, turn.attempt))

    def live(self, interaction_id: str = "i1") -> "Conversation":
        turn = self.run.turn
        return self.sent().hear(seen(interaction_id, "in_progress", turn=turn.number, attempt=turn.attempt))

    def asks(self, *wishes: Assessment, interaction_id: str = "i1") -> "Conversation":
        """The model asks for these calls."""
        if self.run.turn.interaction_id is None:
            self.live(interaction_id)
        turn = self.run.turn
        return self.hear(
            seen(interaction_id, "requires_action", *wishes, turn=turn.number, attempt=turn.attempt)
        )

    def claims(self, call_id: str, claim: str = "k1", **assessment: Any) -> Decision:
        """A worker comes to the gate with the call; its tool is as it was, unless something else is said."""
        call = self.call(call_id)
        assessment.setdefault("idempotent", call.idempotent)
        ruling = Ruling.ASK if call.approval else Ruling.ALLOW
        fresh = wish(call_id, assessment.pop("ruling", ruling), tool=call.tool, **assessment)
        return self.happens(CallClaimed(call.id, claim, fresh))

    def finishes(self, call_id: str, claim: str = "k1", outcome: Outcome = OK) -> Decision:
        return self.happens(CallFinished(self.call(call_id).id, claim, outcome))

    def runs(self, call_id: str, claim: str = "k1") -> Decision:
        """Claimed and finished."""
        self.claims(call_id, claim)
        return self.finishes(call_id, claim)

    def answers(self, call_id: str, approve: bool, **more: Any) -> Decision:
        """A person answers the open question about the call."""
        approval = self.call(call_id).approval
        assert approval is not None
        by = more.pop("by", ANNA)
        verdict = Verdict(approve, by, self.now, more.pop("reason", ""))
        digest = more.pop("digest", approval.digest)
        return self.happens(ApprovalDecided(approval.id, digest, verdict, more.pop("entitled_as", by.id)))


def check(before: Run, event: Event, decision: Decision) -> None:
    """What holds for every step of every run, whatever the event."""
    run, turn = decision.run, decision.run.turn
    keys = [e.key for e in decision.effects]
    assert len(keys) == len(set(keys)), f"an effect was asked for twice: {keys}"
    assert run.id == before.id
    assert (run.version, run.seq) == (before.version, before.seq), "numbering belongs to the store"
    assert [c.id for c in turn.calls] == list(dict.fromkeys(c.id for c in turn.calls))
    if run.closed:
        assert run.closed_at is not None
        assert not any(c.approval and c.approval.open for c in turn.calls), "a question outlived its run"
        assert {e.kind for e in decision.effects} <= SURVIVES_CLOSING
    else:
        assert run.status is status_of(turn), "status is derived, never set beside the turn"
    if before.closed:
        assert without_tidying(run) == without_tidying(before), "terminal is terminal"
    _check_turn(before, decision)
    for call in turn.calls:
        _check_call(before, call)
        _check_times(turn, call)
    _check_own(before, decision)


def _check_turn(before: Run, decision: Decision) -> None:
    was, turn = before.turn, decision.run.turn
    if was.number == turn.number and was.attempt == turn.attempt and was.interaction_id is not None:
        assert turn.interaction_id == was.interaction_id, "one interaction per attempt, for ever"
    if turn.number == was.number:
        assert decision.left is None
        return
    left = decision.left
    assert left is not None
    assert (turn.number, left.number) == (was.number + 1, was.number)
    assert all(c.settled and c.outcome is not None for c in left.calls), "a turn went on with open calls"
    ours = [c.call_id for c in left.calls]
    assert len(ours) == len(set(ours)), "one result per call"
    if decision.run.step != before.step or before.calls_a_tool:
        assert turn.previous_id is None, "no step goes on from another one's interaction"
    elif turn.continuation is None:
        assert turn.previous_id == left.interaction_id


def _check_call(before: Run, call: ToolCall) -> None:
    was = before.turn.call(call.id)
    assert (call.status is CallStatus.SETTLED) == (call.outcome is not None)
    if was is not None and was.settled:
        assert call.outcome == was.outcome, "a call has one result"
    started = call.status is CallStatus.EXECUTING and (was is None or was.status is not call.status)
    if started:
        assert was is not None
        assert was.status is CallStatus.READY, "only a ready call starts"
        assert call.claim
        approval = call.approval
        if approval is not None and approval.status is not ApprovalStatus.WITHDRAWN:
            assert approval.status is ApprovalStatus.APPROVED
            assert approval.verdict is not None
            assert approval.verdict.approve


def _check_times(turn: Turn, call: ToolCall) -> None:
    """No question and no start outlives the interaction it is about."""
    approval = call.approval
    if approval is None or turn.forgotten_at is None:
        return
    if is_own(call) and call.tool == RESTART:
        assert not approval.open, "it was asked before there was an interaction to be forgotten"
        return
    assert approval.expires_at <= turn.forgotten_at - TO_ACT
    assert approval.start_by is None or approval.start_by <= turn.forgotten_at


def _check_own(before: Run, decision: Decision) -> None:
    """The run's own questions: nothing runs by them, and nothing goes on without their answer."""
    run, was = decision.run, before.turn
    own = [c for c in run.turn.calls if is_own(c)]
    restarts = [c for c in own if c.tool == RESTART]
    assert len({c.tool for c in own}) == len(own) - max(0, len(restarts) - 1), "asked once about each"
    assert sum(c.approval is not None and c.approval.open for c in restarts) <= (
        not run.closed and run.turn.status is TurnStatus.REFUSED
    ), "a restart is asked about while Gemini refuses, and no longer"
    wanted = [e for e in decision.effects if e.kind is EffectKind.RESTART_RUN]
    approved = {
        c.approval.id for c in restarts if c.approval and c.approval.status is ApprovalStatus.APPROVED
    }
    assert {e.subject for e in wanted} <= approved, "nobody wanted that restart"
    assert all(
        c.claim is None and c.status in (CallStatus.AWAITING_APPROVAL, CallStatus.SETTLED) for c in own
    )
    tools = {e.subject for e in decision.effects if e.kind is EffectKind.EXECUTE_TOOL}
    assert not tools & {c.id for c in own}, "a question is nothing to run"
    if run.granted != before.granted:
        assert run.granted == run.usage[TOKENS]
    if decision.left is None:
        return
    assert not over_tokens(run), "more tokens are spent than people granted"
    verdicts = {
        c.tool: c.approval.verdict for c in decision.left.calls if is_own(c) and c.approval is not None
    }
    assert (run.granted != before.granted) == (GO_ON in verdicts and verdicts[GO_ON] is not None)
    assert all(v is not None and v.approve for about, v in verdicts.items() if about == GO_ON)
    plan = verdicts.get(PLAN)
    assert plan is None or was.planning, "only who plans is asked about a plan"
    if was.planning and run.turn.planning is not True:
        assert plan is not None, "a plan is carried out that nobody saw"
        assert plan.approve, "a plan is carried out that nobody approved"
    if not was.planning:
        assert run.turn.planning is was.planning, "carried out, it is not planned again"
    if run.step != before.step or before.calls_a_tool:
        return  # what another step is told is its own
    assert run.turn.note == (plan.reason if plan is not None and plan.refine else "")


def without_tidying(run: Run) -> Run:
    """An ended run without what may still be noted: late results, and where Slack shows its questions."""
    calls = tuple(
        replace(
            call,
            status=CallStatus.SETTLED,
            outcome=None,
            settled_at=None,
            approval=replace(call.approval, channel="", ts="", trouble="", copies=(), questions=())
            if call.approval
            else None,
        )
        if call.claim
        else replace(
            call,
            approval=replace(call.approval, channel="", ts="", trouble="", copies=(), questions=())
            if call.approval
            else None,
        )
        for call in run.turn.calls
    )
    return replace(run, turn=replace(run.turn, calls=calls, batch=None))


def same_but(run: Run, **changes: Any) -> Run:
    """The run with parts of its turn exchanged, its status following."""
    turn = replace(run.turn, **changes)
    return replace(run, turn=turn, status=status_of(turn))


Facts = Mapping[str, Any]


def record(run: Run) -> Facts:
    """The final record as people read it: what became of the run, without clocks and counters."""
    return {
        "status": run.status,
        "output": run.output,
        "reason": run.reason,
        "usage": dict(run.usage),
        "turn": (run.turn.number, run.turn.attempt, run.turn.status, run.turn.interaction_id),
        "calls": tuple(
            (
                c.call_id,
                c.status,
                c.outcome,
                c.approval and c.approval.status,
                c.approval and c.approval.verdict,
            )
            for c in run.turn.calls
        ),
    }
