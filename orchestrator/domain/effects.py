"""What must be done. Effects say what, never how.

Their key is kind and subject, unique within the run: asking twice for the same thing is asking
once, and asking again after it was done moves the one row. A timer is an effect with a later `due_at`.
"""

from datetime import datetime, timedelta
from enum import IntEnum, StrEnum
from typing import Final

from orchestrator.domain.values import Value

LOOK_AGAIN: Final = timedelta(seconds=2)
"""A post whose answer got lost is not looked for sooner: Slack needs a moment to show it."""


class EffectKind(StrEnum):
    CREATE_INTERACTION = "create_interaction"
    FETCH_INTERACTION = "fetch_interaction"
    CANCEL_INTERACTION = "cancel_interaction"
    PREVIEW_CALL = "preview_call"
    EXECUTE_TOOL = "execute_tool"
    REQUEST_APPROVAL = "request_approval"
    UPDATE_APPROVAL = "update_approval"
    UPLOAD_MEDIA = "upload_media"
    NOTIFY_APPROVAL = "notify_approval"
    POST_BATCH = "post_batch"
    UPDATE_BATCH = "update_batch"
    POST_DIGEST = "post_digest"  # timer
    UPDATE_DIGEST = "update_digest"
    SPREAD_APPROVAL = "spread_approval"  # timer
    COPY_APPROVAL = "copy_approval"
    POST_INQUIRY = "post_inquiry"
    UPDATE_INQUIRY = "update_inquiry"
    EXPIRE_APPROVAL = "expire_approval"  # timer
    REMIND_APPROVAL = "remind_approval"  # timer
    END_CREATE_GRACE = "end_create_grace"  # timer
    END_RUN = "end_run"  # timer
    RESTART_RUN = "restart_run"
    WARN_FORGETTING = "warn_forgetting"  # timer
    START_JOB = "start_job"
    FETCH_JOB = "fetch_job"
    STORE_JOB = "store_job"
    CANCEL_JOB = "cancel_job"
    END_JOB_GRACE = "end_job_grace"  # timer
    BEGIN_STEP = "begin_step"
    START_HOOK = "start_hook"
    SEND_CALLBACK = "send_callback"
    FIRE_TRIGGER = "fire_trigger"  # timer, of no run


SURVIVES_CLOSING = frozenset(
    {
        EffectKind.CANCEL_INTERACTION,
        EffectKind.CANCEL_JOB,
        EffectKind.START_HOOK,
        EffectKind.SEND_CALLBACK,
        EffectKind.UPDATE_APPROVAL,
        EffectKind.NOTIFY_APPROVAL,
        EffectKind.REQUEST_APPROVAL,
        EffectKind.POST_BATCH,
        EffectKind.UPDATE_BATCH,
        EffectKind.UPDATE_DIGEST,
        EffectKind.COPY_APPROVAL,
        EffectKind.POST_INQUIRY,
        EffectKind.UPDATE_INQUIRY,
    }
)
"""What is still done for a run that has ended: tidying up behind it, and the workflows that follow it.

A request or a copy whose post had no answer may stand in Slack: it is not posted again, but redrawn. Of
notices what came of a decision is still said, the others are no news any more."""


def survives_closing(key: str) -> bool:
    """The same of an effect's key."""
    return key.partition(":")[0] in SURVIVES_CLOSING


OF_NO_RUN = frozenset({EffectKind.POST_DIGEST, EffectKind.UPDATE_DIGEST})
"""What is about several runs at once: its row names none, and the end of one changes nothing about it."""


class Urgency(IntEnum):
    """Who waits for an effect; where the budget is short, the higher one goes first."""

    WATCH = 0  # a reading nobody asked for
    TURN = 1  # the same, when it has stood in line
    ASKED = 2  # somebody did: a run, a webhook, a person
    NEXT = 3  # the same, when there was no room: it has a time to come again


class Effect(Value):
    """One thing to do, not before `due_at`.

    `subject` names it within the run: an interaction id, a call, an approval, `approval.what`, a turn,
    `turn.attempt`, a job, or `job.attempt`; of what is of no run, the name of a message.
    """

    kind: EffectKind
    subject: str
    due_at: datetime
    urgency: Urgency = Urgency.ASKED

    @property
    def key(self) -> str:
        return key_of(self.kind, self.subject)


def key_of(kind: EffectKind, subject: str) -> str:
    """What an effect is known by within its run."""
    return f"{kind}:{subject}"


def attempt_subject(turn: int, attempt: int) -> str:
    return f"{turn}.{attempt}"


def parse_attempt(subject: str) -> tuple[int, int]:
    turn, attempt = subject.split(".")
    return int(turn), int(attempt)


def start_subject(job: str, attempt: int) -> str:
    return f"{job}.{attempt}"


def cancel_subject(job: str, remote: str | None) -> str:
    """A job that is to be stopped, with Gemini's name for it where that is known."""
    return f"{job}.{remote}" if remote else job


def parse_cancel(subject: str) -> tuple[str, str | None]:
    """Job, and Gemini's name for it."""
    job, _, remote = subject.partition(".")
    return job, remote or None


def parse_start(subject: str) -> tuple[str, int]:
    """Job and attempt."""
    job, attempt = subject.rsplit(".", 1)
    return job, int(attempt)


def notice_subject(approval: str, what: str) -> str:
    """One thing people are told about a question: the number of a reminder, or what `deadlines` names.

    Of a copy, the person it is for. Of what was asked back, what `inquiries.Telling` says.
    """
    return f"{approval}.{what}"


def parse_notice(subject: str) -> tuple[str, str]:
    """Approval and what people are told, or who is written to."""
    approval, what = subject.rsplit(".", 1)
    return approval, what
