"""Whether this process can do its work now, and which Slack workspaces it serves."""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import structlog

from orchestrator.engine.breakers import Breaker, Position
from orchestrator.engine.queued import QueuedWorker
from orchestrator.engine.webhook_care import WebhookCare
from orchestrator.engine.worker import Worker
from orchestrator.errors import OrchestratorError
from orchestrator.settings import Settings
from orchestrator.slack.gateway import SlackGateway
from orchestrator.slack.sockets import Socket
from orchestrator.store.database import Database
from orchestrator.web.doors import Check

log = structlog.get_logger(__name__)


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
    breakers: Sequence[Breaker] = ()
    working: asyncio.Task[None] | None = None
    care: WebhookCare | None = None
    socket: Socket | None = None

    async def checks(self) -> list[Check]:
        """Whether this process can do its work now."""
        checks = []
        if self.worker is not None:
            running = self.working is not None and not self.working.done()
            checks.append(Check("worker", running, "" if running else "it is not running"))
        if isinstance(self.worker, QueuedWorker):
            # A worker without jobs still finds its work, by looking for it every few seconds.
            checks.append(Check("jobs", True, self.worker.jobs.trouble))
        # No reason to take webhooks elsewhere: what is meant for a neighbour waits for it in the outbox.
        checks += [Check(b.name, True, self._told(b)) for b in self.breakers]
        if self.socket is not None:
            # Other processes may hear Slack meanwhile, and the API decides as ever.
            checks.append(Check("slack_socket", True, self.socket.trouble))
        if self.care is not None and (told := self.care.told) is not None:
            checks.append(Check("webhook", True, told))  # without it runs go on, only slower
        return checks

    def _told(self, breaker: Breaker) -> str:
        """What is amiss with a neighbour, empty where nothing is."""
        if breaker.name == "slack" and not self.workspace.teams:
            return "it has not answered yet: clicks are refused until it does"
        standing = breaker.state()
        match standing.position:
            case Position.CLOSED:
                return ""
            case Position.HALF_OPEN:
                return "it was away: the next call finds out whether it is back"
            case _:
                return f"it is away: left alone for {standing.rest:.0f} s more"
