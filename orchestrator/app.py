"""The composition root: the only room that knows every other room."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import structlog
import uvicorn
from litestar import Litestar
from sqlalchemy.exc import ArgumentError, DBAPIError

from orchestrator.engine.intake import Intake
from orchestrator.engine.perform import Performer
from orchestrator.engine.ports import Clock
from orchestrator.engine.worker import Worker
from orchestrator.errors import ConfigError, OrchestratorError
from orchestrator.gemini.gateway import GeminiGateway
from orchestrator.gemini.webhook import StaticVerifier
from orchestrator.settings import Secret, Settings, ToolOverride
from orchestrator.slack.gateway import SlackGateway
from orchestrator.store import migrate, outbox
from orchestrator.store.changes import Changes
from orchestrator.store.database import Database
from orchestrator.toolkit import Toolkit, load_modules
from orchestrator.toolkit.report import ToolReport, list_tools
from orchestrator.web.application import Lifespan, build_app
from orchestrator.web.doors import Check, Doors, Limits, SlackDoor, Token, WorkflowInfo
from orchestrator.web.stream import ENDLESS, Streams

log = structlog.get_logger(__name__)


def now() -> datetime:
    """The service's one clock."""
    return datetime.now(UTC)


@contextmanager
def opened(
    settings: Settings, url: Secret | None = None, *, named: str = "database.url"
) -> Iterator[Database]:
    """The configured database, or the one at `url`, closed again at the end.

    Args:
        named: What the caller knows the address by, for the errors.

    Raises:
        ConfigError: Its address leads to no database we can use.
        ConflictError: Another process has this SQLite file open.
    """
    chosen = settings.database if url is None else settings.database.model_copy(update={"url": url})
    where = f"{named}: {chosen.shown}"
    try:
        database = Database(chosen.url.reveal(), readers=chosen.readers, threads=chosen.pool)
    except OSError as e:
        raise ConfigError(f"{where} cannot be opened: {e.strerror}") from e
    except (ValueError, ArgumentError):  # its text may quote the address, password and all
        raise ConfigError(f"{where} cannot be read as an address") from None
    except ModuleNotFoundError as e:
        extra = "pip install 'gemini-orchestrator[postgres]'"
        raise ConfigError(f"{where} needs {e.name}, which comes with the extra: {extra}") from e
    try:
        _reach(database, where)
        yield database
    finally:
        database.close()


def _reach(database: Database, where: str) -> None:
    """The first connection; what is wrong with the address shows here and not in the middle of something."""
    try:
        database.durable()
    except DBAPIError as e:
        raise ConfigError(f"{where} cannot be opened: {str(e.orig).strip()}") from e


def toolkit(settings: Settings) -> Toolkit:
    """The tools the settings list, under the policy they set.

    Raises:
        ConfigError: A module that does not load, a policy that does not fit, or a workflow that
            names a tool nobody registered.
    """
    overrides = settings.tools.overrides
    tools = [
        replace(t, timeout_seconds=seconds)
        if (seconds := _execution_timeout(overrides.get(t.name))) is not None
        else t
        for t in load_modules(Path(settings.tools.folder), settings.tools.modules)
    ]
    registered = Toolkit(
        tools,
        overrides=rules(settings),
        defaults=settings.default_terms(),
    )
    known = {t.name for t in registered.tools}
    for name, workflow in settings.workflows.items():
        for position, wanted in enumerate(workflow.tools):
            if wanted not in known:
                raise ConfigError(
                    f"workflows.{name}.tools[{position}]: there is no tool {wanted!r};"
                    f" registered are {', '.join(sorted(known)) or 'none'}"
                )
    return registered


def rules(settings: Settings) -> dict[str, Mapping[str, Any]]:
    """What config.yaml says about single tools, in the toolkit's words."""
    return {name: _rule(override) for name, override in settings.tools.overrides.items()}


def _execution_timeout(override: ToolOverride | None) -> float | None:
    return override.execution_timeout_seconds if override else None


def _rule(override: ToolOverride) -> Mapping[str, Any]:
    """A config override in the toolkit's words; what is None was not said."""

    def span(seconds: float | None) -> timedelta | None:
        return None if seconds is None else timedelta(seconds=seconds)

    return {
        "approval": override.approval,
        "when": override.when,
        "approvers": override.approvers,
        "channel": override.channel,
        "expires_after": span(override.timeout_seconds),
        "start_within": span(override.start_within_seconds),
    }


@dataclass(frozen=True, slots=True)
class Service:
    """Everything that lives as long as the process."""

    settings: Settings
    database: Database
    toolkit: Toolkit
    gemini: GeminiGateway
    slack: SlackGateway | None
    worker: Worker
    intake: Intake
    web: Litestar
    changes: Changes


def build(settings: Settings, database: Database, *, clock: Clock = now) -> Service:
    """Put the service together over an open database whose schema is current.

    Raises:
        ConfigError: Tools, policy or workflows do not fit together.
    """
    tools = toolkit(settings)
    gemini, slack = _gemini(settings, clock), _slack(settings, clock)
    policy = settings.policy()
    performer = Performer(
        database, gemini, tools, slack, policy=policy, clock=clock, link=_links(settings.public_url)
    )
    worker = Worker(
        database,
        performer,
        policy=policy,
        clock=clock,
        keep_deliveries=timedelta(days=settings.webhooks.keep_days),
    )
    intake = Intake(
        database,
        policy=policy,
        clock=clock,
        wake=worker.wake,
        mail=worker.mail,
        stop_tools=performer.stop_tools,
        commits=performer.commits,
    )
    workspace = Workspace(settings.slack.team_ids)
    state = State(settings, database, worker, workspace)
    doors = _doors(settings, database, intake, clock, list_tools(tools), slack, state)
    lifespan = _lifespan(state, gemini, slack, database, clock)
    changes = Changes(database)
    web = build_app(doors, lifespan, Streams(database, changes, clock))
    return Service(settings, database, tools, gemini, slack, worker, intake, web, changes)


class Workspace:
    """The Slack workspaces whose clicks count: the configured ones, else the bot token's own once known."""

    def __init__(self, configured: Collection[str]) -> None:
        self.configured = bool(configured)
        self.teams = frozenset(configured)

    async def learn(self, slack: SlackGateway) -> None:
        """Ask Slack until it answers; clicks of an unknown workspace count for nothing meanwhile."""
        pause = 1.0
        while not self.teams:
            try:
                self.teams = frozenset({(await slack.identity()).team_id})
            except OrchestratorError as e:
                log.warning("slack_not_reached", why=str(e))
                await asyncio.sleep(pause)
                pause = min(60.0, pause * 2)


@dataclass(slots=True)
class State:
    """What `/readyz` looks at."""

    settings: Settings
    database: Database
    worker: Worker
    workspace: Workspace
    working: asyncio.Task[None] | None = None

    async def checks(self) -> list[Check]:
        """Whether this process can do its work now."""
        task = self.working
        running = task is not None and not task.done()
        checks = [Check("worker", running, "" if running else "it is not running")]
        if self.settings.slack.enabled:
            # No reason to take webhooks elsewhere: approvals wait for Slack in the outbox.
            known = bool(self.workspace.teams)
            told = "" if known else "it has not answered yet: clicks are refused until it does"
            checks.append(Check("slack", True, told))
        return checks


def _gemini(settings: Settings, clock: Clock) -> GeminiGateway:
    g = settings.gemini
    return GeminiGateway(
        api_key=g.api_key.reveal(),
        base_url=g.base_url,
        api_version=g.api_version,
        timeout_seconds=g.timeout_seconds,
        resend_tools=g.resend_tools,
        now=clock,
    )


def _slack(settings: Settings, clock: Clock) -> SlackGateway | None:
    s = settings.slack
    if not s.enabled:
        return None
    return SlackGateway(
        s.bot_token.reveal(),
        clock=clock,
        base_url=s.api_url,
        timeout_seconds=s.timeout_seconds,
        response_hosts=s.response_url_hosts,
    )


def _links(public_url: str | None) -> Callable[[str], str]:
    base = (public_url or "").rstrip("/")
    return lambda run_id: f"{base}/v1/runs/{run_id}" if base else ""


def _doors(
    settings: Settings,
    database: Database,
    intake: Intake,
    clock: Clock,
    tools: Sequence[ToolReport],
    slack: SlackGateway | None,
    state: State,
) -> Doors:
    """The settings in the doors' own words."""
    secrets = [s.reveal() for s in settings.webhooks.secrets]
    door = SlackDoor(
        secrets=[s.reveal() for s in settings.slack.signing_secrets],
        teams=lambda: state.workspace.teams,
        app_id=settings.slack.app_id,
        tolerance_seconds=settings.slack.tolerance_seconds,
    )
    return Doors(
        database=database,
        intake=intake,
        clock=clock,
        tokens=[Token(t.name, t.sha256, t.scopes, t.user, t.expires) for t in settings.api.callers],
        workflows={name: _workflow(settings, name) for name in settings.workflows},
        tools=tools,
        webhook=StaticVerifier(secrets, tolerance_seconds=settings.webhooks.tolerance_seconds),
        whisper=slack.whisper if slack else _nobody_to_tell,
        readiness=state.checks,
        slack=door if slack else None,
        limits=Limits(
            settings.server.max_body_bytes,
            settings.server.max_webhook_bytes,
            settings.api.rate_limit_per_minute,
        ),
    )


def _workflow(settings: Settings, name: str) -> WorkflowInfo:
    workflow = settings.workflows[name]
    return WorkflowInfo(
        name=name,
        recipe=workflow.recipe(name),
        render=workflow.form.render,
        description=workflow.description,
        input_schema=workflow.input,
    )


async def _nobody_to_tell(*, channel: str, user: str, text: str, response_url: str = "") -> None:
    """Without Slack nobody clicks, so nobody is whispered to."""


def _lifespan(
    state: State, gemini: GeminiGateway, slack: SlackGateway | None, database: Database, clock: Clock
) -> Lifespan:
    """What runs beside the requests: the worker, and a first word with the neighbours."""

    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        if database.sqlite:
            # The lock file says that no other process is there: whoever held a claim is gone.
            released = await database.write(outbox.release_all, clock())
            log.info("started", taken_over=released)
        state.working = asyncio.create_task(_work(state.worker, gemini))
        first = [asyncio.create_task(state.workspace.learn(slack))] if slack is not None else []
        try:
            yield
        finally:
            for task in first:
                task.cancel()
            await state.worker.stop(state.settings.server.graceful_seconds)
            await state.working
            await asyncio.gather(*first, return_exceptions=True)
            await gemini.aclose()
            if slack is not None:
                await slack.aclose()

    return lifespan


async def _work(worker: Worker, gemini: GeminiGateway) -> None:
    """The client library comes first: a create that is claimed and waits for it is in doubt after a crash."""
    try:
        await gemini.warm()
    except Exception:
        log.exception("gemini_not_prepared")  # every call tries again, and says what is wrong
    await worker.run()


FLUSH_SECONDS = 1.0
"""How long a stream that was ended may take to reach its client, when the service stops."""


class Server(uvicorn.Server):
    """uvicorn waits for open answers before it leaves the lifespan, and a stream has no end by itself.

    Args:
        stopping: Called when no new connections are taken any more.
    """

    def __init__(self, config: uvicorn.Config, *, stopping: Callable[[], None]) -> None:
        super().__init__(config)
        self._stopping = stopping

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._stopping()
        cut = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self._cut_off)
        try:
            await super().shutdown(sockets)
        finally:
            cut.cancel()

    def _cut_off(self) -> None:
        """A stream that is still open has a client that does not read: its last bytes go nowhere."""
        for connection in list(self.server_state.connections):
            cycle = getattr(connection, "cycle", None)
            if cycle is not None and cycle.scope["state"].get(ENDLESS):
                connection.transport.abort()


def serve(settings: Settings) -> None:
    """Run the service until SIGTERM or SIGINT. Everything is checked before the port opens."""
    with opened(settings) as database:
        if database.sqlite:
            migrate.upgrade(database.engine)
        migrate.require_current(database.engine)
        if not database.durable():
            raise ConfigError("database: commits do not wait for the disk (synchronous_commit is off)")
        service = build(settings, database)
        config = uvicorn.Config(
            service.web,
            host=settings.server.host,
            port=settings.server.port,
            loop="uvloop",
            http="httptools",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=max(1, round(settings.server.graceful_seconds)),
            lifespan="on",
        )
        server = Server(config, stopping=service.changes.stop)
        log.info("listening", host=settings.server.host, port=settings.server.port)
        _run(server)
        if not server.started:
            where = f"{settings.server.host}:{settings.server.port}"
            raise ConfigError(f"server: could not listen on {where}; the line above says why")


def _run(server: uvicorn.Server) -> None:
    """Until a signal. uvicorn raises it once more when it has stopped; a clean end is ours to report as 0.

    A start that fails ends in `SystemExit`, with `server.started` still unset.
    """
    for sign in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sign, lambda *_: None)
    with suppress(SystemExit):
        server.run()
