"""What people are asked, under which terms, and what they said: the frozen values of an approval."""

import hashlib
import re
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from orchestrator.domain.calendar import Calendar
from orchestrator.domain.daily import Daily
from orchestrator.domain.values import Value

TENANT: Final = "default"
"""Whose runs these are, as long as there is one tenant."""

SEAL: Final = 2
"""How digests are made; grows when what goes into them does. 1 was without the tenant."""


class ApprovalStatus(StrEnum):
    """The question put to people about one call."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"


class Actor(Value):
    """Who did something, and by which door (`slack`, `api`, `shell`, `trigger`, `system`)."""

    id: str
    name: str = ""
    door: str = "system"


SYSTEM: Final = Actor("system")
DOORS: Final = {"slack": "in Slack", "api": "by the HTTP API", "shell": "on the command line"}
"""How it is said by which door a person decided."""
SLACK_USER: Final = re.compile(r"[UW][A-Z0-9]{2,}", re.ASCII)
"""A Slack user id, whole: a person who can be mentioned and written to."""


class Stage(Value):
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


class Terms(Value):
    """Under which terms people are asked; frozen with the request.

    Args:
        approvers: Slack user ids, user group ids (`S…`), or `api:<token name>` for a machine's token.
        channel: Slack channel id the request is posted to; empty for none.
        expires_after: From the request to its lapse as a rejection.
        start_within: From the approval to the start of the tool.
        quorum: How many different approvers must say yes.
        stages: Instead of `approvers` and `quorum`: steps one after the other, each by other people.
        never: Who may not decide, whatever else lets them.
        four_eyes: Who asked for the run, or for the work it takes up, may not decide.
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
        together: It may be decided in one go with other calls of its turn, or of its digest message.
        answers: A person may answer in the tool's place, which then does not run.
        hidden: Names of the parameters whose values nobody is shown.
        collect: When it is shown, together with others; None for at once.
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
    collect: Daily | None = None

    @property
    def steps(self) -> tuple[Stage, ...]:
        """Its stages; one without a name where none are given."""
        return self.stages or (Stage("", self.approvers, self.quorum),)


class Contract(Value):
    """What a trigger says about the questions of its runs, over the terms of each tool and workflow.

    Args:
        approvers: Who decides where one step decides; empty for whoever the terms name.
        channel: Slack channel id; empty for that of the terms.
        on_no_answer: What becomes of a question nobody answered; None for what the terms say.
        escalate_to: Who is asked as well then, with `on_no_answer` escalate.
    """

    approvers: tuple[str, ...] = ()
    channel: str = ""
    on_no_answer: AtTimeout | None = None
    escalate_to: tuple[str, ...] = ()


class Verdict(Value):
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


class Vote(Value):
    """One person's yes in one stage of a question that needs several."""

    by: Actor
    at: datetime
    stage: int = 0


class Place(Value):
    """Where a message stands in Slack. `person` is whose direct messages these are; empty for a channel."""

    channel: str
    ts: str
    person: str = ""


class Inquiry(Value):
    """What somebody who may decide asked whoever asked for the run. Its number is its place, from 1.

    `places` are the messages in which it can be answered.
    """

    by: Actor
    at: datetime
    text: str
    answer: str = ""
    answered_by: Actor | None = None
    answered_at: datetime | None = None
    places: tuple[Place, ...] = ()

    @property
    def answered(self) -> bool:
        return self.answered_by is not None


class Preview(Value):
    """What a call would do, as its tool worked it out without doing it.

    `text` is what people see and what is sealed: equal previews have equal text. `trouble` says why there
    is none. `before` is the text somebody had approved, where what it would do has changed since.
    """

    text: str
    trouble: str = ""
    before: str | None = None


class Approval(Value):
    """One question about one call.

    `digest` seals everything that was shown and will run, made as `seal` says; `revision` grows when the
    question is put anew. `start_by` is set by an approval. `channel` and `ts` name the Slack message,
    `copies` those elsewhere. `votes` are the yeses so far; the last one needed is the verdict. `reminded`
    counts reminders; `escalated` says that others were asked too. `preview` is what it would do, of a tool
    that can tell. `collected` names the digest message it is shown in; empty for one that is shown at once.
    `since` is when such a one was shown: from then on its time runs. `questions` were asked back, of
    whoever asked for the run.
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
    collected: str = ""
    since: datetime | None = None
    questions: tuple[Inquiry, ...] = ()
    seal: int = SEAL

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


def approval_key(call: str, revision: int) -> str:
    """The id of the n-th question about a call."""
    return "apr_" + hashlib.sha256(f"{call}\0{revision}".encode()).hexdigest()[:24]
