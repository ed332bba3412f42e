"""The composition root: the only room that knows every other room."""

import asyncio
import importlib.util
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any, TypedDict

import structlog
from litestar import Litestar
from sqlalchemy.exc import ArgumentError, DBAPIError

from orchestrator import arming, jobs, neighbours
from orchestrator.domain import resubmission
from orchestrator.domain.consent import Terms
from orchestrator.domain.model import Recipe
from orchestrator.engine.breakers import Breaker, GuardedGemini, GuardedJobs, GuardedSlack
from orchestrator.engine.dispatch import Queued
from orchestrator.engine.heads import Heads
from orchestrator.engine.hearing import POLLING, RECONCILING, Allowance, Hearing
from orchestrator.engine.intake import Intake
from orchestrator.engine.limits import Ceilings, Pace
from orchestrator.engine.meters import MeteredToolkit
from orchestrator.engine.perform import Performer
from orchestrator.engine.ports import Clock
from orchestrator.engine.queued import QueuedWorker
from orchestrator.engine.triggers import Triggers
from orchestrator.engine.webhook_care import WebhookCare
from orchestrator.engine.worker import Worker
from orchestrator.errors import ConfigError, OrchestratorError
from orchestrator.gemini.gateway import GeminiGateway
from orchestrator.readiness import State, WebhookSeen, Workspace
from orchestrator.settings import Secret, Settings, ToolOverride
from orchestrator.slack.gateway import SlackGateway
from orchestrator.storage.files import STALE_SECONDS, Storage
from orchestrator.store import outbox, standstill
from orchestrator.store.callbacks import Patience
from orchestrator.store.changes import Changes
from orchestrator.store.database import Database
from orchestrator.toolkit import Tool, Toolkit, human, load_modules, longjobs, media
from orchestrator.toolkit.confirm import confirming
from orchestrator.toolkit.policy import Forbidden
from orchestrator.toolkit.report import ToolReport, list_tools
from orchestrator.triggers.feeds import Feeds
from orchestrator.web.application import Lifespan, build_app
from orchestrator.web.callback_wishes import CallbackDoor
from orchestrator.web.counters import Counters
from orchestrator.web.doors import (
    Doors,
    DynamicDoor,
    Limits,
    SlackDoor,
    Token,
    TriggerDoor,
    WorkflowInfo,
    alone,
    no_home,
    no_windows,
)
from orchestrator.web.stream import Streams

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
        database = Database(
            chosen.url.reveal(),
            readers=chosen.readers,
            threads=chosen.pool,
            still_seconds=standstill.allowed(settings.work.lease_seconds),
        )
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
    registered = Toolkit([*tools, *built_in(settings)], **rules(settings))
    known = {t.name for t in registered.tools}
    for name, workflow in settings.workflows.items():
        for place, wanted in workflow.wanted:
            if wanted not in known:
                raise ConfigError(
                    f"workflows.{name}.{place}: there is no tool {wanted!r};"
                    f" registered are {', '.join(sorted(known)) or 'none'}"
                )
    return registered


def built_in(settings: Settings) -> tuple[Tool, ...]:
    """Tools of our own that some workflow names."""
    workflows = settings.workflows.items()
    steps = [(name, step) for name, workflow in workflows for step in workflow.steps]
    wanted = {tool for _, workflow in workflows for _, tool in workflow.wanted}
    wanted |= {step.tool_of(name) for name, step in steps}
    wanted |= _resubmitting(settings, wanted)
    models = {"video_model": settings.jobs.video_model, "batch_model": settings.jobs.batch_model}
    asked = tuple(tool for tool in (human.TOOL, media.TOOL) if tool.name in wanted)
    approvals = (confirming(s.tool_of(name)) for name, s in steps if s.kind == "approval")
    return (*asked, *longjobs.built_in(wanted, **models), *approvals)


def _resubmitting(settings: Settings, wanted: Collection[str]) -> set[str]:
    """The tool no workflow names, where batches are made and somebody may decide, or where it is told of."""
    name = resubmission.RESUBMIT_BATCH
    terms = settings.default_terms()
    asked = longjobs.RUN_BATCH in wanted and bool(terms.approvers or terms.stages)
    return {name} if asked or name in settings.tools.overrides else set()


class Rules(TypedDict):
    """The policy as the toolkit takes it."""

    overrides: Mapping[str, Mapping[str, Any]]
    workflows: Mapping[str, Mapping[str, Mapping[str, Any]]]
    defaults: Terms
    roles: Mapping[str, Sequence[str]]
    forbidden: Sequence[Forbidden]


def rules(settings: Settings) -> Rules:
    """What config.yaml says about calls, in the toolkit's words."""
    return Rules(
        overrides={name: override.said() for name, override in settings.tools.overrides.items()},
        workflows={
            name: {
                **{tool: override.said() for tool, override in workflow.overrides.items()},
                **{s.tool_of(name): s.policy.said() for s in workflow.steps if s.policy is not None},
            }
            for name, workflow in settings.workflows.items()
        },
        defaults=settings.default_terms(),
        roles=settings.approvals.roles,
        forbidden=[Forbidden(f.tool, f.when, f.reason) for f in settings.approvals.forbidden],
    )


def _execution_timeout(override: ToolOverride | None) -> float | None:
    return override.execution_timeout_seconds if override else None


@dataclass(frozen=True, slots=True)
class Service:
    """Everything that lives as long as the process."""

    settings: Settings
    database: Database
    toolkit: Toolkit
    gemini: GeminiGateway
    slack: SlackGateway | None
    worker: Worker | None
    intake: Intake
    web: Litestar
    changes: Changes
    lifespan: Lifespan


class Role(StrEnum):
    """What a process does of the service."""

    ALL = "all"
    WEB = "web"
    WORKER = "worker"


def prepare_jobs(settings: Settings, database: Database) -> None:
    """The job queue's own tables, where work is handed out by it."""
    if not database.sqlite and settings.work.dispatcher != "embedded" and _has_pgqueuer():
        jobs.install(database.engine)


def _has_pgqueuer() -> bool:
    return importlib.util.find_spec("pgqueuer") is not None


def carried(settings: Settings, database: Database) -> bool:
    """Whether work is handed out among processes by jobs.

    Raises:
        ConfigError: It should be, and cannot.
    """
    choice = settings.work.dispatcher
    if choice == "embedded" or (choice == "auto" and (database.sqlite or not _has_pgqueuer())):
        return False
    if database.sqlite:
        raise ConfigError("work.dispatcher: pgqueuer needs PostgreSQL; database.url names a SQLite file")
    if not jobs.installed(database.engine):
        raise ConfigError("the job queue's tables are not there, or older: run `orchestrator db upgrade`")
    return True


def build(
    settings: Settings,
    database: Database,
    *,
    clock: Clock = now,
    role: Role = Role.ALL,
    beat: Callable[[], None] = lambda: None,
) -> Service:
    """Put the service together over an open database whose schema is current.

    Args:
        beat: Called by the worker with each round, every 15 s at least.

    Raises:
        ConfigError: Tools, policy or workflows do not fit together, or the role does not fit the database.
    """
    queued = carried(settings, database)
    if not queued and role is not Role.ALL:
        raise ConfigError(
            "database.url: processes that only answer or only work need PostgreSQL and pgqueuer"
        )
    if queued:
        database.ending = Queued(clock, own_mail=role is not Role.WEB).put
    tools = toolkit(settings)
    gemini, slack = neighbours.gemini(settings, clock), neighbours.slack(settings, clock)
    policy = settings.policy()
    share = POLLING if settings.webhooks.mode == "poll" else RECONCILING
    hearing = Hearing(policy, Allowance(settings.readings_per_second, share), clock=clock)
    counters = Counters()
    at_gemini, at_slack = Breaker("gemini"), Breaker("slack", away=neighbours.slack_away)
    going_out = neighbours.outbound(settings)
    tellers = neighbours.callbacks(settings, clock)
    files = neighbours.storage(settings)
    performer = Performer(
        database,
        GuardedGemini(gemini, at_gemini, counters),
        MeteredToolkit(tools, counters),
        GuardedSlack(slack, at_slack, counters) if slack else None,
        policy=policy,
        clock=clock,
        link=_links(settings.public_url),
        file_link=_file_links(settings.public_url),
        pictures=neighbours.pictures(settings, files),
        lease=timedelta(seconds=settings.work.lease_seconds),
        limits=_limits(settings),
        hearing=hearing,
        recipe=_recipes(settings),
        long_jobs=GuardedJobs(neighbours.long_jobs(gemini, files), at_gemini, counters),
        armed=arming.arm(settings, tools, going_out.rules),
        feeds=Feeds(going_out),
        callbacks=tellers,
        patience=Patience(settings.callbacks.retry, settings.callbacks.disable),
    )
    opens = Worker if not queued else partial(QueuedWorker, make_jobs=partial(jobs.Jobs, database.url))
    worker = None
    if role is not Role.WEB:
        worker = opens(
            database,
            performer,
            policy=policy,
            clock=clock,
            slots=settings.work.slots,
            keep_deliveries=timedelta(days=settings.webhooks.keep_days),
            beat=beat,
        )
    wake, mail = (worker.wake, worker.mail) if worker else (_others_work, _others_work)
    intake = Intake(
        database,
        policy=policy,
        clock=clock,
        wake=wake,
        mail=mail,
        stop_tools=performer.stop_tools,
        commits=performer.commits,
        repeated=counters.repeated,
        toolkit=tools,
        untold=counters.untold,
    )
    workspace = Workspace(settings.slack.team_ids)
    breakers = (at_gemini, *([at_slack] if slack else []))
    ear = neighbours.slack_socket(settings, clock) if role is not Role.WORKER else None
    seen = _webhook_seen(settings, database, clock)
    care = _care(settings, clock, role, seen)
    state = State(settings, database, worker, workspace, breakers, care=care, socket=ear, webhook=seen)
    dynamic = neighbours.dynamic(settings)
    doors = replace(
        _doors(settings, database, intake, clock, list_tools(tools), slack, dynamic, state),
        wake=wake,
        mail=mail,
        counters=counters,
        breakers=breakers,
        hearing=hearing,
        triggers=TriggerDoor(performer.triggers, arming.verifiers(settings)),
        callbacks=CallbackDoor(tellers, settings.callbacks.retry),
        files=files,
    )
    heads = _heads(settings, database, slack, clock) if worker else None
    lifespan = _lifespan(state, gemini, slack, dynamic, database, clock, heads, performer.triggers, files)
    changes = Changes(database)
    web = build_app(doors, lifespan, Streams(database, changes, clock, doors.hidden))
    return Service(settings, database, tools, gemini, slack, worker, intake, web, changes, lifespan)


def _looked_after(settings: Settings) -> bool:
    """Whether somebody looks how our webhook is registered."""
    return settings.webhooks.mode == "static" and settings.webhooks.check_seconds > 0


def _webhook_seen(settings: Settings, database: Database, clock: Clock) -> WebhookSeen | None:
    """What was seen of it; None where there is nothing to compare it with."""
    if not _looked_after(settings) or neighbours.wanted(settings) is None:
        return None
    return WebhookSeen(database, timedelta(seconds=settings.webhooks.check_seconds), clock)


def _care(settings: Settings, clock: Clock, role: Role, seen: WebhookSeen | None) -> WebhookCare | None:
    """Who looks after the registered webhook; processes that only answer leave it to the others."""
    if role is Role.WEB or not _looked_after(settings):
        return None
    wanted, every = neighbours.wanted(settings), settings.webhooks.check_seconds
    registrations, tell = neighbours.registrations(settings, clock), seen.keep if seen else None
    return WebhookCare(registrations, wanted, every_seconds=every, tell=tell)


def _heads(settings: Settings, database: Database, slack: SlackGateway | None, clock: Clock) -> Heads:
    channel = settings.audit.channel
    say = partial(slack.say, channel) if slack is not None and channel else None
    return Heads(database, say, every=timedelta(hours=settings.audit.head_hours), clock=clock)


def _limits(settings: Settings) -> Ceilings:
    paces = {
        name: Pace(o.max_concurrent or 0, o.max_per_minute or 0)
        for name, o in settings.tools.overrides.items()
    }
    return Ceilings(
        {name: pace for name, pace in paces.items() if pace != Pace()},
        {name: w.max_concurrent for name, w in settings.workflows.items() if w.max_concurrent},
    )


def _links(public_url: str | None) -> Callable[[str], str]:
    base = (public_url or "").rstrip("/")
    return lambda run_id: f"{base}/v1/runs/{run_id}" if base else ""


def _file_links(public_url: str | None) -> Callable[[str], str]:
    """Of files jobs have made: they have a page each, below that of their run."""
    base = (public_url or "").rstrip("/")
    return lambda path: f"{base}/v1/files/{path}" if base and path.count("/") == 1 else ""


def _recipes(settings: Settings) -> Callable[[str], Recipe | None]:
    """The workflow of a name as it stands now, if there still is one."""
    return lambda name: settings.recipe(name) if name in settings.workflows else None


def _doors(
    settings: Settings,
    database: Database,
    intake: Intake,
    clock: Clock,
    tools: Sequence[ToolReport],
    slack: SlackGateway | None,
    dynamic: DynamicDoor | None,
    state: State,
) -> Doors:
    """The settings in the doors' own words."""
    door = SlackDoor(
        secrets=[s.reveal() for s in settings.slack.signing_secrets],
        teams=lambda: state.workspace.teams,
        app_id=settings.slack.app_id,
        tolerance_seconds=settings.slack.tolerance_seconds,
        open_view=slack.open_view if slack else no_windows,
        publish=slack.publish if slack else no_home,
        ear=state.socket,
    )
    return Doors(
        database=database,
        intake=intake,
        clock=clock,
        tokens=[Token(t.name, t.sha256, t.scopes, t.user, t.expires) for t in settings.api.callers],
        workflows={name: _workflow(settings, name) for name in settings.workflows},
        tools=tools,
        webhook=neighbours.static(settings),
        dynamic=dynamic,
        whisper=slack.whisper if slack else _nobody_to_tell,
        standing=slack.groups.of if slack else alone,
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
        recipe=settings.recipe(name),
        render=workflow.form.render,
        description=workflow.description,
        input_schema=workflow.input,
    )


def _others_work() -> None:
    """In a process that only answers, nobody waits to be woken: the commit itself tells the workers."""


async def _nobody_to_tell(*, channel: str, user: str, text: str, response_url: str = "") -> None:
    """Without Slack nobody clicks, so nobody is whispered to."""


def _lifespan(
    state: State,
    gemini: GeminiGateway,
    slack: SlackGateway | None,
    dynamic: DynamicDoor | None,
    database: Database,
    clock: Clock,
    heads: Heads | None,
    triggers: Triggers,
    files: Storage,
) -> Lifespan:
    """What runs beside the requests: the worker, and a first word with the neighbours."""

    @asynccontextmanager
    async def lifespan(_: Litestar | None = None) -> AsyncIterator[None]:
        if database.sqlite:
            # The lock file says that no other process is there: whoever held a claim is gone.
            released = await database.write(outbox.release_all, clock())
            log.info("started", taken_over=released)
        if state.worker is not None:
            state.working = asyncio.create_task(_work(state.worker, gemini))
        first = [asyncio.create_task(state.workspace.learn(slack))] if slack is not None else []
        if dynamic is not None and state.settings.webhooks.mode == "dynamic":
            first.append(asyncio.create_task(dynamic.verifier.warm()))
        if state.care is not None:
            first.append(asyncio.create_task(state.care.run()))
        if heads is not None:
            first.append(asyncio.create_task(heads.run()))
        first.append(asyncio.create_task(triggers.run()))
        if state.worker is not None:
            first.append(asyncio.create_task(_sweep(files)))
        try:
            yield
        finally:
            for task in first:
                task.cancel()
            if state.worker is not None and state.working is not None:
                await state.worker.stop(state.settings.server.graceful_seconds)
                await state.working
            await asyncio.gather(*first, return_exceptions=True)
            if heads is not None:
                await heads.stop()
            if dynamic is not None:
                await dynamic.verifier.aclose()
            await gemini.aclose()
            if slack is not None:
                await slack.aclose()

    return lifespan


async def _sweep(files: Storage, waits: Sequence[float] = (0.0, STALE_SECONDS)) -> None:
    """Away with what a process that died left half written: now, and when the last one's is old enough."""
    for wait in waits:
        await asyncio.sleep(wait)
        try:
            if swept := await files.sweep():
                log.info("partial_files_swept", files=swept)
        except OrchestratorError:
            log.warning("partial_files_not_swept", exc_info=True)  # the next start tries again


async def _work(worker: Worker, gemini: GeminiGateway) -> None:
    """The client library comes first: a create that is claimed and waits for it is in doubt after a crash."""
    try:
        await gemini.warm()
    except Exception:
        log.exception("gemini_not_prepared")  # every call tries again, and says what is wrong
    await worker.run()
