"""Resubmitting the unanswered lines of a batch: the run that does it, and the lines when its call runs."""

from typing import Final

from sqlalchemy.orm import Session

from orchestrator.domain import resubmission
from orchestrator.domain.consent import Actor
from orchestrator.domain.jobs import JobWish, Waiting
from orchestrator.domain.model import Outcome, OutcomeKind
from orchestrator.domain.resubmission import LINES_OF, NotResubmittableError
from orchestrator.engine.ports import Clock, ToolkitPort
from orchestrator.engine.restarting import Started, Wish, start
from orchestrator.errors import ConflictError, NotFoundError
from orchestrator.store import jobs

RESUBMISSIONS: Final = "orchestrator:resubmit"
"""Whose idempotency keys these runs have: one for each job; no token has such a name."""


def resubmit(
    s: Session, job_id: str, by: Actor, toolkit: ToolkitPort | None, clock: Clock
) -> tuple[str, Started]:
    """Open the run that puts a job's unanswered lines into another batch, or find the one that does.

    Raises:
        NotFoundError: There is no such job.
        ConflictError: Nothing of it can be resubmitted, or no tool is there that does.
    """
    if (found := jobs.find(s, job_id)) is None:
        raise NotFoundError(f"there is no job {job_id}")
    try:
        keys = resubmission.unanswered(found[1])
    except NotResubmittableError as e:
        raise ConflictError(str(e)) from None
    recipe = resubmission.recipe(job_id, keys)
    if toolkit is None or toolkit.terms(recipe, resubmission.RESUBMIT_BATCH) is None:
        name = resubmission.RESUBMIT_BATCH
        raise ConflictError(f"the tool {name} is not registered: name it below tools.overrides")
    told = f"{len(keys)} lines of {job_id} once more"
    return start(s, Wish(recipe, told, by, RESUBMISSIONS, f"resubmit {job_id}", ""), clock())


def whole(s: Session, waiting: Waiting) -> Waiting | Outcome:
    """The same with the lines of those that name another job's; what cannot be found fails the call."""
    try:
        return Waiting(tuple(_whole(s, wish) for wish in waiting.wishes))
    except NotResubmittableError as e:
        return Outcome(OutcomeKind.FAILED, str(e))


def _whole(s: Session, wish: JobWish) -> JobWish:
    if LINES_OF not in wish.request:
        return wish
    if (found := jobs.find(s, str(wish.request[LINES_OF])[:64])) is None:
        raise NotResubmittableError(f"there is no job {wish.request[LINES_OF]}")
    return resubmission.filled(found[1], wish.request.get("keys", ()))
