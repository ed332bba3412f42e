"""Putting jobs: part of the caller's transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy.orm import Session

from orchestrator.jobs.extra import needed


@dataclass(frozen=True, slots=True)
class Job:
    """A hint to be handled in `lane`, not before `delay` after its transaction began.

    `key` is unique among unfinished jobs of all lanes; a second job under it is silently nothing. A job is
    unfinished until a moment after its handler returned: where a job put meanwhile must not get lost, its
    key has to differ, for example by the attempt's number.
    """

    lane: str
    key: str
    payload: bytes
    delay: timedelta = timedelta(0)


def put(s: Session, jobs: Sequence[Job]) -> None:
    """Enqueue within the session's open transaction, in one statement; handlers wake after its COMMIT.

    The session's engine must be `postgresql+psycopg`. Waits for another transaction that put one of the
    keys and has not ended.

    Raises:
        sqlalchemy.exc.DBAPIError: The database refused, as for any statement of the session; in a race the
            transaction can be tried again by the SQLSTATE of its `orig`.
        ConfigError: The extra is not installed.
    """
    if not jobs:
        return
    with needed():
        from orchestrator.jobs import library
    # In one order, so that two transactions with the same keys wait for each other and do not deadlock.
    ordered = sorted(jobs, key=lambda job: job.key)
    library.sync_queries(s.connection()).enqueue(
        [job.lane for job in ordered],
        [job.payload for job in ordered],
        [0] * len(ordered),
        [job.delay for job in ordered],
        [job.key for job in ordered],
        on_conflict="skip",
    )
