"""One effect, one act on the world, one event back.

Commit, then act; act, then commit. An effect may be performed more than once; what it comes to is
decided once, by the run's state and the claims.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Concatenate, Final, ParamSpec, TypeVar

import structlog
from sqlalchemy.orm import Session

from orchestrator import failpoints
from orchestrator.domain.effects import EffectKind, parse_attempt
from orchestrator.domain.events import (
    ApprovalExpired,
    ApprovalPosted,
    ApprovalUndelivered,
    CallClaimed,
    CallCutOff,
    CallDeferred,
    CallFinished,
    CreateClaimed,
    CreateDeferred,
    CreateGraceEnded,
    CreateRefused,
    CreateUncertain,
    Event,
    InteractionMissing,
    RunOverdue,
)
from orchestrator.domain.model import (
    CallContext,
    CallStatus,
    Card,
    CreateRequest,
    FunctionCall,
    Policy,
    Run,
    Snapshot,
    ToolCall,
    TurnStatus,
)
from orchestrator.domain.retry import backoff
from orchestrator.engine import step
from orchestrator.engine.ports import Clock, GeminiPort, SlackPort, ToolkitPort
from orchestrator.engine.seal import assess
from orchestrator.errors import NotFoundError, RejectedError, UnavailableError, UncertainError
from orchestrator.store import outbox, runs
from orchestrator.store.database import Database
from orchestrator.store.outbox import Claimed

P = ParamSpec("P")
T = TypeVar("T")

LEASE: Final = timedelta(seconds=15)
"""How long the work of a process that is gone stays untouched; renewed three times as often."""
PROBES: Final = 7
"""How often an unknown interaction is looked at, over about a minute, before it stays parked."""
CANCELS: Final = 20
UPDATES: Final = 20
LOOK_AGAIN: Final = timedelta(seconds=2)
"""Before a post whose answer got lost is looked for (Slack needs a moment to show it)."""

log = structlog.get_logger(__name__)


class Performer:
    """Performs claimed effects against Gemini, Slack and the tools.

    Args:
        slack: None where no Slack is set up; approvals are then decided over the API.
        link: Makes the address of a run's page from its id; empty without a public address.
        roll: Dice for the backoff, in [0, 1).
    """

    def __init__(
        self,
        database: Database,
        gemini: GeminiPort,
        toolkit: ToolkitPort,
        slack: SlackPort | None,
        *,
        policy: Policy,
        clock: Clock,
        link: Callable[[str], str] = lambda run_id: "",
        roll: Callable[[], float] = random.random,
        lease: timedelta = LEASE,
    ) -> None:
        self._db = database
        self._gemini = gemini
        self._toolkit = toolkit
        self._slack = slack
        self._policy = policy
        self._clock = clock
        self._link = link
        self._roll = roll
        self.lease = lease
        self._running: dict[str, set[asyncio.Event]] = {}
        self.room: Callable[[], Collection[EffectKind]] = tuple
        self.accept: Callable[[Sequence[Claimed]], None] = _leave_to_the_rows
        self._kinds: Mapping[EffectKind, Callable[[Claimed], Awaitable[None]]] = {
            EffectKind.CREATE_INTERACTION: self._create,
            EffectKind.FETCH_INTERACTION: self._fetch,
            EffectKind.CANCEL_INTERACTION: self._cancel,
            EffectKind.EXECUTE_TOOL: self._execute,
            EffectKind.REQUEST_APPROVAL: self._request_approval,
            EffectKind.UPDATE_APPROVAL: self._update_approval,
            EffectKind.EXPIRE_APPROVAL: self._expire,
            EffectKind.END_CREATE_GRACE: self._end_grace,
            EffectKind.END_RUN: self._end_run,
        }

    async def perform(self, effect: Claimed) -> None:
        """Do it, and commit what came of it. An unforeseen failure leaves it to be tried again.

        The lease is renewed for as long as that takes, so that only a process that is gone loses it.
        """
        holding = asyncio.create_task(self._hold(effect))
        try:
            await self._kinds[effect.kind](effect)
        except Exception as e:
            log.exception("effect_failed", kind=effect.kind, run_id=effect.run_id, subject=effect.subject)
            await self._again(effect, f"{type(e).__name__}: {e}")
        finally:
            holding.cancel()

    def stop_tools(self, run_id: str) -> None:
        """Tell the tools that run for this run that nobody wants their result any more."""
        for event in self._running.get(run_id, ()):
            event.set()

    # --- Gemini -----------------------------------------------------------------------

    async def _create(self, effect: Claimed) -> None:
        turn, attempt = parse_attempt(effect.subject)
        request = await self._write(self._claim_create, effect, turn, attempt)
        if request is None:
            return
        failpoints.hit("before_create")
        try:
            snapshot = await self._gemini.create(request)
        except UnavailableError as e:
            await self._defer(effect, CreateDeferred(turn, attempt, str(e)), e)
        except UncertainError as e:
            await self._conclude(effect, CreateUncertain(turn, attempt, str(e)))
        except RejectedError as e:
            await self._conclude(effect, CreateRefused(turn, attempt, str(e)))
        else:
            failpoints.hit("after_create")
            await self._observed(effect, effect.run_id, turn, attempt, snapshot)
            failpoints.hit("after_observe")

    def _claim_create(self, s: Session, effect: Claimed, turn: int, attempt: int) -> CreateRequest | None:
        """Write the intent down before the wire; None when there is nothing to send."""
        now = self._clock()
        sent = runs.load(s, effect.run_id).turn
        if (sent.number, sent.attempt, sent.status) == (turn, attempt, TurnStatus.SENDING):
            # An earlier worker claimed it and went away: it may be on the wire. Never send it again.
            lost = CreateUncertain(turn, attempt, "the process ended while the request was being sent")
            self._apply(s, effect.run_id, lost)
            outbox.done(s, effect)
            return None
        applied = step.apply(s, effect.run_id, CreateClaimed(turn, attempt), policy=self._policy, now=now)
        if applied.refused:
            outbox.done(s, effect)
            return None
        return step.create_request(s, applied.run, self._toolkit)

    async def _observed(
        self, effect: Claimed, run_id: str, turn: int, attempt: int, snapshot: Snapshot
    ) -> None:
        def job(s: Session) -> str:
            outbox.done(s, effect)
            tools, now = self._toolkit, self._clock()
            seen = step.observe(s, run_id, turn, attempt, snapshot, tools, policy=self._policy, now=now)
            _alarm(run_id, seen)
            return run_id

        await self.advance(job)

    async def _fetch(self, effect: Claimed) -> None:
        """Read an interaction: one of ours whose reading still matters, or one nobody knows."""
        owner = await self._db.read(self._wanted_by, effect)
        if owner is None and effect.run_id:
            await self._write(outbox.done, effect)
            return
        try:
            snapshot = await self._gemini.fetch(effect.subject)
        except RejectedError as e:
            await (self._missing(effect, owner[0], e) if owner else self._look_again(effect, str(e)))
            return
        except (UnavailableError, UncertainError) as e:
            await self._again(effect, str(e), e)
            return
        failpoints.hit("after_fetch")
        if owner is None:
            owner = await self._db.read(self._claims_to_be, snapshot)
        if owner is None:
            await self._look_again(effect, "it carries no metadata of a run of ours")
            return
        await self._observed(effect, *owner, snapshot)

    def _wanted_by(self, s: Session, effect: Claimed) -> tuple[str, int, int] | None:
        """Run, turn and attempt for which this reading matters."""
        owner = runs.owner_of(s, effect.subject)
        if owner is None or not effect.run_id:
            return owner
        run = runs.load(s, owner[0])
        current = run.turn.interaction_id == effect.subject and not run.closed
        return owner if current else None

    def _claims_to_be(self, s: Session, snapshot: Snapshot) -> tuple[str, int, int] | None:
        """The run named in the metadata that Gemini echoes to our own key."""
        known = runs.owner_of(s, snapshot.interaction_id)
        mark = snapshot.correlation
        if known is not None or mark is None:
            return known
        try:
            run = runs.load(s, mark.run)
        except NotFoundError:
            return None
        return (run.id, mark.turn, mark.attempt) if mark.turn <= run.turn.number else None

    async def _missing(self, effect: Claimed, run_id: str, error: RejectedError) -> None:
        if error.code != "not_found":
            await self._again(effect, str(error))
            return
        await self._conclude(effect, InteractionMissing(effect.subject, str(error)), run_id)

    async def _look_again(self, effect: Claimed, why: str) -> None:
        """The create's answer may still be on its way; after that the webhook stays parked."""
        if effect.attempts < PROBES:
            await self._again(effect, why)
        else:
            await self._write(outbox.bury, effect, why)

    async def _cancel(self, effect: Claimed) -> None:
        """Stop an interaction; whatever it is afterwards, nothing more is to be done about it."""
        try:
            snapshot = await self._gemini.cancel(effect.subject)
        except (UnavailableError, UncertainError) as e:
            await self._again(effect, str(e), e)
            return
        except RejectedError as e:
            await self._write(outbox.bury, effect, str(e))
            return
        if (
            snapshot is not None
            and snapshot.status in ("queued", "in_progress")
            and effect.attempts < CANCELS
        ):
            await self._again(effect, f"still {snapshot.status}")
            return
        await self._write(outbox.done, effect)

    # --- tools ------------------------------------------------------------------------

    async def _execute(self, effect: Claimed) -> None:
        """Claim the call and pass the gate in one transaction, run it, commit its outcome."""
        cancelled = asyncio.Event()
        # Known before the claim commits, so that a cancel right behind it still reaches the tool.
        self._running.setdefault(effect.run_id, set()).add(cancelled)
        try:
            granted = await self._write(self._claim_call, effect)
            if granted is not None:
                await self._run_tool(effect, *granted, cancelled)
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
            await self._conclude(effect, CallCutOff(call.id, effect.token, str(e)))
        except UnavailableError as e:
            await self._defer(effect, CallDeferred(call.id, effect.token, str(e)), e)
        else:
            await self._conclude(effect, CallFinished(call.id, effect.token, outcome))
            failpoints.hit("after_tool_stored")

    def _claim_call(self, s: Session, effect: Claimed) -> tuple[ToolCall, CallContext] | None:
        """The gate's transaction. The digest is made anew from the row as it is now."""
        run = runs.load(s, effect.run_id)
        call = run.turn.call(effect.subject)
        if call is not None and call.status is CallStatus.EXECUTING and call.claim:
            # Whoever ran it no longer holds the effect: it was cut off.
            outbox.done(s, effect)
            self._apply(s, run.id, CallCutOff(call.id, call.claim, "the process ended"))
            return None
        if call is None or call.status is not CallStatus.READY or run.closed:
            outbox.done(s, effect)
            return None
        wish = FunctionCall(call.call_id, call.tool, call.arguments)
        fresh = assess(self._toolkit, run, run.turn.interaction_id or "", wish)
        applied = self._apply(s, run.id, CallClaimed(call.id, effect.token, fresh))
        started = applied.run.turn.call(call.id)
        if started is None or started.claim != effect.token or started.status is not CallStatus.EXECUTING:
            outbox.done(s, effect)
            return None
        return started, _context(run, started)

    async def _hold(self, effect: Claimed) -> None:
        """Renew the lease. A failing database is asked again: two thirds are left."""
        while True:
            await asyncio.sleep(self.lease.total_seconds() / 3)
            try:
                await self._write(outbox.renew, effect, self._clock(), self.lease)
            except Exception:
                log.exception("lease_not_renewed", run_id=effect.run_id, subject=effect.subject)

    def _forget(self, run_id: str, cancelled: asyncio.Event) -> None:
        running = self._running.get(run_id, set())
        running.discard(cancelled)
        if not running:
            self._running.pop(run_id, None)

    # --- people -----------------------------------------------------------------------

    async def _request_approval(self, effect: Claimed) -> None:
        card = await self._db.read(self._card, effect)
        if self._slack is None or card is None or not card.approval.terms.channel:
            await self._write(outbox.done, effect)
            return
        if not card.approval.open:
            # Settled before it was shown, unless an earlier try did show it and we never learned where.
            await (self._redraw(effect, card, self._slack) if effect.attempts > 1 else self._done(effect))
            return
        failpoints.hit("before_post")
        try:
            channel, ts = await self._slack.post(card, seen_before=effect.attempts > 1)
        except UnavailableError as e:
            await self._again(effect, str(e), e)
        except UncertainError as e:
            await self._write(outbox.retry, effect, self._clock() + LOOK_AGAIN, str(e))
        except RejectedError as e:
            await self._conclude(effect, ApprovalUndelivered(card.approval.id, str(e)))
        else:
            failpoints.hit("after_post")
            await self._conclude(effect, ApprovalPosted(card.approval.id, channel, ts))

    async def _update_approval(self, effect: Claimed) -> None:
        """Drawn from what is true at this moment, so that only the newest picture is ever sent."""
        card = await self._db.read(self._card, effect)
        if self._slack is None or card is None or not card.approval.ts:
            await self._done(effect)
            return
        await self._redraw(effect, card, self._slack)

    async def _redraw(self, effect: Claimed, card: Card, slack: SlackPort) -> None:
        failpoints.hit("before_update")
        try:
            await slack.update(card)
        except (UnavailableError, UncertainError) as e:
            if effect.attempts >= UPDATES:
                await self._write(outbox.bury, effect, str(e))
            else:
                await self._again(effect, str(e), e)
        except RejectedError as e:
            log.warning("approval_not_redrawn", approval=card.approval.id, why=str(e))
            await self._write(outbox.bury, effect, str(e))
        else:
            failpoints.hit("after_update")
            await self._done(effect)

    def _card(self, s: Session, effect: Claimed) -> Card | None:
        found = runs.load_approval(s, effect.subject)
        if found is None:
            return None
        approval, call, _ = found
        run = runs.load(s, effect.run_id)
        return Card(
            approval=approval,
            call=call,
            run_id=run.id,
            workflow=run.recipe.workflow,
            requester=run.requester,
            run_status=run.status,
            run_reason=run.reason,
            description=self._toolkit.describe(call.tool),
            link=self._link(run.id),
        )

    # --- timers -----------------------------------------------------------------------

    async def _expire(self, effect: Claimed) -> None:
        await self._conclude(effect, ApprovalExpired(effect.subject))

    async def _end_grace(self, effect: Claimed) -> None:
        await self._conclude(effect, CreateGraceEnded(*parse_attempt(effect.subject)))

    async def _end_run(self, effect: Claimed) -> None:
        await self._conclude(effect, RunOverdue(self._clock()))

    # --- committing -------------------------------------------------------------------

    async def _done(self, effect: Claimed) -> None:
        await self._write(outbox.done, effect)

    async def _write(self, job: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._db.write(job, *args, **kwargs)

    def _apply(self, s: Session, run_id: str, event: Event) -> step.Applied:
        applied = step.apply(s, run_id, event, policy=self._policy, now=self._clock())
        _alarm(run_id, applied)
        return applied

    async def advance(self, job: Callable[[Session], str | None]) -> None:
        """Commit a step of a run and go straight on with what it made due, as far as there is room.

        What is not taken here stays a row, and the worker finds it.

        Args:
            job: Makes the step and returns the run's id, None if there is none to go on with.
        """

        def whole(s: Session) -> list[Claimed]:
            run_id = job(s)
            kinds = self.room()
            return outbox.claim_next(s, run_id, kinds, self._clock(), self.lease) if run_id else []

        self.accept(await self._db.write(whole))

    async def _conclude(self, effect: Claimed, event: Event, run_id: str = "") -> None:
        """The effect is done and this is what came of it for its run: one transaction."""
        of_run = run_id or effect.run_id

        def job(s: Session) -> str:
            outbox.done(s, effect)
            with suppress(NotFoundError):  # the run was deleted meanwhile
                self._apply(s, of_run, event)
            return of_run

        await self.advance(job)

    async def _defer(self, effect: Claimed, event: Event, error: UnavailableError) -> None:
        """Nothing happened: say so to the run, and let the effect wait."""
        due_at = self._clock() + backoff(effect.attempts, self._roll(), error.retry_after)

        def job(s: Session) -> None:
            self._apply(s, effect.run_id, event)
            outbox.retry(s, effect, due_at, str(error))

        await self._write(job)

    async def _again(self, effect: Claimed, why: str, error: Exception | None = None) -> None:
        after = getattr(error, "retry_after", None)
        due_at = self._clock() + backoff(effect.attempts, self._roll(), after)
        await self._write(outbox.retry, effect, due_at, why)


def _leave_to_the_rows(claimed: Sequence[Claimed]) -> None:
    """Where nobody has room, nothing was claimed."""


def _alarm(run_id: str, applied: step.Applied) -> None:
    """Ask for a person's eye, where a decision says that one is needed."""
    if applied.alarm:
        log.warning("run_needs_a_look", run_id=run_id, why=applied.note)


def _context(run: Run, call: ToolCall) -> CallContext:
    verdict = call.approval.verdict if call.approval else None
    return CallContext(
        call_id=call.id,
        run_id=run.id,
        workflow=run.recipe.workflow,
        requester=run.requester,
        approved_by=verdict.by if verdict else None,
    )
