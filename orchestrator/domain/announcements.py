"""What of all that happens to a run its callbacks are told: derived from a decision, nothing else.

Messages are thin: what happened to what, for who then asks the API. Arguments of calls, inputs and
people's own words stay here; the output goes along, up to a bound.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from orchestrator.domain.callbacks import TEST, News
from orchestrator.domain.consent import Approval, ApprovalStatus
from orchestrator.domain.decision import Decision
from orchestrator.domain.evidence import FINGERPRINT, text_of, word
from orchestrator.domain.jobs import Job, JobStatus
from orchestrator.domain.model import Run, RunStatus, ToolCall
from orchestrator.domain.values import Value

MAX_OUTPUT: Final = 16_000
"""Characters of a run's output that go along."""
MAX_REASON: Final = 1000
MAX_FILES: Final = 50

_BY_STATUS: Final[Mapping[RunStatus, News]] = {
    RunStatus.WAITING: News.RUN_WAITING,
    RunStatus.ATTENTION: News.RUN_ATTENTION,
    RunStatus.COMPLETED: News.RUN_COMPLETED,
    RunStatus.FAILED: News.RUN_FAILED,
    RunStatus.CANCELLED: News.RUN_CANCELLED,
}

Told = tuple[News, str, dict[str, Any]]
"""An event, what it is about, and its data."""


class Announcement(Value):
    """One message for one address. The same happening always has the same `id`; `body` is ASCII JSON."""

    id: str
    url: str
    event: News
    body: str


def announce(before: Run, decision: Decision, now: datetime) -> tuple[Announcement, ...]:
    """The messages that follow from a decision; none where nobody asked for any.

    Args:
        before: The run as the event found it.
    """
    callbacks, after = before.recipe.callbacks, decision.run
    if not callbacks or (after is before and decision.left is None):
        return ()
    seq = before.seq + 1  # of the entry in the run's record that goes with it
    told = [*_of_calls(before, decision), *_of_run(before, after)]
    return tuple(
        Announcement(
            _id(before.id, seq, event, subject, callback.url),
            callback.url,
            event,
            body(event, {"run": before.id, "workflow": before.recipe.workflow, "seq": seq, **data}, now),
        )
        for event, subject, data in told
        for callback in callbacks
        if event in callback.events
    )


def body(event: str, data: Mapping[str, Any], now: datetime) -> str:
    """A message as it is sent (Standard Webhooks, "Payload structure")."""
    return json.dumps({"type": event, "timestamp": text_of(now), "data": data}, separators=(",", ":"))


def trial(now: datetime) -> str:
    """A message about nothing, to try an address with."""
    return body(TEST, {}, now)


def _id(run: str, seq: int, event: News, subject: str, url: str) -> str:
    seed = "\0".join((run, str(seq), event, subject, url)).encode()
    return "msg_" + hashlib.sha256(seed).hexdigest()[:32]


def _of_run(before: Run, after: Run) -> Iterator[Told]:
    news = _BY_STATUS.get(after.status)
    if news is None or after.status is before.status:
        return
    data: dict[str, Any] = {"status": str(after.status), "reason": _without_words(after)[:MAX_REASON]}
    if news is News.RUN_COMPLETED:
        data["output"] = after.output[:MAX_OUTPUT]
        data["output_truncated"] = len(after.output) > MAX_OUTPUT
    yield news, "", data


def _without_words(run: Run) -> str:
    """Why a run stands so; where a person ended it only who did, for their own words come after that."""
    ended = run.status is RunStatus.CANCELLED or run.reason.startswith("given up by ")
    return run.reason.partition(": ")[0] if ended else run.reason


def _of_calls(before: Run, decision: Decision) -> Iterator[Told]:
    """As `evidence` finds what became of questions: by comparing the calls."""
    after = decision.run.turn
    if after is before.turn:
        return
    known = {c.id: c for c in before.turn.calls}
    for call in (*decision.left.calls, *after.calls) if decision.left else after.calls:
        old = known.get(call.id)
        if call is not old:
            yield from _of_question(old.approval if old else None, call)
            yield from _of_jobs(old, call)


def _of_question(old: Approval | None, call: ToolCall) -> Iterator[Told]:
    new = call.approval
    if new is None or new is old:
        return
    if old is None or old.id != new.id:
        if old is not None and old.open:
            yield _decided(call, old, ApprovalStatus.WITHDRAWN, replaced_by=new.id)
        asked = {"expires_at": text_of(new.expires_at), "risk": new.terms.risk}
        yield News.APPROVAL_REQUESTED, new.id, {**_about(call, new), **asked}
        old = None
    was = old.status if old else ApprovalStatus.PENDING
    if new.status is not was and new.status is not ApprovalStatus.PENDING:
        yield _decided(call, new, new.status)


def _about(call: ToolCall, approval: Approval) -> dict[str, Any]:
    return {
        "approval": approval.id,
        "call": call.id,
        "tool": call.tool,
        "fingerprint": approval.digest[:FINGERPRINT],
        "revision": approval.revision,
    }


def _decided(call: ToolCall, approval: Approval, status: ApprovalStatus, **more: str) -> Told:
    verdict = approval.verdict if status is approval.status else None
    said = {"decision": word(verdict) if verdict else None, "by": verdict.by.id if verdict else None}
    data = {**_about(call, approval), "status": str(status), **said, **more}
    return News.APPROVAL_DECIDED, approval.id, data


def _of_jobs(old: ToolCall | None, call: ToolCall) -> Iterator[Told]:
    over = {j.id for j in old.jobs if _over(old, j)} if old else set()
    for job in call.jobs:
        if _over(call, job) and job.id not in over:
            yield News.JOB_FINISHED, job.id, {"call": call.id, "tool": call.tool, **_job(job)}


def _over(call: ToolCall, job: Job) -> bool:
    """Whether it has ended for good: one that is lost may come back until its call is settled."""
    return job.ended and (job.status is not JobStatus.LOST or call.settled)


def _job(job: Job) -> dict[str, Any]:
    files = [
        {"path": f.path, "type": f.type, "bytes": f.bytes, "sha256": f.sha256} for f in job.files[:MAX_FILES]
    ]
    return {
        "job": job.id,
        "number": job.number,
        "kind": str(job.kind),
        "status": str(job.status),
        "reason": job.said[:MAX_REASON],
        "files": files,
        "files_truncated": len(job.files) > MAX_FILES,
    }
