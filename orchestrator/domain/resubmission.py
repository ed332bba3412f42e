"""The lines of a batch that nobody answered, put into another batch: in a run of its own, once for each job.

What people approve names the job and the keys. The lines themselves stand in the job's request, which never
changes, and are taken from there when the call runs.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from orchestrator.domain.jobs import Job, JobKind, JobStatus, JobWish
from orchestrator.domain.model import Recipe
from orchestrator.domain.pipeline import Step, StepKind
from orchestrator.domain.plain import JsonObject

RESUBMIT_BATCH: Final = "resubmit_batch"
WORKFLOW: Final = "batch:resubmit"
"""Of the runs that do it; no workflow of config.yaml can have that name."""
LINES_OF: Final = "lines_of"
"""In a wish's request: the job whose lines are meant, beside `keys`."""
MOST_KEYS: Final = 10_000
"""Lines of one resubmission; as many keys as a harvest tells of."""


class NotResubmittableError(Exception):
    """There is nothing to put into another batch; says why."""


def recipe(job: str, keys: Sequence[str]) -> Recipe:
    """The one step of such a run; all of it is fixed when it is asked for."""
    arguments = {"job": job, "keys": list(keys)}
    return Recipe(WORKFLOW, steps=(Step("again", StepKind.TOOL, tool=RESUBMIT_BATCH, arguments=arguments),))


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
