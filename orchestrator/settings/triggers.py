"""What starts runs besides callers: each trigger's times or source, its mapping, its unattended contract."""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, Self

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, Field, model_validator

from orchestrator.domain.consent import AtTimeout, Contract
from orchestrator.domain.terms import expand
from orchestrator.settings.addresses import Approver, ChannelId, WorkflowName, ending, webhook_secret
from orchestrator.settings.approvals import Ending
from orchestrator.settings.environment import suggest
from orchestrator.settings.fields import UNIQUE, Items, Path, Section, shaped
from orchestrator.settings.hours import TimeZone
from orchestrator.settings.secrets import Secret
from orchestrator.settings.workflows import Workflow

WEEK_MINUTES: Final = 7 * 24 * 60
TRIGGER_NAME: Final = r"[a-z][a-z0-9_-]{0,63}"
_NAME: Final = re.compile(TRIGGER_NAME, re.ASCII)
_ANY_DAY: Final = datetime(2026, 1, 1, tzinfo=UTC)

TriggerName = Annotated[str, shaped(TRIGGER_NAME, "a trigger's name: lower case letters, digits, _ and -")]


def _cron(text: str) -> str:
    if len(text.split()) != 5:
        raise ValueError("must have five fields: minute, hour, day, month, day of the week")
    try:
        next(CronSim(text, _ANY_DAY), None)
    except CronSimError as e:
        raise ValueError(f"is no cron expression: {e}") from None
    return text


def _secret(secret: Secret) -> Secret:
    """`<trigger>=whsec_…`."""
    name, _, own = secret.reveal().partition("=")
    if not _NAME.fullmatch(name):
        raise ValueError("must be <trigger>=whsec_…")
    key, _ = ending(webhook_secret(Secret(own)))
    if len(key.reveal()) < len("whsec_") + 32:  # as Standard Webhooks has it; this one is of our own making
        raise ValueError("must hold at least 24 bytes: `openssl rand -base64 32`, after <trigger>=whsec_")
    return secret


CronExpression = Annotated[str, AfterValidator(_cron)]
FeedAddress = Annotated[
    str, shaped(r"https?://[!-~]{1,2000}", "an address that begins with https://, without blanks")
]
TriggerSecret = Annotated[Secret, AfterValidator(_secret)]
Expression = Annotated[str, Field(min_length=1, max_length=2000)]


class Trigger(Section):
    """Something that starts runs of one workflow: `cron`, `feed` or `webhook`, one of them."""

    workflow: WorkflowName = Field(description="What it starts.")
    cron: CronExpression | None = Field(
        default=None, description="When: minute, hour, day, month, day of the week, as `0 22 * * mon-fri`."
    )
    timezone: TimeZone = Field(
        default="UTC", description="Where the times of `cron` are meant, such as `Europe/Berlin`."
    )
    missed: Literal["run_once", "skip", "run_all"] = Field(
        default="run_once",
        description="Times that passed while nobody worked: one run for all, none, or one each.",
    )
    missed_most: int = Field(
        default=24, ge=1, le=500, description="With `run_all`: the newest so many; older ones are skipped."
    )
    feed: FeedAddress | None = Field(default=None, description="Address of an RSS or Atom feed.")
    internal: bool = Field(
        default=False,
        description="The feed's host, with its port, may be asked without TLS and on a private address.",
    )
    every_minutes: float = Field(
        default=15, ge=1, le=WEEK_MINUTES, description="Between two readings of the feed."
    )
    first: Literal["latest", "all", "none"] = Field(
        default="latest", description="Which entries start runs when the feed is read for the first time."
    )
    webhook: bool = Field(
        default=False,
        description="Takes signed deliveries at `/v1/triggers/<name>`; needs a secret of `trigger_secrets`.",
    )
    text: Expression | None = Field(
        default=None,
        description="CEL expression that makes the input, of a workflow that takes plain text; sees"
        " `occurrence`, and `entry` or `body`.",
    )
    input: dict[str, Expression] = Field(
        default={}, description="The same for each field of the input, of a workflow that takes fields."
    )
    approvers: Annotated[Items[Approver], UNIQUE] = Field(
        default=(),
        description="Who decides in its runs, where one stage decides; else whoever the terms name.",
    )
    channel: ChannelId | None = Field(default=None, description="Slack channel id its requests go to.")
    on_no_answer: Ending | None = Field(
        default=None, description="What becomes of its requests when nobody answers, over `at_timeout`."
    )
    escalate_to: Annotated[Items[Approver], UNIQUE] = Field(
        default=(), description="Who may decide as well then; needed with `on_no_answer: escalate`."
    )

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        sources = [self.cron is not None, self.feed is not None, self.webhook]
        if sum(sources) != 1:
            raise ValueError("must have cron, feed or webhook: true, one of them")
        if (self.text is None) == (not self.input):
            raise ValueError("must have text or input, one of them")
        if (self.on_no_answer == "escalate") != bool(self.escalate_to):
            raise ValueError("on_no_answer: escalate and escalate_to go together")
        return self

    @model_validator(mode="after")
    def _nothing_idle(self) -> Self:
        """A key that does nothing was meant for something."""
        groups: Mapping[str, tuple[bool, Sequence[str]]] = {
            "cron": (self.cron is not None, ("timezone", "missed", "missed_most")),
            "feed": (self.feed is not None, ("internal", "every_minutes", "first")),
        }
        for needed, (there, keys) in groups.items():
            for key in keys:
                if not there and key in self.model_fields_set:
                    raise ValueError(f"{key} belongs to {needed}")
        if "missed_most" in self.model_fields_set and self.missed != "run_all":
            raise ValueError("missed_most belongs to missed: run_all")
        return self

    def contract(self, roles: Mapping[str, Sequence[str]]) -> Contract | None:
        """What its runs' questions go by; None where it says nothing. Raises `ConfigError`: no such role."""
        told = Contract(
            approvers=expand(self.approvers, roles),
            channel=self.channel or "",
            on_no_answer=AtTimeout(self.on_no_answer) if self.on_no_answer else None,
            escalate_to=expand(self.escalate_to, roles),
        )
        return told if told != Contract() else None

    @property
    def place(self) -> str:
        """Host and port of its feed."""
        scheme, _, rest = (self.feed or "").partition("://")
        host = re.split("[/?#]", rest, maxsplit=1)[0]
        return host if re.search(r":[0-9]+$", host) else f"{host}:{443 if scheme == 'https' else 80}"

    @property
    def sees(self) -> tuple[str, ...]:
        """The names its expressions may use."""
        return ("occurrence", *(("entry",) if self.feed else ("body",) if self.webhook else ()))


def signing(secrets: Sequence[Secret]) -> dict[str, list[tuple[Secret, Any]]]:
    """The secrets of each trigger, each with the instant from which on it counts no longer."""
    found: dict[str, list[tuple[Secret, Any]]] = {}
    for secret in secrets:
        name, _, own = secret.reveal().partition("=")
        found.setdefault(name, []).append(ending(Secret(own)))
    return found


def trigger_faults(
    triggers: Mapping[str, Trigger], workflows: Mapping[str, Workflow]
) -> Iterator[tuple[Path, str]]:
    """What a trigger says that does not fit what else is set: path and text."""
    for name, trigger in triggers.items():
        path: Path = ("triggers", name)
        workflow = workflows.get(trigger.workflow)
        if workflow is None:
            yield (*path, "workflow"), f"is no workflow{suggest(trigger.workflow, workflows)}"
            continue
        yield from (((*path, *below), text) for below, text in _misfits(trigger, workflow.input))


def _misfits(trigger: Trigger, schema: Mapping[str, Any] | None) -> Iterator[tuple[Path, str]]:
    if schema is None:
        if trigger.text is None:
            yield ("input",), "does not fit: the workflow takes plain text; give text"
        return
    if trigger.text is not None:
        yield ("text",), "does not fit: the workflow takes fields; give input"
        return
    known = schema.get("properties", {})
    for field in trigger.input:
        if known and field not in known:
            yield ("input", field), f"is no field of the workflow's input{suggest(field, known)}"
    for field in schema.get("required", ()):
        if field not in trigger.input:
            yield ("input",), f"lacks {field}, which the workflow's input needs"
