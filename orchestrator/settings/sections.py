"""The sections: every setting with its default, its bounds and what it is; `table.py` prints them for people.

Values only: nothing here reads a file or a variable. Numbers carry their unit in their name.
"""

from datetime import UTC, datetime
from hashlib import sha256
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field, field_validator

from orchestrator.domain.registration import EVENTS
from orchestrator.settings.addresses import (
    AppId,
    ChannelId,
    DatabaseAddress,
    EventName,
    GeminiAddress,
    HeaderSecret,
    HostName,
    ListenAddress,
    ModuleName,
    ServiceAddress,
    SlackAddress,
    TeamId,
    TokenName,
    ToolName,
    UserId,
    WebhookSecret,
    WebhookToken,
    carries_password,
    ending,
)
from orchestrator.settings.approvals import RETENTION_DAYS, PolicyOverride
from orchestrator.settings.fields import PLAIN_WORD, UNIQUE, FromEnv, Items, Section, shaped
from orchestrator.settings.secrets import Secret

MIB: Final = 1024 * 1024
DAY_SECONDS: Final = 86_400
SCOPES: Final = ("trigger", "read", "decide", "operate")
ENV_TOKEN: Final = "env"  # noqa: S105 - the name of a token, not a token
Scope = Literal["trigger", "read", "decide", "operate"]


class Server(Section):
    """Where the service listens, and how much it takes in at once."""

    host: ListenAddress = Field(default="127.0.0.1", min_length=1, description="Address to listen on.")
    port: int = Field(default=8080, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    max_body_bytes: int = Field(default=MIB, ge=1024, le=64 * MIB, description="Largest API request body.")
    max_webhook_bytes: int = Field(
        default=MIB, ge=1024, le=64 * MIB, description="Largest body taken from Gemini or Slack."
    )
    graceful_seconds: float = Field(
        default=10, ge=0, le=600, description="How long a stop waits for requests and running tools."
    )


class Database(Section):
    """Where runs are kept. SQLite for one process, PostgreSQL for more."""

    url: Annotated[DatabaseAddress, FromEnv(("DATABASE_URL",), needed=False, in_file=True)] = Field(
        default=Secret("sqlite:///orchestrator.db"),
        description="`sqlite:///<file>` or `postgresql+psycopg://…`. With a password: by variable only.",
    )
    readers: int = Field(
        default=4, ge=1, le=64, description="Connections for reading beside SQLite's one writer."
    )
    pool: int = Field(default=16, ge=1, le=256, description="Connections (and threads) to PostgreSQL.")

    @property
    def shown(self) -> str:
        """The address for people: as given, or `***` after the scheme when it carries a password."""
        text = self.url.reveal()
        return f"{text.partition('://')[0]}://{self.url}" if carries_password(text) else text


class Work(Section):
    """How much one process does at once, and who carries the work between processes."""

    dispatcher: Literal["auto", "embedded", "pgqueuer"] = Field(
        default="auto",
        description="`embedded`: one process. `pgqueuer`: any number on PostgreSQL. `auto`: by the database.",
    )
    gemini_slots: int = Field(default=64, ge=1, le=256, description="Requests to Gemini at once.")
    tools_slots: int = Field(default=16, ge=1, le=256, description="Tools running at once.")
    slack_slots: int = Field(default=4, ge=1, le=64, description="Messages to Slack at once.")
    files_slots: int = Field(default=4, ge=1, le=64, description="Results of long jobs copied here at once.")
    callbacks_slots: int = Field(default=8, ge=1, le=64, description="Messages to callers at once.")
    triggers_slots: int = Field(
        default=4, ge=1, le=64, description="Triggers looked after at once, feeds being read among them."
    )
    timers_slots: int = Field(default=16, ge=1, le=256, description="Timers handled at once.")
    lease_seconds: float = Field(
        default=15,
        ge=2,
        le=300,
        description="How long the work of a process that fell silent stays untouched; the same everywhere.",
    )

    @property
    def slots(self) -> dict[str, int]:
        """By lane."""
        return {
            "gemini": self.gemini_slots,
            "tools": self.tools_slots,
            "slack": self.slack_slots,
            "files": self.files_slots,
            "callbacks": self.callbacks_slots,
            "timers": self.timers_slots,
            "triggers": self.triggers_slots,
        }


class Gemini(Section):
    """The Interactions API, and our own pace and patience with it."""

    base_url: GeminiAddress = Field(
        default="https://generativelanguage.googleapis.com", description="Gemini's address, or a stand-in's."
    )
    api_version: Annotated[str, shaped(r"v[0-9][a-z0-9]*", "a version such as v1beta")] = Field(
        default="v1beta", description="Version part of every request's path."
    )
    api_key: Annotated[HeaderSecret, FromEnv(("GEMINI_API_KEY", "GOOGLE_API_KEY"))] = Field(
        default=Secret(), description="Key of the project that owns the interactions and the webhook."
    )
    timeout_seconds: float = Field(default=30, gt=0, le=600, description="How long one request may take.")
    reconcile_seconds: float = Field(
        default=30, ge=1, le=DAY_SECONDS, description="Between readings of a live interaction without news."
    )
    waiting_reconcile_seconds: float = Field(
        default=21_600, ge=1, le=7 * DAY_SECONDS, description="The same while Gemini waits for our results."
    )
    poll_seconds: float = Field(
        default=5,
        ge=1,
        le=DAY_SECONDS,
        description="The same with `webhooks.mode: poll`; it grows by a tenth of the interaction's age.",
    )
    poll_most_seconds: float = Field(
        default=60,
        ge=1,
        le=DAY_SECONDS,
        description="The longest it grows to by age; by load it may be longer.",
    )
    gets_per_second: float | None = Field(
        default=None,
        ge=0.1,
        le=10_000,
        description="Most readings of interactions in any second, over all runs and processes; "
        "absent: 50 with `webhooks.mode: poll`, else 500.",
    )
    create_grace_seconds: float = Field(
        default=30,
        ge=0,
        le=DAY_SECONDS,
        description="How long a create without an answer may still show itself.",
    )
    lost_create: Literal["retry", "attention"] = Field(
        default="retry", description="After that grace: send again, or ask a person."
    )
    resend_tools: bool = Field(default=True, description="Declare the tools again when results are sent.")
    retention_days: float = Field(
        default=RETENTION_DAYS,
        gt=0,
        le=RETENTION_DAYS,
        description="How long Gemini keeps an interaction (paid: up to 55, free: 1).",
    )
    strange_readings: int = Field(
        default=10, ge=1, le=1000, description="Readings with an unknown status before an alarm."
    )
    missing_readings: int = Field(
        default=5, ge=1, le=1000, description="404s in a row before an interaction counts as gone."
    )


class Webhooks(Section):
    """How we hear of news, and what we believe of Gemini's deliveries."""

    mode: Literal["static", "dynamic", "poll"] = Field(
        default="static",
        description="`static`: the registered webhook. `dynamic`: an address named in each create."
        " `poll`: by asking only.",
    )
    secrets: Annotated[
        Items[WebhookSecret], UNIQUE, FromEnv(("GEMINI_WEBHOOK_SECRETS",), needed="webhooks.mode=static")
    ] = Field(
        default=(),
        description="Signing secrets, `whsec_…`, separated by blanks or commas; several while rotating."
        " With `;until=2026-12-01T00:00:00Z` one counts until then.",
    )
    dynamic_tokens: Annotated[
        Items[WebhookToken], UNIQUE, FromEnv(("GEMINI_WEBHOOK_TOKEN",), needed="webhooks.mode=dynamic")
    ] = Field(
        default=(),
        description="Secret end of the address that creates name, at least 32 letters, digits, - and _."
        " The first is sent; several, separated by blanks or commas, while rotating.",
    )
    tolerance_seconds: int = Field(
        default=300, ge=1, le=3600, description="How far a delivery's time may be off, either way."
    )
    jwks_url: ServiceAddress = Field(
        default="https://generativelanguage.googleapis.com/.well-known/jwks.json",
        description="Google's public keys, for deliveries signed with them.",
    )
    jwks_age_seconds: float = Field(
        default=3600, ge=60, le=7 * DAY_SECONDS, description="When Google's public keys are fetched anew."
    )
    jwt_audience: Annotated[str, PLAIN_WORD] | None = Field(
        default=None,
        description="Take RS256 tokens made for this audience too, on the dynamic address. Unset: none.",
    )
    jwt_issuer: Annotated[str, PLAIN_WORD] | None = Field(
        default=None, description="Who such tokens must say made them."
    )
    keep_days: int = Field(
        default=14,
        ge=2,
        le=3650,
        description="How long deliveries are kept; longer than Gemini's day of retries.",
    )
    events: Annotated[Items[EventName], UNIQUE] = Field(
        default=EVENTS, min_length=1, description="Events our registered webhook is to be told of."
    )
    check_seconds: float = Field(
        default=3600,
        ge=0,
        le=7 * DAY_SECONDS,
        description="Between looks at how Gemini has our webhook registered; 0: never.",
    )
    heal: bool = Field(
        default=False,
        description="Switch it on again when Gemini switched it off, and set its events right.",
    )

    @field_validator("secrets")
    @classmethod
    def _one_end_each(cls, secrets: tuple[Secret, ...]) -> tuple[Secret, ...]:
        """One secret with two ends would count until the later, or for ever."""
        if len({ending(s)[0] for s in secrets}) < len(secrets):
            raise ValueError("names something twice")
        return secrets

    @property
    def signing(self) -> tuple[tuple[Secret, datetime | None], ...]:
        """The signing secrets, each with the instant from which on it counts no longer."""
        return tuple(ending(s) for s in self.secrets)


class Slack(Section):
    """The workspace where people are asked."""

    enabled: bool = Field(
        default=True, description="Ask people in Slack; without it they decide by API or command line."
    )
    api_url: SlackAddress = Field(
        default="https://slack.com/api/", description="Slack's address, or a stand-in's."
    )
    bot_token: Annotated[HeaderSecret, FromEnv(("SLACK_BOT_TOKEN",), needed="slack.enabled")] = Field(
        default=Secret(), description="The app's bot token, `xoxb-…`."
    )
    signing_secrets: Annotated[
        Items[HeaderSecret],
        UNIQUE,
        FromEnv(("SLACK_SIGNING_SECRET",), needed="slack.enabled, slack.socket_mode=false"),
    ] = Field(
        default=(),
        description="The app's signing secret; several, separated by blanks or commas, while rotating.",
    )
    socket_mode: bool = Field(
        default=False,
        description="Hear of clicks over a connection of ours to Slack, so that Slack need not reach us;"
        " there are no Slack addresses then.",
    )
    app_token: Annotated[
        HeaderSecret, FromEnv(("SLACK_APP_TOKEN",), needed="slack.enabled, slack.socket_mode")
    ] = Field(
        default=Secret(),
        description="The app-level token for that, `xapp-…`, with the scope `connections:write`.",
    )
    team_ids: Annotated[Items[TeamId], UNIQUE] = Field(
        default=(), description="Workspaces whose clicks count; empty: the bot token's own."
    )
    app_id: AppId = Field(
        default="", description="App whose clicks count; empty: any the signing secret vouches for."
    )
    channel: ChannelId = Field(
        default="", description="Channel id where requests are posted unless a tool has its own."
    )
    response_url_hosts: Annotated[Items[HostName], UNIQUE] = Field(
        default=("hooks.slack.com",), description="Hosts we answer a click at."
    )
    outcomes: bool = Field(
        default=False,
        description="Say what came of a decision in the thread of its card, too: a redrawn card notifies"
        " nobody. One message more for each.",
    )
    timeout_seconds: float = Field(default=10, gt=0, le=120, description="How long one request may take.")
    messages_per_second: float = Field(
        default=20,
        ge=0.1,
        le=100,
        description="How many messages go to one channel or person, in the long run. Slack names about 1,"
        " takes more for a while, and is obeyed where it says to wait.",
    )
    burst: int = Field(
        default=100, ge=1, le=1000, description="How many of them may go one right after the other."
    )
    tolerance_seconds: int = Field(
        default=300, ge=1, le=3600, description="How far a click's time may be off."
    )


class ToolOverride(PolicyOverride):
    """The same for all workflows, and how the tool is run."""

    execution_timeout_seconds: float | None = Field(
        default=None, gt=0, le=DAY_SECONDS, description="How long one execution may take."
    )
    max_concurrent: int | None = Field(
        default=None, ge=1, description="Most executions at once, over all processes."
    )
    max_per_minute: int | None = Field(
        default=None, ge=1, description="Most executions started in any 60 seconds, over all processes."
    )


class Tools(Section):
    """The team's own Python functions."""

    folder: str = Field(default="tools", min_length=1, description="Folder of the tool modules.")
    modules: Annotated[Items[ModuleName], UNIQUE] = Field(
        default=(),
        description="Modules to load from it, without `.py`; nothing else in the folder is imported.",
    )
    overrides: dict[ToolName, ToolOverride] = Field(
        default={}, description="Our terms for single tools, by name."
    )


def _instant(value: object) -> object:
    """RFC 3339 text as an aware UTC instant."""
    if not isinstance(value, str):
        return value
    try:
        instant = datetime.fromisoformat(value)
    except ValueError:
        raise ValueError("must be a time such as 2027-01-31T00:00:00Z") from None
    if instant.tzinfo is None or len(value) <= len("2027-01-31"):
        raise ValueError("must say its offset, such as 2027-01-31T00:00:00Z")
    return instant.astimezone(UTC)


class ApiToken(Section):
    """One caller of the API. Only the token's hash is written down."""

    name: TokenName = Field(description="What the record calls its holder.")
    sha256: Annotated[str, shaped(r"[0-9a-f]{64}", "64 hex digits: `printf %s TOKEN | sha256sum`")] = Field(
        description="SHA-256 of the token, in lower case hex."
    )
    scopes: Annotated[Items[Scope], UNIQUE] = Field(
        min_length=1, description="What it may do: `trigger`, `read`, `decide`, `operate`."
    )
    user: UserId | None = Field(default=None, description="The Slack user this token decides as.")
    expires: Annotated[datetime, BeforeValidator(_instant)] | None = Field(
        default=None, description="From then on it is refused; RFC 3339."
    )


class Api(Section):
    """Who may call the HTTP API."""

    tokens: Items[ApiToken] = Field(default=(), description="The callers.")
    env_token: Annotated[HeaderSecret, FromEnv(("ORCHESTRATOR_API_TOKEN",), needed=False)] = Field(
        default=Secret(), description="A first token with every scope, called `env`; at least 16 characters."
    )
    env_token_user: Annotated[
        UserId | None, FromEnv(("ORCHESTRATOR_API_TOKEN_USER",), needed=False, in_file=True)
    ] = Field(default=None, description="The Slack user that token decides as.")
    rate_limit_per_minute: int = Field(
        default=600, ge=1, le=1_000_000, description="Requests per token and minute."
    )

    @field_validator("env_token")
    @classmethod
    def _long_enough(cls, token: Secret) -> Secret:
        if token and len(token.reveal()) < 16:
            raise ValueError("must have at least 16 characters")
        return token

    @field_validator("tokens")
    @classmethod
    def _distinct(cls, tokens: tuple[ApiToken, ...]) -> tuple[ApiToken, ...]:
        names = [t.name for t in tokens]
        if len(set(names)) < len(names) or len({t.sha256 for t in tokens}) < len(names):
            raise ValueError("has two tokens with one name or one hash")
        if ENV_TOKEN in names:
            raise ValueError(
                f"must not use the name {ENV_TOKEN}; it is the token from ORCHESTRATOR_API_TOKEN"
            )
        return tokens

    @property
    def callers(self) -> tuple[ApiToken, ...]:
        """Every token that may call, with the one from the environment if it is set."""
        if not self.env_token:
            return self.tokens
        digest = sha256(self.env_token.reveal().encode()).hexdigest()
        return (
            *self.tokens,
            ApiToken(name=ENV_TOKEN, sha256=digest, scopes=SCOPES, user=self.env_token_user),
        )


class Audit(Section):
    """Where the head of the audit is kept beside the database."""

    channel: ChannelId = Field(
        default="", description="Slack channel id the head of the audit is posted to; empty: the log only."
    )
    head_hours: float = Field(
        default=24, ge=1, le=168, description="How often the head of the audit is logged and posted."
    )


class Log(Section):
    """What the service says about itself."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least level that is shown."
    )
    format: Literal["console", "json"] = Field(
        default="console", description="For people, or one JSON object a line."
    )
