"""What is done at Gemini: create, read, cancel. A create is claimed before the wire and sent once."""

from functools import partial
from typing import Final

import structlog
from sqlalchemy.orm import Session

from orchestrator import beside, failpoints
from orchestrator.domain.asking import PLAN, is_own
from orchestrator.domain.effects import parse_attempt
from orchestrator.domain.events import (
    CreateClaimed,
    CreateDeferred,
    CreateRefused,
    CreateUncertain,
    Event,
    InteractionMissing,
    InteractionTooLarge,
)
from orchestrator.domain.exchange import Correlation, CreateRequest, FunctionResult, Snapshot
from orchestrator.domain.model import Run, RunStatus, Turn, TurnStatus
from orchestrator.domain.pauses import CARRY_OUT
from orchestrator.engine import step
from orchestrator.engine.commits import Commits, alarm
from orchestrator.engine.job_webhooks import echoed_by
from orchestrator.engine.polling import Go
from orchestrator.engine.ports import GeminiPort, ToolkitPort
from orchestrator.engine.seal import Assessed, assess_all
from orchestrator.engine.step import Owner
from orchestrator.engine.tickets import Act
from orchestrator.errors import (
    NotFoundError,
    RejectedError,
    UnavailableError,
    UncertainError,
    UnreadAnswerError,
)
from orchestrator.store import claims, interactions, locking, parked, runs, turns
from orchestrator.store.claims import Claimed

PROBES: Final = 7
"""How often an unknown interaction is looked at, over about a minute, before it stays parked."""
CANCELS: Final = 20

log = structlog.get_logger(__name__)


class Interactions:
    """Performs the effects that talk to Gemini."""

    def __init__(self, commits: Commits, gemini: GeminiPort, toolkit: ToolkitPort) -> None:
        self._commit = commits
        self._gemini = gemini
        self._toolkit = toolkit

    def create(self, s: Session, effect: Claimed) -> Act | None:
        """Write the intent down before the wire; None when there is nothing to send."""
        turn, attempt = parse_attempt(effect.subject)
        run = runs.load(s, effect.run_id)
        sent = run.turn
        if (sent.number, sent.attempt, sent.status) == (turn, attempt, TurnStatus.SENDING):
            # An earlier worker claimed it and went away: it may be on the wire. Never send it again.
            lost = CreateUncertain(turn, attempt, "the process ended while the request was being sent")
            self._commit.settle(s, effect, lost)
            return None
        if not run.closed and not self._commit.limits.run(s, effect, run, self._commit.now()):
            return None
        applied = self._commit.apply(s, effect.run_id, CreateClaimed(turn, attempt))
        if applied.refused:
            claims.done(s, effect)
            return None
        return partial(self._send, effect, applied.run, _request(s, applied.run, self._toolkit))

    async def _send(self, effect: Claimed, run: Run, request: CreateRequest) -> None:
        turn, attempt = request.correlation.turn, request.correlation.attempt
        failpoints.hit("before_create")
        try:
            snapshot = await self._gemini.create(request)
        except UnavailableError as e:
            await self._commit.defer(effect, CreateDeferred(turn, attempt, str(e)), e)
        except UncertainError as e:
            answered = isinstance(e, UnreadAnswerError)
            await self._commit.conclude(effect, CreateUncertain(turn, attempt, str(e), answered))
        except RejectedError as e:
            await self._refused(effect, turn, attempt, e)
        else:
            failpoints.hit("after_create")
            await self._observed(effect, (effect.run_id, turn, attempt), run, snapshot)
            failpoints.hit("after_observe")

    async def _refused(self, effect: Claimed, turn: int, attempt: int, error: RejectedError) -> None:
        def job(s: Session) -> tuple[str, step.Applied | None]:
            made = runs.succeeded(s, effect.run_id)
            refused = CreateRefused(turn, attempt, str(error), error.code, made)
            return effect.run_id, self._commit.settle(s, effect, refused)

        applied = await self._commit.outlast(job, effect.run_id)
        if applied is not None and applied.run.status is RunStatus.FAILED and not applied.before.closed:
            log.warning("run_refused", run_id=effect.run_id, why=applied.run.reason)

    async def _observed(self, effect: Claimed, owner: Owner, run: Run | None, snapshot: Snapshot) -> None:
        run_id = owner[0]
        assessed = await self._assessed(run_id, run, snapshot) if snapshot.calls else None

        def job(s: Session) -> tuple[str, None]:
            locking.run(s, run_id)
            overtaken = step.overtaking(s, owner, snapshot.interaction_id)
            claims.done(s, effect)
            tools, policy, now = self._toolkit, self._commit.policy(s), self._commit.now()
            seen = step.observe(
                s, owner, snapshot, tools, policy=policy, now=now, overtaken=overtaken, assessed=assessed
            )
            alarm(run_id, seen)
            return run_id, None

        await self._commit.outlast(job, run_id)

    async def _assessed(self, run_id: str, run: Run | None, snapshot: Snapshot) -> Assessed:
        """Its calls, before there is any transaction."""
        if run is None:
            run = await self._commit.read(runs.load, run_id)
        written = [call.arguments for call in snapshot.calls]
        return await beside.unless_slight(written, partial(assess_all, self._toolkit, run, snapshot))

    def fetch(self, s: Session, effect: Claimed) -> Act | None:
        """Read an interaction: one of ours whose reading still matters, or one nobody knows."""
        owner, run = self._wanted_by(s, effect)
        if owner is None and effect.run_id:
            claims.done(s, effect)
            return None
        room = self._commit.room(s, effect)
        if room is None:
            return None
        return partial(self._read, effect, owner, run, room)

    async def _read(self, effect: Claimed, owner: Owner | None, run: Run | None, room: Go) -> None:
        await self._commit.polling.wait(room)
        try:
            snapshot = await self._gemini.fetch(effect.subject)
        except RejectedError as e:
            await (self._unread(effect, owner[0], e) if owner else self._look_again(effect, str(e)))
            return
        except (UnavailableError, UncertainError) as e:
            await self._commit.again(effect, str(e), e)
            return
        failpoints.hit("after_fetch")
        if owner is None:
            owner = await self._commit.read(self._claims_to_be, snapshot)
        if owner is None and (film := await self._commit.read(echoed_by, snapshot)) is not None:
            run_id, signalled = film
            await self._commit.conclude(effect, signalled, run_id)
            return
        if owner is None:
            await self._look_again(effect, "it carries no metadata of a run of ours", seen=True)
            return
        await self._observed(effect, owner, run, snapshot)

    def _wanted_by(self, s: Session, effect: Claimed) -> tuple[Owner | None, Run | None]:
        """Run, turn and attempt for which this reading matters; and the run, where that took reading it."""
        if not effect.run_id:
            return interactions.owner_of(s, effect.subject), None
        try:
            run = runs.load(s, effect.run_id)
        except NotFoundError:
            return None, None
        current = run.turn.interaction_id == effect.subject and not run.closed
        return ((run.id, run.turn.number, run.turn.attempt), run) if current else (None, None)

    def _claims_to_be(self, s: Session, snapshot: Snapshot) -> Owner | None:
        """The run named in the metadata that Gemini echoes to our own key."""
        known = interactions.owner_of(s, snapshot.interaction_id)
        mark = snapshot.correlation
        if known is not None or mark is None:
            return known
        try:
            run = runs.load(s, mark.run)
        except NotFoundError:
            return None
        return (run.id, mark.turn, mark.attempt) if 1 <= mark.turn <= run.turn.number else None

    async def _unread(self, effect: Claimed, run_id: str, error: RejectedError) -> None:
        match error.code:
            case "not_found":
                event: Event = InteractionMissing(effect.subject, str(error))
            case "too_large":
                event = InteractionTooLarge(effect.subject, str(error))
            case _:
                await self._commit.again(effect, str(error))
                return
        await self._commit.conclude(effect, event, run_id)

    async def _look_again(self, effect: Claimed, why: str, *, seen: bool = False) -> None:
        """The create's answer may still be on its way; after that the webhook stays parked.

        Args:
            seen: It was read and does not say that it is ours: no lost create waits for it any more.
        """
        if seen:
            await self._commit.write(parked.disown, effect.subject)
        if effect.attempts < PROBES:
            await self._commit.again(effect, why)
        else:
            await self._commit.write(_not_ours, effect, why)

    def cancel(self, s: Session, effect: Claimed) -> Act | None:
        """Stop an interaction; whatever it is afterwards, nothing more is to be done about it."""
        return partial(self._cancel, effect)

    async def _cancel(self, effect: Claimed) -> None:
        try:
            snapshot = await self._gemini.cancel(effect.subject)
        except (UnavailableError, UncertainError) as e:
            await self._commit.again(effect, str(e), e)
            return
        except RejectedError as e:
            await self._commit.write(claims.give_up, effect, str(e))
            return
        if (
            snapshot is not None
            and snapshot.status in ("queued", "in_progress")
            and effect.attempts < CANCELS
        ):
            await self._commit.again(effect, f"still {snapshot.status}")
            return
        await self._commit.done(effect)


def _not_ours(s: Session, effect: Claimed, why: str) -> None:
    """It is looked at no more; its webhooks stay, should the answer to a create name it after all."""
    claims.give_up(s, effect, why)
    parked.disown(s, effect.subject)


def _request(s: Session, run: Run, toolkit: ToolkitPort) -> CreateRequest:
    """Everything the current turn's create says. One that takes up a cut answer has no input of its own."""
    turn = run.turn
    return CreateRequest(
        recipe=run.acting,
        correlation=Correlation(run.id, turn.number, turn.attempt),
        input="" if turn.continuation is not None else _input(s, run),
        planning=turn.planning,
        environment=turn.environment,
        functions=toolkit.declarations(run.acting.tools),
        previous_id=turn.previous_id,
        continuation=turn.continuation,
    )


def _input(s: Session, run: Run) -> str | tuple[FunctionResult, ...]:
    """The caller's text first, or what the step tells; then the results before, or a word about a plan."""
    if run.turn.previous_id is None:
        return run.turn.note or run.input
    before = turns.load(s, run.id, run.turn.number - 1)
    planned = any(is_own(c) and c.tool == PLAN for c in before.calls)
    return (run.turn.note or CARRY_OUT) if planned else _results(before)


def _results(turn: Turn) -> tuple[FunctionResult, ...]:
    """Exactly one result for each call of the turn."""
    return tuple(
        FunctionResult(c.call_id, c.tool, c.outcome.result, c.outcome.is_error)
        for c in turn.calls
        if c.outcome is not None and not is_own(c)
    )
