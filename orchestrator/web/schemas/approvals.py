"""Questions about calls: who may decide under which terms, what was seen, said and decided.

No `from __future__ import annotations`: Litestar reads the annotations.
"""

from collections.abc import Collection
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from orchestrator.domain import collecting
from orchestrator.domain.consent import ApprovalStatus, Edits, Inquiry, Terms, Verdict, Vote
from orchestrator.domain.edits import Edited, changes
from orchestrator.domain.model import CallStatus
from orchestrator.store.run_rows import raises_unreadable
from orchestrator.web.schemas.ground import (
    ActorOut,
    Hidden,
    Links,
    Row,
    actor_out,
    person,
    run_path,
    seen,
    whole_text,
)
from orchestrator.web.schemas.inquiries import InquiryOut, inquiry_out


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


class EditedOut(Struct, kw_only=True):
    """That people changed the arguments: who, each once, and when last.

    `changes` has by name what was changed `from` and what `to`, since the call was first proposed; of an
    argument that was added or left out only one of these. What is kept from view is covered.
    """

    by: list[ActorOut]
    at: datetime
    changes: dict[str, dict[str, Any]]


class PlaceOut(Struct, kw_only=True):
    """A message in Slack that shows the question, too; `person` is whose direct messages these are."""

    channel: str
    ts: str
    person: str


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
    edited: EditedOut | None
    questions: list[InquiryOut]
    links: Links


class ApprovalPage(Struct, kw_only=True):
    """Newest first; `next` is the cursor of the next page."""

    items: list[ApprovalOut]
    next: str | None


@raises_unreadable("a question:")
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
        requester=actor_out(row["requester"]),
        collected_until=_collected(row),
        arguments=seen(row, terms.hidden, hidden),
        votes=[_vote(v) for v in row["votes"] or ()],
        verdict=_verdict(row["verdict"]),
        copies=[msgspec.convert(place, PlaceOut) for place in row["copies"] or ()],
        preview=msgspec.convert(row["preview"], PreviewOut) if row["preview"] else None,
        edited=_edited(row, terms.hidden, hidden),
        questions=_questions(row["questions"] or ()),
        links={
            "self": own,
            "decision": f"{own}/decision",
            "questions": f"{own}/questions",
            "run": run_path(row["run_id"]),
        },
    )


def _edited(row: Row, frozen: Collection[str], hidden: Hidden) -> EditedOut | None:
    edited: Edited | None = row["edited"]
    if edited is None:
        return None
    unseen = {*frozen, *hidden.get(row["tool"], ())}
    told = whole_text(changes(edited, row["arguments"], unseen))
    return EditedOut(by=[person(actor) for actor in edited.by], at=edited.at, changes=told)


def _collected(row: Row) -> datetime | None:
    """When a question is shown that still waits for that."""
    waits = row["collected"] and row["since"] is None and row["status"] == ApprovalStatus.PENDING
    return collecting.parse(row["collected"])[1] if waits else None


def _terms(terms: Terms) -> dict[str, Any]:
    """Under which terms people are asked, as far as they matter to who decides."""
    steps = [StageOut(name=s.name, approvers=list(s.approvers), quorum=s.quorum) for s in terms.steps]
    lists = {k: list(getattr(terms, k)) for k in ("approvers", "never", "escalate_to")}
    names = ("four_eyes", "edits", "risk", "reason_required", "answers", "together")
    return {**lists, **{k: getattr(terms, k) for k in names}, "stages": steps}


def _questions(stored: Collection[Row]) -> list[InquiryOut]:
    return [inquiry_out(n, msgspec.convert(one, Inquiry)) for n, one in enumerate(stored, 1)]


def _vote(stored: Row) -> VoteOut:
    vote = msgspec.convert(stored, Vote)
    return VoteOut(by=person(vote.by), at=vote.at, stage=vote.stage)


def _verdict(stored: Row | None) -> VerdictOut | None:
    if stored is None:
        return None
    verdict = msgspec.convert(stored, Verdict)
    same = {k: getattr(verdict, k) for k in ("approve", "refine", "at", "reason", "stop")}
    return VerdictOut(**same, by=person(verdict.by), answer=whole_text(verdict.answer))
