"""An attempt to create an interaction: to be sent, put off, refused, or its answer lost; then sent again."""

from datetime import datetime
from typing import Final

from orchestrator.domain.decision import Decision, Refusal, create_effect, finish, unheard, with_turn
from orchestrator.domain.effects import Effect, EffectKind, attempt_subject
from orchestrator.domain.events import (
    CreateClaimed,
    CreateDeferred,
    CreateGraceEnded,
    CreateRefused,
    CreateUncertain,
)
from orchestrator.domain.model import Policy, Run, RunStatus, Turn, TurnStatus
from orchestrator.domain.pauses import ask_whether_to_restart, not_restarted
from orchestrator.domain.turns import GONE, SOON
from orchestrator.domain.values import replace

MOST_UNREAD: Final = 10
"""Attempts, of which the last one's answer cannot be read: a person looks then, as each may be paid for."""


def claimed(run: Run, event: CreateClaimed, policy: Policy, now: datetime) -> Decision:
    if (stale := _other_attempt(run, event.turn, event.attempt)) is not None:
        return replace(stale, refused=Refusal.NOT_NOW)
    turn = replace(run.turn, status=TurnStatus.SENDING, sent_at=now)
    return Decision(with_turn(run, turn))


def deferred(run: Run, event: CreateDeferred, policy: Policy, now: datetime) -> Decision:
    """Back to the intent. The effect itself waits in the outbox, which owns the backoff."""
    if (stale := _other_attempt(run, event.turn, event.attempt)) is not None:
        return stale
    return Decision(with_turn(run, replace(run.turn, status=TurnStatus.INTENDED), event.why))


def uncertain(run: Run, event: CreateUncertain, policy: Policy, now: datetime) -> Decision:
    """Wait for the interaction to show itself; each further lost attempt is given more time."""
    if (stale := _other_attempt(run, event.turn, event.attempt)) is not None:
        return stale
    if event.answered and event.attempt >= MOST_UNREAD:
        creates = f"{event.attempt} creates were sent, and the answer cannot be read ({event.why})"
        return _ask(run, f"{creates}; say whether to send it again")
    timer = _grace(run.turn, now + policy.create_grace * min(event.attempt, 10))
    turn = replace(run.turn, status=TurnStatus.UNKNOWN)
    return Decision(with_turn(run, turn, event.why), (timer,), note=f"answer lost: {event.why}")


def refused(run: Run, event: CreateRefused, policy: Policy, now: datetime) -> Decision:
    if (stale := _other_attempt(run, event.turn, event.attempt)) is not None:
        return stale
    if run.turn.previous_id is None:
        return finish(run, RunStatus.FAILED, now, reason=f"Gemini refused the request: {event.why}")
    if event.code == GONE:
        gone = "Gemini no longer has the interaction to go on from: deleted, or past its retention"
        return finish(run, RunStatus.FAILED, now, reason=f"{gone} ({event.why})")
    # Seen live with results that fit: the chain has another root at Gemini, or it cannot go on at all.
    reason = (
        f"Gemini does not go on from the interaction before ({event.why}); send again, restart or give up"
    )
    turn = replace(run.turn, status=TurnStatus.REFUSED)
    asked = ask_whether_to_restart(with_turn(run, turn, reason), event, now)
    return replace(asked, note=reason, alarm=True)


def grace_ended(run: Run, event: CreateGraceEnded, policy: Policy, now: datetime) -> Decision:
    """Replace the attempt (what it may have started is cancelled when it shows itself), or ask a person.

    Where a webhook may have told of it, that interaction is read first: while Gemini cannot be asked, the
    grace goes on, and the run's deadline ends that.
    """
    if (stale := _other_attempt(run, event.turn, event.attempt)) is not None:
        return stale
    span = max(policy.create_grace, SOON)
    if event.unread is not None and (not run.turn.readings or event.unread <= now - span):
        return _prolonged(run, now + span)
    if not policy.retry_lost_create:
        return _ask(run, "the answer to a create got lost; say whether to send it again")
    return send_again(run, now)


def _ask(run: Run, reason: str) -> Decision:
    turn = replace(run.turn, status=TurnStatus.LOST)
    return Decision(with_turn(run, turn, reason), note=reason, alarm=True)


def _prolonged(run: Run, until: datetime) -> Decision:
    """The first time anything unread is waited for; then only what came before that, or webhooks about
    interactions of others, of which some are always just being read, would hold it up without an end.
    """
    timer = _grace(run.turn, until)
    if run.turn.readings:
        return Decision(run, (timer,))
    note = "a webhook may tell of the create that got lost: it is not sent again before that is read"
    return Decision(with_turn(run, replace(run.turn, readings=1), run.reason), (timer,), note=note)


def send_again(run: Run, now: datetime) -> Decision:
    on = not_restarted(run, now)
    attempt = run.turn.attempt + 1
    turn = replace(on.run.turn, attempt=attempt, status=TurnStatus.INTENDED, sent_at=None, readings=0)
    effects = (*on.effects, create_effect(turn, now))
    return Decision(with_turn(run, turn), effects, on.drop, note=f"attempt {turn.attempt}")


def _grace(turn: Turn, until: datetime) -> Effect:
    return Effect(EffectKind.END_CREATE_GRACE, attempt_subject(turn.number, turn.attempt), until)


def _other_attempt(run: Run, turn: int, attempt: int) -> Decision | None:
    if (turn, attempt) == (run.turn.number, run.turn.attempt):
        return None
    return unheard(run, f"turn {turn}, attempt {attempt} is no longer current")
