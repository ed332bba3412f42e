"""The question to people: sealed, with a time until when an answer is of use."""

import hashlib
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from orchestrator.domain.effects import Effect, EffectKind
from orchestrator.domain.model import (
    Approval,
    ApprovalStatus,
    CallStatus,
    JsonObject,
    Run,
    Terms,
    ToolCall,
    Turn,
    approval_key,
    call_key,
)

Asked = tuple[ToolCall, tuple[Effect, ...]]

TO_ACT: Final = timedelta(hours=1)
"""What is left of an interaction's retention for a late answer: to run the tool and hand the result back."""
WARNING: Final = timedelta(hours=24)
"""How long before Gemini forgets an interaction people are warned; at most half of its retention."""

OURS: Final = "orchestrator:"
"""Begins the ids of the run's own questions; no function call may have such a one."""
PLAN: Final = "agent:plan"
GO_ON: Final = "run:go_on"
"""What these questions are about, in the place of a tool; with a colon, as no tool's name is."""


def is_own(call: ToolCall) -> bool:
    """Whether it is a question of the run itself: nothing runs by it, and Gemini is given no result of it."""
    return call.call_id.startswith(OURS)


def ask(call: ToolCall, turn: Turn, terms: Terms, digest: str, now: datetime) -> Asked:
    """Put the question to people, sealed by its digest. A newer question replaces an older one.

    It lapses before Gemini forgets the interaction, whatever the terms say: later no answer is of use.
    """
    revision = call.approval.revision + 1 if call.approval else 1
    expires_at = now + terms.expires_after
    if turn.forgotten_at is not None:
        expires_at = min(expires_at, turn.forgotten_at - TO_ACT)
    approval = Approval(
        id=approval_key(call.id, revision),
        status=ApprovalStatus.PENDING,
        digest=digest,
        terms=terms,
        requested_at=now,
        expires_at=expires_at,
        revision=revision,
    )
    return replace(call, status=CallStatus.AWAITING_APPROVAL, approval=approval), (
        Effect(EffectKind.REQUEST_APPROVAL, approval.id, now),
        Effect(EffectKind.EXPIRE_APPROVAL, approval.id, approval.expires_at),
    )


def own_question(
    run: Run, about: str, number: int, arguments: JsonObject, sealed: str, now: datetime
) -> Asked:
    """A question of the run itself about its current interaction.

    Args:
        number: Which one of its kind within the run.
        sealed: Everything the answer stands for, as one text.
    """
    call_id = f"{OURS}{about}.{number}"
    key = call_key(run.id, run.turn.interaction_id or "", call_id)
    call = ToolCall(key, call_id, about, arguments, CallStatus.AWAITING_APPROVAL)
    seed = "\0".join((run.id, run.turn.interaction_id or "", call_id, sealed)).encode("utf-8", "replace")
    terms = run.recipe.terms or Terms(approvers=())
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
    """The timer of a question that needs none any more, by its key."""
    return (f"{EffectKind.EXPIRE_APPROVAL}:{approval.id}",) if approval else ()
