"""The question to people: sealed, with a time until when an answer is of use."""

import hashlib
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from orchestrator.domain.consent import Approval, ApprovalStatus, AtTimeout, Preview, Terms, approval_key
from orchestrator.domain.deadlines import ends, no_timers, taking_over, timers
from orchestrator.domain.effects import Effect, EffectKind
from orchestrator.domain.model import CallStatus, Run, ToolCall, Turn, call_key
from orchestrator.domain.plain import JsonObject

Asked = tuple[ToolCall, tuple[Effect, ...]]

TO_ACT: Final = timedelta(hours=1)
"""What is left of an interaction's retention for a late answer: to run the tool and hand the result back."""
WARNING: Final = timedelta(hours=24)
"""How long before Gemini forgets an interaction people are warned; at most half of its retention."""

OURS: Final = "orchestrator:"
"""Begins the ids of the run's own questions; no function call may have such a one."""
PLAN: Final = "agent:plan"
GO_ON: Final = "run:go_on"
RESTART: Final = "run:restart"
"""What these questions are about, in the place of a tool; with a colon, as no tool's name is."""


def is_own(call: ToolCall) -> bool:
    """Whether it is a question of the run itself: nothing runs by it, and Gemini is given no result of it."""
    return call.call_id.startswith(OURS)


def ask(
    call: ToolCall, turn: Turn, terms: Terms, digest: str, now: datetime, preview: Preview | None = None
) -> Asked:
    """Put the question to people, sealed by its digest. A newer question replaces an older one.

    It lapses before Gemini forgets the interaction, whatever the terms say: later no answer is of use.
    """
    revision = call.approval.revision + 1 if call.approval else 1
    approval = Approval(
        id=approval_key(call.id, revision),
        status=ApprovalStatus.PENDING,
        digest=digest,
        terms=terms,
        requested_at=now,
        expires_at=ends(terms, now, latest(turn)),
        revision=revision,
        preview=preview,
    )
    return replace(call, status=CallStatus.AWAITING_APPROVAL, approval=approval), (
        Effect(EffectKind.REQUEST_APPROVAL, approval.id, now),
        *timers(approval, now),
    )


def ask_instead(
    call: ToolCall,
    turn: Turn,
    terms: Terms,
    digest: str,
    now: datetime,
    preview: Preview | None = None,
    *,
    more_time: bool,
) -> Asked:
    """In the place of the call's former question: its message shows the new one, its buttons are spent.

    Args:
        more_time: It gets as much time as a question that is new; else what the former one had left.
    """
    old = call.approval
    asked, effects = ask(call, turn, terms, digest, now, preview)
    if old is None or asked.approval is None:
        return asked, effects
    approval = asked.approval if more_time else taking_over(asked.approval, old)
    approval = replace(approval, channel=old.channel, ts=old.ts, copies=old.copies)
    shown = [EffectKind.UPDATE_APPROVAL] if old.ts or old.copies else []
    shown += [] if old.ts else [EffectKind.REQUEST_APPROVAL]
    effects = (*(Effect(show, approval.id, now) for show in shown), *timers(approval, now))
    return replace(asked, approval=approval), effects


def latest(turn: Turn) -> datetime | None:
    """After that no answer is of use: Gemini forgets who asked; None while that is not known."""
    return None if turn.forgotten_at is None else turn.forgotten_at - TO_ACT


def own_question(
    run: Run,
    about: str,
    number: int | str,
    arguments: JsonObject,
    sealed: str,
    now: datetime,
    *,
    until: datetime | None = None,
) -> Asked:
    """A question of the run itself about its current interaction.

    Args:
        number: Which one of its kind within the run.
        sealed: Everything the answer stands for, as one text.
        until: How long it stays open, instead of as long as the terms say; after that it only lapses.
    """
    call_id = f"{OURS}{about}.{number}"
    key = call_key(run.id, run.turn.interaction_id or "", call_id)
    call = ToolCall(key, call_id, about, arguments, CallStatus.AWAITING_APPROVAL)
    seed = "\0".join((run.id, run.turn.interaction_id or "", call_id, sealed)).encode("utf-8", "replace")
    terms = run.recipe.terms or Terms(approvers=())
    if until is not None:
        terms = replace(terms, expires_after=until - now, at_timeout=AtTimeout.REJECT, calendar=None)
    return ask(call, run.turn, terms, hashlib.sha256(seed).hexdigest(), now)


def warn(turn: Turn) -> tuple[Effect, ...]:
    """Tell people in time that Gemini forgets what waits for them."""
    if turn.forgotten_at is None or turn.interaction_id is None:
        return ()
    ahead = WARNING if turn.sent_at is None else min(WARNING, (turn.forgotten_at - turn.sent_at) / 2)
    return (Effect(EffectKind.WARN_FORGETTING, turn.interaction_id, turn.forgotten_at - ahead),)


def redraw(call: ToolCall, now: datetime) -> tuple[Effect, ...]:
    """Its question is to be shown as it is now."""
    return (Effect(EffectKind.UPDATE_APPROVAL, call.approval.id, now),) if call.approval else ()


def no_expiry(approval: Approval | None) -> tuple[str, ...]:
    """The timers of a question that needs none any more, by their keys."""
    return no_timers(approval) if approval else ()
