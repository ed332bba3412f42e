"""How runs end: by cancel in any state, by time, by limits; and that nothing follows."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from support.conversation import (
    ANNA,
    BEN,
    DIGEST,
    OK,
    Conversation,
    record,
    seen,
    wish,
    without_tidying,
)
from support.films import FILM, about_jobs, film, filming, made

from orchestrator.domain.assessment import Ruling
from orchestrator.domain.consent import ApprovalStatus, Verdict
from orchestrator.domain.decision import Refusal
from orchestrator.domain.effects import EffectKind
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
    CallWaits,
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
    InteractionTooLarge,
    JobClaimed,
    JobMissing,
    JobObserved,
    JobUncertain,
    RunOverdue,
)
from orchestrator.domain.jobs import JobState, job_key
from orchestrator.domain.model import CallStatus, Limits, Policy, RunStatus

CANCEL = CancelRequested(BEN, "changed my mind")


def _executing() -> Conversation:
    talk = Conversation().asks(wish("c1"))
    talk.claims("c1")
    return talk


def _approved() -> Conversation:
    talk = Conversation().asks(wish("c1", Ruling.ASK))
    talk.answers("c1", True)
    return talk


def _in_doubt() -> Conversation:
    talk = _executing()
    return talk.hear(CallCutOff(talk.call("c1").id, "k1", "crash"))


def _resuming() -> Conversation:
    talk = _executing()
    talk.finishes("c1")
    return talk


def _lost() -> Conversation:
    talk = Conversation(policy=Policy(retry_lost_create=False)).sent()
    return talk.hear(CreateUncertain(1, 1), CreateGraceEnded(1, 1))


LIVE_STATES: dict[str, Callable[[], Conversation]] = {
    "intended": Conversation,
    "sending": lambda: Conversation().sent(),
    "unknown": lambda: Conversation().sent().hear(CreateUncertain(1, 1)),
    "lost": _lost,
    "replaced": lambda: Conversation().sent().hear(CreateUncertain(1, 1), CreateGraceEnded(1, 1)),
    "live": lambda: Conversation().live(),
    "ready": lambda: Conversation().asks(wish("c1")),
    "awaiting approval": lambda: Conversation().asks(wish("c1", Ruling.ASK), wish("c2")),
    "approved": _approved,
    "executing": _executing,
    "in doubt": _in_doubt,
    "awaiting jobs": lambda: filming(2),
    "awaiting jobs, one sent": lambda: filming(2).hear(JobClaimed(film(1), 1)),
    "awaiting jobs, one lost": lambda: filming(2).hear(JobClaimed(film(1), 1), JobUncertain(film(1), 1)),
    "awaiting jobs, one made": lambda: made(filming(2), 1),
    "resuming": _resuming,
    "resuming, sending": lambda: _resuming().sent(),
}


def everything(talk: Conversation) -> list[Event]:
    """One of each event there is, as close to the run as it can be made."""
    turn = talk.run.turn
    calls = [c.id for c in turn.calls] or ["call_x"]
    approvals = [c.approval.id for c in turn.calls if c.approval] or ["apr_x"]
    number, attempt = turn.number, turn.attempt
    interaction = turn.interaction_id or "i1"
    verdict = Verdict(True, ANNA, talk.now)
    readings = [
        seen(interaction, status, wish("c1"), turn=number, attempt=attempt, continuation="t", output="late")
        for status in (
            "in_progress",
            "requires_action",
            "completed",
            "failed",
            "cancelled",
            "incomplete",
            "budget_exceeded",
            "requires_continuation",
            "queued",
            "dreaming",
        )
    ]
    return [
        *readings,
        InteractionSignalled(interaction, "interaction.completed"),
        InteractionMissing(interaction),
        InteractionTooLarge(interaction),
        CreateClaimed(number, attempt),
        CreateUncertain(number, attempt),
        CreateDeferred(number, attempt),
        CreateRefused(number, attempt),
        CreateGraceEnded(number, attempt),
        *[CallClaimed(c, "k5", wish("c1")) for c in calls],
        *[CallFinished(c, "k1", OK) for c in calls],
        *[CallCutOff(c, "k1", "x") for c in calls],
        *[CallDeferred(c, "k1", "x") for c in calls],
        *[CallWaits(c, "k1", (FILM, FILM)) for c in calls],
        *[about for c in calls for about in about_jobs(job_key(c, 1))],
        *[ApprovalPosted(a, "C", "1.0") for a in approvals],
        *[ApprovalUndelivered(a, "no") for a in approvals],
        *[ApprovalDecided(a, DIGEST, verdict, ANNA.id) for a in approvals],
        *[ApprovalExpired(a) for a in approvals],
        RunOverdue(talk.run.deadline),
        *[AttentionResolved(choice, ANNA, call) for choice in Choice for call in ("", *calls)],
        CANCEL,
    ]


@pytest.mark.parametrize("state", LIVE_STATES)
def test_a_cancel_wins_in_every_state(state: str) -> None:
    talk = LIVE_STATES[state]()
    assert not talk.run.closed
    decision = talk.happens(CANCEL)
    assert decision.refused is None
    assert talk.run.status is RunStatus.CANCELLED
    assert "changed my mind" in talk.run.reason
    open_behind = {"live", "ready", "awaiting approval", "approved", "executing", "in doubt"}
    behind = state in open_behind or state.startswith("awaiting jobs")
    assert ("cancel_interaction:i1" in talk.waiting) == behind
    assert talk.kinds() <= {
        EffectKind.CANCEL_INTERACTION,
        EffectKind.CANCEL_JOB,
        EffectKind.UPDATE_APPROVAL,
        EffectKind.REQUEST_APPROVAL,
    }
    for call in talk.run.turn.calls:
        assert call.status in (CallStatus.SETTLED, CallStatus.EXECUTING)
        assert call.approval is None or not call.approval.open


@pytest.mark.parametrize("state", LIVE_STATES)
def test_after_the_end_nothing_changes(state: str) -> None:
    talk = LIVE_STATES[state]().hear(CANCEL)
    final = without_tidying(talk.run)
    for event in everything(talk):
        decision = talk.happens(event)
        assert {e.kind for e in decision.effects} <= {
            EffectKind.CANCEL_INTERACTION,
            EffectKind.CANCEL_JOB,
            EffectKind.UPDATE_APPROVAL,
        }
    assert without_tidying(talk.run) == final
    assert talk.happens(CANCEL).refused is Refusal.RUN_ENDED


@pytest.mark.parametrize("state", LIVE_STATES)
def test_no_event_in_any_state_raises_or_breaks_an_invariant(state: str) -> None:
    for first in everything(LIVE_STATES[state]()):
        talk = LIVE_STATES[state]().hear(first)
        settled = talk.run
        again = talk.happens(first)  # doubled
        counted = isinstance(first, InteractionMissing | JobMissing) or "dreaming" in repr(first)
        counted |= isinstance(first, JobObserved) and first.reading.state is JobState.STRANGE
        if not settled.closed and not counted:
            assert again.run == settled, f"{first} moved the run twice"


def test_a_late_result_is_written_down_and_never_sent() -> None:
    talk = _executing().hear(CANCEL)
    assert talk.call("c1").status is CallStatus.EXECUTING
    decision = talk.finishes("c1")
    assert decision.note.startswith("late")
    assert talk.call("c1").outcome == OK
    assert EffectKind.CREATE_INTERACTION not in talk.kinds()
    before = talk.run
    talk.finishes("c1")
    assert talk.run == before


def test_an_interaction_in_flight_at_the_cancel_is_stopped_when_it_shows() -> None:
    talk = Conversation().sent().hear(CANCEL)
    assert talk.waiting == {}
    for status in ("in_progress", "requires_action", "dreaming"):
        talk.hear(seen("i1", status))
        assert "cancel_interaction:i1" in talk.waiting
    assert talk.run.turn.interaction_id is None


def test_a_completed_run_does_not_believe_a_stale_reading() -> None:
    talk = Conversation().live().hear(seen("i1", "completed", output="answer"))
    for status in ("in_progress", "requires_action", "failed"):
        talk.hear(seen("i1", status, wish("c1")))
    assert talk.run.output == "answer"
    assert talk.waiting == {}
    talk.hear(seen("i9", "in_progress"))  # but a stranger behind it is stopped
    assert "cancel_interaction:i9" in talk.waiting


def test_completed_first_makes_the_cancel_too_late() -> None:
    talk = Conversation().live().hear(seen("i1", "completed"))
    assert talk.happens(CANCEL).refused is Refusal.RUN_ENDED
    assert talk.run.status is RunStatus.COMPLETED


def test_a_cancel_withdraws_questions_and_redraws_them() -> None:
    talk = LIVE_STATES["awaiting approval"]()
    approval = talk.call("c1").approval
    assert approval is not None
    talk.hear(CANCEL)
    withdrawn = talk.call("c1").approval
    assert withdrawn is not None
    assert withdrawn.status is ApprovalStatus.WITHDRAWN
    assert f"update_approval:{approval.id}" in talk.waiting
    late = talk.happens(ApprovalDecided(approval.id, DIGEST, Verdict(True, ANNA, talk.now), ANNA.id))
    assert late.refused is Refusal.RUN_ENDED


@pytest.mark.parametrize("offset", [-1, 0, 1])
@pytest.mark.parametrize("state", LIVE_STATES)
def test_a_run_ends_at_its_deadline_not_before(state: str, offset: int) -> None:
    talk = LIVE_STATES[state]()
    talk.now = talk.run.deadline + timedelta(seconds=offset)
    talk.hear(RunOverdue(talk.now))
    if offset < 0:
        assert not talk.run.closed
        assert talk.due(EffectKind.END_RUN, "run_1") == talk.run.deadline
    else:
        assert talk.run.status is RunStatus.FAILED
        assert "not ended within" in talk.run.reason


# --- limits ---------------------------------------------------------------------------


@pytest.mark.parametrize(("turns", "fails"), [(2, False), (3, False), (4, True)])
def test_turns_are_bounded(turns: int, fails: bool) -> None:
    """`turns` interactions are wanted and three allowed."""
    talk = Conversation(max_turns=3)
    for n in range(1, turns + 1):
        if talk.run.closed:
            break
        if n == turns:
            talk.live(f"i{n}").hear(seen(f"i{n}", "completed", turn=n))
        else:
            talk.asks(wish("c1"), interaction_id=f"i{n}").runs("c1")
    assert (talk.run.status is RunStatus.FAILED) is fails
    assert talk.run.closed
    if fails:
        assert talk.run.turn.number == 3
        assert "turn limit" in talk.run.reason
        assert talk.run.turn.calls[0].outcome == OK


@pytest.mark.parametrize(("turns", "fails"), [(2, False), (3, False), (4, True)])
def test_continuations_count_as_turns(turns: int, fails: bool) -> None:
    talk = Conversation(max_turns=3)
    for n in range(1, turns):
        if not talk.run.closed:
            talk.live(f"i{n}").hear(seen(f"i{n}", "requires_continuation", turn=n, continuation="t"))
    assert talk.run.closed is fails


@pytest.mark.parametrize(("calls", "fails"), [(3, False), (4, False), (5, True)])
def test_calls_of_a_turn_are_bounded(calls: int, fails: bool) -> None:
    talk = Conversation(max_calls_per_turn=4).asks(*(wish(f"c{n}") for n in range(calls)))
    assert talk.run.closed is fails
    assert len(talk.run.turn.calls) == (0 if fails else calls)
    assert ("cancel_interaction:i1" in talk.waiting) is fails


@pytest.mark.parametrize(("bad", "fails"), [(2, False), (3, False), (4, True)])
@pytest.mark.parametrize("ruling", [Ruling.UNKNOWN, Ruling.INVALID])
def test_bad_calls_are_bounded_over_the_whole_run(bad: int, fails: bool, ruling: Ruling) -> None:
    talk = Conversation(max_bad_calls=3)
    for n in range(1, bad + 1):
        talk.asks(wish("c1", ruling), interaction_id=f"i{n}")
    assert talk.run.bad_calls == bad
    assert (talk.run.status is RunStatus.FAILED) is fails


def test_denied_calls_are_not_bad_calls() -> None:
    talk = Conversation(max_bad_calls=0).asks(wish("c1", Ruling.DENY), wish("c2", Ruling.DENY))
    assert not talk.run.closed


@pytest.mark.parametrize(
    ("wishes", "text"),
    [
        ((wish(""),), "without an id"),
        ((wish("c1"), wish("c1", digest="e" * 64)), "two different calls"),
    ],
)
def test_calls_nobody_can_answer_fail_the_run(wishes: tuple[object, ...], text: str) -> None:
    talk = Conversation().asks(*wishes)  # type: ignore[arg-type]
    assert talk.run.status is RunStatus.FAILED
    assert text in talk.run.reason
    assert EffectKind.EXECUTE_TOOL not in talk.kinds()


def test_the_limits_have_safe_defaults() -> None:
    limits = Limits()
    assert (limits.max_turns, limits.max_calls_per_turn, limits.max_bad_calls) == (20, 16, 10)
    assert limits.max_duration == timedelta(days=7)


def test_equal_stories_leave_equal_records() -> None:
    assert record(_resuming().run) == record(_resuming().run)
    assert record(_resuming().run) != record(_in_doubt().run)
