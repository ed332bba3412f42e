"""The whole of the settings, and what the rest of the service takes from them; nothing is read here."""

from datetime import timedelta
from typing import Annotated, Final

from pydantic import Field, model_validator

from orchestrator.domain.consent import AtTimeout, Edits, Terms
from orchestrator.domain.model import Policy, Recipe
from orchestrator.domain.terms import expand
from orchestrator.domain.values import replace
from orchestrator.errors import NotFoundError
from orchestrator.settings.addresses import OwnAddress, WorkflowName
from orchestrator.settings.approvals import Approvals
from orchestrator.settings.callbacks import Callbacks
from orchestrator.settings.environment import suggest
from orchestrator.settings.fields import UNIQUE, FromEnv, Items, Section
from orchestrator.settings.hours import quiet
from orchestrator.settings.jobs import Jobs
from orchestrator.settings.media import Media
from orchestrator.settings.retention import Retention
from orchestrator.settings.sections import (
    Api,
    Audit,
    Database,
    Gemini,
    Log,
    Server,
    Slack,
    Tools,
    Webhooks,
    Work,
)
from orchestrator.settings.storage import Storage
from orchestrator.settings.triggers import Trigger, TriggerName, TriggerSecret
from orchestrator.settings.workflows import Workflow

POLL_GROWTH: Final = 0.1
"""Of its age; so an end is noticed within about a tenth of what it took."""


class Settings(Section):
    """The whole of config.yaml and the environment, checked."""

    public_url: OwnAddress | None = Field(
        default=None, description="Our own address as others reach it; for links and webhooks. https."
    )
    server: Server = Server()
    database: Database = Database()
    work: Work = Work()
    gemini: Gemini = Gemini()
    webhooks: Webhooks = Webhooks()
    slack: Slack = Slack()
    approvals: Approvals = Approvals()
    tools: Tools = Tools()
    workflows: dict[WorkflowName, Workflow] = Field(
        default={}, description="The recipes runs are started from, by name."
    )
    jobs: Jobs = Jobs()
    triggers: dict[TriggerName, Trigger] = Field(
        default={}, description="What starts runs besides callers, by name."
    )
    trigger_secrets: Annotated[Items[TriggerSecret], UNIQUE, FromEnv(("TRIGGER_SECRETS",), needed=False)] = (
        Field(
            default=(),
            description="Secrets of triggers with `webhook: true`, `<trigger>=whsec_…`, separated by blanks"
            " or commas; several of one while rotating. With `;until=2026-12-01T00:00:00Z` one counts"
            " until then.",
        )
    )
    callbacks: Callbacks = Callbacks()
    api: Api = Api()
    storage: Storage = Storage()
    media: Media = Media()
    retention: Retention = Retention()
    audit: Audit = Audit()
    log: Log = Log()

    @model_validator(mode="before")
    @classmethod
    def _empty_sections(cls, data: object) -> object:
        """A heading with nothing below it is a section left at its defaults."""
        if not isinstance(data, dict):
            return data
        return {
            k: v for k, v in data.items() if not (v is None and k in cls.model_fields and k != "public_url")
        }

    def policy(self) -> Policy:
        """Our pace and patience, as the domain takes it."""
        g, polls = self.gemini, self.webhooks.mode == "poll"
        return Policy(
            watch_every=timedelta(seconds=g.poll_seconds if polls else g.reconcile_seconds),
            watch_waiting_every=timedelta(seconds=g.waiting_reconcile_seconds),
            create_grace=timedelta(seconds=g.create_grace_seconds),
            retry_lost_create=g.lost_create == "retry",
            strange_readings=g.strange_readings,
            missing_readings=g.missing_readings,
            watch_growth=POLL_GROWTH if polls else 0.0,
            watch_most=timedelta(seconds=g.poll_most_seconds),
            retention=timedelta(days=g.retention_days),
            max_open=self.approvals.max_open_per_run,
            jobs_at_once=self.jobs.at_once,
            job_grace=timedelta(seconds=self.jobs.grace_seconds),
            retry_lost_film=self.jobs.lost_film == "retry",
            max_open_per_approver=self.approvals.max_open_per_approver,
        )

    @property
    def readings_per_second(self) -> float:
        """The budget of readings: tight where they are all there is, else only against floods."""
        return self.gemini.gets_per_second or (50.0 if self.webhooks.mode == "poll" else 500.0)

    def default_terms(self) -> Terms:
        """Under which terms people are asked about a tool that has none of its own; roles spelled out."""
        a = self.approvals

        def people(entries: tuple[str, ...]) -> tuple[str, ...]:
            return expand(entries, a.roles)

        zone = a.calendar.timezone if a.calendar else "UTC"
        return Terms(
            approvers=people(a.approvers),
            channel=self.slack.channel if self.slack.enabled else "",
            expires_after=timedelta(seconds=a.timeout_seconds),
            start_within=timedelta(seconds=a.start_within_seconds),
            quorum=a.quorum,
            stages=tuple(replace(s.value, approvers=people(s.approvers)) for s in a.stages),
            never=people(a.never),
            four_eyes=a.four_eyes,
            edits=Edits(a.edits),
            at_timeout=AtTimeout(a.at_timeout),
            escalate_to=people(a.escalate_to),
            reminders=a.reminders,
            risk=a.risk,
            discreet=a.discreet,
            reason_required=a.reason_required,
            calendar=a.calendar.value if a.calendar else None,
            quiet_hours=quiet(a.quiet_hours, zone) if a.quiet_hours else None,
            dm_after=a.dm_after,
            dm_fallback=a.dm_fallback,
            answers=a.answers,
            together=a.together,
        )

    def recipe(self, name: str) -> Recipe:
        """The workflow as a run keeps it. Raises `NotFoundError` for a name that is not configured."""
        usual = self.approvals.digest
        if (workflow := self.workflows.get(name)) is None:
            raise NotFoundError(f"there is no workflow {name!r}{suggest(name, self.workflows)}")
        return workflow.recipe(name, self.default_terms(), usual.value if usual else None)
