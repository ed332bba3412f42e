"""Who is asked, how, and for how long: by default, for one tool, for one tool in one workflow."""

from datetime import timedelta
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from orchestrator.domain.consent import Stage
from orchestrator.domain.terms import MAX_QUORUM, MAX_REMINDERS, MAX_RISK_CHARS, MAX_STAGES
from orchestrator.settings.addresses import Approver, ChannelId, Decider, RoleName, ToolPattern
from orchestrator.settings.fields import UNIQUE, Items, Section, shaped
from orchestrator.settings.hours import (
    NO_CALENDAR,
    NONE,
    CalendarOrNone,
    DigestHour,
    QuietHours,
    QuietOrNone,
    WorkingCalendar,
    quiet,
)

DAY_SECONDS: Final = 86_400
RETENTION_DAYS: Final = 55
"""The longest Gemini keeps an interaction."""


def _ascending(shares: tuple[float, ...]) -> tuple[float, ...]:
    if not all(0 < share < 1 for share in shares) or list(shares) != sorted(set(shares)):
        raise ValueError("must be shares between 0 and 1, the smaller ones first")
    return shares


def _named_once(stages: "tuple[ApprovalStage, ...]") -> "tuple[ApprovalStage, ...]":
    if len({stage.name for stage in stages}) < len(stages):
        raise ValueError("has two stages of one name")
    return stages


class ApprovalStage(Section):
    """One step of a question that is asked step by step."""

    name: Annotated[str, shaped(r"[a-z][a-z0-9_ -]{0,31}", "lower case letters, digits, blanks, _ and -")] = (
        Field(description="What the card calls it, such as `legal`.")
    )
    approvers: Annotated[Items[Approver], UNIQUE] = Field(
        min_length=1, description="Who decides in this step."
    )
    quorum: int = Field(default=1, ge=1, le=MAX_QUORUM, description="How many of them must say yes.")

    @property
    def value(self) -> Stage:
        """As the domain takes it; roles are still roles."""
        return Stage(self.name, self.approvers, self.quorum)


class ForbiddenCalls(Section):
    """Calls that no rule and no approver lets pass."""

    tool: ToolPattern = Field(description="A tool's name, or a pattern such as `delete_*`.")
    when: str | None = Field(
        default=None,
        min_length=1,
        description="CEL expression over `args` and `workflow`; one that fails refuses too. Absent: all.",
    )
    reason: Annotated[str, shaped(r"[^\x00-\x1f\x7f]{1,300}", "one line of at most 300 characters")] = Field(
        description="Why; the model is told."
    )


Stages = Annotated[Items[ApprovalStage], AfterValidator(_named_once)]
Shares = Annotated[Items[float], AfterValidator(_ascending)]
Edited = Literal["no", "same", "other"]
Ending = Literal["reject", "escalate", "attention"]
Risk = Annotated[
    str,
    shaped(rf"[^\x00-\x1f\x7f]{{0,{MAX_RISK_CHARS}}}", f"one line of at most {MAX_RISK_CHARS} characters"),
]


class Approvals(Section):
    """Who is asked by default, how, and for how long; and what nobody may allow."""

    approvers: Annotated[Items[Approver], UNIQUE] = Field(
        default=(),
        description="Slack user ids, user group ids (`S…`), `api:<token name>` or `role:<name>`;"
        " a tool's override replaces them.",
    )
    roles: dict[RoleName, Annotated[Items[Decider], UNIQUE]] = Field(
        default={}, description="Who stands behind `role:<name>`, by name; the same entries without roles."
    )
    quorum: int = Field(
        default=1, ge=1, le=MAX_QUORUM, description="How many different approvers must say yes."
    )
    stages: Stages = Field(
        default=(),
        max_length=MAX_STAGES,
        description="Instead of `approvers` and `quorum`: steps one after the other, each by other people.",
    )
    never: Annotated[Items[Approver], UNIQUE] = Field(
        default=(), description="Who may not decide, whatever else lets them; those of a tool are added."
    )
    four_eyes: bool = Field(default=False, description="Who asked for the run may not decide.")
    edits: Edited = Field(
        default="no",
        description="Whether approvers may change the arguments: `no`; `same`: an edit approves as well;"
        " `other`: somebody else approves it.",
    )
    at_timeout: Ending = Field(
        default="reject",
        description="When nobody answers in time: `reject`, `escalate` once, or `attention`.",
    )
    escalate_to: Annotated[Items[Approver], UNIQUE] = Field(
        default=(),
        description="Who may decide as well after the time is up, for as long again;"
        " needed with `at_timeout: escalate`.",
    )
    reminders: Shares = Field(
        default=(0.5, 0.9),
        max_length=MAX_REMINDERS,
        description="After which shares of the time people are reminded; at most three.",
    )
    risk: Risk = Field(default="", description="Shown on the card, in the team's words.")
    discreet: bool = Field(
        default=False,
        description="The channel sees no arguments; approvers see them in a window of their own.",
    )
    reason_required: bool = Field(default=False, description="A rejection needs a reason.")
    calendar: WorkingCalendar | None = Field(
        default=None,
        description="Working hours: `timeout_seconds` counts in them only; absent: always.",
    )
    quiet_hours: QuietHours | None = Field(
        default=None,
        description="When nobody is reminded, such as `22:00-07:00`, in the calendar's time zone (else UTC)"
        " or in one named behind it: `22:00-07:00 Europe/Berlin`.",
    )
    digest: DigestHour | None = Field(
        default=None,
        description="When requests of workflows with `attended: false` are shown, in one message per"
        " channel.",
    )
    dm_after: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="After which share of the time each approver gets the request as a direct message;"
        " 0: at once, absent or 1: never.",
    )
    dm_fallback: bool = Field(
        default=True,
        description="Approvers get it as a direct message where the channel does not take the request.",
    )
    answers: bool = Field(
        default=False, description="A person may answer in the tool's place, which then does not run."
    )
    together: bool = Field(
        default=False,
        description="Several of a turn, or alike ones of a digest, may be decided in one go, in a window that"
        " shows them all.",
    )
    timeout_seconds: float = Field(
        default=86_400,
        gt=0,
        le=RETENTION_DAYS * DAY_SECONDS,
        description="How long a request waits for an answer, then `at_timeout`; below Gemini's retention.",
    )
    start_within_seconds: float = Field(
        default=3600,
        gt=0,
        le=30 * DAY_SECONDS,
        description="An approved call that has not started by then lapses.",
    )
    max_open_per_run: int = Field(
        default=16, ge=1, le=256, description="Most open requests of one run; a further call is denied."
    )
    max_open_per_approver: int = Field(
        default=100,
        ge=1,
        le=10_000,
        description="A call that would be put only to approvers who have so many open requests is denied;"
        " a user group counts as one.",
    )
    forbidden: Items[ForbiddenCalls] = Field(
        default=(), max_length=100, description="Calls that are refused before any rule is looked at."
    )


class PolicyOverride(Section):
    """What the operator says about the calls of one tool; a key left out leaves what the tool itself says."""

    approval: Literal["allow", "ask", "deny"] | None = Field(
        default=None, description="Run without asking, ask a person, or refuse."
    )
    when: str | None = Field(
        default=None,
        min_length=1,
        description="CEL expression over `args` and `workflow` that narrows `approval`.",
    )
    approvers: Annotated[Items[Approver], UNIQUE] | None = Field(
        default=None, min_length=1, description="Who is asked about this tool."
    )
    quorum: int | None = Field(
        default=None, ge=1, le=MAX_QUORUM, description="How many different approvers must say yes."
    )
    stages: Stages | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_STAGES,
        description="Instead of `approvers` and `quorum`: steps, each by other people.",
    )
    never: Annotated[Items[Approver], UNIQUE] | None = Field(
        default=None, description="Who may not decide about it, beside those who may not decide at all."
    )
    four_eyes: bool | None = Field(default=None, description="Who asked for the run may not decide.")
    edits: Edited | None = Field(default=None, description="Whether approvers may change the arguments.")
    at_timeout: Ending | None = Field(default=None, description="What becomes of it when nobody answers.")
    escalate_to: Annotated[Items[Approver], UNIQUE] | None = Field(
        default=None, min_length=1, description="Who may decide as well after the time is up."
    )
    reminders: Shares | None = Field(
        default=None,
        max_length=MAX_REMINDERS,
        description="After which shares of the time people are reminded.",
    )
    risk: Risk | None = Field(default=None, description="Shown on the card, in the team's words.")
    discreet: bool | None = Field(default=None, description="The channel sees no arguments.")
    reason_required: bool | None = Field(default=None, description="A rejection needs a reason.")
    calendar: CalendarOrNone | None = Field(
        default=None, description="Working hours for this tool; `none`: its time always runs."
    )
    quiet_hours: QuietOrNone | None = Field(
        default=None, description="When nobody is reminded of its requests; `none`: at any hour."
    )
    dm_after: float | None = Field(
        default=None, ge=0, le=1, description="After which share of the time approvers get direct messages."
    )
    dm_fallback: bool | None = Field(
        default=None, description="Direct messages where the channel does not take the request."
    )
    answers: bool | None = Field(
        default=None, description="A person may answer in the tool's place, which then does not run."
    )
    together: bool | None = Field(
        default=None, description="It may be decided in one go with others of its turn."
    )
    channel: ChannelId | None = Field(default=None, description="Slack channel id for this tool's requests.")
    timeout_seconds: float | None = Field(
        default=None, gt=0, le=RETENTION_DAYS * DAY_SECONDS, description="How long its requests stay open."
    )
    start_within_seconds: float | None = Field(
        default=None, gt=0, le=30 * DAY_SECONDS, description="How soon after the approval it must start."
    )

    @model_validator(mode="after")
    def _when_narrows_something(self) -> Self:
        if self.when is not None and self.approval is None:
            raise ValueError("when needs approval beside it, because the one gives the other its meaning")
        return self

    def said(self) -> dict[str, Any]:
        """What is said, by the names of the toolkit's rules; spans of time as such, roles still as roles."""
        plain = {name: getattr(self, name) for name in PolicyOverride.model_fields}
        spans = {
            "expires_after": plain.pop("timeout_seconds"),
            "start_within": plain.pop("start_within_seconds"),
        }
        plain |= {name: timedelta(seconds=seconds) for name, seconds in spans.items() if seconds is not None}
        if self.calendar is not None:
            plain["calendar"] = NONE if self.calendar is NO_CALENDAR else self.calendar.value
        if self.quiet_hours is not None:
            plain["quiet_hours"] = NONE if self.quiet_hours == NONE else quiet(self.quiet_hours)
        plain["stages"] = self.stages and tuple(stage.value for stage in self.stages)
        return {name: value for name, value in plain.items() if value is not None}
