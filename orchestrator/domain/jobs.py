"""A long job a call waits for, beside tools and people: begun once, ended by its event or by a reading.

intended ──claimed──► sending ──answered──► live ──done──► storing ──stored──► succeeded
   ▲                     │                   └─ failed, cancelled, expired, gone ──► failed …
   └── put off ──────────┤
                         └─ answer lost ─► unknown ─ found ─► live
                                           │  ▲  └─ its time is up, and it could be looked for ─► intended,
                        its time is up ────┘  │                                       as another attempt
                                           ▼  │
                                         lost ┴─ an event names it while its call still waits

A film cannot be looked for: where its answer got lost, only its event tells of it. Without one it is lost
rather than begun a second time, for it may have been made and billed. Lost counts as ended, until then.

What starts a job is a call that passed its gate; a job has no approval of its own.
"""

import hashlib
import re
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Final

from orchestrator.domain.plain import JsonObject, whole
from orchestrator.domain.values import Value, field


class JobKind(StrEnum):
    """What is made, and over which of Gemini's resources."""

    VIDEO = "video"  # Veo: `models/{model}:predictLongRunning`, an operation
    VIDEO_INTERACTION = "video_interaction"  # newer models: an interaction whose response format is video
    BATCH = "batch"  # `models/{model}:batchGenerateContent`


LISTED: Final = frozenset({JobKind.BATCH})
"""What Gemini lists, so that a start without an answer can be looked for (Gemini API, Batch)."""


class JobState(StrEnum):
    """What one reading at Gemini says."""

    LIVE = "live"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    STRANGE = "strange"  # nothing we know; it may well be alive


class JobReading(Value):
    """One reading of a job with our own key.

    Args:
        remote: The resource: `models/veo-3.1/operations/op1`, `batches/b1`, or an interaction's id.
        said: Gemini's own word for its state, or the reason of a failure.
        counts: Of a batch: `requests`, `succeeded`, `failed`; 0 where it is not told.
        job: Our id, where the object echoes it.
        attempt: Which of its starts made it, where the object echoes that; else 0.
    """

    remote: str
    state: JobState
    said: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    job: str = ""
    attempt: int = 0


class StoredFile(Value):
    """A file we keep. `path` is below the storage's root and chosen by us, `type` found by content."""

    path: str
    type: str
    bytes: int
    sha256: str


class Harvest(Value):
    """What a job that is done has brought.

    Args:
        facts: Of a batch: `succeeded`, `failed`, `failed_keys` and `missing_keys` (10 000 of each at most),
            `without_content`, how many of the failed are empty answers, by reason, and `usage`, tokens by
            name.
        trouble: Why nothing of it can be used.
        absent: A file it names is not there. So soon after the end it may only be slow to appear.
    """

    files: tuple[StoredFile, ...]
    facts: JsonObject = field(default_factory=dict)
    trouble: str = ""
    absent: bool = False


class JobOrder(Value):
    """Everything one start says.

    Args:
        id: Ours; sent along, so that a start whose answer got lost can be found again.
        request: Of a video: `model`, `prompt`, `parameters`. Of a batch: `model`, and `lines` of `key` and
            `request` (a GenerateContentRequest), or `file`, the path of a stored file of such lines, of which
            `keys`, where given, are meant.
    """

    id: str
    run_id: str
    kind: JobKind
    attempt: int
    request: JsonObject


class JobStatus(StrEnum):
    """Where a job stands with us."""

    QUEUED = "queued"  # others of its call come first
    INTENDED = "intended"  # to be started; nothing is on the wire
    SENDING = "sending"  # the start was claimed; it may be on the wire
    UNKNOWN = "unknown"  # its answer got lost; the job may or may not exist
    LIVE = "live"  # Gemini works on it
    STORING = "storing"  # done there; its files are being brought here
    LOST = "lost"  # its answer got lost and nothing named it in time; not sent again
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


ENDED: Final = frozenset(
    {JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED, JobStatus.EXPIRED, JobStatus.LOST}
)
NOT_SENT: Final = frozenset({JobStatus.QUEUED, JobStatus.INTENDED})
_KEY: Final = re.compile(r"job_[0-9a-f]{24}")
NAMELESS: Final = frozenset({JobStatus.SENDING, JobStatus.UNKNOWN})
"""It may be at work there, and Gemini has not told us its name yet."""
CLAIMABLE: Final = NAMELESS | {JobStatus.LOST}
"""What an event may be about that names a job of ours by our id."""
MAX_REMOTE: Final = 512
"""Characters of a name that is kept; a longer one is taken for none."""


class JobWish(Value):
    """A job a tool wants made; `request` as in `JobOrder`."""

    kind: JobKind
    request: JsonObject


class Waiting(Value):
    """What a tool gives back instead of a result: its call waits for these jobs."""

    wishes: tuple[JobWish, ...]


class Job(Value):
    """One job of a call. `id` is ours, stable and derived.

    Args:
        number: From 1, in the order of the wishes.
        attempt: Counts starts: one whose answer got lost is replaced, never repeated.
        remote: Gemini's name for it; of one that is `sending` or `unknown`, what a webhook claims it to be.
        said: Gemini's last word about it, or why it ended as it did.
        readings: Consecutive readings that made no sense (unknown state, 404).
        files, facts: As in `Harvest`.
    """

    id: str
    number: int
    kind: JobKind
    request: JsonObject
    status: JobStatus = JobStatus.QUEUED
    attempt: int = 1
    remote: str | None = None
    said: str = ""
    readings: int = 0
    sent_at: datetime | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    files: tuple[StoredFile, ...] = ()
    facts: JsonObject = field(default_factory=dict)
    ended_at: datetime | None = None

    @property
    def ended(self) -> bool:
        return self.status in ENDED


def job_key(call: str, number: int) -> str:
    """The id of the n-th job of a call."""
    return "job_" + hashlib.sha256(f"{call}\0{number}".encode()).hexdigest()[:24]


def is_job_key(text: str) -> bool:
    """Whether it can be the id of a job of ours."""
    return _KEY.fullmatch(text) is not None


def attempt_of(sent_along: object) -> int:
    """Which of a job's starts our metadata were sent along with; 0 where they do not tell."""
    return (whole(sent_along.get("attempt")) or 0) if isinstance(sent_along, Mapping) else 0


def signal_key(remote: str) -> str:
    """What an event calls a job: the last part of its name, without the word for its kind.

    Source: Gemini API, Webhooks: `batch_123456` in the event, `batches/123456` for the resource.
    """
    return remote.rsplit("/", 1)[-1].removeprefix("batch_")
