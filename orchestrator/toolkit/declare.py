"""`@tool`: how a function becomes a tool, and what it may know while it runs.

    @tool(approval="ask", when="args.amount > 50.0", timeout_seconds=10)
    def refund_order(order_id: str, amount: Decimal, ctx: ToolContext) -> dict[str, str]:
        \"\"\"Refund an order to the card it was paid with.

        Args:
            order_id: The shop's order number, for example "A-1042".
            amount: How much to give back, in the order's currency.
        \"\"\"

The signature becomes the schema, the docstring what the model and the approver read. The name
still means the plain function afterwards, so a unit test calls it like any other.
"""

import asyncio
import difflib
import hashlib
import inspect
import re
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, Unpack, cast, get_args, overload

import structlog

from orchestrator.domain.assessment import Consent
from orchestrator.domain.consent import SYSTEM, Actor
from orchestrator.domain.plain import JsonObject
from orchestrator.errors import ConfigError
from orchestrator.toolkit import preview as previews
from orchestrator.toolkit import schema
from orchestrator.toolkit.people import CHECKS, Words, said
from orchestrator.toolkit.plain import compact
from orchestrator.toolkit.policy import Approval, Rule

Retry = Literal["none", "transient"]
"""`transient`: connections that break, timeouts, and calls cut off by `timeout_seconds`."""

NAME: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_.-]{0,63}")
MAX_TIMEOUT_SECONDS: Final = 24 * 3600.0
MAX_ATTEMPTS: Final = 10
MARK: Final = "__orchestrator_tool__"

F = TypeVar("F", bound=Callable[..., Any])


class Cancellation:
    """Whether the call is still wanted. Set when the run is cancelled and when the call's time is up.

    `is_set()` is safe from any thread; `wait()` is for async tools.
    """

    def __init__(self, run_cancelled: asyncio.Event | None = None) -> None:
        self._run_cancelled = run_cancelled or asyncio.Event()
        self._over = threading.Event()

    def is_set(self) -> bool:
        return self._over.is_set() or self._run_cancelled.is_set()

    def set(self) -> None:
        """End this call alone, from any thread."""
        self._over.set()

    def child(self) -> "Cancellation":
        """Hears the same run, but can be ended on its own."""
        return Cancellation(self._run_cancelled)

    async def wait(self) -> None:
        """Until the run is cancelled; on the service's own loop only."""
        await self._run_cancelled.wait()


@dataclass(frozen=True, slots=True)
class ToolContext:
    """What a running tool may know. A parameter annotated with it is filled in and hidden from the model.

    Args:
        call_id: The same for every start of the same call: hand it on as idempotency key.
        run_id: The run the call belongs to.
        workflow: Its workflow's name.
        requester: Who started the run.
        approved_by: Who let this call pass, the last one of several; None if nobody was asked.
        consents: Everybody's yes, with its stage, in their order.
        cancelled: Look at it in long loops and stop early.

    All have defaults, so that a unit test can write `ToolContext("call-1")`.
    """

    call_id: str
    run_id: str = ""
    workflow: str = ""
    requester: Actor = SYSTEM
    approved_by: Actor | None = None
    consents: tuple[Consent, ...] = ()
    cancelled: Cancellation = field(default_factory=Cancellation)

    def is_cancelled(self) -> bool:
        """Whether to stop early; safe from any thread."""
        return self.cancelled.is_set()

    @property
    def log(self) -> structlog.typing.FilteringBoundLogger:
        """A logger that names the call and the run in every line."""
        logger = structlog.get_logger("tool").bind(call_id=self.call_id, run_id=self.run_id)
        return cast(structlog.typing.FilteringBoundLogger, logger)


@dataclass(frozen=True, slots=True)
class Tool:
    """A declared function. `function` is called in one place only: `execute.py`.

    `version` hashes the schema and the code: the module's file, so that a changed helper beside
    the function changes it too; its preview's likewise.
    """

    name: str
    function: Callable[..., Any]
    signature: schema.Signature
    rule: Rule
    timeout_seconds: float
    idempotent: bool
    attempts: int
    is_async: bool
    version: str
    preview: previews.Preview | None = None

    @property
    def module(self) -> str:
        return self.function.__module__

    @property
    def summary(self) -> str:
        return self.signature.summary

    def declaration(self) -> JsonObject:
        """As Gemini takes it (`type: function`)."""
        told = {"type": "function", "name": self.name, "description": self.signature.description}
        return {**told, "parameters": self.signature.schema} if self.signature.parameters else told


@overload
def tool(function: F, /) -> F: ...


@overload
def tool(
    *,
    name: str | None = None,
    approval: Approval = "ask",
    when: str | None = None,
    approvers: tuple[str, ...] | list[str] = (),
    channel: str = "",
    expires_after: timedelta | None = None,
    start_within: timedelta | None = None,
    timeout_seconds: float = 30.0,
    idempotent: bool = False,
    retry: Retry = "none",
    attempts: int = 3,
    preview: Callable[..., Any] | None = None,
    preview_required: bool = True,
    preview_timeout_seconds: float = previews.TIMEOUT_SECONDS,
    **people: Unpack[Words],
) -> Callable[[F], F]: ...


def tool(
    function: F | None = None,
    /,
    *,
    name: str | None = None,
    approval: Approval = "ask",
    when: str | None = None,
    approvers: tuple[str, ...] | list[str] = (),
    channel: str = "",
    expires_after: timedelta | None = None,
    start_within: timedelta | None = None,
    timeout_seconds: float = 30.0,
    idempotent: bool = False,
    retry: Retry = "none",
    attempts: int = 3,
    preview: Callable[..., Any] | None = None,
    preview_required: bool = True,
    preview_timeout_seconds: float = previews.TIMEOUT_SECONDS,
    **people: Unpack[Words],
) -> F | Callable[[F], F]:
    """Declare a function as a tool; bare, or with settings.

    Args:
        function: Async, or sync (it gets a thread of its own); every parameter annotated, and a
            docstring in Google's style.
        name: What the model calls it; the function's name if not given.
        approval: "ask" a person (the default), "allow" without asking, or "deny".
        when: A CEL expression over `args` and `workflow` that narrows `approval`; see
            `orchestrator.toolkit.policy`.
        approvers: Slack user ids, user group ids, `api:<token name>` or `role:<name of the config>`;
            the config's default if empty.
        channel: Slack channel id of the request; the config's default if empty.
        expires_after: A request nobody answers lapses as a rejection after this.
        start_within: An approved call that has not started after this is not started any more.
        timeout_seconds: How long one call may take.
        idempotent: Calling twice with the same `call_id` does the thing once. Only such a tool is
            ever started again by machine.
        retry: "transient" tries again, with growing pauses; needs `idempotent=True`.
        attempts: Starts in all when `retry` is set.
        preview: Tells what a call would do, as text or as a flat mapping, and does nothing: a function that
            takes parameters of this one by name, as many as it needs, and a `PreviewContext` if it likes.
            People see it when they are asked; if it comes out otherwise at the start, they are asked again.
        preview_required: Without a preview nobody is asked and the call fails; if False, people are asked
            all the same and see that there is none.
        preview_timeout_seconds: How long working it out may take.
        people: How people are asked, each the config's default if left out: `quorum`, `stages` (instead
            of `approvers` and `quorum`; each a mapping with `name`, `approvers`, `quorum`), `never`,
            `four_eyes`, `edits`, `at_timeout`, `escalate_to`, `reminders`, `risk`, `discreet`,
            `reason_required`, `answers`, `together`; see `orchestrator.domain.consent.Terms`.

    Raises:
        ConfigError: The signature or a setting cannot be used; names module, function and parameter.
    """

    def declare(function: F) -> F:
        where = _where(function)
        who = tuple(approvers) if isinstance(approvers, list) else approvers
        try:
            _check_names(people)
            rule = Rule(approval, when, who, channel, expires_after, start_within, said(people))
            _check_settings(name or function.__name__, timeout_seconds, idempotent, retry, attempts)
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from None
        signature = schema.read(function, ToolContext)
        seen = _preview(preview, signature, preview_timeout_seconds, preview_required, where)
        record = Tool(
            name=name or function.__name__,
            function=function,
            signature=signature,
            rule=rule,
            timeout_seconds=float(timeout_seconds),
            idempotent=idempotent,
            attempts=attempts if retry == "transient" else 1,
            is_async=inspect.iscoroutinefunction(function),
            version=_version(function, name or function.__name__, signature.schema, seen),
            preview=seen,
        )
        setattr(function, MARK, record)
        return function

    return declare if function is None else declare(function)


def record_of(thing: object) -> Tool | None:
    """The record behind a decorated function (or a record itself); None for anything else."""
    if isinstance(thing, Tool):
        return thing
    record = getattr(thing, MARK, None)
    return record if isinstance(record, Tool) else None


def _check_names(words: Iterable[str]) -> None:
    own = [p.name for p in inspect.signature(tool).parameters.values() if p.kind is p.KEYWORD_ONLY]
    known = [*own, *CHECKS]
    for word in words:
        if word not in known:
            near = difflib.get_close_matches(word, known, 1, 0.7)
            hint = f"did you mean {near[0]}?" if near else f"those are {', '.join(known)}"
            raise ConfigError(f"{word}: is not a setting of a tool; {hint}")


def _check_settings(name: str, timeout_seconds: float, idempotent: bool, retry: str, attempts: int) -> None:
    if not NAME.fullmatch(name):
        raise ConfigError(f"name: {name!r} does not match {NAME.pattern}")
    if not 0 < timeout_seconds <= MAX_TIMEOUT_SECONDS:
        raise ConfigError(f"timeout_seconds: should be above 0 and at most {MAX_TIMEOUT_SECONDS:g}")
    if retry not in get_args(Retry):
        raise ConfigError(f"retry: {retry!r} is not one of {', '.join(get_args(Retry))}")
    if retry != "none" and not idempotent:
        raise ConfigError("retry: needs idempotent=True, or a second try may do the thing twice")
    if not 1 <= attempts <= MAX_ATTEMPTS:
        raise ConfigError(f"attempts: should be between 1 and {MAX_ATTEMPTS}")


def _preview(
    function: Callable[..., Any] | None,
    signature: schema.Signature,
    timeout_seconds: float,
    required: bool,
    where: str,
) -> previews.Preview | None:
    if function is None:
        return None
    names = tuple(p.name for p in signature.parameters)
    try:
        return previews.read(function, names, timeout_seconds, required=required)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


def _where(function: Callable[..., Any]) -> str:
    """Module and function, for messages; and that it is a function at all."""
    if not inspect.isfunction(function):
        raise ConfigError(f"{function!r}: a tool is a plain function or an async one")
    where = f"{function.__module__}.{function.__qualname__}"
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise ConfigError(f"{where}: a tool returns one value, it does not yield")
    return where


def _version(
    function: Callable[..., Any], name: str, parameters: JsonObject, preview: previews.Preview | None
) -> str:
    """16 hex digits over name, schema and code, and those of its preview."""
    told = compact([name, dict(parameters)]).encode()
    more = b"" if preview is None else b"\0" + _seen_by(preview)
    return hashlib.sha256(told + b"\0" + _code(function) + more).hexdigest()[:16]


def _seen_by(preview: previews.Preview) -> bytes:
    told = compact([preview.foretell.__qualname__, list(preview.parameters), preview.required])
    return told.encode() + b"\0" + _code(preview.foretell)


def _code(function: Callable[..., Any]) -> bytes:
    """The module's file as it was loaded; where there is none, the function's source or byte code."""
    function = inspect.unwrap(function)
    loaded = getattr(function, "__globals__", {}).get("__source_bytes__")
    if isinstance(loaded, bytes):
        return loaded
    try:
        return Path(inspect.getsourcefile(function) or "").read_bytes()
    except (OSError, TypeError):
        pass  # typed into a shell, or made by exec: the next best thing follows
    try:
        return inspect.getsource(function).encode()
    except (OSError, TypeError):
        return function.__code__.co_code if inspect.isfunction(function) else b""
