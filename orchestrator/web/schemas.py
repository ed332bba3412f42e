"""What the API takes and gives, and how rows become answers.

Requests refuse fields they do not know. Answers have no defaults: every field is always there.
No `from __future__ import annotations`: Litestar reads the annotations.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from orchestrator.domain import collecting, joblife
from orchestrator.domain.consent import Actor, ApprovalStatus, Edits, Inquiry, Terms, Verdict, Vote
from orchestrator.domain.effects import EffectKind
from orchestrator.domain.events import Choice
from orchestrator.domain.hidden import covered, covered_record
from orchestrator.domain.inquiries import CHARS
from orchestrator.domain.jobs import Job, JobKind, JobStatus
from orchestrator.domain.model import CallStatus, OutcomeKind, RunStatus, TurnStatus
from orchestrator.domain.pipeline import StepKind
from orchestrator.store.inbox import DeliveryVerdict
from orchestrator.store.tables import DeliveryState
from orchestrator.web.callback_wishes import NewCallback

Row = Mapping[str, Any]
Links = dict[str, str]
Hidden = Mapping[str, Collection[str]]
"""Names of the parameters nobody is shown, by tool."""
DEEPEST: Final = 100
TOO_DEEP: Final = "(nested too deeply to be shown)"

Reason = Annotated[str, Meta(max_length=1000)]


# ------------------------------------------------------------------ requests


class NewRun(Struct, kw_only=True, forbid_unknown_fields=True):
    """A run to start. `input` is text, or the fields the workflow declares."""

    input: str | dict[str, Any]
    idempotency_key: Annotated[
        str, Meta(min_length=1, max_length=200, pattern="^[!-~]+$", description="Visible ASCII.")
    ] = ""
    callback: Annotated[
        str | NewCallback | None,
        Meta(description="An address that is told of the run, beside its workflow's; alone, or with events."),
    ] = None


class CancelOrder(Struct, kw_only=True, forbid_unknown_fields=True):
    """A run that is to stop, an effect to be tried again or given up, a delivery to be replayed; and why."""

    reason: Reason = ""


class Restart(Struct, kw_only=True, forbid_unknown_fields=True):
    """Nothing needs to be said."""


class Resolution(Struct, kw_only=True, forbid_unknown_fields=True):
    """What became of a call in doubt, or how to go on after a create that got lost or was refused."""

    choice: Choice
    call: Annotated[
        str,
        Meta(max_length=64, description="Our id of the call; may be left out where only one is in doubt."),
    ] = ""
    result: Annotated[
        str | dict[str, Any], Meta(description="With `happened`: what the model is told the call returned.")
    ] = ""


class Answer(Struct, kw_only=True, forbid_unknown_fields=True):
    """A person's word about a question; `arguments` go with `edit` alone, `answer` with `answer`."""

    verdict: Literal["approve", "reject", "refine", "edit", "answer"]
    arguments: dict[str, Any] | None = None
    answer: Annotated[
        Any,
        Meta(
            description="With `answer`: a JSON value, given to the model in the tool's place, or the answer"
            " to the agent's own question."
        ),
    ] = None
    stop: Annotated[bool, Meta(description="With `reject`: the whole run ends.")] = False
    reason: Reason = ""
    digest: Annotated[
        str,
        Meta(
            pattern="^[0-9a-f]{16,64}$",
            description="At least the first 16 hex digits of the digest that was shown; "
            "the answer is refused if the question has changed since.",
        ),
    ] = ""


Digest = Annotated[
    str, Meta(pattern="^[0-9a-f]{16,64}$", description="At least the first 16 hex digits of what was shown.")
]
Said = Annotated[str, Meta(min_length=1, max_length=CHARS)]


class OneOfMany(Struct, kw_only=True, forbid_unknown_fields=True):
    """A yes or a no to one question among several, and what was seen of it."""

    approval: Annotated[str, Meta(max_length=64)]
    digest: Digest
    verdict: Literal["approve", "reject"]
    reason: Reason = ""


class Decisions(Struct, kw_only=True, forbid_unknown_fields=True):
    """Several decisions, each about another approval."""

    decisions: Annotated[list[OneOfMany], Meta(min_length=1, max_length=50)]


class NewInquiry(Struct, kw_only=True, forbid_unknown_fields=True):
    """What whoever asked for the run is asked."""

    question: Said


class InquiryAnswer(Struct, kw_only=True, forbid_unknown_fields=True):
    """What they say to that."""

    answer: Said


# ------------------------------------------------------------------ answers


class ActorOut(Struct, kw_only=True):
    """Who did something, and by which door: `slack`, `api`, `shell`, `system`."""

    id: str
    name: str
    door: str


class RunSummary(Struct, kw_only=True):
    id: str
    workflow: str
    status: RunStatus
    reason: str
    requester: ActorOut
    turn: int
    created_at: datetime
    updated_at: datetime
    deadline: datetime
    closed_at: datetime | None
    links: Links


class Progress(Struct, kw_only=True):
    """Of the newest turn: its function calls, those that wait for a person, those that are settled.

    `jobs` is how far the long jobs are that they wait for, in words; `left_seconds` about how long those
    will take, once a few have ended.
    """

    calls: int
    undecided: int
    settled: int
    jobs: str
    left_seconds: float | None


class SourceOut(Struct, kw_only=True):
    """A page that a text cites, as the model named it."""

    url: str
    title: str


class StepOut(Struct, kw_only=True):
    """Which step a run is at, the last one where it ended: `position` is from 1, `of` how many there are."""

    name: str
    position: int
    of: int


class RunOut(RunSummary, kw_only=True):
    """`usage` sums token counts over all turns; `granted` is where people last let it go on beyond its limit.

    `restart_of` is the run whose work this one takes up. `step` is null for a workflow without steps;
    `outputs` are what its steps so far came to, by name, `sources` the pages its model's texts cite.
    """

    input: str
    output: str
    usage: dict[str, int]
    bad_calls: int
    granted: int
    restart_of: str | None
    step: StepOut | None
    outputs: dict[str, Any]
    sources: list[SourceOut]


class StepState(Struct, kw_only=True):
    """One step of a run; `tool` is what it calls, null where an agent thinks."""

    name: str
    kind: StepKind
    tool: str | None
    state: Literal["done", "doing", "stopped", "ahead"]


class TurnOut(Struct, kw_only=True):
    number: int
    attempt: int
    status: TurnStatus
    interaction_id: str | None
    previous_id: str | None
    gemini_status: str
    sent_at: datetime | None
    forgotten_at: datetime | None
    said: str
    note: str
    planning: bool | None
    environment: str | None


class Question(Struct, kw_only=True):
    """An approval in short."""

    id: str
    status: ApprovalStatus
    expires_at: datetime


class JobInShort(Struct, kw_only=True):
    """A long job a call waits for, or has waited for."""

    id: str
    number: int
    kind: JobKind
    status: JobStatus


class CallOut(Struct, kw_only=True):
    """One function call. `call_id` is Gemini's id, `id` ours; `result` is what went back to the model."""

    id: str
    call_id: str
    turn: int
    tool: str
    arguments: dict[str, Any]
    status: CallStatus
    idempotent: bool
    outcome: OutcomeKind | None
    result: Any
    approval: Question | None
    jobs: list[JobInShort]
    started_at: datetime | None
    settled_at: datetime | None


class RunDetail(RunOut, kw_only=True):
    progress: Progress
    steps: list[StepState]
    turns: list[TurnOut]
    calls: list[CallOut]


class VerdictOut(Struct, kw_only=True):
    """The answer that stands. `refine` sent a plan back, with the reason as what to change.

    `answer` was given to the model and nothing ran; `stop` ended the whole run.
    """

    approve: bool
    refine: bool
    by: ActorOut
    at: datetime
    reason: str
    answer: Any
    stop: bool


class StageOut(Struct, kw_only=True):
    """One step of a question: `quorum` different ones of `approvers` must say yes."""

    name: str
    approvers: list[str]
    quorum: int


class VoteOut(Struct, kw_only=True):
    """One person's yes; `stage` is the place of its step in `stages`, from 0."""

    by: ActorOut
    at: datetime
    stage: int


class PreviewOut(Struct, kw_only=True):
    """What a call would do, worked out by its tool. `trouble` says why there is none.

    `before` is what it would have done when it was approved, where that has changed since.
    """

    text: str
    trouble: str
    before: str | None


class PlaceOut(Struct, kw_only=True):
    """A message in Slack that shows the question, too; `person` is whose direct messages these are."""

    channel: str
    ts: str
    person: str


class InquiryOut(Struct, kw_only=True):
    """What was asked of whoever asked for the run; `answer` is None until they have said something."""

    number: int
    by: ActorOut
    at: datetime
    question: str
    answer: str | None
    answered_by: ActorOut | None
    answered_at: datetime | None


class ApprovalOut(Struct, kw_only=True):
    """One question about one call. `trouble` says why it could not be shown in Slack.

    `requester` asked for the run. `stages` are gone through one after the other; where there are none,
    there is one without a name. `never` may not decide, nor, with `four_eyes`, the requester; after an
    escalation `escalate_to` may too. `edits` says whether the arguments may be changed, and whether
    somebody `other` than who changes them then has to approve. With `answers` a person may answer in the
    tool's place; what `ask_human` asks takes nothing else. `preview` is what the call would do, of a tool
    that can tell. An argument the tool keeps from view is `[hidden, 40 characters]`; an edit that leaves it
    out, or gives that back, keeps it. `together`: it may be answered in one go with others in Slack.
    `copies` are the messages beside the one in the channel; `questions` were asked back. `collected_until` is
    when one of an unattended run is shown in Slack; its own time runs from then, not up to `expires_at`.
    """

    id: str
    run: str
    workflow: str
    requester: ActorOut
    call: str
    turn: int
    tool: str
    arguments: dict[str, Any]
    call_status: CallStatus
    status: ApprovalStatus
    revision: int
    digest: str
    approvers: list[str]
    stages: list[StageOut]
    votes: list[VoteOut]
    never: list[str]
    four_eyes: bool
    escalate_to: list[str]
    escalated: bool
    edits: Edits
    risk: str
    reason_required: bool
    answers: bool
    together: bool
    requested_at: datetime
    expires_at: datetime
    collected_until: datetime | None
    start_by: datetime | None
    verdict: VerdictOut | None
    channel: str
    ts: str
    trouble: str
    copies: list[PlaceOut]
    preview: PreviewOut | None
    questions: list[InquiryOut]
    links: Links


class DecisionOut(Struct, kw_only=True):
    """What one of several decisions came to.

    `status` is the HTTP status it would have had alone: 200, 403 (not yours to decide), 404, or 409 (decided
    by somebody else, changed, over). `detail` says why it was not recorded; `approval` is the question as it
    stands.
    """

    approval_id: str
    recorded: bool
    status: int
    detail: str
    approval: ApprovalOut | None


class DecisionList(Struct, kw_only=True):
    """In the order of the request; `recorded` counts those that were."""

    recorded: int
    decisions: list[DecisionOut]


class EventOut(Struct, kw_only=True):
    """One entry of a run's record."""

    seq: int
    kind: str
    at: datetime
    status: str
    note: str
    refused: str | None
    data: dict[str, Any]


class RunPage(Struct, kw_only=True):
    """Newest first; `next` is the cursor of the next page."""

    items: list[RunSummary]
    next: str | None


class ApprovalPage(Struct, kw_only=True):
    """Newest first; `next` is the cursor of the next page."""

    items: list[ApprovalOut]
    next: str | None


class EventPage(Struct, kw_only=True):
    """Oldest first; `next` is the `after` of the next page, None at the end of the record."""

    items: list[EventOut]
    next: int | None


class CallList(Struct, kw_only=True):
    items: list[CallOut]


class EffectOut(Struct, kw_only=True):
    """Something that must be done. `run` is None for a look at an interaction nobody knows."""

    id: str
    run: str | None
    kind: EffectKind
    subject: str
    state: str
    due_at: datetime
    attempts: int
    lease_until: datetime | None
    error: str
    links: Links


class EffectPage(Struct, kw_only=True):
    """What waits by its time, the soonest first; else newest first. `next` is the next page's cursor."""

    items: list[EffectOut]
    next: str | None


class DeliverySummary(Struct, kw_only=True):
    """One webhook as it came, and what became of it. Of a refused one nothing is believed, and of its body
    the first 16 KiB are kept; `scheme` is empty where no signature was good.

    `verdict` is None while it waits, `handled_at` when it was worked on. `duplicates` counts how often it
    came again, `conflicts` how often of those with another body, which was not kept. `timestamp` is the
    sender's, in Unix seconds; `size` is the body's, in bytes.
    """

    id: str
    kind: str
    subject: str
    state: DeliveryState
    verdict: DeliveryVerdict | None
    note: str
    scheme: str
    run: str | None
    received_at: datetime
    timestamp: int
    handled_at: datetime | None
    duplicates: int
    conflicts: int
    size: int
    links: Links


class Followed(Struct, kw_only=True):
    """An entry of a run's record."""

    seq: int
    kind: str
    at: datetime
    status: str
    note: str


class DeliveryOut(DeliverySummary, kw_only=True):
    """`body` is text where `encoding` is `json`, else `base64`. Signatures in `headers` are shortened.

    `followed` are the first entries of the run's record from the reading on that the webhook asked for.
    """

    headers: dict[str, str]
    sha256: str
    encoding: Literal["json", "base64"]
    body: str
    turn: int | None
    followed: list[Followed]


class DeliveryPage(Struct, kw_only=True):
    """The last received first; `next` is the cursor of the next page."""

    items: list[DeliverySummary]
    next: str | None


# ------------------------------------------------------------------ rows → answers


def run_summary(row: Row) -> RunSummary:
    return RunSummary(**_summary(row))


def run_out(row: Row) -> RunOut:
    return RunOut(**_whole(row))


def run_detail(
    row: Row, turns: list[TurnOut], calls: list[CallOut], jobs: Mapping[str, Sequence[Job]]
) -> RunDetail:
    """A run with all of its chain; `jobs` are those of its calls, by call."""
    progress = _progress(row["turn"], calls, jobs)
    return RunDetail(**_whole(row), progress=progress, steps=_steps(row), turns=turns, calls=calls)


def _progress(turn: int, calls: list[CallOut], jobs: Mapping[str, Sequence[Job]]) -> Progress:
    newest = [c for c in calls if c.turn == turn]
    undecided = sum(1 for c in newest if c.status is CallStatus.AWAITING_APPROVAL)
    settled = sum(1 for c in newest if c.status is CallStatus.SETTLED)
    made = [job for call in newest for job in jobs.get(call.id, ())]
    left = joblife.left(made)
    return Progress(
        calls=len(newest),
        undecided=undecided,
        settled=settled,
        jobs=joblife.counted(made),
        left_seconds=left.total_seconds() if left else None,
    )


def _step(row: Row) -> StepOut | None:
    steps = row["steps"] or ()
    at = row["step"]
    return StepOut(name=steps[at]["name"], position=at + 1, of=len(steps)) if steps else None


def _steps(row: Row) -> list[StepState]:
    return [
        StepState(
            name=step["name"],
            kind=StepKind(step["kind"]),
            tool=step.get("tool") or None,
            state=_state(row, place),
        )
        for place, step in enumerate(row["steps"] or ())
    ]


def _state(row: Row, place: int) -> Literal["done", "doing", "stopped", "ahead"]:
    if place != row["step"]:
        return "done" if place < row["step"] else "ahead"
    if row["closed_at"] is None:
        return "doing"
    return "done" if row["status"] == RunStatus.COMPLETED else "stopped"


def run_path(run_id: str) -> str:
    return f"/v1/runs/{run_id}"


def _summary(row: Row) -> dict[str, Any]:
    own = run_path(row["id"])
    links = {
        "self": own,
        **{part: f"{own}/{part}" for part in ("events", "calls", "jobs", "approvals", "cancel", "restart")},
    }
    same = ("id", "workflow", "status", "reason", "turn", "created_at", "updated_at", "deadline", "closed_at")
    return {**{k: row[k] for k in same}, "requester": _actor(row["requester"]), "links": links}


def _whole(row: Row) -> dict[str, Any]:
    more = {k: row[k] for k in ("input", "output", "usage", "bad_calls", "granted", "restart_of")}
    cited = [msgspec.convert(whole_text(source), SourceOut) for source in row["sources"] or ()]
    return {
        **_summary(row),
        **more,
        "step": _step(row),
        "outputs": whole_text(row["outputs"]),
        "sources": cited,
    }


def turn_out(row: Row) -> TurnOut:
    return TurnOut(**{k: row[k] for k in TurnOut.__struct_fields__})


def call_out(row: Row, approval: Row | None, jobs: Sequence[Job], hidden: Hidden) -> CallOut:
    same = ("id", "call_id", "turn", "tool", "status", "idempotent", "outcome", "started_at", "settled_at")
    asked = approval and Question(
        id=approval["id"], status=approval["status"], expires_at=approval["expires_at"]
    )
    frozen = msgspec.convert(approval["terms"], Terms).hidden if approval else ()
    return CallOut(
        **{k: row[k] for k in same},
        arguments=_seen(row, frozen, hidden),
        result=whole_text(row["result"]),
        approval=asked or None,
        jobs=[JobInShort(id=j.id, number=j.number, kind=j.kind, status=j.status) for j in jobs],
    )


def _collected(row: Row) -> datetime | None:
    """When a question is shown that still waits for that."""
    waits = row["collected"] and row["since"] is None and row["status"] == ApprovalStatus.PENDING
    return collecting.parse(row["collected"])[1] if waits else None


def approval_out(row: Row, hidden: Hidden) -> ApprovalOut:
    same = (
        *("id", "workflow", "call", "turn", "tool", "call_status", "status", "revision", "digest"),
        *("requested_at", "expires_at", "start_by", "channel", "ts", "trouble", "escalated"),
    )
    own, terms = f"/v1/approvals/{row['id']}", msgspec.convert(row["terms"], Terms)
    return ApprovalOut(
        **{k: row[k] for k in same},
        **_terms(terms),
        run=row["run_id"],
        requester=_actor(row["requester"]),
        collected_until=_collected(row),
        arguments=_seen(row, terms.hidden, hidden),
        votes=[_vote(v) for v in row["votes"] or ()],
        verdict=_verdict(row["verdict"]),
        copies=[msgspec.convert(place, PlaceOut) for place in row["copies"] or ()],
        preview=msgspec.convert(row["preview"], PreviewOut) if row["preview"] else None,
        questions=_questions(row["questions"] or ()),
        links={
            "self": own,
            "decision": f"{own}/decision",
            "questions": f"{own}/questions",
            "run": run_path(row["run_id"]),
        },
    )


def _seen(row: Row, frozen: Collection[str], hidden: Hidden) -> Any:
    """A call's arguments; what is hidden now, or was when people were asked, is covered."""
    return whole_text(covered(row["arguments"], {*frozen, *hidden.get(row["tool"], ())}))


def _terms(terms: Terms) -> dict[str, Any]:
    """Under which terms people are asked, as far as they matter to who decides."""
    steps = [StageOut(name=s.name, approvers=list(s.approvers), quorum=s.quorum) for s in terms.steps]
    lists = {k: list(getattr(terms, k)) for k in ("approvers", "never", "escalate_to")}
    names = ("four_eyes", "edits", "risk", "reason_required", "answers", "together")
    return {**lists, **{k: getattr(terms, k) for k in names}, "stages": steps}


def _questions(stored: Collection[Row]) -> list[InquiryOut]:
    return [inquiry_out(n, msgspec.convert(one, Inquiry)) for n, one in enumerate(stored, 1)]


def inquiry_out(number: int, inquiry: Inquiry) -> InquiryOut:
    by = inquiry.answered_by
    return InquiryOut(
        number=number,
        by=_person(inquiry.by),
        at=inquiry.at,
        question=inquiry.text,
        answer=inquiry.answer if by else None,
        answered_by=_person(by) if by else None,
        answered_at=inquiry.answered_at,
    )


def _person(actor: Actor) -> ActorOut:
    return ActorOut(id=actor.id, name=actor.name, door=actor.door)


def _vote(stored: Row) -> VoteOut:
    vote = msgspec.convert(stored, Vote)
    by = ActorOut(id=vote.by.id, name=vote.by.name, door=vote.by.door)
    return VoteOut(by=by, at=vote.at, stage=vote.stage)


def event_out(row: Row, hidden: Hidden) -> EventOut:
    same = {k: row[k] for k in ("seq", "kind", "at", "status", "note", "refused")}
    return EventOut(**same, data=covered_record(whole_text(row["data"]), hidden))


def _actor(stored: Row) -> ActorOut:
    actor = msgspec.convert(stored, Actor)
    return ActorOut(id=actor.id, name=actor.name, door=actor.door)


def _verdict(stored: Row | None) -> VerdictOut | None:
    if stored is None:
        return None
    verdict = msgspec.convert(stored, Verdict)
    by = ActorOut(id=verdict.by.id, name=verdict.by.name, door=verdict.by.door)
    same = {k: getattr(verdict, k) for k in ("approve", "refine", "at", "reason", "stop")}
    return VerdictOut(**same, by=by, answer=whole_text(verdict.answer))


def whole_text(value: Any, depth: int = 0) -> Any:
    """Stored JSON as it can be sent.

    A model may write half surrogate pairs, which no UTF-8 can hold, and nest without end.
    """
    if depth > DEEPEST:
        return TOO_DEEP
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {whole_text(k): whole_text(v, depth + 1) for k, v in value.items()}
    if isinstance(value, list):
        return [whole_text(v, depth + 1) for v in value]
    return value
