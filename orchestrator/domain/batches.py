"""Several questions of one turn: one message over them all, and each of them under it.

begun ──posted───► every open question is shown under it, and it is redrawn as they are decided
  └─────refused──► every open question is shown alone: never unseen

Only the showing is shared. Each call keeps its own question, digest, decision and entry in the audit. The
message stands in the channel most of the turn's questions go to; those for other channels stand alone there.
"""

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from orchestrator.domain.asking import is_own
from orchestrator.domain.consent import Approval, Place
from orchestrator.domain.decision import Decision, unheard
from orchestrator.domain.effects import Effect, EffectKind
from orchestrator.domain.events import BatchPosted, BatchUndelivered
from orchestrator.domain.human import is_question
from orchestrator.domain.model import CallStatus, Policy, Run, ToolCall, Turn
from orchestrator.domain.values import replace


def begun(calls: Collection[ToolCall], channels: Mapping[str, str]) -> Place | None:
    """The place of a message over those questions, still to be posted; None where no two of them share it.

    Args:
        channels: Where the question about a call goes, by Gemini's id of the call.
    """
    asked = [c for c in calls if c.status in (CallStatus.AWAITING_APPROVAL, CallStatus.PREVIEWING)]
    found = Counter(channels.get(c.call_id, "") for c in asked if not is_own(c))
    del found[""]
    channel, questions = max(found.items(), key=lambda entry: entry[1], default=("", 0))
    return Place(channel, "") if questions > 1 else None


def wished(turn: Turn, now: datetime) -> tuple[Effect, ...]:
    """That message is to be posted; nothing where the turn has none."""
    return (Effect(EffectKind.POST_BATCH, str(turn.number), now),) if turn.batch else ()


def awaited(turn: Turn, approval: Approval) -> bool:
    """Whether a question is shown only once the message it stands under is there."""
    return turn.batch is not None and not turn.batch.ts and approval.terms.channel == turn.batch.channel


def members(turn: Turn) -> tuple[ToolCall, ...]:
    """The calls whose questions stand under the turn's message."""
    batch = turn.batch
    return tuple(
        c
        for c in turn.calls
        if batch and c.approval and not is_own(c) and c.approval.terms.channel == batch.channel
    )


def still_open(turn: Turn) -> tuple[ToolCall, ...]:
    """Those of them that wait for people."""
    return tuple(c for c in members(turn) if _waits(c))


def together(calls: Sequence[ToolCall]) -> bool:
    """Whether these may be answered in one go: there are several, every one allows it, by the same people."""
    asked = [c.approval for c in calls if c.approval is not None and not is_question(c)]
    allowed = all(a.terms.together for a in asked)
    return len(asked) == len(calls) > 1 and allowed and len({people(a) for a in asked}) == 1


def face(turn: Turn) -> str:
    """What the message shows, as one short text: equal ones need no redrawing."""
    shown = [(c.id, c.status, c.outcome and c.outcome.kind, _state(c.approval)) for c in members(turn)]
    preparing = [c.id for c in turn.calls if c.status is CallStatus.PREVIEWING]
    return hashlib.sha256(repr((shown, preparing)).encode()).hexdigest()[:16]


def redrawn(before: Run, decision: Decision, now: datetime) -> Decision:
    """The decision, with the turn's message drawn anew where what it shows has changed."""
    after = decision.left or decision.run.turn
    if after.batch is None or not after.batch.ts or before.turn.batch is None or not before.turn.batch.ts:
        return decision
    same = face(after) == face(before.turn) and decision.run.closed == before.closed
    if after.number != before.turn.number or same:
        return decision
    effect = Effect(EffectKind.UPDATE_BATCH, str(after.number), now)
    return replace(decision, effects=(*decision.effects, effect))


def posted(run: Run, event: BatchPosted, policy: Policy, now: datetime) -> Decision:
    """Where people see it; now its questions follow. What has changed meanwhile is drawn at once."""
    if event.turn != run.turn.number or run.turn.batch is None:
        return unheard(run, f"the message over turn {event.turn} was posted too late")
    turn = replace(run.turn, batch=Place(run.turn.batch.channel, event.ts))
    stale = run.closed or face(turn) != event.face
    redraw = (Effect(EffectKind.UPDATE_BATCH, str(turn.number), now),) if stale else ()
    return Decision(replace(run, turn=turn), (*_shown(turn, now), *redraw))


def undelivered(run: Run, event: BatchUndelivered, policy: Policy, now: datetime) -> Decision:
    """Without it every question stands alone; what keeps one of them from that is told of that one."""
    if event.turn != run.turn.number or run.turn.batch is None:
        return unheard(run, f"turn {event.turn} has no message over its questions")
    turn = replace(run.turn, batch=None)
    note = f"the questions of turn {turn.number} are shown one by one: {event.why}"
    return Decision(replace(run, turn=turn), _shown(run.turn, now), note=note)


def _shown(turn: Turn, now: datetime) -> tuple[Effect, ...]:
    waiting = [c.approval for c in still_open(turn) if c.approval is not None]
    return tuple(Effect(EffectKind.REQUEST_APPROVAL, a.id, now) for a in waiting if not a.ts)


def _waits(call: ToolCall) -> bool:
    asked = call.approval is not None and call.approval.open
    return asked and call.status is CallStatus.AWAITING_APPROVAL


def people(approval: Approval) -> tuple[object, ...]:
    """Whom a question is asked of now, as one value to compare."""
    terms = approval.terms
    return terms.steps, frozenset(terms.never), terms.four_eyes, approval.stage


def _state(approval: Approval | None) -> tuple[object, ...]:
    if approval is None:
        return ()
    votes = tuple((vote.by.id, vote.stage) for vote in approval.votes)
    return approval.id, approval.status, approval.expires_at, votes, approval.terms.steps
