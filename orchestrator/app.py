"""The composition root: the only room that knows every other room."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import NamedTuple

from litestar import Litestar

from orchestrator import arming, jobs, measures, neighbours, opening, tooling
from orchestrator.domain.model import Policy
from orchestrator.engine.breakers import (
    Breaker,
    GuardedGemini,
    GuardedJobs,
    GuardedSlack,
    Openings,
    Standings,
    own,
    own_openings,
)
from orchestrator.engine.commits import Leases
from orchestrator.engine.dispatch import Queued
from orchestrator.engine.heads import Heads
from orchestrator.engine.hearing import POLLING, RECONCILING, Allowance, Hearing
from orchestrator.engine.intake import Intake
from orchestrator.engine.lines import Lines
from orchestrator.engine.meters import MeteredToolkit
from orchestrator.engine.perform import Performer
from orchestrator.engine.ports import Clock
from orchestrator.engine.queued import QueuedWorker
from orchestrator.engine.retention import Retention
from orchestrator.engine.steady import Steady
from orchestrator.engine.webhook_care import WebhookCare
from orchestrator.engine.worker import Worker
from orchestrator.errors import ConfigError
from orchestrator.gemini.gateway import GeminiGateway
from orchestrator.lifetime import AGREE_SECONDS, Lifetime
from orchestrator.outbound.callbacks import CallbackSender
from orchestrator.outlook import Outlook
from orchestrator.readiness import State, WebhookSeen, Workspace
from orchestrator.respites import Patient, Respites
from orchestrator.settings import Settings
from orchestrator.slack.gateway import SlackGateway
from orchestrator.storage.files import Storage
from orchestrator.store import sightings
from orchestrator.store.callbacks import Patience
from orchestrator.store.changes import Changes
from orchestrator.store.database import Database
from orchestrator.toolkit import Toolkit
from orchestrator.toolkit.report import list_tools
from orchestrator.web.application import Lifespan, build_app
from orchestrator.web.callback_wishes import CallbackDoor
from orchestrator.web.counters import Counters
from orchestrator.web.doors import (
    Doors,
    DynamicDoor,
    SlackDoor,
    Token,
    TriggerDoor,
    alone,
)
from orchestrator.web.stream import Streams
from orchestrator.writable import Writes


def now() -> datetime:
    """What this machine's clock says."""
    return datetime.now(UTC)


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


def build(
    settings: Settings,
    database: Database,
    *,
    clock: Clock | None = None,
    machine: Clock = now,
    role: Role = Role.ALL,
    beat: Callable[[], None] = lambda: None,
    leases: Leases | None = None,
) -> Service:
    """Put the service together over an open database whose schema is current.

    Args:
        clock: By default what all who share the database go by: on PostgreSQL its clock, else `machine`.
        beat: Called by the worker with each round, every 15 s at least.
        leases: How claims of that length hold now; by default they run on evenly, however `clock` does.

    Raises:
        ConfigError: Tools, policy or workflows do not fit together, or the role does not fit the database.
    """
    time = Steady(clock or machine, settle_seconds=3 * AGREE_SECONDS + settings.work.lease_seconds)
    clock = clock or (machine if database.sqlite else time)
    queued = _dispatched(settings, database, clock, role)
    ground = _ground(settings, database, clock)
    around = _around(settings, clock)
    performer = _performer(ground, around, leases or time.hold)
    worker = None if role is Role.WEB else _worker(ground, around, performer, queued, beat)
    bells = Bells(worker.wake, worker.mail) if worker else Bells(_others_work, _others_work)
    intake = _intake(ground, performer, bells)
    outlook = _outlook(ground, around, role)
    # Who only answers calls no neighbour itself.
    standings = outlook.read if outlook is not None and role is Role.WEB else own(around.breakers)
    openings = outlook.openings if outlook is not None else own_openings(around.breakers)
    state = _state(ground, around, worker, role, standings)
    doors = _doors(ground, around, performer, intake, state, bells, openings)
    lived = _lifetime(ground, around, state, doors, performer, outlook, time).lived
    changes = Changes(database)
    web = build_app(doors, lived, Streams(database, changes, clock, doors.hidden))
    return Service(
        settings, database, ground.tools, around.gemini, around.slack, worker, intake, web, changes, lived
    )


def _dispatched(settings: Settings, database: Database, clock: Clock, role: Role) -> bool:
    """Whether work is handed out by jobs, which each commit then tells of. Raises `ConfigError`."""
    queued = opening.carried(settings, database)
    if not queued and role is not Role.ALL:
        raise ConfigError(
            "database.url: processes that only answer or only work need PostgreSQL and pgqueuer"
        )
    if queued:
        database.ending = Queued(clock, own_mail=role is not Role.WEB).put
    return queued


@dataclass(frozen=True, slots=True)
class Ground:
    """What every part of the process stands on."""

    settings: Settings
    database: Database
    clock: Clock
    tools: Toolkit
    policy: Policy
    hearing: Hearing
    counters: Counters


def _ground(settings: Settings, database: Database, clock: Clock) -> Ground:
    policy = settings.policy()
    share = POLLING if settings.webhooks.mode == "poll" else RECONCILING
    hearing = Hearing(policy, Allowance(settings.readings_per_second, share), clock=clock)
    return Ground(settings, database, clock, tooling.toolkit(settings), policy, hearing, Counters())


@dataclass(frozen=True, slots=True)
class Around:
    """Who is reached over the network, and the files; `at_gemini` and `at_slack` know who is away."""

    gemini: GeminiGateway
    slack: SlackGateway | None
    dynamic: DynamicDoor | None
    callbacks: CallbackSender | None
    files: Storage
    at_gemini: Breaker
    at_slack: Breaker

    @property
    def breakers(self) -> tuple[Breaker, ...]:
        """Of the neighbours there are."""
        return (self.at_gemini, self.at_slack) if self.slack else (self.at_gemini,)


def _around(settings: Settings, clock: Clock) -> Around:
    return Around(
        gemini=neighbours.gemini(settings, clock),
        slack=neighbours.slack(settings, clock),
        dynamic=neighbours.dynamic(settings),
        callbacks=neighbours.callbacks(settings, clock),
        files=neighbours.storage(settings),
        at_gemini=Breaker("gemini"),
        at_slack=Breaker("slack", away=neighbours.slack_away),
    )


def _performer(ground: Ground, around: Around, leases: Leases) -> Performer:
    """Who acts on the world, with every neighbour watched."""
    settings, counters = ground.settings, ground.counters
    long_jobs = neighbours.long_jobs(around.gemini, around.files)
    return Performer(
        ground.database,
        GuardedGemini(around.gemini, around.at_gemini, counters),
        MeteredToolkit(ground.tools, counters),
        GuardedSlack(around.slack, around.at_slack, counters) if around.slack else None,
        policy=ground.policy,
        clock=ground.clock,
        link=measures.links(settings.public_url),
        file_link=measures.file_links(settings.public_url),
        pictures=neighbours.pictures(settings, around.files),
        lease=timedelta(seconds=settings.work.lease_seconds),
        limits=measures.ceilings(settings),
        hearing=ground.hearing,
        lines=Lines(measures.manners(settings)),
        recipe=measures.recipes(settings),
        long_jobs=GuardedJobs(long_jobs, around.at_gemini, counters),
        armed=arming.arm(settings, ground.tools),
        feeds=neighbours.feeds(),
        callbacks=around.callbacks,
        patience=Patience(settings.callbacks.retry, settings.callbacks.disable),
        occurrences=timedelta(days=settings.retention.occurrences_days),
        leases=leases,
        outcomes=settings.slack.outcomes,
    )


def _worker(
    ground: Ground, around: Around, performer: Performer, queued: bool, beat: Callable[[], None]
) -> Worker:
    settings, database = ground.settings, ground.database
    tidy = Retention(database, around.files, measures.keep(settings), ground.clock)
    opens = Worker if not queued else partial(QueuedWorker, make_jobs=partial(jobs.Jobs, database.url))
    return opens(
        database,
        performer,
        policy=ground.policy,
        clock=ground.clock,
        slots=settings.work.slots,
        keep_deliveries=timedelta(days=settings.webhooks.keep_days),
        beat=beat,
        tidy=tidy.run,
    )


class Bells(NamedTuple):
    """How this process's worker hears that something is due, or has come."""

    wake: Callable[[], None]
    mail: Callable[[], None]


def _intake(ground: Ground, performer: Performer, bells: Bells) -> Intake:
    return Intake(
        ground.database,
        policy=ground.policy,
        clock=ground.clock,
        wake=bells.wake,
        mail=bells.mail,
        stop_tools=performer.stop_tools,
        commits=performer.commits,
        repeated=ground.counters.repeated,
        toolkit=ground.tools,
        untold=ground.counters.untold,
    )


def _outlook(ground: Ground, around: Around, role: Role) -> Outlook | None:
    """What those who work tell each other and who only answers; of a lone process there is nobody to tell."""
    if ground.database.sqlite and role is not Role.WEB:
        return None
    outlook = Outlook(ground.database, [b.name for b in around.breakers])
    if role is not Role.WEB:
        outlook.watch(around.breakers)
    return outlook


def _respites(ground: Ground, around: Around) -> Respites:
    """What neighbours ask to wait for: Gemini of all calls, Slack of one method in one channel."""
    patients: list[Patient] = [around.at_gemini, *([around.slack.connection] if around.slack else [])]
    moment = (lambda s: ground.clock()) if ground.database.sqlite else sightings.moment
    return Respites(ground.database, patients, moment)


def _state(ground: Ground, around: Around, worker: Worker | None, role: Role, standings: Standings) -> State:
    settings, database, clock = ground.settings, ground.database, ground.clock
    seen = _webhook_seen(settings, database, clock)
    return State(
        settings,
        database,
        worker,
        Workspace(settings.slack.team_ids),
        Writes(database, clock),
        standings,
        care=_care(settings, clock, role, seen),
        socket=neighbours.slack_socket(settings, clock) if role is not Role.WORKER else None,
        webhook=seen,
        slack=around.slack,
    )


def _lifetime(
    ground: Ground,
    around: Around,
    state: State,
    doors: Doors,
    performer: Performer,
    outlook: Outlook | None,
    time: Steady,
) -> Lifetime:
    return Lifetime(
        state=state,
        gemini=around.gemini,
        slack=around.slack,
        dynamic=doors.dynamic,
        heads=_heads(ground.settings, ground.database, around.slack, ground.clock) if state.worker else None,
        outlook=outlook if state.worker else None,
        respites=_respites(ground, around) if state.worker else None,
        triggers=performer.triggers,
        files=around.files,
        clock=ground.clock,
        time=time,
    )


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


def _doors(
    ground: Ground,
    around: Around,
    performer: Performer,
    intake: Intake,
    state: State,
    bells: Bells,
    openings: Openings,
) -> Doors:
    """The settings in the doors' own words, and who stands behind the doors."""
    settings, slack = ground.settings, around.slack
    return Doors(
        database=ground.database,
        intake=intake,
        clock=ground.clock,
        tokens=[Token(t.name, t.sha256, t.scopes, t.user, t.expires) for t in settings.api.callers],
        workflows={name: measures.workflow(settings, name) for name in settings.workflows},
        tools=list_tools(ground.tools),
        webhook=neighbours.static(settings),
        dynamic=around.dynamic,
        whisper=slack.whisper if slack else _nobody_to_tell,
        standing=slack.groups.of if slack else alone,
        readiness=state.checks,
        slack=_slack_door(settings, slack, state) if slack else None,
        limits=measures.door_limits(settings),
        wake=bells.wake,
        mail=bells.mail,
        counters=ground.counters,
        breakers=state.standings,
        openings=openings,
        hearing=ground.hearing,
        triggers=TriggerDoor(performer.triggers, arming.verifiers(settings)),
        callbacks=CallbackDoor(around.callbacks, settings.callbacks.retry),
        files=around.files,
    )


def _slack_door(settings: Settings, slack: SlackGateway, state: State) -> SlackDoor:
    return SlackDoor(
        secrets=[s.reveal() for s in settings.slack.signing_secrets],
        teams=lambda: state.workspace.teams,
        app_id=settings.slack.app_id,
        tolerance_seconds=settings.slack.tolerance_seconds,
        open_view=slack.open_view,
        publish=slack.publish,
        ear=state.socket,
        removed=slack.removed,
    )


def _others_work() -> None:
    """In a process that only answers, nobody waits to be woken: the commit itself tells the workers."""


async def _nobody_to_tell(*, channel: str, user: str, text: str, response_url: str = "") -> None:
    """Without Slack nobody clicks, so nobody is whispered to."""
