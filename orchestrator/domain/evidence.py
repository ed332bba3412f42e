"""What of all that happens is evidence: who asked, who was asked, who decided, and what ran because of it.

Entries are values; the store writes them down, each bound to the one before. People's own words are kept
whole. Arguments, inputs and results are `Sealed`: they go in as a hash, so that no secret leaks by them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from itertools import zip_longest
from typing import Any, Final

from orchestrator.domain.consent import Actor, Approval, ApprovalStatus, Preview, Terms, Verdict, Vote
from orchestrator.domain.decision import Decision, Refusal
from orchestrator.domain.events import ApprovalEdited, AttentionResolved, CallClaimed, Event
from orchestrator.domain.model import CallStatus, Run, RunStatus, ToolCall
from orchestrator.domain.values import Value, field, replace


class EntryKind(StrEnum):
    """What an entry says happened."""

    RUN_OPENED = "run_opened"
    APPROVAL_REQUESTED = "approval_requested"
    VOTED = "voted"
    ASKED_BACK = "asked_back"  # of whoever asked for the run
    ANSWERED_BACK = "answered_back"
    DECIDED = "decided"
    DECISION_REFUSED = "decision_refused"
    REFUSALS_COUNTED = "refusals_counted"  # the last one that is written down: more are only counted
    EDITED = "edited"
    TIME_BEGAN = "time_began"  # of one that was collected: people are shown it
    ESCALATED = "escalated"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"
    REOPENED = "reopened"
    START_PROLONGED = "start_prolonged"  # a call that did not run may start once more by its approval
    CALL_CLAIMED = "call_claimed"
    CLAIM_REFUSED = "claim_refused"
    CALL_PUT_BACK = "call_put_back"  # claimed, and never begun
    CALL_SETTLED = "call_settled"
    ATTENTION_RAISED = "attention_raised"
    ATTENTION_RESOLVED = "attention_resolved"
    RUN_CLOSED = "run_closed"
    RUN_REMOVED = "run_removed"  # all of it but the audit, as the settings want it


class Sealed:
    """A value that goes in as its SHA-256 and not in clear.

    No `Value`, so that nobody can write it down by mistake: of this kind JSON has no form.
    """

    __slots__ = __match_args__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sealed) and self.value == other.value

    __hash__ = None  # type: ignore[assignment]  # what is sealed may be an object


class Entry(Value):
    """One fact. `facts` hold JSON values and `Sealed` ones; `approval` is empty where it is about none."""

    kind: EntryKind
    run: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    approval: str = ""


Refused = tuple[str, str]
"""Whose answer was turned away: as whom, and by which door."""

SAME_REFUSALS: Final = 20
"""Answers of one person by one door about one question that are turned away and written down."""
MOST_REFUSALS: Final = 200
"""The same of everybody: whoever may press a button may not fill the audit."""
REQUESTED: Final = "RunRequested"
"""What opens a run's record; no event that is decided about."""
FINGERPRINT: Final = 8
"""Characters of a digest that people see."""

_BY_STATUS: Final[Mapping[ApprovalStatus, EntryKind]] = {
    ApprovalStatus.PENDING: EntryKind.REOPENED,
    ApprovalStatus.APPROVED: EntryKind.DECIDED,
    ApprovalStatus.REJECTED: EntryKind.DECIDED,
    ApprovalStatus.EXPIRED: EntryKind.EXPIRED,
    ApprovalStatus.WITHDRAWN: EntryKind.WITHDRAWN,
}


def opened(run: Run) -> tuple[Entry, ...]:
    """Somebody asked for a run; one whose first step cannot begin is closed as it is opened."""
    facts = {
        "workflow": run.recipe.workflow,
        "requester": _who(run.requester),
        "input_sha256": Sealed(run.input),
        "restart_of": run.restart_of,
    }
    entry = Entry(EntryKind.RUN_OPENED, run.id, facts)
    return (entry, _closed(run, {"because": REQUESTED})) if run.closed else (entry,)


def follow(before: Run, event: Event, decision: Decision) -> tuple[Entry, ...]:
    """The entries that follow from a decision, in the order they are to be written; mostly none.

    Args:
        before: The run as the event found it.
    """
    return (
        *_turned_away(before, event, decision),
        *_of_calls(before, event, decision),
        *_of_run(before, event, decision.run),
    )


def _turned_away(run: Run, event: Event, decision: Decision) -> Iterator[Entry]:
    """A wish that was not followed is evidence too."""
    if decision.refused is None:
        return
    if isinstance(event, CallClaimed):
        if decision.refused is Refusal.CHANGED:
            yield _claim_refused(run, event, decision)
    elif approval := _asked_about(event):
        facts = {**_wish(event), "why": str(decision.refused), "note": decision.note}
        yield Entry(EntryKind.DECISION_REFUSED, run.id, facts, approval)


def turned_away(entries: tuple[Entry, ...]) -> Entry | None:
    """The answer that was turned away, where nothing else is to be told."""
    alone = entries[0] if len(entries) == 1 else None
    return alone if alone is not None and alone.kind is EntryKind.DECISION_REFUSED else None


def worth_telling(entry: Entry, before: Sequence[Refused]) -> Entry | None:
    """The entry about an answer that was turned away, as it is to be written; None: it is only counted.

    Args:
        before: Those about the same question that are written down.
    """
    same = before.count(refused_as(entry.facts))
    if same > SAME_REFUSALS or len(before) > MOST_REFUSALS:
        return None
    if same < SAME_REFUSALS and len(before) < MOST_REFUSALS:
        return entry
    whose = "everybody's" if len(before) == MOST_REFUSALS else "theirs"
    return replace(entry, kind=EntryKind.REFUSALS_COUNTED, facts={**entry.facts, "from_here": whose})


def refused_as(facts: Mapping[str, Any]) -> Refused:
    """Whose answer was turned away, by what an entry says."""
    by = facts.get("by") or {}
    return str(facts.get("as", "")), str(by.get("door", ""))


def _claim_refused(run: Run, event: CallClaimed, decision: Decision) -> Entry:
    call = run.turn.call(event.call)
    approval = call.approval if call else None
    facts = {
        "call": event.call,
        "approved_digest": approval.digest if approval else "",
        "digest": _claimed_digest(approval, event),
        "note": decision.note,
    }
    return Entry(EntryKind.CLAIM_REFUSED, run.id, facts, approval.id if approval else "")


def _of_calls(before: Run, event: Event, decision: Decision) -> Iterator[Entry]:
    after = decision.run.turn
    if after is before.turn:
        return
    known = {c.id: c for c in before.turn.calls}
    calls = (*decision.left.calls, *after.calls) if decision.left else after.calls
    for call in calls:
        old = known.get(call.id)
        if call is not old:
            yield from _of_question(before.id, old.approval if old else None, call, event)
            yield from _of_call(before.id, old, call, event)


def _of_question(run_id: str, old: Approval | None, call: ToolCall, event: Event) -> Iterator[Entry]:
    new = call.approval
    if new is None or new is old:
        return
    entry = partial(_about, run_id, call)
    if old is None or old.id != new.id:
        if old is not None and old.open:
            yield _replaced(entry, old, new, event)
        as_put = replace(new, status=ApprovalStatus.PENDING, verdict=None, votes=())
        yield entry(EntryKind.APPROVAL_REQUESTED, as_put, _requested(call, new, old))
        old = as_put
    yield from _while_open(entry, old, new, event)
    yield from _at_its_end(entry, old, new, call, event)


def _about(
    run_id: str, call: ToolCall, kind: EntryKind, approval: Approval, facts: Mapping[str, Any]
) -> Entry:
    standing = {"status": str(approval.status), "digest": approval.digest}
    return Entry(kind, run_id, {"call": call.id, "tool": call.tool, **standing, **facts}, approval.id)


_About = Callable[[EntryKind, Approval, Mapping[str, Any]], Entry]
"""`_about`, of one call."""


def _replaced(entry: _About, old: Approval, new: Approval, event: Event) -> Entry:
    """Nobody's answer to the question that stood there before counts any more."""
    spent = replace(old, status=ApprovalStatus.WITHDRAWN)
    kind = EntryKind.EDITED if isinstance(event, ApprovalEdited) else EntryKind.WITHDRAWN
    return entry(kind, spent, {**_because(event), **_shown(event), "replaced_by": new.id})


def _while_open(entry: _About, old: Approval, new: Approval, event: Event) -> Iterator[Entry]:
    for vote in new.votes:
        if vote not in old.votes and not _last(vote, new):
            yield entry(EntryKind.VOTED, new, {**_wish(event), **_vote(vote)})
    if new.since is not None and old.since is None:
        yield entry(EntryKind.TIME_BEGAN, new, {"expires_at": text_of(new.expires_at)})
    for number, (asked, was) in enumerate(zip_longest(new.questions, old.questions), 1):
        if asked is not None and was is None:
            yield entry(EntryKind.ASKED_BACK, new, {**_wish(event), "number": number, "question": asked.text})
        elif asked is not None and was is not None and asked.answered and not was.answered:
            answer = {"number": number, "answer": asked.answer}
            yield entry(EntryKind.ANSWERED_BACK, new, {**_wish(event), **answer})
    if new.escalated and not old.escalated:
        more = {"deciders": deciders(new.terms), "expires_at": text_of(new.expires_at)}
        yield entry(EntryKind.ESCALATED, new, more)


def _at_its_end(entry: _About, old: Approval, new: Approval, call: ToolCall, event: Event) -> Iterator[Entry]:
    """That it is settled, or open again, or that what was approved has longer to start."""
    if new.status is not old.status or new.verdict != old.verdict:
        kind = _BY_STATUS[new.status]
        if kind is EntryKind.WITHDRAWN and isinstance(event, ApprovalEdited):
            wanted = {"arguments_sha256": Sealed(call.arguments)}  # asked about once it is known what it does
            yield entry(EntryKind.EDITED, new, {**_because(event), **_shown(event), **wanted})
            return
        yield entry(kind, new, _decided(new, event) if kind is EntryKind.DECIDED else _because(event))
    elif new.start_by != old.start_by:
        yield entry(EntryKind.START_PROLONGED, new, {**_because(event), "start_by": _start_by(new)})


def _last(vote: Vote, approval: Approval) -> bool:
    """Whether that yes is the verdict, too."""
    verdict = approval.verdict
    return verdict is not None and (verdict.by, verdict.at) == (vote.by, vote.at)


def _vote(vote: Vote) -> dict[str, Any]:
    return {"by": _who(vote.by), "stage": vote.stage, "cast_at": text_of(vote.at)}


def _requested(call: ToolCall, approval: Approval, instead_of: Approval | None) -> dict[str, Any]:
    return {
        "fingerprint": approval.digest[:FINGERPRINT],
        "arguments_sha256": Sealed(call.arguments),
        "preview_sha256": _preview(approval),
        "revision": approval.revision,
        "expires_at": text_of(approval.expires_at),
        "terms_sha256": Sealed(approval.terms),
        "deciders": deciders(approval.terms),
        "instead_of": instead_of.id if instead_of else None,
    }


def _preview(approval: Approval) -> Sealed | None:
    """What people were shown of what it would do."""
    return Sealed(shown(approval.preview)) if approval.preview else None


def shown(preview: Preview) -> str:
    """What people see of it."""
    return preview.text or preview.trouble


def deciders(terms: Terms) -> dict[str, Any]:
    """Who may decide under those terms, as entries have it."""
    stages = [{"name": t.name, "approvers": [*t.approvers], "quorum": t.quorum} for t in terms.steps]
    return {"stages": stages, "never": [*terms.never], "four_eyes": terms.four_eyes}


def _decided(approval: Approval, event: Event) -> dict[str, Any]:
    verdict = approval.verdict
    if verdict is None:  # no person spoke; whatever made it so is named
        return {"verdict": None, **_because(event)}
    return {
        **_wish(event),
        "verdict": word(verdict),
        "by": _who(verdict.by),
        "reason": verdict.reason,
        **_answer(verdict),
        "preview_sha256": _preview(approval),
        "votes": [_vote(v) for v in approval.votes],
        "decided_at": text_of(verdict.at),
        "start_by": _start_by(approval) if approval.status is ApprovalStatus.APPROVED else None,
    }


def _start_by(approval: Approval) -> str | None:
    return text_of(approval.start_by) if approval.start_by else None


def _answer(verdict: Verdict) -> dict[str, Any]:
    """What a verdict says beyond yes and no, where it does."""
    told: dict[str, Any] = {} if verdict.answer is None else {"answer_sha256": Sealed(verdict.answer)}
    return {**told, "stop": True} if verdict.stop else told


def _of_call(run_id: str, old: ToolCall | None, call: ToolCall, event: Event) -> Iterator[Entry]:
    approval = call.approval.id if call.approval else ""
    same = {"call": call.id, "tool": call.tool}
    if call.status is CallStatus.EXECUTING and (old is None or old.claim != call.claim):
        yield Entry(EntryKind.CALL_CLAIMED, run_id, {**same, **_claimed(call, event)}, approval)
    if old is not None and old.status is CallStatus.EXECUTING and call.status is CallStatus.READY:
        yield Entry(EntryKind.CALL_PUT_BACK, run_id, {**same, **_because(event)}, approval)
    if call.outcome is not None and (old is None or old.outcome is None):
        outcome = {"outcome": str(call.outcome.kind), "result_sha256": Sealed(call.outcome.result)}
        yield Entry(EntryKind.CALL_SETTLED, run_id, {**same, **outcome}, approval)


def _claimed(call: ToolCall, event: Event) -> dict[str, Any]:
    approval = call.approval
    gated = approval is not None and approval.status is ApprovalStatus.APPROVED
    verdict = approval.verdict if approval is not None and gated else None
    return {
        "claim": call.claim,
        "digest": _claimed_digest(approval, event) if isinstance(event, CallClaimed) else "",
        "arguments_sha256": Sealed(call.arguments),
        "gated": gated,
        "approved_by": _who(verdict.by) if verdict else None,
    }


def _claimed_digest(approval: Approval | None, event: CallClaimed) -> str:
    fresh = event.assessment
    return fresh.sealed_like(approval) if approval is not None else fresh.digest


def _of_run(before: Run, event: Event, after: Run) -> Iterator[Entry]:
    if after.status is before.status and not isinstance(event, AttentionResolved):
        return
    doubted = before.status is RunStatus.ATTENTION
    spoken = isinstance(event, AttentionResolved) and doubted and after != before
    if spoken or (doubted and after.status is not before.status):
        yield Entry(EntryKind.ATTENTION_RESOLVED, before.id, {**_because(event), **_choice(event)})
    if after.status is RunStatus.ATTENTION and not doubted:
        doubts = [c.id for c in after.turn.calls if c.status is CallStatus.IN_DOUBT]
        why = {"reason_sha256": Sealed(after.reason), "in_doubt": doubts, "turn": str(after.turn.status)}
        yield Entry(EntryKind.ATTENTION_RAISED, before.id, {**_because(event), **why})
    if after.closed and not before.closed:
        yield _closed(after, _because(event))


def _closed(run: Run, because: Mapping[str, Any]) -> Entry:
    sealed = {"reason_sha256": Sealed(run.reason), "output_sha256": Sealed(run.output)}
    return Entry(EntryKind.RUN_CLOSED, run.id, {"status": str(run.status), **because, **sealed})


def _choice(event: Event) -> dict[str, Any]:
    if not isinstance(event, AttentionResolved):
        return {}
    return {"choice": str(event.choice), "call": event.call, "result_sha256": Sealed(event.result)}


def _asked_about(event: Event) -> str:
    """The question a person wants to settle or change by this event; empty for any other event."""
    return str(getattr(event, "approval", "")) if hasattr(event, "entitled_as") else ""


def _wish(event: Event) -> dict[str, Any]:
    """Who wants what, by which door, as whom, and what they were shown."""
    verdict = getattr(event, "verdict", None)
    told = {
        "by": _who(_actor(event)),
        **_shown(event),
        "reason": verdict.reason if isinstance(verdict, Verdict) else getattr(event, "reason", ""),
    }
    return {**told, "verdict": word(verdict)} if isinstance(verdict, Verdict) else told


def _shown(event: Event) -> dict[str, Any]:
    """As whom somebody spoke, and the digest they were shown."""
    if not hasattr(event, "entitled_as"):
        return {}
    as_whom = {"as": event.entitled_as, "standing": [*getattr(event, "standing", ())]}
    return {**as_whom, "shown": getattr(event, "digest", "")}


def _because(event: Event) -> dict[str, Any]:
    """What made it so, and who was behind it, where it was a person."""
    told: dict[str, Any] = {"because": type(event).__name__}
    if (actor := _actor(event)) is not None:
        verdict = getattr(event, "verdict", None)
        told["by"] = _who(actor)
        told["reason"] = verdict.reason if isinstance(verdict, Verdict) else getattr(event, "reason", "")
    return told


def _actor(event: Event) -> Actor | None:
    verdict = getattr(event, "verdict", None)
    actor = verdict.by if isinstance(verdict, Verdict) else getattr(event, "by", None)
    return actor if isinstance(actor, Actor) else None


def word(verdict: Verdict) -> str:
    """A person's answer in one word."""
    if verdict.answer is not None:
        return "answer"
    return "refine" if verdict.refine else "approve" if verdict.approve else "reject"


def _who(actor: Actor | None) -> dict[str, str] | None:
    return None if actor is None else {"id": actor.id, "name": actor.name, "door": actor.door}


def text_of(at: datetime) -> str:
    """An instant as entries have it: UTC, RFC 3339, microseconds."""
    there = at if at.tzinfo is UTC else at.astimezone(UTC)
    return there.isoformat("T", "microseconds").removesuffix("+00:00") + "Z"
