"""The one place that calls a tool's function: validate again, time-box, catch, encode.

Whoever calls this has checked the gate. What comes back is always an `Outcome`, with two
exceptions: `UncertainError` (a tool that is not idempotent was cut off, so nobody knows) and
`UnavailableError` (nothing was started).

A preview goes through the same time-box by a call of its own: it has no way to the tool's function.
"""

import asyncio
import errno
import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import structlog
import tenacity

from orchestrator import beside
from orchestrator.domain.assessment import CallContext
from orchestrator.domain.consent import Preview as Shown
from orchestrator.domain.human import QUESTIONS
from orchestrator.domain.jobs import Waiting
from orchestrator.domain.model import Outcome, OutcomeKind
from orchestrator.domain.plain import JsonObject
from orchestrator.domain.values import replace
from orchestrator.errors import InvalidError, ToolError, UnavailableError, UncertainError
from orchestrator.toolkit import preview as previews
from orchestrator.toolkit.declare import Cancellation, Tool, ToolContext
from orchestrator.toolkit.plain import PlainError, give
from orchestrator.toolkit.results import MAX_RESULT_BYTES, ResultTooLargeError, encode
from orchestrator.toolkit.secret import in_log
from orchestrator.toolkit.threads import Answer, Threads, TimedOutError

log = structlog.get_logger(__name__)

FAILED_TEXT: Final = "The tool failed."
"""All the model hears of an exception that is no `ToolError`."""

NO_PREVIEW: Final = "The preview failed."
"""All that is said of an exception of a preview that is no `ToolError`."""

LOOKS: Final = 3
"""Attempts at a preview whose connection breaks; it has no effect, so another one is always safe."""

NOT_FOR_US: Final = "Only a person can answer this. Nothing ran."

MAX_ERROR_CHARS: Final = 4000
"""Of a `ToolError`'s text."""

STUCK_PER_WORKER: Final = 4
ASYNC_PER_WORKER: Final = 8

Sleep = Callable[[float], Awaitable[None]]


class _RaisedError(Exception):
    """What the tool raised is the cause."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__(type(cause).__name__)
        self.cause = cause


class _NotWantedError(Exception):
    """The run was cancelled before this attempt began."""


@dataclass(frozen=True, slots=True)
class _Call:
    tool: Tool
    arguments: JsonObject
    context: ToolContext

    def invoke(self) -> Any:
        """The only call of a tool's function; each attempt gets Python values of its own."""
        values = dict(self.tool.signature.check(self.arguments).values)
        if self.tool.signature.context is not None:
            values[self.tool.signature.context] = self.context
        return self.tool.function(**values)


@dataclass(frozen=True, slots=True)
class _Look:
    tool: Tool
    preview: previews.Preview
    arguments: JsonObject
    context: previews.PreviewContext

    def invoke(self) -> Any:
        """The only call of a preview; it is handed the arguments it takes, and no key to act under."""
        checked = self.tool.signature.check(self.arguments).values
        values = {name: checked[name] for name in self.preview.parameters}
        if self.preview.context is not None:
            values[self.preview.context] = self.context
        return self.preview.foretell(**values)


async def _fits(tool: Tool, arguments: JsonObject) -> None:
    """Raises `InvalidError`. A turn's calls come in one moment, each with all it may have."""
    await beside.unless_slight(arguments, partial(tool.signature.check, arguments))


class Executor:
    """Runs tools for one event loop.

    Args:
        workers: Synchronous calls at a time; eight times as many async ones. Four times as many
            threads may be stuck past their time before new synchronous calls are refused.
        sleep: Takes the seconds between attempts of a tool with `retry`; tests hand in their own.
    """

    def __init__(self, workers: int = 8, *, sleep: Sleep = asyncio.sleep) -> None:
        self.threads = Threads(workers, workers * STUCK_PER_WORKER)
        self._async_places = asyncio.Semaphore(workers * ASYNC_PER_WORKER)
        self._wait = tenacity.wait_exponential_jitter(initial=0.5, max=8.0)
        self._sleep = sleep
        self._abandoned: set[asyncio.Task[Answer]] = set()  # a task nobody refers to may vanish mid-way

    async def execute(
        self, tool: Tool, arguments: JsonObject, context: CallContext, cancelled: asyncio.Event
    ) -> Outcome | Waiting:
        """Run one call to its outcome, or to the jobs it wants made.

        Raises:
            UncertainError: Cut off after `timeout_seconds`, and the tool is not idempotent.
            UnavailableError: Nothing was started; too many threads are stuck.
        """
        if tool.name in QUESTIONS:  # whatever let it come here: people answer it
            return _failed(NOT_FOR_US)
        call = _Call(tool, arguments, _context(context, cancelled))
        try:
            await _fits(tool, arguments)
            return self._succeeded(call, await self._attempts(call))
        except InvalidError as error:
            return _failed(str(error))
        except _NotWantedError:
            return Outcome(OutcomeKind.WITHDRAWN, "The run was cancelled, so nothing more was started.")
        except TimedOutError:
            return _cut_off(call)
        except _RaisedError as error:
            return _raised(call, error.cause)

    async def _attempts(self, call: _Call) -> Any:
        def again(error: BaseException) -> bool:
            return _is_transient(error) and not call.context.is_cancelled()

        retrying = tenacity.AsyncRetrying(
            stop=tenacity.stop_after_attempt(call.tool.attempts),
            wait=self._wait,
            sleep=self._sleep,
            retry=tenacity.retry_if_exception(again),
            before_sleep=lambda state: log.info(
                "tool_retried",
                tool=call.tool.name,
                call_id=call.context.call_id,
                attempt=state.attempt_number,
            ),
            reraise=True,
        )
        return await retrying(self._attempt, call)

    async def _attempt(self, call: _Call) -> Any:
        async with self._async_places if call.tool.is_async else self.threads.places:
            if call.context.is_cancelled():  # looked at last: waiting for a place may have taken long
                raise _NotWantedError
            answer = await self._timed(call)
        return _value(answer)

    async def _timed(self, call: _Call) -> Answer:
        # Each attempt can be told to stop on its own; the run's signal reaches all of them.
        own = replace(call, context=replace(call.context, cancelled=call.context.cancelled.child()))
        seconds, name = call.tool.timeout_seconds, f"tool-{call.tool.name}"
        try:
            if call.tool.is_async:
                return await self._as_task(own.invoke, seconds, name)
            return await self.threads.run(own.invoke, seconds, name)
        except (TimedOutError, asyncio.CancelledError):
            own.context.cancelled.set()
            raise

    async def preview(
        self, tool: Tool, preview: previews.Preview, arguments: JsonObject, context: CallContext
    ) -> Shown:
        """What one call would do; where that cannot be worked out, `trouble` says why.

        Raises:
            UnavailableError: Nothing was started; too many threads are stuck.
        """
        about = previews.PreviewContext(context.run_id, context.workflow, context.requester)
        look = _Look(tool, preview, arguments, about)
        said = log.bind(tool=tool.name, run_id=context.run_id)
        try:
            await _fits(tool, arguments)
            return Shown(previews.encode(await self._looks(look)))
        except InvalidError as error:
            return Shown("", str(error))
        except TimedOutError:
            said.warning("preview_timed_out", timeout_seconds=preview.timeout_seconds)
            return Shown("", f"The preview took longer than {preview.timeout_seconds:g} seconds.")
        except _RaisedError as error:
            if isinstance(error.cause, ToolError):
                return Shown("", _in_words(error.cause, NO_PREVIEW))
            said.error("preview_failed", **in_log(error.cause, secret=bool(tool.signature.secret)))
        except UnavailableError:
            raise
        except Exception as error:  # noqa: BLE001 (a property of the preview's own class may raise anything)
            said.error("preview_not_text", **in_log(error, secret=bool(tool.signature.secret)))
        return Shown("", NO_PREVIEW)

    async def _looks(self, look: _Look) -> Any:
        retrying = tenacity.AsyncRetrying(
            stop=tenacity.stop_after_attempt(LOOKS),
            wait=self._wait,
            sleep=self._sleep,
            retry=tenacity.retry_if_exception(
                lambda error: isinstance(error, _RaisedError) and is_transient(error.cause)
            ),
            reraise=True,
        )
        return await retrying(self._look, look)

    async def _look(self, look: _Look) -> Any:
        preview, name = look.preview, f"preview-{look.tool.name}"
        async with self._async_places if preview.is_async else self.threads.places:
            if preview.is_async:
                answer = await self._as_task(look.invoke, preview.timeout_seconds, name)
            else:
                answer = await self.threads.run(look.invoke, preview.timeout_seconds, name)
        return _value(answer)

    async def _as_task(self, work: Callable[[], Any], seconds: float, name: str) -> Answer:
        task = asyncio.create_task(_await(work), name=name)
        try:
            done, _ = await asyncio.wait({task}, timeout=seconds)
        finally:
            if not task.done():  # timed out, or we are being stopped; it may linger in its own clean-up
                self._abandoned.add(task)
                task.add_done_callback(self._abandoned.discard)
                task.cancel()
        if not done:
            raise TimedOutError
        if task.cancelled():
            return Answer(error=asyncio.CancelledError("the tool cancelled itself"))
        return task.result()

    def _succeeded(self, call: _Call, value: Any) -> Outcome | Waiting:
        if isinstance(value, Waiting):
            return value
        try:
            return Outcome(OutcomeKind.SUCCEEDED, encode(value))
        except ResultTooLargeError:
            _log(call).warning("tool_result_too_large", limit_bytes=MAX_RESULT_BYTES)
            return _failed("The tool ran, but its result is too large to send.")
        except PlainError as error:
            _log(call).error("tool_result_not_json", error=str(error))
        except Exception:  # noqa: BLE001 (a property or serializer of the tool's own class may raise anything)
            _log(call).exception("tool_result_not_json")
        return _failed("The tool ran, but its result could not be read.")


async def _await(work: Callable[[], Any]) -> Answer:
    try:
        return Answer(await work())
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # noqa: BLE001 (also SystemExit: it ends the tool, not the service)
        return Answer(error=error)


def _context(context: CallContext, cancelled: asyncio.Event) -> ToolContext:
    return ToolContext(
        call_id=context.call_id,
        run_id=context.run_id,
        workflow=context.workflow,
        requester=context.requester,
        approved_by=context.approved_by,
        consents=context.consents,
        cancelled=Cancellation(cancelled),
    )


def _value(answer: Answer) -> Any:
    """What a function returned; what it raised is raised as the cause of a `_RaisedError`."""
    if inspect.isawaitable(answer.value):
        _discard(answer.value)
        answer = Answer(error=TypeError("the function returned an awaitable; declare it with async def"))
    if answer.error is not None:
        raise _RaisedError(answer.error)
    return answer.value


def _discard(value: Any) -> None:
    """A coroutine nobody awaits would warn when it is collected."""
    if inspect.iscoroutine(value):
        value.close()


def _failed(text: str) -> Outcome:
    return Outcome(OutcomeKind.FAILED, text)


def _cut_off(call: _Call) -> Outcome:
    seconds = call.tool.timeout_seconds
    _log(call).warning("tool_timed_out", timeout_seconds=seconds, idempotent=call.tool.idempotent)
    if not call.tool.idempotent:
        raise UncertainError(
            f"{call.tool.name} was cut off after {seconds:g} seconds; it may have taken effect"
        )
    return _failed(f"The tool timed out after {seconds:g} seconds.")


def _raised(call: _Call, cause: BaseException) -> Outcome:
    if isinstance(cause, ToolError):
        return _failed(_in_words(cause, FAILED_TEXT))
    _log(call).error("tool_failed", **in_log(cause, secret=bool(call.tool.signature.secret)))
    return _failed(FAILED_TEXT)


def _in_words(error: ToolError, otherwise: str) -> str:
    text = str(give(str(error)[:MAX_ERROR_CHARS]))
    return text if text.strip() else otherwise


def _log(call: _Call) -> Any:
    return log.bind(tool=call.tool.name, call_id=call.context.call_id, run_id=call.context.run_id)


TRANSIENT_ERRNOS: Final = frozenset(
    {
        errno.EAGAIN,
        errno.EINTR,
        errno.EPIPE,
        errno.ECONNABORTED,
        errno.ECONNREFUSED,
        errno.ECONNRESET,
        errno.EHOSTUNREACH,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.ETIMEDOUT,
    }
)
# By name, because none of these libraries is ours to import: (package, base class of broken connections).
TRANSIENT_CLASSES: Final[Mapping[str, frozenset[str]]] = {
    "httpx": frozenset({"TransportError"}),
    "httpx2": frozenset({"TransportError"}),
    "httpcore": frozenset({"NetworkError", "TimeoutException"}),
    "httpcore2": frozenset({"NetworkError", "TimeoutException"}),
    "aiohttp": frozenset({"ClientConnectionError"}),
    "requests": frozenset({"ConnectionError", "Timeout"}),
    "urllib3": frozenset({"ProtocolError", "TimeoutError"}),
}


def _is_transient(error: BaseException) -> bool:
    if isinstance(error, TimedOutError):
        return True
    return isinstance(error, _RaisedError) and is_transient(error.cause)


def is_transient(cause: BaseException) -> bool:
    """Whether the same call may well succeed a moment later."""
    if isinstance(cause, ConnectionError | TimeoutError):
        return True
    if isinstance(cause, OSError) and cause.errno in TRANSIENT_ERRNOS:
        return True
    return any(
        c.__name__ in TRANSIENT_CLASSES.get(c.__module__.split(".")[0], ()) for c in type(cause).__mro__
    )
