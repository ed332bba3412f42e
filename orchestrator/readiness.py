"""Whether this process can do its work now, and which Slack workspaces it serves."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import structlog

from orchestrator.differing_configs import DifferingConfigs
from orchestrator.domain.registration import Judgement
from orchestrator.engine.breakers import BreakerReader, BreakerState, Position, nobody
from orchestrator.engine.ports import Clock
from orchestrator.engine.queued import QueuedWorker
from orchestrator.engine.webhook_care import WebhookCare
from orchestrator.engine.worker import Worker
from orchestrator.errors import OrchestratorError
from orchestrator.refused_credentials import RefusedCredentials
from orchestrator.settings import Settings
from orchestrator.slack.gateway import SlackGateway
from orchestrator.slack.sockets import Socket
from orchestrator.store import callback_care, numbers, sightings, triggers
from orchestrator.store.database import Database
from orchestrator.web.doors import Check
from orchestrator.writable import Writes

STALE_AFTER: Final = 3
"""Looks at the webhook that nobody took, until nobody can say any more how it stands."""

LATE_SECONDS: Final = 60.0
"""That due work may wait for somebody to take it up."""

FILES_TOLD_FOR: Final = timedelta(minutes=2)
"""How long it is told that files could not be stored; while they cannot it is tried each minute at least."""

DIFFERS: Final = (
    "other processes were started with other tools, rules or workflows; the log says which: configs_differ"
)

log = structlog.get_logger(__name__)


class WebhookSeen:
    """What the process that looks after our webhook saw of it, for every process to say.

    Args:
        every: Between looks.
    """

    def __init__(self, database: Database, every: timedelta, clock: Clock) -> None:
        self._database, self._every, self._clock = database, every, clock

    async def keep(self, verdict: Judgement) -> None:
        """Write down what was seen just now. Raises what the database raises."""
        text = "" if verdict.well else verdict.text
        seen = sightings.Sighting(self._clock(), verdict.well, text)
        await self._database.write(sightings.put, sightings.WEBHOOK, seen)

    async def told(self) -> str:
        """What is amiss, empty where nothing is. Raises what the database raises."""
        seen = await self._database.read(sightings.last, sightings.WEBHOOK)
        if seen is None:
            return "not looked at yet"
        if self._clock() - seen.at <= STALE_AFTER * self._every:
            return seen.text
        before = f"; then {seen.text}" if seen.text else ""
        return f"not checked since {seen.at:%Y-%m-%d %H:%M} UTC{before}"


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
    worker: Worker | None
    workspace: Workspace
    writes: Writes
    clock: Clock
    standings: BreakerReader = nobody
    working: asyncio.Task[None] | None = None
    care: WebhookCare | None = None
    socket: Socket | None = None
    webhook: WebhookSeen | None = None
    slack: SlackGateway | None = None
    refused: RefusedCredentials | None = None
    configs: DifferingConfigs | None = None

    async def checks(self) -> list[Check]:
        """Whether this process can do its work now."""
        unwritten = await self.writes.told()
        checks = [Check("writes", not unwritten, unwritten)]
        if self.worker is not None:
            running = self.working is not None and not self.working.done()
            checks.append(Check("worker", running, "" if running else "it is not running"))
        if isinstance(self.worker, QueuedWorker):
            # A worker without jobs still finds its work, by looking for it every few seconds.
            checks.append(Check("jobs", True, self.worker.jobs.trouble))
        # Other processes that answer could do no more about it.
        checks.append(Check("backlog", True, await self._late()))
        if self.configs is not None:
            # Which of them is wrong is for people to say, and may be the others. Probes are open to anybody.
            checks.append(Check("config", True, DIFFERS if self.configs.trouble else ""))
        # No reason to take webhooks elsewhere: what is meant for a neighbour waits for it in the outbox.
        for name, how in (await self.standings()).items():
            checks.append(Check(name, True, await self._told(name, how)))
        if self.socket is not None:
            # Other processes may hear Slack meanwhile, and the API decides as ever.
            checks.append(Check("slack_socket", True, self.socket.trouble))
        if self.webhook is not None:
            # Without it runs go on, only slower. Whoever looked may be another process.
            checks.append(Check("webhook", True, await self.webhook.told()))
        checks.append(Check("triggers", True, await self._failing()))
        checks.append(Check("callbacks", True, await self._untold()))
        checks.append(Check("files", True, await self._unstored()))
        return checks

    async def _late(self) -> str:
        """Where no worker runs, nobody else would say so."""
        late = await self.database.read(numbers.lag, self.clock())
        return f"work is due for {late:.0f} s: no worker runs, or all are busy" if late > LATE_SECONDS else ""

    async def _untold(self) -> str:
        """Callers who cannot be told of their runs; nothing that a request elsewhere would mend."""
        many = await self.database.read(callback_care.disabled)
        return f"{many} disabled: `orchestrator callbacks addresses`" if many else ""

    async def _unstored(self) -> str:
        """Why what jobs made does not come here, as the worker that tried last found it."""
        seen = await self.database.read(sightings.last, sightings.FILES)
        return seen.text[:200] if seen is not None and self.clock() - seen.at <= FILES_TOLD_FOR else ""

    async def _failing(self) -> str:
        """Which triggers keep failing; no reason to send requests elsewhere."""
        failing = await self.database.read(triggers.failing)
        return "; ".join(f"{r['name']} failed {r['failures']} times: {r['error'][:200]}" for r in failing[:5])

    async def _told(self, name: str, standing: BreakerState) -> str:
        """What is amiss with a neighbour, empty where nothing is."""
        if name == "slack" and not self.workspace.teams:
            return "it has not answered yet: clicks are refused until it does"
        if name == "slack" and self.slack is not None and self.slack.trouble:
            return self.slack.trouble
        if name == "slack" and self.refused is not None and (refused := await self.refused.why()):
            return refused
        match standing.position:
            case Position.CLOSED:
                return ""
            case Position.HALF_OPEN:
                return "it was away: the next call finds out whether it is back"
            case _:
                return f"it is away: left alone for {standing.rest:.0f} s more"
