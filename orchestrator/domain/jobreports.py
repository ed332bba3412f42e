"""What a call's jobs have brought and how far they are: for the model, for the next step, for people."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from orchestrator.domain.jobs import NOT_SENT, Job, JobKind, JobStatus, StoredFile
from orchestrator.domain.model import ToolCall
from orchestrator.domain.plain import JsonObject

MOST_TOLD: Final = 100
"""Entries of a list of facts that a model reads; the numbers beside it count all."""
HALF_PRICE: Final = "billed at half the price"
"""Source: Gemini API, Batch."""
LEAST_DONE: Final = 3
"""Jobs that must have ended before the time the others take is guessed."""
_RESULT: Final = frozenset({"succeeded", "failed", "files", "jobs"})


def results(call: ToolCall) -> JsonObject:
    """What all jobs of a call have brought, as the model and the next step read it."""
    made = sum(1 for j in call.jobs if j.status is JobStatus.SUCCEEDED)
    return {
        "succeeded": made,
        "failed": len(call.jobs) - made,
        "files": [file.path for job in call.jobs for file in job.files],
        "jobs": [_result(job) for job in call.jobs],
    }


def brief(result: Any) -> Any:
    """What jobs have brought, for people: without each of them, but why some failed; else as it is."""
    if not isinstance(result, Mapping) or set(result) != _RESULT or not isinstance(result["jobs"], list):
        return result
    told = {name: value for name, value in result.items() if name != "jobs"}
    jobs = [job for job in result["jobs"] if isinstance(job, Mapping)]
    errors = sorted({str(job["error"]) for job in jobs if job.get("error")})
    return {**told, "errors": errors} if errors else told


def progress(call: ToolCall) -> str:
    """How far the jobs of a call are, in words; empty for a call without."""
    return ", ".join(filter(None, (counted(call.jobs), remaining(left(call.jobs)))))


def counted(jobs: Sequence[Job]) -> str:
    """The same of any jobs."""
    if not jobs:
        return ""
    ended = [j for j in jobs if j.ended]
    failed = sum(1 for j in ended if j.status is not JobStatus.SUCCEEDED)
    noun = "job" if len(jobs) == 1 else "jobs"
    return f"{len(ended)} of {len(jobs)} {noun} done" + (f", {failed} failed" if failed else "")


def left(jobs: Sequence[Job]) -> timedelta | None:
    """How long those that have not ended will about take; None while too few have, or none is left."""
    over = [j for j in jobs if j.ended and j.status is not JobStatus.LOST]
    spans = [j.ended_at - j.sent_at for j in over if j.ended_at and j.sent_at]
    open_ = [j for j in jobs if not j.ended]
    if len(spans) < LEAST_DONE or not open_:
        return None
    at_once = sum(1 for j in open_ if j.status not in NOT_SENT)
    return sum(spans, timedelta()) / len(spans) * len(open_) / max(at_once, 1)


def remaining(span: timedelta | None) -> str:
    """The same in words; empty for none."""
    if span is None:
        return ""
    minutes = -(-int(span.total_seconds()) // 60)
    if minutes < 2:
        return "about a minute left"
    hours, rest = divmod(minutes, 60)
    return f"about {hours} h {rest} min left" if hours else f"about {minutes} min left"


def _result(job: Job) -> JsonObject:
    files = [_told(file) for file in job.files]
    facts = {k: v[:MOST_TOLD] if isinstance(v, list) else v for k, v in job.facts.items()}
    told: dict[str, Any] = {"job": job.id, "status": str(job.status), "files": files, **facts}
    if job.kind is JobKind.BATCH and job.status is JobStatus.SUCCEEDED:
        told["price"] = HALF_PRICE
    return told if job.status is JobStatus.SUCCEEDED else {**told, "error": job.said}


def _told(file: StoredFile) -> JsonObject:
    return {"path": file.path, "type": file.type, "bytes": file.bytes, "sha256": file.sha256}
