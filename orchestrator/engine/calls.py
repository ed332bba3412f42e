"""Tool calls: claimed through the gate, run, their outcome committed under the claim."""

import asyncio
from collections import deque
from functools import partial
from typing import Final

from sqlalchemy.orm import Session

from orchestrator import failpoints
from orchestrator.domain.events import CallClaimed, CallCutOff, CallDeferred, CallFinished
from orchestrator.domain.model import CallContext, CallStatus, FunctionCall, Run, ToolCall
from orchestrator.engine.commits import Commits
from orchestrator.engine.limits import Ceilings
from orchestrator.engine.ports import ToolkitPort
from orchestrator.engine.seal import assess
from orchestrator.engine.tickets import Act
from orchestrator.errors import UnavailableError, UncertainError
from orchestrator.store import outbox, runs
from orchestrator.store.outbox import Claimed

STOPPED: Final = 1000
"""How many runs that were stopped are remembered, for a tool that was claimed just before."""


class Calls:
    """Performs the effects that run tools."""

    def __init__(self, commits: Commits, toolkit: ToolkitPort, limits: Ceilings) -> None:
        self._commit = commits
        self._limits = limits
        self._toolkit = toolkit
        self._running: dict[str, set[asyncio.Event]] = {}
        self._stopped: deque[str] = deque(maxlen=STOPPED)

    def stop(self, run_id: str) -> None:
        """Tell the tools that run for this run that nobody wants their result any more."""
        self._stopped.append(run_id)
        for event in self._running.get(run_id, ()):
            event.set()

    def execute(self, s: Session, effect: Claimed) -> Act | None:
        """The gate. The digest is made anew from the row as it is now."""
        run = runs.load(s, effect.run_id)
        call = run.turn.call(effect.subject)
        if call is not None and call.status is CallStatus.EXECUTING and call.claim:
            # Whoever ran it no longer holds the effect: it was cut off.
            self._commit.settle(s, effect, CallCutOff(call.id, call.claim, "the process ended"))
            return None
        if call is None or call.status is not CallStatus.READY or run.closed:
            outbox.done(s, effect)
            return None
        if (wait := self._limits.call(s, call.tool, self._commit.now())) is not None:
            outbox.retry(s, effect, wait.until, wait.why)
            return None
        wish = FunctionCall(call.call_id, call.tool, call.arguments)
        fresh = assess(self._toolkit, run, run.turn.interaction_id or "", wish)
        applied = self._commit.apply(s, run.id, CallClaimed(call.id, effect.token, fresh))
        started = applied.run.turn.call(call.id)
        if started is None or started.claim != effect.token or started.status is not CallStatus.EXECUTING:
            outbox.done(s, effect)
            return None
        return partial(self._run, effect, started, _context(run, started))

    async def _run(self, effect: Claimed, call: ToolCall, context: CallContext) -> None:
        """Run it, and commit its outcome under the claim."""
        cancelled = asyncio.Event()
        self._running.setdefault(effect.run_id, set()).add(cancelled)
        if effect.run_id in self._stopped:  # right behind the claim, before this began
            cancelled.set()
        try:
            await self._run_tool(effect, call, context, cancelled)
        finally:
            self._forget(effect.run_id, cancelled)

    async def _run_tool(
        self, effect: Claimed, call: ToolCall, context: CallContext, cancelled: asyncio.Event
    ) -> None:
        try:
            failpoints.hit("before_tool")
            outcome = await self._toolkit.execute(call.tool, call.arguments, context, cancelled)
            failpoints.hit("after_tool")
        except UncertainError as e:
            await self._commit.conclude(effect, CallCutOff(call.id, effect.token, str(e)))
        except UnavailableError as e:
            await self._commit.defer(effect, CallDeferred(call.id, effect.token, str(e)), e)
        else:
            await self._commit.conclude(effect, CallFinished(call.id, effect.token, outcome))
            failpoints.hit("after_tool_stored")

    async def not_begun(self, effect: Claimed) -> None:
        """The claim was lost before the tool was started: who took it over must not doubt that."""
        late = CallDeferred(effect.subject, effect.token, "the worker stood still before it began")

        def job(s: Session) -> tuple[str, None]:
            self._commit.apply(s, effect.run_id, late)
            return effect.run_id, None

        await self._commit.advance(job)

    def _forget(self, run_id: str, cancelled: asyncio.Event) -> None:
        running = self._running.get(run_id, set())
        running.discard(cancelled)
        if not running:
            self._running.pop(run_id, None)


def _context(run: Run, call: ToolCall) -> CallContext:
    verdict = call.approval.verdict if call.approval else None
    return CallContext(
        call_id=call.id,
        run_id=run.id,
        workflow=run.recipe.workflow,
        requester=run.requester,
        approved_by=verdict.by if verdict else None,
    )
