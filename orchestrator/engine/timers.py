"""Timers that come due: nothing is asked of anybody, the run hears of it where the claim is made."""

from datetime import datetime

from sqlalchemy.orm import Session

from orchestrator.domain.effects import parse_attempt, parse_notice
from orchestrator.domain.events import (
    ApprovalExpired,
    CallDoubted,
    CreateGraceEnded,
    Event,
    ForgettingNear,
    ReminderDue,
    RunOverdue,
)
from orchestrator.domain.model import Run, ToolCall
from orchestrator.engine.commits import Commits
from orchestrator.store import audit_check, parked
from orchestrator.store.claims import Claimed


def _early(call: ToolCall, approval: str, now: datetime) -> bool:
    """The clock was set back, or the question was given more time, whose timer is another."""
    asked = call.approval
    return asked is not None and asked.id == approval and asked.open and now < asked.expires_at


class Timers:
    """One event each, in the claim's own transaction."""

    def __init__(self, commits: Commits) -> None:
        self._commits = commits

    def expire(self, s: Session, effect: Claimed) -> None:
        """The time of a question is over: where the rows say otherwise, the audit is asked."""

        def ended(run: Run) -> Event:
            return self._doubted(s, run, effect.subject) or ApprovalExpired(effect.subject)

        self._commits.settle(s, effect, ended)

    def _doubted(self, s: Session, run: Run, approval: str) -> CallDoubted | None:
        """A call that would wait on though nobody decided: its question was closed, moved or given more time
        by hand.
        """
        now = self._commits.now()
        for call in () if run.closed else run.turn.calls:
            doubts = audit_check.idle(s, run.id, call)
            if not doubts and _early(call, approval, now):
                doubts = audit_check.doubts(s, call)
            if doubts:
                return CallDoubted(call.id, doubts)
        return None

    def remind(self, s: Session, effect: Claimed) -> None:
        """A question is still open."""
        approval, number = parse_notice(effect.subject)
        self._commits.settle(s, effect, ReminderDue(approval, int(number)))

    def end_grace(self, s: Session, effect: Claimed) -> None:
        """A create that got lost has had its time to show up."""
        turn, attempt = parse_attempt(effect.subject)

        def ended(run: Run) -> Event:
            since = run.turn.sent_at
            return CreateGraceEnded(turn, attempt, parked.unread(s, since) if since is not None else None)

        self._commits.settle(s, effect, ended)

    def end_run(self, s: Session, effect: Claimed) -> None:
        """The run's deadline."""
        self._commits.settle(s, effect, RunOverdue(self._commits.now()))

    def warn(self, s: Session, effect: Claimed) -> None:
        """Gemini is about to forget an interaction."""
        self._commits.settle(s, effect, ForgettingNear(effect.subject))
