"""Timers that come due: nothing is asked of anybody, the run hears of it where the claim is made."""

from sqlalchemy.orm import Session

from orchestrator.domain.effects import parse_attempt, parse_notice
from orchestrator.domain.events import (
    ApprovalExpired,
    CreateGraceEnded,
    Event,
    ForgettingNear,
    ReminderDue,
    RunOverdue,
)
from orchestrator.domain.model import Run
from orchestrator.engine.commits import Commits
from orchestrator.store import inbox
from orchestrator.store.claims import Claimed


class Timers:
    """One event each, in the claim's own transaction."""

    def __init__(self, commits: Commits) -> None:
        self._commits = commits

    def expire(self, s: Session, effect: Claimed) -> None:
        """The time of a question is over."""
        self._commits.settle(s, effect, ApprovalExpired(effect.subject))

    def remind(self, s: Session, effect: Claimed) -> None:
        """A question is still open."""
        approval, number = parse_notice(effect.subject)
        self._commits.settle(s, effect, ReminderDue(approval, int(number)))

    def end_grace(self, s: Session, effect: Claimed) -> None:
        """A create that got lost has had its time to show up."""
        turn, attempt = parse_attempt(effect.subject)

        def ended(run: Run) -> Event:
            since = run.turn.sent_at
            return CreateGraceEnded(turn, attempt, inbox.unread(s, since) if since is not None else None)

        self._commits.settle(s, effect, ended)

    def end_run(self, s: Session, effect: Claimed) -> None:
        """The run's deadline."""
        self._commits.settle(s, effect, RunOverdue(self._commits.now()))

    def warn(self, s: Session, effect: Claimed) -> None:
        """Gemini is about to forget an interaction."""
        self._commits.settle(s, effect, ForgettingNear(effect.subject))
