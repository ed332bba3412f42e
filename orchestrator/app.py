"""The composition root: the only room that knows every other room."""

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import Final

from litestar import Litestar

from orchestrator import arming, clients, doorway, from_settings, jobs, opening, parts, tooling, webhook_watch
from orchestrator.breaker_states import BreakerStates
from orchestrator.differing_configs import DifferingConfigs
from orchestrator.engine.audit_heads import AuditHeads
from orchestrator.engine.breakers import (
    BreakerReader,
    GuardedGemini,
    GuardedJobs,
    GuardedSlack,
    own,
    own_openings,
)
from orchestrator.engine.commits import Leases
from orchestrator.engine.dispatch import Queued
from orchestrator.engine.intake import Intake
from orchestrator.engine.lines import Lines
from orchestrator.engine.meters import MeteredToolkit
from orchestrator.engine.perform import Performer
from orchestrator.engine.ports import Clock
from orchestrator.engine.queued import QueuedWorker
from orchestrator.engine.retention import Retention
from orchestrator.engine.shared_clock import SharedClock
from orchestrator.engine.worker import Worker
from orchestrator.errors import ConfigError
from orchestrator.gemini.gateway import GeminiGateway
from orchestrator.lifetime import AGREE_SECONDS, Lifetime
from orchestrator.parts import Around, Ground, WakeUps
from orchestrator.readiness import State, Workspace
from orchestrator.refused_credentials import RefusedCredentials
from orchestrator.retry_after import RetryAfter, Waiter
from orchestrator.settings import Settings
from orchestrator.slack.gateway import SlackGateway
from orchestrator.store import sightings
from orchestrator.store.callbacks import Patience
from orchestrator.store.changes import Changes
from orchestrator.store.database import Database
from orchestrator.toolkit import Toolkit
from orchestrator.web.application import Lifespan, build_app
from orchestrator.web.doors import Doors
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


COMMANDS: Final = {Role.ALL: "serve", Role.WEB: "serve --web", Role.WORKER: "worker"}
"""How each is started."""


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
    time = SharedClock(clock or machine, settle_seconds=3 * AGREE_SECONDS + settings.work.lease_seconds)
    clock = clock or (machine if database.sqlite else time)
    queued = _dispatched(settings, database, clock, role)
    ground = parts.ground(settings, database, clock)
    around = parts.around(settings, clock)
    performer = _performer(ground, around, leases or time.hold)
    worker = None if role is Role.WEB else _worker(ground, around, performer, queued, beat)
    wake_ups = WakeUps(worker.wake, worker.mail) if worker else WakeUps(_others_work, _others_work)
    intake = _intake(ground, performer, wake_ups)
    states = _breaker_states(ground, around, role)
    # Who only answers calls no neighbour itself.
    standings = states.read if states is not None and role is Role.WEB else own(around.breakers)
    openings = states.openings if states is not None else own_openings(around.breakers)
    state = _state(ground, around, worker, role, standings)
    doors = doorway.doors(ground, around, performer, intake, state, wake_ups, openings)
    lived = _lifetime(ground, around, state, doors, performer, states, time).lived
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


def _performer(ground: Ground, around: Around, leases: Leases) -> Performer:
    """Who acts on the world, with every neighbour watched."""
    settings, counters = ground.settings, ground.counters
    long_jobs = clients.long_jobs(around.gemini, around.files)
    return Performer(
        ground.database,
        GuardedGemini(around.gemini, around.at_gemini, counters),
        MeteredToolkit(ground.tools, counters),
        GuardedSlack(around.slack, around.at_slack, counters) if around.slack else None,
        policy=ground.policy,
        clock=ground.clock,
        link=from_settings.links(settings.public_url),
        file_link=from_settings.file_links(settings.public_url),
        pictures=around.pictures,
        lease=timedelta(seconds=settings.work.lease_seconds),
        limits=from_settings.ceilings(settings),
        polling=ground.polling,
        lines=Lines(from_settings.posting_rate(settings)),
        recipe=from_settings.recipes(settings),
        long_jobs=GuardedJobs(long_jobs, around.at_gemini, counters),
        armed=arming.arm(settings, ground.tools),
        feeds=clients.feeds(ground.clock),
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
    tidy = Retention(database, around.files, from_settings.keep(settings), ground.clock)
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


def _intake(ground: Ground, performer: Performer, wake_ups: WakeUps) -> Intake:
    return Intake(
        ground.database,
        policy=ground.policy,
        clock=ground.clock,
        wake=wake_ups.wake,
        mail=wake_ups.mail,
        stop_tools=performer.stop_tools,
        commits=performer.commits,
        repeated=ground.counters.repeated,
        toolkit=ground.tools,
        untold=ground.counters.untold,
    )


def _breaker_states(ground: Ground, around: Around, role: Role) -> BreakerStates | None:
    """What those who work tell each other and who only answers; of a lone process there is nobody to tell."""
    if ground.database.sqlite and role is not Role.WEB:
        return None
    states = BreakerStates(ground.database, [b.name for b in around.breakers])
    if role is not Role.WEB:
        states.watch(around.breakers)
    return states


def _retry_after(ground: Ground, around: Around) -> RetryAfter:
    """What neighbours ask to wait for: Gemini of all calls, Slack of one method in one channel."""
    waiters: list[Waiter] = [around.at_gemini, *([around.slack.connection] if around.slack else [])]
    moment = (lambda s: ground.clock()) if ground.database.sqlite else sightings.moment
    return RetryAfter(ground.database, waiters, moment)


def _state(
    ground: Ground, around: Around, worker: Worker | None, role: Role, standings: BreakerReader
) -> State:
    settings, database, clock = ground.settings, ground.database, ground.clock
    seen = webhook_watch.seen_of(settings, database, clock)
    return State(
        settings,
        database,
        worker,
        Workspace(settings.slack.team_ids),
        Writes(database, clock),
        clock,
        standings,
        # Processes that only answer leave it to the others.
        care=webhook_watch.care(settings, clock, seen) if role is not Role.WEB else None,
        socket=clients.slack_socket(settings, clock) if role is not Role.WORKER else None,
        webhook=seen,
        slack=around.slack,
        refused=_refused(ground, around, role),
        configs=_configs(ground, role),
    )


def _configs(ground: Ground, role: Role) -> DifferingConfigs | None:
    """A lone process has nobody to differ from."""
    if ground.database.sqlite:
        return None
    who = f"{COMMANDS[role]} {socket.gethostname()} (pid {os.getpid()})"
    return DifferingConfigs(ground.database, who, tooling.known(ground.settings, ground.tools))


def _refused(ground: Ground, around: Around, role: Role) -> RefusedCredentials | None:
    """Of Slack's, who takes messages from those who work; a lone process knows by itself."""
    if ground.database.sqlite or around.slack is None:
        return None
    refused = RefusedCredentials(ground.database, around.at_slack.name)
    if role is not Role.WEB:
        around.slack.connection.answered = refused.answered
    return refused


def _lifetime(
    ground: Ground,
    around: Around,
    state: State,
    doors: Doors,
    performer: Performer,
    states: BreakerStates | None,
    time: SharedClock,
) -> Lifetime:
    return Lifetime(
        state=state,
        gemini=around.gemini,
        slack=around.slack,
        dynamic=doors.dynamic,
        audit_heads=_audit_heads(ground, around.slack) if state.worker else None,
        breaker_states=states if state.worker else None,
        retry_after=_retry_after(ground, around) if state.worker else None,
        triggers=performer.triggers,
        files=around.files,
        clock=ground.clock,
        time=time,
    )


def _audit_heads(ground: Ground, slack: SlackGateway | None) -> AuditHeads:
    audit = ground.settings.audit
    say = partial(slack.say, audit.channel) if slack is not None and audit.channel else None
    every = timedelta(hours=audit.head_hours)
    return AuditHeads(ground.database, say, every=every, clock=ground.clock)


def _others_work() -> None:
    """In a process that only answers, nobody waits to be woken: the commit itself tells the workers."""
