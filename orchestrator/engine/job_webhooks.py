"""Which long job a webhook names, where the job's start has had no answer. What it says is not believed."""

import json
import re
from typing import Any, Final

from sqlalchemy.orm import Session

from orchestrator.domain.events import JobSignalled
from orchestrator.domain.exchange import Snapshot
from orchestrator.domain.jobs import CLAIMABLE, MAX_REMOTE, Job, JobKind, attempt_of, is_job_key, signal_key
from orchestrator.store import jobs

_LAST_PART: Final = re.compile(r"[A-Za-z0-9_-]{1,256}")
_INTERACTION: Final = re.compile(r"[A-Za-z0-9_.=-]+")
"""Its ids are base64, padded or not (Gemini API, Interactions)."""


def claimed_by(s: Session, body: bytes) -> tuple[str, JobSignalled] | None:
    """Which job of ours a webhook says it is about: its run, and what that hears of it.

    Only for a start whose answer is still out, or got lost; that may be long ago. Anybody may have said so:
    it is read before it is believed.
    """
    event = json.loads(body)
    data = event.get("data")
    data = data if isinstance(data, dict) else {}
    said = next(
        (m for m in (data.get("user_metadata"), event.get("user_metadata")) if isinstance(m, dict)), {}
    )
    job = said.get("job")
    known = _nameless(s, job)
    if known is None:
        return None
    remote = _resource(known[1], data.get("id"))
    return (known[0], JobSignalled(known[1].id, remote, attempt_of(said))) if remote else None


def echoed_by(s: Session, snapshot: Snapshot) -> tuple[str, JobSignalled] | None:
    """The same of an interaction that was read with our own key: the run, and what it hears of its film."""
    known = _nameless(s, snapshot.job)
    if known is None or known[1].kind is not JobKind.VIDEO_INTERACTION:
        return None
    return known[0], JobSignalled(known[1].id, snapshot.interaction_id, snapshot.job_attempt)


def _nameless(s: Session, job: Any) -> tuple[str, Job] | None:
    """Run and job, where nobody knows yet what Gemini calls it."""
    known = jobs.find(s, job) if isinstance(job, str) and is_job_key(job) else None
    return known if known is not None and known[1].status in CLAIMABLE else None


def _resource(job: Job, named: Any) -> str:
    """The resource that an event's id stands for; empty where it cannot be one."""
    remote = _named(job, named) if isinstance(named, str) else ""
    return remote if len(remote) <= MAX_REMOTE else ""


def _named(job: Job, named: str) -> str:
    if job.kind is JobKind.VIDEO_INTERACTION:
        return named if _INTERACTION.fullmatch(named) else ""
    key = signal_key(named)
    if not _LAST_PART.fullmatch(key):
        return ""
    if job.kind is JobKind.BATCH:
        return f"batches/{key}"
    return f"models/{str(job.request.get('model', '')).removeprefix('models/')}/operations/{key}"
