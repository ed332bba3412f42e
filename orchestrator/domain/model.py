"""The frozen values everything else is about: a run, its current turn, calls and approvals.

A run is a chain of interactions. Only the newest turn can still move, so `Run` holds that one;
older turns are rows that people read and nothing decides on.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from orchestrator.domain.calendar import Calendar

JsonObject = Mapping[str, Any]


class RunStatus(StrEnum):
    """Where a run stands.

    queued → running → waiting ⇄ running → resuming → running → completed | failed | cancelled
    `attention` is reached from any live state, waits for a person and is not an end.
    """

    QUEUED = "queued"  # written down, the first interaction is not there yet
    RUNNING = "running"  # Gemini thinks, or tools run
    WAITING = "waiting"  # at least one call waits for a person
    RESUMING = "resuming"  # every call is settled, the results are on their way
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    ATTENTION = "attention"  # something only a person can decide


ENDED: Final = frozenset({RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED})


class TurnStatus(StrEnum):
    """One interaction, from the intent to send it to its end."""

    INTENDED = "intended"  # to be created; nothing is on the wire
    SENDING = "sending"  # the create was claimed; it may be on the wire
    UNKNOWN = "unknown"  # the answer got lost; the interaction may or may not exist
    LOST = "lost"  # it did not show itself; a person says whether to send again
    REFUSED = "refused"  # Gemini does not go on from the interaction before; a person says how
    LIVE = "live"  # Gemini works on it
    ACTION = "action"  # Gemini waits for our function results
    ENDED = "ended"


class CallStatus(StrEnum):
    """One function call, from the model's wish to its one result."""

    PREVIEWING = "previewing"  # what it would do is being worked out, for the people who are asked
    AWAITING_APPROVAL = "awaiting_approval"
    READY = "ready"  # may run: allowed by policy, or approved
    EXECUTING = "executing"
    AWAITING_JOB = "awaiting_job"  # an external job (video, batch) will end it by an event
    IN_DOUBT = "in_doubt"  # cut off while executing; only a person knows whether it happened
    SETTLED = "settled"


class ApprovalStatus(StrEnum):
    """The question put to people about one call."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"


class Ruling(StrEnum):
    """What policy says about a call before any person is asked."""

    ALLOW = "allow"
    ASK = "ask"
    DENY = "deny"
    UNKNOWN = "unknown"  # no such tool in this workflow
    INVALID = "invalid"  # the arguments do not fit the tool's schema


class OutcomeKind(StrEnum):
    """How a call was settled; all but `succeeded` reach the model as an error result."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REJECTED = "rejected"
    EXPIRED = "expired"
    DENIED = "denied"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The one result of a call: `result` is what Gemini takes, a string, an object or content blocks."""

    kind: OutcomeKind
    result: str | JsonObject | list[JsonObject]

    @property
    def is_error(self) -> bool:
        return self.kind is not OutcomeKind.SUCCEEDED


@dataclass(frozen=True, slots=True)
class Actor:
    """Who did something, and by which door (`slack`, `api`, `shell`, `system`)."""

    id: str
    name: str = ""
    door: str = "system"


SYSTEM: Final = Actor("system")


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of a question: who decides in it, and how many of them must say yes."""

    name: str
    approvers: tuple[str, ...]
    quorum: int = 1


class Edits(StrEnum):
    """Whether the arguments of a call may be changed by who decides about it."""

    NO = "no"
    SAME = "same"  # an edit approves, as far as its author may
    OTHER = "other"  # somebody else approves it


class AtTimeout(StrEnum):
    """What becomes of a question nobody answered."""

    REJECT = "reject"
    ESCALATE = "escalate"  # others are asked too, once; after that it is rejected
    ATTENTION = "attention"  # the run waits for a person


@dataclass(frozen=True, slots=True)
class Terms:
    """Under which terms people are asked; frozen with the request.

    Args:
        approvers: Slack user ids, user group ids (`S…`), or `api:<token name>` for a machine's token.
        channel: Slack channel id the request is posted to; empty for none.
        expires_after: From the request to its lapse as a rejection.
        start_within: From the approval to the start of the tool.
        quorum: How many different approvers must say yes.
        stages: Instead of `approvers` and `quorum`: steps one after the other, each by other people.
        never: Who may not decide, whatever else lets them.
        four_eyes: Who asked for the run may not decide.
        edits: Whether the arguments may be changed.
        at_timeout: What becomes of it when nobody answers.
        escalate_to: Who may decide as well after the time is up; they get as much time again.
        reminders: After which shares of the time people are reminded.
        risk: In the team's words, for the card; empty for none.
        discreet: The channel sees no arguments; who may decide sees them in a window of their own.
        reason_required: A rejection needs a reason.
        calendar: The hours in which the time of a question runs; None for all.
        quiet_hours: In which nobody is reminded; None for none.
        dm_after: After which share of the time who may decide gets a direct message with the question; None
            for never.
        dm_fallback: They get it at once where the channel does not take the question.
        together: It may be decided in one go with other calls of its turn.
        answers: A person may answer in the tool's place, which then does not run.
        hidden: Names of the parameters whose values nobody is shown.
    """

    approvers: tuple[str, ...]
    channel: str = ""
    expires_after: timedelta = timedelta(hours=24)
    start_within: timedelta = timedelta(hours=1)
    quorum: int = 1
    stages: tuple[Stage, ...] = ()
    never: tuple[str, ...] = ()
    four_eyes: bool = False
    edits: Edits = Edits.NO
    at_timeout: AtTimeout = AtTimeout.REJECT
    escalate_to: tuple[str, ...] = ()
    reminders: tuple[float, ...] = (0.5, 0.9)
    risk: str = ""
    discreet: bool = False
    reason_required: bool = False
    calendar: Calendar | None = None
    quiet_hours: Calendar | None = None
    dm_after: float | None = None
    dm_fallback: bool = True
    together: bool = False
    answers: bool = False
    hidden: tuple[str, ...] = ()

    @property
    def steps(self) -> tuple[Stage, ...]:
        """Its stages; one without a name where none are given."""
        return self.stages or (Stage("", self.approvers, self.quorum),)


@dataclass(frozen=True, slots=True)
class Verdict:
    """A person's word; recorded once. `refine` sends a plan back, with the reason as what to change.

    `answer` is a JSON value that settles the call without running anything, so it is never an approval:
    `approve` is false beside it. `stop` is a no that ends the whole run.
    """

    approve: bool
    by: Actor
    at: datetime
    reason: str = ""
    refine: bool = False
    answer: Any = None
    stop: bool = False


@dataclass(frozen=True, slots=True)
class Vote:
    """One person's yes in one stage of a question that needs several."""

    by: Actor
    at: datetime
    stage: int = 0


@dataclass(frozen=True, slots=True)
class Place:
    """Where a message stands in Slack. `person` is whose direct messages these are; empty for a channel."""

    channel: str
    ts: str
    person: str = ""


@dataclass(frozen=True, slots=True)
class Preview:
    """What a call would do, as its tool worked it out without doing it.

    `text` is what people see and what is sealed: equal previews have equal text. `trouble` says why there
    is none. `before` is the text somebody had approved, where what it would do has changed since.
    """

    text: str
    trouble: str = ""
    before: str | None = None


@dataclass(frozen=True, slots=True)
class Approval:
    """One question about one call.

    `digest` seals everything that was shown and will run; `revision` grows when the question
    is put anew. `start_by` is set by an approval. `channel` and `ts` name the Slack message, `copies`
    those elsewhere. `votes` are the yeses so far; the last one needed is the verdict. `reminded` counts
    reminders; `escalated` says that others were asked too. `preview` is what it would do, of a tool that
    can tell.
    """

    id: str
    status: ApprovalStatus
    digest: str
    terms: Terms
    requested_at: datetime
    expires_at: datetime
    revision: int = 1
    start_by: datetime | None = None
    verdict: Verdict | None = None
    channel: str = ""
    ts: str = ""
    trouble: str = ""  # why it could not be shown
    votes: tuple[Vote, ...] = ()
    reminded: int = 0
    escalated: bool = False
    copies: tuple[Place, ...] = ()
    preview: Preview | None = None

    @property
    def open(self) -> bool:
        return self.status is ApprovalStatus.PENDING

    @property
    def answered(self) -> bool:
        """Whether a person's answer settled it: then nothing ever runs by it."""
        return self.verdict is not None and self.verdict.answer is not None

    @property
    def stage(self) -> int:
        """The stage whose answers count now; the last one when every stage has its yeses."""
        steps = self.terms.steps
        return next((n for n, s in enumerate(steps) if self.yeses(n) < s.quorum), len(steps) - 1)

    def yeses(self, stage: int) -> int:
        """How many people said yes in that stage."""
        return len({vote.by.id for vote in self.votes if vote.stage == stage})


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One function call. Its identity is (interaction, `call_id`), never name and arguments.

    `id` is ours, stable and derived: idempotent tools hand it on as their idempotency key.
    `claim` is the fencing token of the execution that may report an outcome.
    """

    id: str
    call_id: str
    tool: str
    arguments: JsonObject
    status: CallStatus
    idempotent: bool = False
    approval: Approval | None = None
    outcome: Outcome | None = None
    claim: str | None = None
    started_at: datetime | None = None
    settled_at: datetime | None = None

    @property
    def settled(self) -> bool:
        return self.status is CallStatus.SETTLED


@dataclass(frozen=True, slots=True)
class Turn:
    """One interaction of the chain.

    `attempt` counts sends of this turn: an attempt whose answer got lost is replaced, never
    repeated. `readings` counts consecutive readings that made no sense (unknown status, 404).
    `continuation` is Gemini's token when a cut answer is taken up again. `forgotten_at` is
    until when Gemini keeps the interaction; `said` is the model's text of it. `note` is a person's
    word that goes along with it; `planning` says whether an agent that plans first is to plan (True)
    or to carry its plan out (False); `environment` is the sandbox it works in. `batch` is the message its
    questions stand under, where there are several; without a `ts` it is still to be posted.
    """

    number: int
    attempt: int = 1
    status: TurnStatus = TurnStatus.INTENDED
    interaction_id: str | None = None
    previous_id: str | None = None
    gemini_status: str = ""
    readings: int = 0
    sent_at: datetime | None = None
    continuation: str | None = None
    forgotten_at: datetime | None = None
    said: str = ""
    note: str = ""
    planning: bool | None = None
    environment: str | None = None
    calls: tuple[ToolCall, ...] = ()
    batch: Place | None = None

    def call(self, call: str) -> ToolCall | None:
        """Our call of that id, if it belongs to this turn."""
        return next((c for c in self.calls if c.id == call), None)

    def by_approval(self, approval: str) -> ToolCall | None:
        return next((c for c in self.calls if c.approval and c.approval.id == approval), None)

    def with_call(self, call: ToolCall) -> "Turn":
        return replace(self, calls=tuple(call if c.id == call.id else c for c in self.calls))


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one run; crossing one ends it with that reason."""

    max_turns: int = 20
    max_calls_per_turn: int = 16
    max_bad_calls: int = 10  # unknown tools and arguments that do not fit, over the whole run
    max_duration: timedelta = timedelta(days=7)
    max_tokens: int | None = None  # of all turns; over it people are asked whether to go on


@dataclass(frozen=True, slots=True)
class Recipe:
    """A workflow as it stood when the run began: a run keeps its recipe for life.

    `terms` are those of the run's own questions: whether to carry a plan out, or to go on beyond a limit.
    """

    workflow: str
    model: str | None = None
    agent: str | None = None
    system_instruction: str | None = None
    tools: tuple[str, ...] = ()
    builtin_tools: tuple[JsonObject, ...] = ()
    generation_config: JsonObject = field(default_factory=dict)
    response_format: JsonObject | None = None
    agent_config: JsonObject | None = None
    environment: str | JsonObject | None = None
    terms: Terms | None = None
    limits: Limits = Limits()

    @property
    def plans(self) -> bool:
        """Whether the agent shows its plan first (Gemini API, Deep Research, `collaborative_planning`)."""
        return bool((self.agent_config or {}).get("collaborative_planning"))


@dataclass(frozen=True, slots=True)
class Run:
    """One execution of a workflow, with its newest turn.

    `version` is what a conditional save compares; `seq` numbers the events of the record.
    `reason` says why the run ended or what it waits for. `usage` sums token counts over turns.
    `granted` is the number of tokens used when a person let it go on beyond its limit, which counts
    anew from there. `restart_of` is the run whose work it takes up.
    """

    id: str
    recipe: Recipe
    status: RunStatus
    turn: Turn
    input: str
    requester: Actor
    created_at: datetime
    deadline: datetime
    output: str = ""
    reason: str = ""
    usage: Mapping[str, int] = field(default_factory=dict)
    bad_calls: int = 0
    granted: int = 0
    restart_of: str | None = None
    closed_at: datetime | None = None
    version: int = 0
    seq: int = 0

    @property
    def closed(self) -> bool:
        return self.status in ENDED


@dataclass(frozen=True, slots=True)
class Correlation:
    """What we sent along with a create, and find again on the interaction."""

    run: str
    turn: int
    attempt: int


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """A function call as the model asked for it. `arguments` is None when they were not an object."""

    id: str
    name: str
    arguments: JsonObject | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One reading of an interaction with our own key; the only truth about it.

    `calls` are those without a function result. `usage` holds total counts by name.
    """

    interaction_id: str
    status: str
    calls: tuple[FunctionCall, ...] = ()
    output: str = ""
    usage: Mapping[str, int] = field(default_factory=dict)
    errors: tuple[str, ...] = ()
    previous_id: str | None = None
    correlation: Correlation | None = None
    continuation: str | None = None
    environment: str | None = None


@dataclass(frozen=True, slots=True)
class Assessment:
    """What the toolkit and the policy say about one function call, at one moment.

    `arguments` are as they would run: validated, in the schema's types, plain JSON.
    `reason` is for the model when the call is not to run. `digest` seals all of it. `previews` says that
    the tool can tell what the call would do, `preview_required` that without that nobody is asked.
    """

    call_id: str
    tool: str
    ruling: Ruling
    arguments: JsonObject = field(default_factory=dict)
    reason: str = ""
    digest: str = ""
    idempotent: bool = False
    terms: Terms | None = None
    previews: bool = False
    preview_required: bool = True
    preview: Preview | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """Our own pace and patience, from the settings.

    Args:
        watch_every: The longest between two readings of a live interaction nobody told us about.
        watch_waiting_every: The same while Gemini waits for us and only retention can strike.
        create_grace: How long a create without an answer may still show itself.
        retry_lost_create: After the grace, send again (else ask a person).
        strange_readings: Readings with an unknown status before an alarm.
        missing_readings: 404s in a row before an interaction counts as gone.
        retention: How long Gemini keeps an interaction; after that nothing goes on from it.
        watch_growth: By which share of its age an interaction may be read later than that.
        watch_most: The longest this grows to.
        max_open: Most open questions about calls of one run.
    """

    watch_every: timedelta = timedelta(seconds=30)
    watch_waiting_every: timedelta = timedelta(hours=6)
    create_grace: timedelta = timedelta(seconds=30)
    retry_lost_create: bool = True
    strange_readings: int = 10
    missing_readings: int = 5
    retention: timedelta = timedelta(days=55)
    watch_growth: float = 0.0
    watch_most: timedelta = timedelta(minutes=1)
    max_open: int = 16


def exact(arguments: JsonObject) -> str:
    """Equal for equal JSON only, types and all."""
    return json.dumps(dict(arguments), sort_keys=True)


def call_key(run_id: str, interaction_id: str, call_id: str) -> str:
    """Our id of a function call: the same call has the same id wherever it is seen."""
    seed = "\0".join((run_id, interaction_id, call_id)).encode()
    return "call_" + hashlib.sha256(seed).hexdigest()[:24]


def approval_key(call: str, revision: int) -> str:
    """The id of the n-th question about a call."""
    return "apr_" + hashlib.sha256(f"{call}\0{revision}".encode()).hexdigest()[:24]


@dataclass(frozen=True, slots=True)
class FunctionResult:
    """One settled call as it goes back to Gemini; `result` as in `Outcome`."""

    call_id: str
    name: str
    result: str | JsonObject | list[JsonObject]
    is_error: bool = False


@dataclass(frozen=True, slots=True)
class CreateRequest:
    """Everything one create says; nothing is carried over between turns, so all of it each time.

    `input` is the caller's text on the first turn, the function results on later ones, and what a
    person said about a plan after that.
    `functions` are the declared tools as Gemini takes them (`type: function`).
    """

    recipe: Recipe
    correlation: Correlation
    input: str | tuple[FunctionResult, ...]
    functions: tuple[JsonObject, ...] = ()
    previous_id: str | None = None
    continuation: str | None = None
    planning: bool | None = None
    environment: str | None = None


@dataclass(frozen=True, slots=True)
class Card:
    """What a person is shown about one approval: a picture of the rows, drawn anew each time."""

    approval: Approval
    call: ToolCall
    run_id: str
    workflow: str
    requester: Actor
    run_status: RunStatus
    run_reason: str = ""
    description: str = ""  # the tool's own summary, from its docstring
    link: str = ""  # our page about the run, if we have a public address
    progress: str = ""  # how far the turn's other calls are
    forgotten_at: datetime | None = None  # until when Gemini keeps what waits for the answer
    taken_up_as: str = ""  # the run that took this one's work up, of a question about that
    taken_up_link: str = ""  # our page about it
    rejected_before: Verdict | None = None  # the newest no to the same call of this run
    rejections: int = 0  # how many there were
    thread: str = ""  # the message it stands under, by its ts; empty for one that stands alone


@dataclass(frozen=True, slots=True)
class BatchCard:
    """The message over the questions of one turn: a picture of the rows, drawn anew each time.

    `cards` are its questions in the order of the calls, `preparing` the tools whose questions are still
    being worked out. `place` has no `ts` before it is posted. `together` says that those that are open may
    be answered in one go.
    """

    run_id: str
    turn: int
    workflow: str
    requester: Actor
    run_status: RunStatus
    place: Place
    asked_at: datetime
    cards: tuple[Card, ...]
    preparing: tuple[str, ...] = ()
    together: bool = False
    link: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """What the toolkit knows about a wished call: policy applied, arguments made exact.

    `tool_version` hashes schema and code, `policy_version` the rule that was applied; both go
    into the digest. `reason` is for the model when the call may not run.
    """

    ruling: Ruling
    arguments: JsonObject = field(default_factory=dict)
    reason: str = ""
    idempotent: bool = False
    terms: Terms | None = None
    tool_version: str = ""
    policy_version: str = ""
    previews: bool = False
    preview_required: bool = True


@dataclass(frozen=True, slots=True)
class CallContext:
    """What a running tool may know. `call_id` is stable over restarts: the idempotency key."""

    call_id: str
    run_id: str
    workflow: str
    requester: Actor
    approved_by: Actor | None = None
