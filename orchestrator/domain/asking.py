"""The question to people: sealed, with a time until when an answer is of use."""

import hashlib
from datetime import datetime, timedelta
from typing import Final

from orchestrator.domain.collecting import collected, waits
from orchestrator.domain.consent import (
    Approval,
    ApprovalStatus,
    AtTimeout,
    Inquiry,
    Preview,
    Terms,
    approval_key,
)
from orchestrator.domain.deadlines import ends, in_slack, no_timers, taking_over, timers
from orchestrator.domain.effects import Effect, EffectKind
from orchestrator.domain.model import CallStatus, Run, ToolCall, Turn, call_key
from orchestrator.domain.plain import JsonObject
from orchestrator.domain.values import replace

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
    call: ToolCall,
    run: Run,
    terms: Terms,
    digest: str,
    now: datetime,
    preview: Preview | None = None,
    *,
    until: datetime | None = None,
) -> Asked:
    """Put the question to people, sealed by its digest. A newer question replaces an older one.

    It lapses before Gemini forgets the interaction, whatever the terms say: later no answer is of use. One
    whose run ends before its hour is not collected.

    Args:
        until: After that no answer is of use either, where that is known.
    """
    last = min((at for at in (latest(run.turn), until) if at is not None), default=None)
    revision = call.approval.revision + 1 if call.approval else 1
    approval = Approval(
        id=approval_key(call.id, revision),
        status=ApprovalStatus.PENDING,
        digest=digest,
        terms=terms,
        requested_at=now,
        expires_at=ends(terms, now, last),
        revision=revision,
        preview=preview,
        questions=_carried(call.approval),
    )
    approval = collected(approval, last, run.deadline, now)
    here = approval.terms.channel and not waits(approval)
    shown = (Effect(EffectKind.REQUEST_APPROVAL, approval.id, now),) if here else ()
    call = replace(call, status=CallStatus.AWAITING_APPROVAL, approval=approval)
    return call, (*shown, *timers(approval, now))


def begun(call: ToolCall, turn: Turn, now: datetime) -> Asked:
    """The call with its question shown, or known not to be: of a collected one the time runs from now."""
    approval = call.approval
    if approval is None or not waits(approval):
        return call, ()
    end = min(approval.expires_at, ends(approval.terms, now, latest(turn)))
    approval = replace(approval, since=now, expires_at=end)
    return replace(call, approval=approval), timers(approval, now)


def _carried(old: Approval | None) -> tuple[Inquiry, ...]:
    """What was answered about the call already bears on the new question, too."""
    asked = old.questions if old is not None else ()
    return tuple(replace(q, places=()) for q in asked if q.answered)


def ask_instead(
    call: ToolCall,
    run: Run,
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
    asked, effects = ask(call, run, terms, digest, now, preview)
    if old is None or asked.approval is None:
        return asked, effects
    approval = asked.approval
    if waits(approval) and (old.ts or old.copies):  # it stands where the old one does, so people see it
        approval = replace(
            approval, collected=old.collected, since=now, expires_at=ends(terms, now, latest(run.turn))
        )
    elif waits(approval) and not more_time:  # for the message the old one waits for, or waited for in vain
        approval = replace(approval, collected=old.collected, since=old.since)
    approval = approval if more_time else taking_over(approval, old)
    approval = replace(approval, channel=old.channel, ts=old.ts, copies=old.copies)
    shown = [EffectKind.UPDATE_APPROVAL] if old.ts or old.copies else []
    shown += [] if old.ts or waits(approval) or not terms.channel else [EffectKind.REQUEST_APPROVAL]
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
    terms = replace(run.recipe.terms or Terms(approvers=()), collect=run.recipe.collect)
    if until is not None:
        terms = replace(terms, expires_after=until - now, at_timeout=AtTimeout.REJECT, calendar=None)
    return ask(call, run, terms, hashlib.sha256(seed).hexdigest(), now, until=until)


def warn(turn: Turn) -> tuple[Effect, ...]:
    """Tell people in time that Gemini forgets what waits for them."""
    if turn.forgotten_at is None or turn.interaction_id is None:
        return ()
    ahead = WARNING if turn.sent_at is None else min(WARNING, (turn.forgotten_at - turn.sent_at) / 2)
    return (Effect(EffectKind.WARN_FORGETTING, turn.interaction_id, turn.forgotten_at - ahead),)


def redraw(call: ToolCall, now: datetime) -> tuple[Effect, ...]:
    """Its question is to be shown as it is now, where it is shown."""
    approval = call.approval
    if approval is None or not in_slack(approval):
        return ()
    return (Effect(EffectKind.UPDATE_APPROVAL, approval.id, now),)


def no_expiry(approval: Approval | None) -> tuple[str, ...]:
    """The timers of a question that needs none any more, by their keys."""
    return no_timers(approval) if approval else ()
