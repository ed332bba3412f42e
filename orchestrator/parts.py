"""What the parts of a process share: settings, database, clients, and how its worker is woken."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from orchestrator import clients, tooling
from orchestrator.domain.model import Policy
from orchestrator.engine.breakers import Breaker
from orchestrator.engine.polling import POLLING, RECONCILING, Allowance, Polling
from orchestrator.engine.ports import Clock
from orchestrator.gemini.gateway import GeminiGateway
from orchestrator.outbound.callbacks import CallbackSender
from orchestrator.settings import Settings
from orchestrator.slack.gateway import SlackGateway
from orchestrator.storage.files import Storage
from orchestrator.storage.pictures import Pictures
from orchestrator.store.database import Database
from orchestrator.toolkit import Toolkit
from orchestrator.web.counters import Counters
from orchestrator.web.doors import DynamicDoor


@dataclass(frozen=True, slots=True)
class Ground:
    """What every part of the process stands on."""

    settings: Settings
    database: Database
    clock: Clock
    tools: Toolkit
    policy: Policy
    polling: Polling
    counters: Counters


def ground(settings: Settings, database: Database, clock: Clock) -> Ground:
    """Raises `ConfigError`: tools, policy or workflows do not fit together."""
    policy = settings.policy()
    share = POLLING if settings.webhooks.mode == "poll" else RECONCILING
    polling = Polling(policy, Allowance(settings.readings_per_second, share), clock=clock)
    return Ground(settings, database, clock, tooling.toolkit(settings), policy, polling, Counters())


@dataclass(frozen=True, slots=True)
class Around:
    """Who is reached over the network, and the files; `at_gemini` and `at_slack` know who is away."""

    gemini: GeminiGateway
    slack: SlackGateway | None
    dynamic: DynamicDoor | None
    callbacks: CallbackSender | None
    files: Storage
    pictures: Pictures
    at_gemini: Breaker
    at_slack: Breaker

    @property
    def breakers(self) -> tuple[Breaker, ...]:
        """Of the neighbours there are."""
        return (self.at_gemini, self.at_slack) if self.slack else (self.at_gemini,)


def around(settings: Settings, clock: Clock) -> Around:
    """Asks nobody yet. Raises `ConfigError`: something cannot be reached as the settings have it."""
    files = clients.storage(settings)
    return Around(
        gemini=clients.gemini(settings, clock),
        slack=clients.slack(settings, clock),
        dynamic=clients.dynamic(settings),
        callbacks=clients.callbacks(settings, clock),
        files=files,
        pictures=clients.pictures(settings, files),
        at_gemini=Breaker("gemini"),
        at_slack=Breaker("slack", away=clients.slack_away),
    )


class WakeUps(NamedTuple):
    """How this process's worker hears that something is due, or has come."""

    wake: Callable[[], None]
    mail: Callable[[], None]
