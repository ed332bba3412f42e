"""What came to nothing, asked for once more in a run of its own: lines of a batch that nobody answered, put
into another batch, once for each job; films that were lost, made anew, once for each call.

What people approve names the job and the keys, or the films. What they ask for stands in the requests of
those jobs, which never change, and is taken from there when the call runs.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from orchestrator.domain.jobs import LISTED, Job, JobKind, JobStatus, JobWish
from orchestrator.domain.model import Recipe
from orchestrator.domain.pipeline import Step, StepKind
from orchestrator.domain.plain import JsonObject
from orchestrator.domain.values import Value

RESUBMIT_BATCH: Final = "resubmit_batch"
RESUBMIT_VIDEO: Final = "resubmit_video"
WORKFLOW: Final = "batch:resubmit"
FILMS: Final = "video:resubmit"
WORKFLOWS: Final = (WORKFLOW, FILMS)
"""Of the runs that do it; no workflow of config.yaml can have such a name."""
LINES_OF: Final = "lines_of"
"""In a wish's request: the job whose lines are meant, beside `keys`."""
LIKE: Final = "like"
"""In a wish's request: the lost job that is to be made anew."""
MOST_KEYS: Final = 10_000
"""Lines of one resubmission; as many keys as a harvest tells of."""


class NotResubmittableError(Exception):
    """There is nothing to ask for once more; says why."""


class Resubmission(Value):
    """A run that asks once more.

    Args:
        recipe: Its one step; all of it is fixed when it is asked for.
        tool: What that step calls.
        told: What is asked for, in words.
        once: Of one such, however often they are asked for, only one is made.
    """

    recipe: Recipe
    tool: str
    told: str
    once: str


def resubmitted(job: Job, call: str, settled: bool, jobs: Sequence[Job]) -> Resubmission:
    """What is asked for once more where somebody names this job.

    Args:
        call: Its call, which is `settled` or not.
        jobs: All of that call.

    Raises:
        NotResubmittableError: There is nothing of it to be asked for.
    """
    if job.kind in LISTED:
        keys = list(unanswered(job))
        told = f"{len(keys)} lines of {job.id} once more"
        return _one_step(WORKFLOW, RESUBMIT_BATCH, {"job": job.id, "keys": keys}, told, job.id)
    films = lost(job, settled, jobs)
    told = f"{_films(len(films))} of {call} once more"
    return _one_step(FILMS, RESUBMIT_VIDEO, {"jobs": list(films)}, told, call)


def _one_step(workflow: str, tool: str, arguments: JsonObject, told: str, once: str) -> Resubmission:
    steps = (Step("again", StepKind.TOOL, tool=tool, arguments=arguments),)
    return Resubmission(Recipe(workflow, steps=steps), tool, told, f"resubmit {once}")


def _films(count: int) -> str:
    return "1 film" if count == 1 else f"{count} films"


def lost(job: Job, settled: bool, jobs: Sequence[Job]) -> tuple[str, ...]:
    """The films of a call whose starts had no answer and which no event named, in the order of the wishes.

    Raises:
        NotResubmittableError: This job is none of them, or its call still waits: an event may yet name it.
    """
    if not job.ended:
        raise NotResubmittableError(f"{job.id} is {job.status}: it must have ended")
    if job.status is not JobStatus.LOST:
        raise NotResubmittableError(
            f"{job.id} is a {job.kind} that is {job.status}: only those that are lost are made anew"
        )
    if not settled:
        raise NotResubmittableError(f"the call of {job.id} still waits for others: it may be named yet")
    return tuple(one.id for one in jobs if one.status is JobStatus.LOST and one.kind not in LISTED)


def wish_like(job: str) -> JobWish:
    """What the tool wants made anew; filled in with `anew`."""
    return JobWish(JobKind.VIDEO, {LIKE: job})


def anew(job: Job) -> JobWish:
    """The same once more. Raises `NotResubmittableError`: it is not lost."""
    if job.status is not JobStatus.LOST or job.kind in LISTED:
        raise NotResubmittableError(f"{job.id} is a {job.kind} that is {job.status}, and no lost film")
    return JobWish(job.kind, job.request)


def wish(job: str, keys: Sequence[str]) -> JobWish:
    """What the tool wants made; its lines are filled in with `filled`."""
    return JobWish(JobKind.BATCH, {LINES_OF: job, "keys": list(keys)})


def unanswered(job: Job) -> tuple[str, ...]:
    """The keys of the lines that failed or came without an answer, in the order of the batch.

    A batch that brought nothing has answered none of its lines.

    Raises:
        NotResubmittableError: It is no batch, or has not ended, every line is answered, or its keys are
            not all known.
    """
    if job.kind is not JobKind.BATCH:
        raise NotResubmittableError(f"{job.id} is no batch but a {job.kind}")
    if not job.ended:
        raise NotResubmittableError(f"{job.id} is {job.status}: it must have ended")
    asked = [str(line["key"]) for line in lines(job)]
    if "failed_keys" not in job.facts:
        if job.status is JobStatus.SUCCEEDED or not asked:
            raise NotResubmittableError(f"{job.id} does not tell which of its lines failed")
        return tuple(asked)
    keys = [*job.facts["failed_keys"], *job.facts["missing_keys"]]
    if len(keys) < job.facts.get("failed", 0) + job.facts.get("missing", 0):
        raise NotResubmittableError(f"{job.id} has more lines without an answer than are listed")
    if not keys:
        raise NotResubmittableError(f"every line of {job.id} is answered")
    place = {key: n for n, key in enumerate(asked)}
    return tuple(sorted(keys, key=lambda key: place.get(key, len(place))))


def filled(job: Job, keys: Sequence[str]) -> JobWish:
    """The batch of exactly those lines of the job.

    Raises:
        NotResubmittableError: It is no batch, or has no such line.
    """
    if job.kind is not JobKind.BATCH:
        raise NotResubmittableError(f"{job.id} is no batch but a {job.kind}")
    model, wanted = job.request.get("model"), frozenset(keys)
    if (file := job.request.get("file")) is not None:
        return JobWish(JobKind.BATCH, {"model": model, "file": file, "keys": list(keys)})
    found = [line for line in lines(job) if line["key"] in wanted]
    if not found or len(found) < len(wanted):
        raise NotResubmittableError(f"{job.id} has {len(found)} of the {len(wanted)} lines that are named")
    return JobWish(JobKind.BATCH, {"model": model, "lines": found})


def lines(job: Job) -> Sequence[JsonObject]:
    """Those its request holds; none where they stand in a file."""
    held = job.request.get("lines", ())
    return [line for line in held if isinstance(line, Mapping)] if isinstance(held, list | tuple) else []
