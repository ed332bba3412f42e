"""Resubmitting what came to nothing: the run that does it, and what it asks for when its call runs."""

from typing import Final

from sqlalchemy.orm import Session

from orchestrator.domain import resubmission
from orchestrator.domain.consent import Actor
from orchestrator.domain.jobs import JobWish, Waiting
from orchestrator.domain.model import Outcome, OutcomeKind
from orchestrator.domain.resubmission import LIKE, LINES_OF, NotResubmittableError
from orchestrator.engine.ports import Clock, ToolkitPort
from orchestrator.engine.restarting import Started, WantedRun, start
from orchestrator.errors import ConflictError, NotFoundError
from orchestrator.store import jobs

RESUBMISSIONS: Final = "orchestrator:resubmit"
"""Whose idempotency keys these runs have: one for each batch or call; no token has such a name."""


def resubmit(
    s: Session, job_id: str, by: Actor, toolkit: ToolkitPort | None, clock: Clock
) -> tuple[str, Started]:
    """Open the run that asks once more for a batch's unanswered lines, or for the lost films of the call of
    the one that is named; or find the one that does.

    Raises:
        NotFoundError: There is no such job.
        ConflictError: Nothing of it can be resubmitted, or no tool is there that does.
    """
    if (found := jobs.among(s, job_id)) is None:
        raise NotFoundError(f"there is no job {job_id}")
    try:
        wanted = resubmission.resubmitted(*found)
    except NotResubmittableError as e:
        raise ConflictError(str(e)) from None
    if toolkit is None or toolkit.terms(wanted.recipe, wanted.tool) is None:
        raise ConflictError(f"the tool {wanted.tool} is not registered: name it below tools.overrides")
    return start(s, WantedRun(wanted.recipe, wanted.told, by, RESUBMISSIONS, wanted.once, ""), clock())


def spelled_out(s: Session, waiting: Waiting) -> Waiting | Outcome:
    """The same with what those that name another job mean by it; what cannot be found fails the call."""
    try:
        return Waiting(tuple(_spelled_out(s, wish) for wish in waiting.wishes))
    except NotResubmittableError as e:
        return Outcome(OutcomeKind.FAILED, str(e))


def _spelled_out(s: Session, wish: JobWish) -> JobWish:
    named = next((wish.request[name] for name in (LINES_OF, LIKE) if name in wish.request), None)
    if named is None:
        return wish
    if (found := jobs.find(s, str(named)[:64])) is None:
        raise NotResubmittableError(f"there is no job {named}")
    if LIKE in wish.request:
        return resubmission.anew(found[1])
    return resubmission.filled(found[1], wish.request.get("keys", ()))
