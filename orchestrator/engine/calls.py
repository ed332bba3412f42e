"""Tool calls: claimed through the gate, run, their outcome committed under the claim.

What people approved with a preview is looked at anew right before the gate, outside of any transaction:
the gate claims it only if it would still do the same.
"""

import asyncio
from collections import deque
from functools import partial
from typing import Final

from sqlalchemy.orm import Session

from orchestrator import failpoints
from orchestrator.domain.assessment import Assessment, CallContext, Consent, Ruling
from orchestrator.domain.consent import Approval, ApprovalStatus, Preview
from orchestrator.domain.events import (
    CallClaimed,
    CallCutOff,
    CallDeferred,
    CallDoubted,
    CallFinished,
    CallWaits,
)
from orchestrator.domain.exchange import FunctionCall
from orchestrator.domain.jobs import Waiting
from orchestrator.domain.model import CallStatus, Outcome, Run, ToolCall
from orchestrator.engine.commits import Commits
from orchestrator.engine.ports import ToolkitPort
from orchestrator.engine.resubmitting import spelled_out
from orchestrator.engine.seal import assess
from orchestrator.engine.tickets import Act
from orchestrator.errors import UnavailableError, UncertainError
from orchestrator.store import asked, audit_check, claims, locking, runs
from orchestrator.store.claims import Claimed

STOPPED: Final = 1000
"""How many runs that were stopped are remembered, for a tool that was claimed just before."""


class Calls:
    """Performs the effects that run tools."""

    def __init__(self, commits: Commits, toolkit: ToolkitPort) -> None:
        self._commit = commits
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
        if (found := self._ready(s, effect)) is None:
            return None
        run, call = found
        as_it_was = self._assess(run, call, _approved(call))
        if self._to_be_seen(call, as_it_was):
            return partial(self._look_first, effect, call, context_of(run, call))
        return self._claim(s, effect, run, call, as_it_was)

    def _ready(self, s: Session, effect: Claimed) -> tuple[Run, ToolCall] | None:
        """The call, if it may be begun now; else the effect is put off, or there is nothing left to do."""
        run = runs.load(s, effect.run_id)
        call = run.turn.call(effect.subject)
        if call is not None and call.status is CallStatus.EXECUTING and call.claim:
            # Whoever ran it no longer holds the effect: it was cut off.
            self._commit.settle(s, effect, CallCutOff(call.id, call.claim, "the process ended"))
            return None
        if call is None and not run.closed and (doubts := audit_check.gone(s, run, effect.subject)):
            self._commit.settle(s, effect, CallDoubted(effect.subject, doubts))
            return None
        if call is not None and not run.closed and (doubts := audit_check.idle(s, run.id, call)):
            self._commit.settle(s, effect, CallDoubted(call.id, doubts))
            return None
        if call is None or call.status is not CallStatus.READY or run.closed:
            claims.done(s, effect)
            return None
        return (run, call) if self._commit.limits.call(s, effect, call.tool, self._commit.now()) else None

    def _assess(self, run: Run, call: ToolCall, preview: Preview | None) -> Assessment:
        wish = FunctionCall(call.call_id, call.tool, call.arguments)
        return assess(self._toolkit, run, run.turn.interaction_id or "", wish, preview, about=call.approval)

    def _to_be_seen(self, call: ToolCall, as_it_was: Assessment) -> bool:
        """Whether it has to be worked out first what it would do now.

        Not for what lapses or differs anyway, nor for an idempotent call that is taken up again: it may have
        done half of what was approved, and goes on with that.
        """
        approval = call.approval
        if approval is None or approval.status is ApprovalStatus.WITHDRAWN:
            return as_it_was.ruling is Ruling.ASK and as_it_was.previews
        lapsed = approval.start_by is None or self._commit.now() > approval.start_by
        taken_up = call.idempotent and call.started_at is not None
        same = approval.digest == as_it_was.sealed_like(approval)
        return approval.preview is not None and same and not lapsed and not taken_up

    async def _look_first(self, effect: Claimed, call: ToolCall, context: CallContext) -> None:
        """Work out what it would do now, and come to the gate with that."""
        approved = _approved(call)
        preview = await foreseen(self._commit, self._toolkit, effect, call, context)
        if preview is None:
            return
        if preview.trouble and approved is not None and not approved.trouble:
            await self._commit.again(effect, f"what it would do could not be worked out: {preview.trouble}")
            return

        def job(s: Session) -> tuple[str, Act | None]:
            return effect.run_id, self._seen(s, effect, call, preview)

        held = self._commit.hold().until
        if (act := await self._commit.advance(job, of=effect.run_id)) is None:
            return
        if await self._commit.still_ours(effect, held):
            await act()
        else:  # this process stood still, and somebody took it over
            await self.not_begun(effect)

    def _seen(self, s: Session, effect: Claimed, before: ToolCall, preview: Preview) -> Act | None:
        """The gate for a call that was looked at, in a transaction of its own."""
        locking.run(s, effect.run_id)
        if not claims.renew(s, effect, self._commit.hold().until):
            return None
        if (found := self._ready(s, effect)) is None:
            return None
        run, call = found
        if (call.arguments, call.approval) != (before.arguments, before.approval):
            claims.retry(s, effect, self._commit.now(), "it was changed while it was looked at")
            return None
        as_it_was, fresh = self._assess(run, call, _approved(call)), self._assess(run, call, preview)
        as_approved = as_it_was.sealed_like(call.approval) if call.approval else ""
        return self._claim(s, effect, run, call, fresh, as_approved)

    def _claim(
        self, s: Session, effect: Claimed, run: Run, call: ToolCall, fresh: Assessment, as_approved: str = ""
    ) -> Act | None:
        [fresh] = asked.counted(s, [fresh]) if not _still_stands(call) else [fresh]
        lacking = call.approval is None and fresh.ruling is Ruling.ASK
        doubts = audit_check.unasked(s, run.id, call) if lacking else audit_check.doubts(s, call)
        claim = CallClaimed(call.id, effect.token, fresh, as_approved, doubts)
        applied = self._commit.apply(s, run.id, claim)
        started = applied.run.turn.call(call.id)
        if started is None or started.claim != effect.token or started.status is not CallStatus.EXECUTING:
            claims.done(s, effect)
            return None
        return partial(self._run, effect, started, context_of(run, started))

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
            await self._ended(effect, call, outcome)
            failpoints.hit("after_tool_stored")

    async def _ended(self, effect: Claimed, call: ToolCall, outcome: Outcome | Waiting) -> None:
        def commit(s: Session) -> tuple[str, None]:
            known = spelled_out(s, outcome) if isinstance(outcome, Waiting) else outcome
            self._commit.settle(s, effect, _ended(call.id, effect.token, known))
            return effect.run_id, None

        await self._commit.outlast(commit, effect.run_id)

    async def not_begun(self, effect: Claimed) -> None:
        """The claim was lost before the tool was started: who took it over must not doubt that."""
        late = CallDeferred(effect.subject, effect.token, "the worker stood still before it began")

        def job(s: Session) -> tuple[str, None]:
            self._commit.apply(s, effect.run_id, late)
            return effect.run_id, None

        await self._commit.advance(job, of=effect.run_id)

    def _forget(self, run_id: str, cancelled: asyncio.Event) -> None:
        running = self._running.get(run_id, set())
        running.discard(cancelled)
        if not running:
            self._running.pop(run_id, None)


def _ended(call: str, claim: str, outcome: Outcome | Waiting) -> CallFinished | CallWaits:
    if isinstance(outcome, Waiting):
        return CallWaits(call, claim, outcome.wishes)
    return CallFinished(call, claim, outcome)


def _approved(call: ToolCall) -> Preview | None:
    """What people saw it would do, where their answer still counts."""
    approval = call.approval
    return approval.preview if approval and approval.status is not ApprovalStatus.WITHDRAWN else None


def _still_stands(call: ToolCall) -> bool:
    """Whether people were asked about it and their answer counts: then nobody is asked as if anew."""
    return call.approval is not None and call.approval.status is not ApprovalStatus.WITHDRAWN


async def foreseen(
    commits: Commits, toolkit: ToolkitPort, effect: Claimed, call: ToolCall, context: CallContext
) -> Preview | None:
    """What it would do now; None where that is to be asked later, which is written down."""
    try:
        failpoints.hit("before_preview")
        preview = await toolkit.preview(call.tool, call.arguments, context)
        failpoints.hit("after_preview")
    except UnavailableError as e:
        await commits.again(effect, str(e), e)
        return None
    return preview


def context_of(run: Run, call: ToolCall) -> CallContext:
    """What a tool may know of its call."""
    verdict = call.approval.verdict if call.approval else None
    return CallContext(
        call_id=call.id,
        run_id=run.id,
        workflow=run.recipe.workflow,
        requester=run.requester,
        approved_by=verdict.by if verdict else None,
        consents=_consents(call.approval),
    )


def _consents(approval: Approval | None) -> tuple[Consent, ...]:
    if approval is None:
        return ()
    steps = approval.terms.steps
    return tuple(Consent(vote.by, vote.at, steps[vote.stage].name) for vote in approval.votes)
