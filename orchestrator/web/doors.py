"""Everything the handlers stand on, as plain values: `orchestrator.doorway` makes it from the settings."""

import hmac
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from orchestrator.domain.consent import Actor, Terms
from orchestrator.domain.model import Recipe
from orchestrator.domain.plain import JsonObject
from orchestrator.domain.terms import entries
from orchestrator.engine.breakers import BreakerReader, Openings, never, nobody
from orchestrator.engine.intake import Intake
from orchestrator.engine.polling import Polling
from orchestrator.engine.ports import Clock
from orchestrator.engine.triggers import Triggers
from orchestrator.errors import UnavailableError
from orchestrator.gemini.webhook import DynamicVerifier, StaticVerifier
from orchestrator.storage.files import Storage
from orchestrator.store.database import Database
from orchestrator.web.callback_wishes import CallbackDoor
from orchestrator.web.counters import Counters
from orchestrator.web.failures import Failures


@dataclass(frozen=True, slots=True)
class Token:
    """A caller of the API. Only the hash of its token is known here.

    Args:
        name: What the record calls its holder; idempotency keys and the pace belong to it.
        sha256: Lower case hex.
        scopes: Of `trigger`, `read`, `decide`, `operate`.
        user: The Slack user it stands for; without one it decides as `api:<name>`.
        expires: From then on it is refused.
    """

    name: str
    sha256: str
    scopes: Collection[str]
    user: str | None = None
    expires: datetime | None = None

    @property
    def entitled_as(self) -> str:
        """Which entry of a question's approvers this is."""
        return self.user or f"api:{self.name}"

    @property
    def actor(self) -> Actor:
        return Actor(self.entitled_as, self.name, door="api")


@dataclass(frozen=True, slots=True)
class WorkflowInfo:
    """One workflow that can be started.

    Args:
        render: A caller's `input` as the text for the model; raises `InvalidError` naming fields.
        input_schema: JSON Schema of the input object; None where the input is plain text.
    """

    name: str
    recipe: Recipe
    render: Callable[[object], str]
    description: str = ""
    input_schema: JsonObject | None = None


class ToolReport(Protocol):
    """One registered tool, as the toolkit tells it to people. `approval` is its rule in words."""

    @property
    def name(self) -> str: ...
    @property
    def module(self) -> str: ...
    @property
    def summary(self) -> str: ...
    @property
    def approval(self) -> str: ...
    @property
    def approvers(self) -> tuple[str, ...]: ...
    @property
    def idempotent(self) -> bool: ...
    @property
    def timeout_seconds(self) -> float: ...
    @property
    def tool_version(self) -> str: ...
    @property
    def policy_version(self) -> str: ...
    @property
    def schema(self) -> JsonObject: ...
    @property
    def secret(self) -> tuple[str, ...]: ...


@dataclass(frozen=True, slots=True)
class DynamicDoor:
    """The address that creates name in `webhook_config`: `/webhooks/gemini/<token>`.

    Args:
        tokens: Those that count now, one or, while they change, several. Whoever knows one may make
            Google send us its own signed deliveries; without one the address is not there.
    """

    tokens: Sequence[str] = field(repr=False)
    verifier: DynamicVerifier

    def knows(self, token: str) -> bool:
        """In constant time; the text may be anything at all."""
        given, known = token.encode("utf-8", "surrogatepass"), False
        for ours in self.tokens:
            known |= hmac.compare_digest(given, ours.encode())
        return known


class OpenView(Protocol):
    """Opens a window in Slack for who pressed a button; `push` puts it on top of the one it stands in.

    Raises `UnavailableError`, or `RejectedError` with Slack's own word as its `code`.
    """

    async def __call__(self, trigger_id: str, view: Mapping[str, Any], *, push: bool = False) -> None: ...


async def no_windows(trigger_id: str, view: Mapping[str, Any], *, push: bool = False) -> None:
    """Where nothing opens them."""
    raise UnavailableError("nothing here opens windows")


class PublishHome(Protocol):
    """Sets what one person sees on our Home tab; errors as for `OpenView`."""

    async def __call__(self, user: str, view: Mapping[str, Any]) -> None: ...


async def no_home(user: str, view: Mapping[str, Any]) -> None:
    """Where nothing publishes it."""
    raise UnavailableError("nothing here publishes Home tabs")


Hear = Callable[[str, JsonObject | None], Awaitable[JsonObject | None]]
"""Takes what Slack sends, by its kind in Socket Mode; gives the answer. What raises is not acknowledged."""


class SlackListener(Protocol):
    """A connection of ours to Slack, over which it sends what it would post to our addresses."""

    def hearing(self, hear: Hear) -> AbstractAsyncContextManager[None]:
        """Connected inside, and again whenever the connection is lost."""
        ...


@dataclass(frozen=True, slots=True)
class SlackDoor:
    """Whose clicks count.

    Args:
        secrets: Signing secrets that count now.
        teams: The workspaces we serve, asked at each click; while it is empty no click counts.
        app_id: Our app; empty takes any the signing secret vouches for.
        open_view: Opens a window; tried once, within the time Slack gives for it.
        publish: Sets a person's Home tab.
        listener: Where Slack is heard over a connection of ours; its addresses are then not there.
        removed: Told by which event Slack said that the app is gone from the workspace.
    """

    secrets: Sequence[str]
    teams: Callable[[], Collection[str]]
    app_id: str = ""
    tolerance_seconds: float = 300
    open_view: OpenView = no_windows
    publish: PublishHome = no_home
    listener: SlackListener | None = None
    removed: Callable[[str], None] = lambda event: None


@dataclass(frozen=True, slots=True)
class TriggerDoor:
    """What starts runs besides callers.

    Args:
        verifiers: Of those that take signed deliveries, by name.
    """

    triggers: Triggers
    verifiers: Mapping[str, StaticVerifier]


Standing = Callable[[str, Collection[str], Collection[str]], Awaitable[tuple[str, ...]]]
"""Which of those entries of approvers a person stands for, beside themselves.

The last are entries that keep a person from deciding; raises `UnavailableError` where it cannot be told
whether they are in one of these.
"""


async def alone(person: str, among: Collection[str], never: Collection[str]) -> tuple[str, ...]:
    """Where no groups are known."""
    return ()


class Whisper(Protocol):
    """Tells one person something only they see; only `<@U…>` is markup. Best effort."""

    async def __call__(self, *, channel: str, user: str, text: str, response_url: str = "") -> None: ...


@dataclass(frozen=True, slots=True)
class Limits:
    """What the doors take in. Sizes in bytes, the pace per token."""

    max_body_bytes: int = 1024 * 1024
    max_webhook_bytes: int = 1024 * 1024
    requests_per_minute: int = 600


@dataclass(frozen=True, slots=True)
class Check:
    """One thing the service needs in order to work; `detail` is shown to anybody, so no secrets."""

    name: str
    ok: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Doors:
    """What the handlers need.

    Args:
        workflows: By name.
        webhook: For the static address.
        dynamic: None where no create has named an address of ours; there is then none.
        slack: None where people are not asked in Slack; its endpoint is then not there.
        readiness: Every check but the database's own, such as schema, worker, neighbours.
        wake: Called after something was made due.
        mail: Called after a webhook was put back to be worked on.
        counters: Where everything in this process counts.
        failures: Who tells of requests that failed by our own fault.
        breakers: How those of the neighbours stand, for monitors.
        openings: How often they opened, in all processes, for monitors.
        polling: How soon interactions are read again, for monitors.
        standing: Which of those entries of approvers a person stands for, beside themselves.
        triggers: What starts runs besides callers, and whose deliveries do.
        callbacks: Who tells callers of their runs.
        files: Where what jobs made is kept.
    """

    database: Database
    intake: Intake
    clock: Clock
    tokens: Sequence[Token]
    workflows: Mapping[str, WorkflowInfo]
    tools: Sequence[ToolReport]
    webhook: StaticVerifier
    whisper: Whisper
    readiness: Callable[[], Awaitable[Sequence[Check]]]
    dynamic: DynamicDoor | None = None
    slack: SlackDoor | None = None
    limits: Limits = Limits()
    wake: Callable[[], None] = lambda: None
    mail: Callable[[], None] = lambda: None
    counters: Counters = field(default_factory=Counters)
    failures: Failures = field(default_factory=Failures)
    breakers: BreakerReader = nobody
    openings: Openings = never
    polling: Polling | None = None
    standing: Standing = alone
    triggers: TriggerDoor | None = None
    callbacks: CallbackDoor = field(default_factory=CallbackDoor)
    files: Storage | None = None

    @property
    def hidden(self) -> Mapping[str, Collection[str]]:
        """The parameters whose values nobody is shown, of every tool that has some."""
        return {tool.name: tool.secret for tool in self.tools if tool.secret}

    async def stands_for(self, person: str, asked: Iterable[tuple[str, Terms]]) -> tuple[str, ...]:
        """Which entries a person stands for at this moment, for the gate to decide by.

        Of those the questions were put with and those they would be put with now: who may never decide
        since then is known as such.

        Args:
            asked: Each question by our id, with the terms it was put with.

        Raises:
            UnavailableError: Whether they are of those who may never decide cannot be told now.
        """
        terms = [
            t for own, frozen in asked for t in (frozen, await self.intake.terms_now(own)) if t is not None
        ]
        among = {entry for t in terms for entry in entries(t)}
        return await self.standing(person, among, {entry for t in terms for entry in t.never})
