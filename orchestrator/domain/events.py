"""What happened. Every door of the service ends in one of these.

An event may come late, twice or out of order; it carries what names its subject exactly
(turn and attempt, call, approval), so that `decide` can tell.
"""

from datetime import datetime
from enum import StrEnum

from orchestrator.domain.assessment import Assessment
from orchestrator.domain.consent import Actor, Terms, Verdict
from orchestrator.domain.exchange import Snapshot
from orchestrator.domain.jobs import Harvest, JobReading, JobWish
from orchestrator.domain.model import Outcome
from orchestrator.domain.plain import JsonObject
from orchestrator.domain.values import Value


class InteractionSignalled(Value):
    """A webhook named an interaction of ours. A hint: read it, believe nothing else."""

    interaction_id: str
    kind: str = ""


class CreateClaimed(Value):
    """A worker is about to send this turn's create: the intent is written before the wire."""

    turn: int
    attempt: int


class InteractionObserved(Value):
    """We read an interaction of this turn and attempt, by create answer, get or cancel.

    `assessments` has one entry for each function call of the snapshot, in its order. `former` says
    that the run went on from this very interaction: a link of its chain, and no longer the current one.
    """

    turn: int
    attempt: int
    snapshot: Snapshot
    assessments: tuple[Assessment, ...] = ()
    former: bool = False


class InteractionMissing(Value):
    """Gemini answered that it has no such interaction."""

    interaction_id: str
    why: str = ""


class InteractionTooLarge(Value):
    """Gemini has it, and tells more of it than is ever read."""

    interaction_id: str
    why: str = ""


class StepBegun(Value):
    """The call of a tool's step, with what policy says about it; or why there is none to make."""

    turn: int
    assessment: Assessment | None
    why: str = ""


class CreateUncertain(Value):
    """The create's answer got lost; Gemini may or may not have taken it.

    `answered`: it said that it has, in an answer that cannot be read.
    """

    turn: int
    attempt: int
    why: str = ""
    answered: bool = False


class CreateDeferred(Value):
    """Nothing was sent, or nothing was taken (busy, unreachable): the same attempt goes out later."""

    turn: int
    attempt: int
    why: str = ""


class CreateRefused(Value):
    """Gemini refused the create for good; nothing runs there. `code` is its word for why.

    `made` counts the calls of the whole run that succeeded until then.
    """

    turn: int
    attempt: int
    why: str = ""
    code: str = ""
    made: int = 0


class CreateGraceEnded(Value):
    """The lost create did not show itself in time.

    `unread` is when the first of those webhooks came that may tell of it still: the interaction each is
    about is nobody's yet, and Gemini has not said whose it is. None where there is no such webhook.
    """

    turn: int
    attempt: int
    unread: datetime | None = None


class CallPreviewed(Value):
    """What a call would do is worked out, or could not be; `assessment.preview` says which.

    `arguments` are those it was worked out for; the assessment is made anew from the row.
    """

    call: str
    arguments: JsonObject
    assessment: Assessment


class CallClaimed(Value):
    """A worker is about to run a call and asks the gate. `assessment` is made anew from the row.

    `as_approved` is the digest of the same with the preview people saw, where there is one: what differs
    then beside it is only what the call would do. `doubts` say where what is stored about the question and
    the call is not what was written down when it happened.
    """

    call: str
    claim: str
    assessment: Assessment
    as_approved: str = ""
    doubts: tuple[str, ...] = ()


class CallFinished(Value):
    """The execution under `claim` has an outcome."""

    call: str
    claim: str
    outcome: Outcome


class CallDoubted(Value):
    """What is stored about a call is not what was written down when it happened, and nobody came to the gate.

    `doubts` say where; `call` may be one that is not there any more.
    """

    call: str
    doubts: tuple[str, ...]


class CallCutOff(Value):
    """The execution under `claim` ended without our learning how (crash, timeout)."""

    call: str
    claim: str
    why: str


class CallDeferred(Value):
    """The execution under `claim` could not begin (no room for it): the call waits for its next start."""

    call: str
    claim: str
    why: str


class CallWaits(Value):
    """The execution under `claim` wants jobs made, whose end is the call's."""

    call: str
    claim: str
    wishes: tuple[JobWish, ...]


class JobClaimed(Value):
    """A worker is about to send a job's start: the intent is written before the wire."""

    job: str
    attempt: int


class JobDeferred(Value):
    """Nothing was sent, or nothing was taken (busy, unreachable): the same attempt goes out later."""

    job: str
    attempt: int
    why: str = ""


class JobUncertain(Value):
    """The start's answer got lost; Gemini may or may not have taken it."""

    job: str
    attempt: int
    why: str = ""


class JobRefused(Value):
    """Gemini refused the start for good; nothing runs there."""

    job: str
    attempt: int
    why: str = ""


class JobGraceEnded(Value):
    """A start without an answer did not show itself in time."""

    job: str
    attempt: int


class JobSignalled(Value):
    """A webhook named a job. A hint: read it, believe nothing else.

    `remote` is what it calls the job, of one whose name we do not know yet, `attempt` which of its starts
    made it; 0 where that is not told.
    """

    job: str
    remote: str = ""
    attempt: int = 0


class JobObserved(Value):
    """We read a job of that attempt, by the answer to its start, a get or a search.

    `searched` says that its name was not ours before: it was looked for, or a webhook claimed it.
    """

    job: str
    attempt: int
    reading: JobReading
    searched: bool = False


class JobMissing(Value):
    """Gemini answered that it has no such job."""

    job: str
    remote: str
    why: str = ""


class JobHarvested(Value):
    """What a job that is done has brought is stored."""

    job: str
    harvest: Harvest


class ApprovalPosted(Value):
    """The request can be seen in Slack."""

    approval: str
    channel: str
    ts: str


class ApprovalUndelivered(Value):
    """Slack refused the request for good; it stays open to the other doors."""

    approval: str
    why: str


class ApproversFound(Value):
    """It is time to write to those who may decide: the people behind what the terms name, at this moment."""

    approval: str
    people: tuple[str, ...]


class ApprovalCopied(Value):
    """A person has the request among their direct messages.

    Without a `person` it is a stray: a message of ours nobody knew of, for the answer to its post got lost.
    """

    approval: str
    person: str
    channel: str
    ts: str


class ApprovalNotCopied(Value):
    """Slack does not take direct messages for that person."""

    approval: str
    person: str
    why: str


class BatchPosted(Value):
    """The message over the questions of a turn can be seen in Slack; `face` is what was drawn."""

    turn: int
    channel: str
    ts: str
    face: str = ""


class BatchUndelivered(Value):
    """There is no message over the questions of a turn: each of them stands alone."""

    turn: int
    why: str


class ApprovalDecided(Value):
    """A person answered the question of that digest. Entitlement is checked in `decide`.

    Args:
        entitled_as: Who they are: a Slack user id or `api:<token>`.
        standing: Groups and roles they are in at this moment, as approvers name them.
        current: The terms in force at this moment, where they can be known.
        together: It is one of several that were answered in one go.
        by_now: The call as tool and policy have it at this moment, where that is not what is asked.
    """

    approval: str
    digest: str
    verdict: Verdict
    entitled_as: str
    standing: tuple[str, ...] = ()
    current: Terms | None = None
    together: bool = False
    by_now: Assessment | None = None


class ApprovalEdited(Value):
    """A person changed the arguments in question: a new proposal, `assessment` says what of.

    The rest as in `ApprovalDecided`.
    """

    approval: str
    digest: str
    by: Actor
    at: datetime
    assessment: Assessment
    reason: str
    entitled_as: str
    standing: tuple[str, ...] = ()
    current: Terms | None = None


class QuestionAsked(Value):
    """Somebody who may decide asks back whoever asked for the run. The rest as in `ApprovalDecided`."""

    approval: str
    by: Actor
    at: datetime
    text: str
    entitled_as: str
    standing: tuple[str, ...] = ()
    current: Terms | None = None


class QuestionAnswered(Value):
    """Somebody answers what was asked back under that number."""

    approval: str
    number: int
    by: Actor
    at: datetime
    text: str
    entitled_as: str


class InquiryPosted(Value):
    """What was asked back can be seen in Slack, and answered there; `person` as in a `Place`."""

    approval: str
    number: int
    channel: str
    ts: str
    person: str = ""


class ApprovalExpired(Value):
    """The question's time is up."""

    approval: str


class ReminderDue(Value):
    """A share of the question's time is over. `number` counts over the whole life of the question."""

    approval: str
    number: int


class CancelRequested(Value):
    """Somebody stops the run."""

    by: Actor
    reason: str = ""


class RunOverdue(Value):
    """The run's longest time is up."""

    deadline: datetime


class ForgettingNear(Value):
    """Gemini soon forgets the interaction that the run waits with."""

    interaction_id: str


class TakenUp(Value):
    """Another run goes on with the work of this one, which waits for a person."""

    by: Actor
    as_run: str


class Choice(StrEnum):
    """What a person says about a run in `attention`."""

    HAPPENED = "happened"  # the call took effect: here is its result
    RETRY = "retry"  # it did not: run it, or send it, again
    GIVE_UP = "give_up"  # fail the run


class AttentionResolved(Value):
    """A person settled what no machine could know. `call` is empty for a lost create."""

    choice: Choice
    by: Actor
    call: str = ""
    result: str | JsonObject = ""


Event = (
    InteractionSignalled
    | CreateClaimed
    | InteractionObserved
    | InteractionMissing
    | InteractionTooLarge
    | CreateUncertain
    | CreateDeferred
    | CreateRefused
    | CreateGraceEnded
    | CallPreviewed
    | CallClaimed
    | CallFinished
    | CallCutOff
    | CallDoubted
    | CallDeferred
    | StepBegun
    | CallWaits
    | JobClaimed
    | JobDeferred
    | JobUncertain
    | JobRefused
    | JobGraceEnded
    | JobSignalled
    | JobObserved
    | JobMissing
    | JobHarvested
    | ApprovalPosted
    | ApprovalUndelivered
    | ApproversFound
    | ApprovalCopied
    | ApprovalNotCopied
    | BatchPosted
    | BatchUndelivered
    | ApprovalDecided
    | ApprovalEdited
    | QuestionAsked
    | QuestionAnswered
    | InquiryPosted
    | ApprovalExpired
    | ReminderDue
    | CancelRequested
    | RunOverdue
    | ForgettingNear
    | TakenUp
    | AttentionResolved
)
