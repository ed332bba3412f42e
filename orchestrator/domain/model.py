"""The frozen values everything else is about: a run, its current turn, calls and approvals.

A run is a chain of interactions. Only the newest turn can still move, so `Run` holds that one;
older turns are rows that people read and nothing decides on.
"""

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from orchestrator.domain.callbacks import Callback
from orchestrator.domain.consent import Actor, Approval, Contract, Place, Terms
from orchestrator.domain.daily import Daily
from orchestrator.domain.jobs import Job
from orchestrator.domain.pipeline import Step, StepKind
from orchestrator.domain.plain import JsonObject
from orchestrator.domain.sources import Source
from orchestrator.domain.values import Value, field, replace


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
    LOST = "lost"  # it did not show itself, or a call of it is gone; a person says what now
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


class OutcomeKind(StrEnum):
    """How a call was settled; all but `succeeded` reach the model as an error result."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REJECTED = "rejected"
    EXPIRED = "expired"
    DENIED = "denied"
    WITHDRAWN = "withdrawn"


class Outcome(Value):
    """The one result of a call: `result` is what Gemini takes, a string, an object or content blocks."""

    kind: OutcomeKind
    result: str | JsonObject | list[JsonObject]

    @property
    def is_error(self) -> bool:
        return self.kind is not OutcomeKind.SUCCEEDED


class ToolCall(Value):
    """One function call. Its identity is (interaction, `call_id`), never name and arguments.

    `id` is ours, stable and derived: idempotent tools hand it on as their idempotency key.
    `claim` is the fencing token of the execution that may report an outcome. `jobs` are those it waits for.
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
    jobs: tuple[Job, ...] = ()

    @property
    def settled(self) -> bool:
        return self.status is CallStatus.SETTLED


class Turn(Value):
    """One interaction of the chain.

    `attempt` counts sends of this turn: an attempt whose answer got lost is replaced, never
    repeated. `readings` counts consecutive readings that made no sense (unknown status, 404); while nobody
    knows what became of the create, it is 1 once the grace was prolonged.
    `continuation` is Gemini's token when a cut answer is taken up again. `forgotten_at` is
    until when Gemini keeps the interaction; `said` is the model's text of it. `note` is a person's
    word that goes along with it, or what its step tells the agent; `planning` says whether an agent that
    plans first is to plan (True) or to carry its plan out (False); `environment` is the sandbox it works
    in. `batch` is the message its questions stand under, where there are several; without a `ts` it is
    still to be posted. A turn of a tool's step has no interaction: its one call is ours.
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

    def by_job(self, job: str) -> tuple[ToolCall, Job] | None:
        """The job of that id, with the call that waits for it."""
        return next(((c, j) for c in self.calls for j in c.jobs if j.id == job), None)

    def with_call(self, call: ToolCall) -> "Turn":
        return replace(self, calls=tuple(call if c.id == call.id else c for c in self.calls))


class Limits(Value):
    """Bounds of one run; crossing one ends it with that reason."""

    max_turns: int = 20
    max_calls_per_turn: int = 16
    max_bad_calls: int = 10  # unknown tools and arguments that do not fit, over the whole run
    max_duration: timedelta = timedelta(days=7)
    max_tokens: int | None = None  # of all turns; over it people are asked whether to go on


class Recipe(Value):
    """A workflow as it stood when the run began: a run keeps its recipe for life.

    `terms` are those of the run's own questions: whether to carry a plan out, or to go on beyond a limit.
    `steps` are done one after the other; without any, who is named here thinks. `hooks` are the workflows
    that are started when a run of it ends, by its end: `completed`, `failed`, `cancelled`.
    `contract` is what the trigger that started it says about all its questions.
    `collect` is when people are shown what its runs ask; None for at once. `callbacks` are told of news.
    `asked_before` are the ids of those who asked for the work before somebody had this run take it up.
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
    contract: Contract | None = None
    collect: Daily | None = None
    callbacks: tuple[Callback, ...] = ()
    asked_before: tuple[str, ...] = ()

    steps: tuple[Step, ...] = ()
    hooks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def callable(self) -> tuple[str, ...]:
        """Every tool a run of it may call, those of its steps included."""
        in_steps = (t for s in self.steps for t in (s.tool, *(s.thinker.tools if s.thinker else ())) if t)
        return tuple(dict.fromkeys((*self.tools, *in_steps)))

    @property
    def plans(self) -> bool:
        """Whether the agent shows its plan first (Gemini API, Deep Research, `collaborative_planning`)."""
        return bool((self.agent_config or {}).get("collaborative_planning"))


class Run(Value):
    """One execution of a workflow, with its newest turn.

    `version` is what a conditional save compares; `seq` numbers the events of the record.
    `output` is what it came to; while it lives, what there is of an answer that was cut.
    `reason` says why the run ended or what it waits for. `usage` sums token counts over turns.
    `granted` is the number of tokens used when a person let it go on beyond its limit, which counts
    anew from there. `restart_of` is the run whose work it takes up. `step` is the one of its recipe it is
    at, `outputs` what those before came to, by name. `sources` are the pages its model's texts cite.
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
    step: int = 0
    outputs: JsonObject = field(default_factory=dict)
    sources: tuple[Source, ...] = ()

    @property
    def asked_for_it(self) -> tuple[str, ...]:
        """Who asked for the run, or for the work it takes up, by their ids."""
        return self.requester.id, *self.recipe.asked_before

    @property
    def doing(self) -> Step | None:
        """The step it is at; None for a workflow without steps."""
        return self.recipe.steps[self.step] if self.recipe.steps else None

    @property
    def calls_a_tool(self) -> bool:
        """Whether it is at a step nobody thinks in: its turn is a call of ours and no interaction."""
        return self.doing is not None and self.doing.kind is StepKind.TOOL

    @property
    def acting(self) -> Recipe:
        """The recipe as it is for this step."""
        step = self.doing
        if step is None:
            return self.recipe
        if step.thinker is None:
            return replace(self.recipe, tools=(step.tool,))
        fields = {name: getattr(step.thinker, name) for name in step.thinker.__struct_fields__}
        return replace(self.recipe, **fields)

    @property
    def closed(self) -> bool:
        return self.status in ENDED


class Policy(Value):
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
        max_open_per_approver: Most open questions of each of those who could decide about a new one.
        jobs_at_once: How many jobs of one call are under way at Gemini.
        job_grace: How long a job whose start had no answer may still show itself.
        retry_lost_film: After that, send a film again, which may have been made (else it is lost).
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
    max_open_per_approver: int = 100
    jobs_at_once: int = 10
    job_grace: timedelta = timedelta(minutes=15)
    retry_lost_film: bool = False


def call_key(run_id: str, interaction_id: str, call_id: str) -> str:
    """Our id of a function call: the same call has the same id wherever it is seen."""
    seed = "\0".join((run_id, interaction_id, call_id)).encode()
    return "call_" + hashlib.sha256(seed).hexdigest()[:24]
