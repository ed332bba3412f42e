"""Who hears that work is due. The rows are the truth; a dispatcher only carries hints to them.

`embedded`  one process: the worker is woken after the commit, and finds the rows by itself.
`pgqueuer`  any number of processes on PostgreSQL: what is not taken in the transaction that made it
            due becomes a job in that very transaction, for whichever process has room.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy.orm import Session

from orchestrator import jobs
from orchestrator.domain.effects import EffectKind
from orchestrator.engine.ports import Clock
from orchestrator.store import inbox, outbox
from orchestrator.store.outbox import Asked
from orchestrator.store.sql.held import flush
from orchestrator.store.transactions import age

LANES: Final[Mapping[str, tuple[EffectKind, ...]]] = {
    "gemini": (
        EffectKind.CREATE_INTERACTION,
        EffectKind.FETCH_INTERACTION,
        EffectKind.CANCEL_INTERACTION,
        EffectKind.START_JOB,
        EffectKind.FETCH_JOB,
        EffectKind.CANCEL_JOB,
        EffectKind.END_JOB_GRACE,
    ),
    "tools": (EffectKind.PREVIEW_CALL, EffectKind.EXECUTE_TOOL),
    "files": (EffectKind.STORE_JOB, EffectKind.UPLOAD_MEDIA),
    "callbacks": (EffectKind.SEND_CALLBACK,),
    "slack": (
        EffectKind.REQUEST_APPROVAL,
        EffectKind.UPDATE_APPROVAL,
        EffectKind.NOTIFY_APPROVAL,
        EffectKind.SPREAD_APPROVAL,
        EffectKind.COPY_APPROVAL,
        EffectKind.POST_INQUIRY,
        EffectKind.UPDATE_INQUIRY,
        EffectKind.POST_BATCH,
        EffectKind.UPDATE_BATCH,
        EffectKind.POST_DIGEST,
        EffectKind.UPDATE_DIGEST,
    ),
    "timers": (
        EffectKind.EXPIRE_APPROVAL,
        EffectKind.REMIND_APPROVAL,
        EffectKind.END_CREATE_GRACE,
        EffectKind.END_RUN,
        EffectKind.RESTART_RUN,
        EffectKind.WARN_FORGETTING,
        EffectKind.BEGIN_STEP,
        EffectKind.START_HOOK,
    ),
    "triggers": (EffectKind.FIRE_TRIGGER,),
}
"""Work that waits for the same thing shares a lane, so that a slow tool never holds back a webhook."""

LANE_OF: Final = {kind: lane for lane, kinds in LANES.items() for kind in kinds}

MAIL: Final = "mail"
"""The lane of webhooks that were stored by a process that does not work itself."""

NEAR: Final = timedelta(seconds=60)
"""What is due later stays a row; a look once in a while makes jobs of what has come near."""

SLACK: Final = timedelta(milliseconds=50)
"""A job that is due by the database's clock must find its effect due by ours."""
_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)


class Queued:
    """A job for each effect that is due soon and was not taken.

    Args:
        own_mail: Whether this process sorts the webhooks it stores; else another one is told of them.
    """

    def __init__(self, clock: Clock, *, own_mail: bool) -> None:
        self._clock = clock
        self._own_mail = own_mail

    def put(self, s: Session) -> None:
        """Within a transaction, before its COMMIT: pass on what it made due and nobody took."""
        now = self._clock()
        spent = age(s)  # a delay counts from when the transaction began, and it may have waited for others
        made = [job_of(a, a.due_at - now, spent) for a in outbox.asked(s, now + NEAR)]
        if not self._own_mail and (newest := inbox.stored(s)):
            made.append(jobs.Job(MAIL, f"mail:{newest}", b""))
        if made:
            flush(s)  # what is put goes through the driver
            jobs.put(s, made)


def job_of(asked: Asked, left: timedelta, spent: timedelta = timedelta(0)) -> jobs.Job:
    """A job for an effect that is due in the time `left`; for the rest of it, where some is `spent`."""
    # An effect may be asked for anew while its job is being handled: the time it is due makes the difference.
    key = f"{asked.run_id}:{asked.key}:{asked.due_at.timestamp():.6f}"
    # By names: workers of the release before unpack run and key alone, of either a list or an object.
    payload = json.dumps({asked.run_id: None, asked.key: asked.due_at.isoformat()}).encode()
    delay = left + spent + SLACK if left > timedelta(0) else timedelta(0)
    return jobs.Job(LANE_OF[asked.kind], key, payload, delay)


def passed_on(payload: bytes, now: datetime, pause: timedelta) -> jobs.Job:
    """The same job once more, for whoever has room after the pause."""
    (run_id, key), _ = effect_of(payload)
    lane = LANE_OF[EffectKind(key.partition(":")[0])]
    return jobs.Job(lane, f"{run_id}:{key}:{now.timestamp():.6f}", payload, pause)


def effect_of(payload: bytes) -> tuple[tuple[str, str], datetime]:
    """Run and key of the effect a job is about, and when that is due; of an older program's job, it is."""
    said = json.loads(payload)
    run_id, key = said
    due = _LONG_AGO if isinstance(said, list) else datetime.fromisoformat(said[key])
    return (run_id, key), due
