"""A call that waits for films, and what may happen to them."""

from typing import Any

from support.conversation import Conversation, wish

from orchestrator.domain.events import (
    CallWaits,
    Event,
    JobClaimed,
    JobDeferred,
    JobGraceEnded,
    JobHarvested,
    JobMissing,
    JobObserved,
    JobRefused,
    JobSignalled,
    JobUncertain,
)
from orchestrator.domain.jobs import (
    Harvest,
    Job,
    JobKind,
    JobReading,
    JobState,
    JobWish,
    StoredFile,
    job_key,
)
from orchestrator.domain.model import Policy, call_key

FILM = JobWish(JobKind.VIDEO, {"model": "veo-3.1", "prompt": "a harbour at dusk", "parameters": {}})
FILE = StoredFile("run_1/job_1-1.mp4", "video/mp4", 2048, "a" * 64)
MADE = Harvest((FILE,))


def filming(count: int, *, kind: JobKind = JobKind.VIDEO, **policy: Any) -> Conversation:
    """A run whose one call waits for that many films (or other jobs), none of them begun."""
    talk = Conversation(policy=Policy(**policy)).asks(wish("c1"))
    talk.claims("c1")
    return talk.hear(CallWaits(talk.call("c1").id, "k1", (JobWish(kind, FILM.request),) * count))


def film(number: int) -> str:
    """The id of the n-th film of that run."""
    return job_key(call_key(Conversation().run.id, "i1", "c1"), number)


def job(talk: Conversation, number: int) -> Job:
    return talk.call("c1").jobs[number - 1]


def read(number: int, state: JobState = JobState.LIVE, attempt: int = 1, **more: Any) -> JobObserved:
    """A reading of the n-th film."""
    reading = JobReading(f"models/veo-3.1/operations/op{number}", state, more.pop("said", ""))
    return JobObserved(film(number), attempt, reading, **more)


def live(talk: Conversation, *numbers: int) -> Conversation:
    """Those are begun at Gemini."""
    for number in numbers:
        talk.hear(JobClaimed(film(number), 1), read(number))
    return talk


def made(talk: Conversation, *numbers: int) -> Conversation:
    """Those are begun, done and stored."""
    for number in numbers:
        live(talk, number).hear(read(number, JobState.DONE), JobHarvested(film(number), MADE))
    return talk


def about_jobs(job_id: str) -> list[Event]:
    """One of each event there is about a job."""
    remote = "models/veo-3.1/operations/op1"
    return [
        JobClaimed(job_id, 1),
        JobDeferred(job_id, 1, "busy"),
        JobUncertain(job_id, 1, "reset"),
        JobRefused(job_id, 1, "no"),
        JobGraceEnded(job_id, 1),
        JobSignalled(job_id, remote),
        *[JobObserved(job_id, 1, JobReading(remote, state)) for state in JobState],
        JobMissing(job_id, remote),
        JobHarvested(job_id, MADE),
    ]
