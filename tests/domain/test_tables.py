"""Three tables say what is heard when; the handlers are held to them, event by event."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Final, get_args

import pytest
from support.conversation import (
    ANNA,
    BEN,
    DIGEST,
    OK,
    TERMS,
    Conversation,
    check,
    same_but,
    seen,
    wish,
)
from support.films import FILM, about_jobs

from orchestrator.domain import lifecycle
from orchestrator.domain.assessment import Ruling
from orchestrator.domain.consent import (
    Approval,
    ApprovalStatus,
    AtTimeout,
    Inquiry,
    Preview,
    Verdict,
    approval_key,
)
from orchestrator.domain.decision import Decision
from orchestrator.domain.events import (
    ApprovalCopied,
    ApprovalDecided,
    ApprovalEdited,
    ApprovalExpired,
    ApprovalNotCopied,
    ApprovalPosted,
    ApprovalUndelivered,
    ApproversFound,
    AttentionResolved,
    BatchPosted,
    BatchUndelivered,
    CallClaimed,
    CallCutOff,
    CallDeferred,
    CallDoubted,
    CallFinished,
    CallPreviewed,
    CallWaits,
    CancelRequested,
    Choice,
    CreateClaimed,
    CreateDeferred,
    CreateGraceEnded,
    CreateRefused,
    CreateUncertain,
    Event,
    ForgettingNear,
    InquiryPosted,
    InteractionMissing,
    InteractionObserved,
    InteractionSignalled,
    InteractionTooLarge,
    JobClaimed,
    JobDeferred,
    JobGraceEnded,
    JobHarvested,
    JobMissing,
    JobObserved,
    JobRefused,
    JobSignalled,
    JobUncertain,
    QuestionAnswered,
    QuestionAsked,
    ReminderDue,
    RunOverdue,
    StepBegun,
    TakenUp,
)
from orchestrator.domain.expiry import EXPIRED_TEXT
from orchestrator.domain.jobs import NAMELESS, Job, JobStatus, job_key
from orchestrator.domain.lifecycle import TURN_HEARS, decide
from orchestrator.domain.model import (
    ENDED,
    CallStatus,
    Outcome,
    OutcomeKind,
    Policy,
    Run,
    RunStatus,
    ToolCall,
    TurnStatus,
    call_key,
)
from orchestrator.domain.values import replace

CALL_HEARS: Final[Mapping[CallStatus, tuple[type[Event], ...]]] = {
    CallStatus.PREVIEWING: (CallPreviewed,),
    CallStatus.AWAITING_APPROVAL: (
        ApprovalDecided,
        ApprovalEdited,
        QuestionAsked,
        QuestionAnswered,
        ApprovalExpired,
        ReminderDue,
        CallDoubted,
    ),
    CallStatus.READY: (CallClaimed, CallDoubted),
    CallStatus.EXECUTING: (CallFinished, CallCutOff, CallDeferred, CallWaits),
    CallStatus.AWAITING_JOB: (),
    CallStatus.IN_DOUBT: (AttentionResolved, CallFinished, CallDeferred, CallWaits),
    CallStatus.SETTLED: (),
}
"""What each call listens to; the functions that hear of one are held to it."""

JOB_HEARS: Final[Mapping[JobStatus, tuple[type[Event], ...]]] = {
    JobStatus.QUEUED: (),
    JobStatus.INTENDED: (JobClaimed,),
    JobStatus.SENDING: (JobSignalled, JobObserved, JobDeferred, JobUncertain, JobRefused),
    JobStatus.UNKNOWN: (JobSignalled, JobObserved, JobMissing, JobGraceEnded),
    JobStatus.LIVE: (JobSignalled, JobObserved, JobMissing),
    JobStatus.STORING: (JobHarvested,),
    JobStatus.LOST: (JobSignalled, JobObserved),
    JobStatus.SUCCEEDED: (),
    JobStatus.FAILED: (),
    JobStatus.CANCELLED: (),
    JobStatus.EXPIRED: (),
}
"""What each job of a call that waits for its jobs listens to; `joblife` is held to it in the same way."""

EVENTS: tuple[type, ...] = get_args(Event)
NOW = Conversation().now
CALL = call_key("run_1", "i1", "c1")
APPROVAL = approval_key(CALL, 1)
ABOUT_CALLS = {e for heard in CALL_HEARS.values() for e in heard}
ABOUT_TURNS = {e for heard in TURN_HEARS.values() for e in heard}
ABOUT_JOBS = {e for heard in JOB_HEARS.values() for e in heard}
WELCOME_ALWAYS = {
    BatchPosted,
    BatchUndelivered,
    ApprovalCopied,
    ApprovalNotCopied,
    ApproversFound,
    ApprovalPosted,
    ApprovalUndelivered,
    CancelRequested,
    ForgettingNear,
    InquiryPosted,
    RunOverdue,
    StepBegun,
    TakenUp,
}


def an(event: type) -> Event:
    """An event of that type which fits the run of `stand` in every respect but its state."""
    verdict = Verdict(True, ANNA, NOW)
    made: dict[type, Event] = {
        InteractionSignalled: InteractionSignalled("i1", "interaction.completed"),
        CreateClaimed: CreateClaimed(1, 1),
        InteractionObserved: seen("i1", "completed"),
        InteractionMissing: InteractionMissing("i1"),
        InteractionTooLarge: InteractionTooLarge("i1"),
        CreateUncertain: CreateUncertain(1, 1),
        CreateDeferred: CreateDeferred(1, 1),
        CreateRefused: CreateRefused(1, 1),
        CreateGraceEnded: CreateGraceEnded(1, 1),
        CallClaimed: CallClaimed(CALL, "k1", wish("c1")),
        CallPreviewed: CallPreviewed(
            CALL, {"n": 1}, wish("c1", Ruling.ASK, previews=True, preview=Preview("less"))
        ),
        CallFinished: CallFinished(CALL, "k1", OK),
        CallCutOff: CallCutOff(CALL, "k1", "crash"),
        CallDoubted: CallDoubted(CALL, ("it is not",)),
        CallDeferred: CallDeferred(CALL, "k1", "no room"),
        StepBegun: StepBegun(1, wish("c1")),
        CallWaits: CallWaits(CALL, "k1", (FILM,)),
        **{type(e): e for e in reversed(about_jobs(job_key(CALL, 1)))},
        ApprovalPosted: ApprovalPosted(APPROVAL, "C1", "1.0"),
        ApprovalUndelivered: ApprovalUndelivered(APPROVAL, "no"),
        BatchPosted: BatchPosted(1, "C1", "1.0"),
        BatchUndelivered: BatchUndelivered(1, "no"),
        ApproversFound: ApproversFound(APPROVAL, (ANNA.id,)),
        QuestionAsked: QuestionAsked(APPROVAL, BEN, NOW, "Why?", BEN.id),
        QuestionAnswered: QuestionAnswered(APPROVAL, 1, ANNA, NOW, "So.", ANNA.id),
        InquiryPosted: InquiryPosted(APPROVAL, 1, "C1", "1.0"),
        ApprovalCopied: ApprovalCopied(APPROVAL, ANNA.id, "D1", "1.0"),
        ApprovalNotCopied: ApprovalNotCopied(APPROVAL, ANNA.id, "no"),
        ApprovalDecided: ApprovalDecided(APPROVAL, DIGEST, verdict, ANNA.id),
        ApprovalEdited: ApprovalEdited(
            APPROVAL, DIGEST, ANNA, NOW, wish("c1", Ruling.ASK, digest="e" * 64), "", ANNA.id
        ),
        ApprovalExpired: ApprovalExpired(APPROVAL),
        ReminderDue: ReminderDue(APPROVAL, 1),
        CancelRequested: CancelRequested(ANNA),
        RunOverdue: RunOverdue(NOW),
        ForgettingNear: ForgettingNear("i1"),
        TakenUp: TakenUp(ANNA, "run_2"),
        AttentionResolved: AttentionResolved(Choice.RETRY, ANNA, CALL),
    }
    return made[event]


def call_in(status: CallStatus) -> ToolCall:
    """A call in that state, as it would have got there."""
    asked = status is CallStatus.AWAITING_APPROVAL
    approval = Approval(
        APPROVAL,
        ApprovalStatus.PENDING if asked else ApprovalStatus.APPROVED,
        DIGEST,
        TERMS,
        NOW - timedelta(days=1),
        NOW,  # its time is just up, so that the timer has something to say
        start_by=None if asked else NOW,
        verdict=None if asked else Verdict(True, ANNA, NOW),
        questions=(Inquiry(BEN, NOW, "Since when?"),),
    )
    ran = status in (CallStatus.EXECUTING, CallStatus.IN_DOUBT, CallStatus.SETTLED)
    return ToolCall(
        CALL,
        "c1",
        "lookup",
        {"n": 1},
        status,
        approval=approval,
        claim="k1" if ran else None,
        outcome=OK if status is CallStatus.SETTLED else None,
    )


def stand(turn: TurnStatus, call: CallStatus | None, ended: RunStatus | None = None) -> Run:
    """A run whose turn and call are in those states, whether or not a story leads there."""
    run = Conversation().run
    known = turn in (TurnStatus.LIVE, TurnStatus.ACTION, TurnStatus.ENDED)
    run = same_but(
        replace(run, deadline=NOW),
        status=turn,
        interaction_id="i1" if known else None,
        calls=(call_in(call),) if call else (),
    )
    return replace(run, status=ended, closed_at=NOW) if ended else run


def apply(run: Run, event: Event) -> Decision:
    """At the moment its question lapses; what is heard only while it is open comes just before that."""
    before = isinstance(event, ReminderDue | QuestionAsked | QuestionAnswered)
    at = NOW - timedelta(seconds=1) if before else NOW
    decision = decide(run, event, policy=Policy(), now=at)
    check(run, event, decision)
    return decision


def test_the_tables_and_the_handlers_know_every_event() -> None:
    assert set(lifecycle._HANDLERS) == set(EVENTS)
    assert {type(an(e)) for e in EVENTS} == set(EVENTS)
    assert set(TURN_HEARS) == set(TurnStatus)
    assert set(CALL_HEARS) == set(CallStatus)
    assert set(JOB_HEARS) == set(JobStatus)
    assert set(EVENTS) == ABOUT_CALLS | ABOUT_TURNS | ABOUT_JOBS | WELCOME_ALWAYS


@pytest.mark.parametrize("status", CallStatus)
@pytest.mark.parametrize("event", sorted(ABOUT_CALLS, key=lambda e: e.__name__))
def test_a_call_hears_exactly_what_its_table_says(status: CallStatus, event: type) -> None:
    run = stand(TurnStatus.ACTION, status)
    decision = apply(run, an(event))
    heard = event in CALL_HEARS[status]
    assert (decision.run != run) is heard
    if not heard:
        assert decision.effects == ()
        assert decision.note or event in (ApprovalExpired, ReminderDue)


@pytest.mark.parametrize("status", JobStatus)
@pytest.mark.parametrize("event", sorted(ABOUT_JOBS, key=lambda e: e.__name__))
def test_a_job_hears_exactly_what_its_table_says(status: JobStatus, event: type) -> None:
    named = status not in NAMELESS or event is JobMissing
    remote = "models/veo-3.1/operations/op1" if named else None
    job = Job(job_key(CALL, 1), 1, FILM.kind, FILM.request, status, remote=remote, sent_at=NOW)
    run = stand(TurnStatus.ACTION, CallStatus.AWAITING_JOB)
    run = replace(run, turn=run.turn.with_call(replace(run.turn.calls[0], jobs=(job,))))
    decision = apply(run, an(event))
    assert bool(decision.run != run or decision.effects) is (event in JOB_HEARS[status])


@pytest.mark.parametrize(
    ("end", "call", "run_is"),
    [
        (AtTimeout.REJECT, CallStatus.SETTLED, RunStatus.RESUMING),
        (AtTimeout.ESCALATE, CallStatus.AWAITING_APPROVAL, RunStatus.WAITING),
        (AtTimeout.ATTENTION, CallStatus.AWAITING_APPROVAL, RunStatus.ATTENTION),
    ],
)
def test_what_the_terms_say_comes_when_nobody_decides_in_time(
    end: AtTimeout, call: CallStatus, run_is: RunStatus
) -> None:
    """Without a state of its own: an overdue question puts its run in attention, the call goes on waiting."""
    asked = call_in(CallStatus.AWAITING_APPROVAL)
    assert asked.approval is not None
    terms = replace(TERMS, at_timeout=end, escalate_to=("U0EVE",))
    asked = replace(asked, approval=replace(asked.approval, terms=terms))
    run = same_but(stand(TurnStatus.ACTION, None), calls=(asked,))
    first = apply(run, ApprovalExpired(APPROVAL))
    assert first.run.status is run_is
    found = (first.left or first.run.turn).calls[0]
    assert found.status is call
    assert found.approval is not None
    assert found.approval.open is (call is CallStatus.AWAITING_APPROVAL)
    assert found.approval.verdict is None
    if found.approval.open:  # and it ends: the second time is the last
        over = decide(first.run, ApprovalExpired(APPROVAL), policy=Policy(), now=found.approval.expires_at)
        assert over.left is not None
        assert over.left.calls[0].outcome == Outcome(OutcomeKind.EXPIRED, EXPIRED_TEXT)


@pytest.mark.parametrize("status", TurnStatus)
@pytest.mark.parametrize("event", sorted(ABOUT_TURNS, key=lambda e: e.__name__))
def test_a_turn_hears_exactly_what_its_table_says(status: TurnStatus, event: type) -> None:
    calls = CallStatus.READY if status is TurnStatus.ACTION else None
    ended = RunStatus.COMPLETED if status is TurnStatus.ENDED else None
    run = stand(status, calls, ended)
    happened = AttentionResolved(Choice.RETRY, ANNA) if event is AttentionResolved else an(event)
    decision = apply(run, happened)
    heard = event in TURN_HEARS[status]
    assert bool(decision.run != run or decision.effects) is heard
    if not heard and not run.closed:
        assert decision.note


@pytest.mark.parametrize("event", EVENTS)
def test_an_ended_run_hears_only_late_results_and_places(event: type) -> None:
    for ended in sorted(ENDED):
        for call in (None, *CallStatus):
            if call is CallStatus.AWAITING_APPROVAL:
                continue  # questions are withdrawn by the end
            run = stand(TurnStatus.ENDED, call, ended)
            decision = apply(run, an(event))
            late = event is CallFinished and call in (CallStatus.EXECUTING, CallStatus.IN_DOUBT)
            placed = event in (ApprovalPosted, ApprovalCopied, InquiryPosted) and call is not None
            assert (decision.run != run) is (late or placed)


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("turn", TurnStatus)
def test_whatever_comes_whenever_nothing_is_raised(turn: TurnStatus, event: type) -> None:
    """Also in states no story leads to: a wrong row must not stop the loop."""
    for call in (None, *CallStatus):
        for ended in (None, *sorted(ENDED)):
            if ended and call is CallStatus.AWAITING_APPROVAL:
                continue
            run = stand(turn, call, ended)
            decide(run, an(event), policy=Policy(), now=NOW)
