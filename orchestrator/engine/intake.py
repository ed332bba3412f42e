"""The one way in: whatever somebody wants is recorded and decided, then the worker is told.

Every door (HTTP, webhook, Slack, shell) ends here. Answers are values; the doors word them.
"""

import hashlib
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from types import MappingProxyType
from typing import Final

import structlog
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from orchestrator import failpoints
from orchestrator.domain.calls import already
from orchestrator.domain.decision import Refusal
from orchestrator.domain.events import (
    ApprovalDecided,
    AttentionResolved,
    CancelRequested,
    Choice,
    TakenUp,
)
from orchestrator.domain.lifecycle import open_run
from orchestrator.domain.model import Actor, Approval, JsonObject, Policy, Recipe, Run, RunStatus, Verdict
from orchestrator.domain.transcript import summary
from orchestrator.engine import step
from orchestrator.engine.commits import Commits
from orchestrator.engine.ports import Clock
from orchestrator.errors import ConflictError, NotFoundError
from orchestrator.store import inbox, outbox, runs, views
from orchestrator.store.database import Database
from orchestrator.store.together import Together

RESTARTS: Final = "orchestrator:restart"
"""Whose idempotency keys restarts have: one for each run; no token has such a name."""

log = structlog.get_logger(__name__)
_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Started:
    """A run that was asked for; `fresh` is False where an earlier request had made it."""

    run_id: str
    fresh: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """What a decision came to. `approval` is the question as it stands now."""

    approval: Approval
    tool: str
    note: str = ""
    refused: Refusal | None = None


class Intake:
    """Takes wishes and facts from the doors.

    Args:
        wake: Called after each commit that may have made work.
        mail: Called instead after a webhook was stored.
        stop_tools: Called with a run's id after it was cancelled.
        commits: Of the performer in this process, which goes straight on with what a wish makes due;
            without one, or without room there, it stays a row for whoever works.
        repeated: Told of webhooks that had come before, as `inbox.put` says; from any thread.
    """

    def __init__(
        self,
        database: Database,
        *,
        policy: Policy,
        clock: Clock,
        wake: Callable[[], None],
        mail: Callable[[], None] | None = None,
        stop_tools: Callable[[str], None],
        commits: Commits | None = None,
        repeated: inbox.Counts = lambda again, other: None,
    ) -> None:
        self._db = database
        self._policy = policy
        self._clock = clock
        self._mail = mail or wake
        self._stop_tools = stop_tools
        self._commits = commits or Commits(database, policy=policy, clock=clock)
        if commits is None:
            self._commits.expect = lambda due: wake()
        self._deliveries = Together(database, partial(step.keep, repeated=repeated))

    async def start(
        self,
        recipe: Recipe,
        text: str,
        requester: Actor,
        *,
        owner: str = "",
        idempotency_key: str | None = None,
    ) -> Started:
        """Open a run.

        Args:
            text: The input as the model will read it.
            owner: Whose idempotency keys these are, a token's name.
            idempotency_key: The same key and the same request give the same run.

        Raises:
            ConflictError: The key was used for another request.
        """
        body = f"{recipe.workflow}\0{text}".encode()
        wish = _Wish(recipe, text, requester, owner, idempotency_key, hashlib.sha256(body).hexdigest())
        try:
            started = await self._commits.advance(partial(_start, wish=wish, now=self._clock()))
        except IntegrityError:  # another process took the same key in this very moment
            started = await self._commits.advance(partial(_start, wish=wish, now=self._clock()))
        failpoints.hit("after_run_stored")
        return started

    async def deliver(
        self,
        *,
        webhook_id: str,
        kind: str,
        subject: str,
        timestamp: int,
        body: bytes,
        scheme: str = "v1",
        headers: Mapping[str, str] = _NO_HEADERS,
    ) -> None:
        """Keep a verified webhook; returns after the commit.

        Args:
            scheme: Which kind of signature was good.
            headers: Those worth keeping; short and printable.
        """
        now = self._clock()
        arrived = inbox.Arrived(
            webhook_id, kind, subject, timestamp, body, now, scheme=scheme, headers=headers
        )
        await self._deliveries.put(arrived)
        failpoints.hit("after_delivery_stored")
        self._mail()

    async def decide(
        self,
        approval_id: str,
        *,
        approve: bool,
        by: Actor,
        entitled_as: str,
        digest: str | None,
        reason: str = "",
        refine: bool = False,
    ) -> Answer:
        """A person's answer to a question, by whichever door. The first valid one stands.

        Args:
            entitled_as: The entry of the approvers they stand for: a Slack user id or `api:<token>`.
            digest: At least 16 characters of the digest they were shown; None takes the current
                one, for a door that shows the question and takes the answer in one.
            refine: Not approved, but a plan sent back: the reason says what to change.

        Raises:
            NotFoundError: There is no such approval.
        """
        verdict = Verdict(approve, by, self._clock(), reason, refine)
        # The decision alone: a tool that is claimed with it would be in doubt if the process ended here.
        answer = await self._commits.write(self._decide, approval_id, verdict, entitled_as, digest)
        failpoints.hit("after_decision")
        return answer

    def _decide(
        self, s: Session, approval_id: str, verdict: Verdict, entitled_as: str, digest: str | None
    ) -> Answer:
        found = runs.load_approval(s, approval_id)
        if found is None:
            raise NotFoundError(f"there is no approval {approval_id}")
        run_id = found[2]
        shown = found[0].digest if digest is None else digest
        event = ApprovalDecided(approval_id, shown, verdict, entitled_as)
        applied = step.apply(s, run_id, event, policy=self._policy, now=self._clock())
        approval, call, _ = runs.load_approval(s, approval_id, applied.run) or found
        note = applied.note
        if applied.refused in (Refusal.NOT_FOUND, Refusal.RUN_ENDED) and not approval.open:
            note = already(approval)
        return Answer(approval, call.tool, note, applied.refused)

    async def cancel(self, run_id: str, by: Actor, reason: str = "") -> Run:
        """Stop a run; from here on nothing starts for it.

        Raises:
            NotFoundError: There is no such run.
            ConflictError: It ended before, otherwise than by a cancel.
        """
        applied = await self._apply(run_id, CancelRequested(by, reason))
        failpoints.hit("after_cancel_stored")
        self._stop_tools(run_id)
        if applied.refused and applied.run.status != "cancelled":
            raise ConflictError(f"the run is already {applied.run.status}")
        return applied.run

    async def resolve(
        self, run_id: str, choice: Choice, by: Actor, *, call: str = "", result: str | JsonObject = ""
    ) -> Run:
        """A person settles what no machine could know.

        Raises:
            NotFoundError: There is no such run.
            ConflictError: Nothing of that kind is in doubt there.
        """
        applied = await self._apply(run_id, AttentionResolved(choice, by, call, result))
        if applied.refused:
            raise ConflictError(applied.note)
        return applied.run

    async def restart(self, run_id: str, recipe: Recipe, by: Actor) -> Started:
        """Open a run that takes up the work of one that ended, or that waits for a person and is then closed.

        Its input is the earlier request with a record of what was done. Doing so twice is doing it once.

        Args:
            recipe: The workflow as it stands now.

        Raises:
            NotFoundError: There is no such run.
            ConflictError: It is still at work, or it completed.
        """
        started = await self._commits.advance(partial(self._restart, run_id, recipe, by))
        failpoints.hit("after_run_stored")
        return started

    def _restart(self, run_id: str, recipe: Recipe, by: Actor, s: Session) -> tuple[str, Started]:
        run = runs.load(s, run_id)
        if run.status not in (RunStatus.ATTENTION, RunStatus.FAILED, RunStatus.CANCELLED):
            raise ConflictError(
                f"the run is {run.status}: only one that failed or waits for a person is restarted"
            )
        turns = [runs.load_turn(s, run_id, n) for n in range(1, run.turn.number + 1)]
        text, key = summary(run, turns), f"restart of {run_id}"
        wish = _Wish(recipe, text, by, RESTARTS, key, "", run_id)
        new_id, started = _start(s, wish, self._clock())
        if started.fresh and not run.closed:
            step.apply(s, run_id, TakenUp(by, new_id), policy=self._policy, now=self._clock())
        return new_id, started

    async def _apply(self, run_id: str, event: CancelRequested | AttentionResolved) -> step.Applied:
        now = self._clock()
        return await self._commits.write(step.apply, run_id, event, policy=self._policy, now=now)


@dataclass(frozen=True, slots=True)
class _Wish:
    recipe: Recipe
    text: str
    requester: Actor
    owner: str
    key: str | None
    body_hash: str
    restart_of: str | None = None


def _start(s: Session, wish: _Wish, now: datetime) -> tuple[str, Started]:
    if wish.key is not None and (known := views.by_idempotency_key(s, wish.owner, wish.key)):
        if wish.restart_of is None and known[1] != wish.body_hash:
            raise ConflictError("this idempotency key was used for another request")
        return known[0], Started(known[0], fresh=False)
    new_id = f"run_{secrets.token_hex(12)}"
    decision = open_run(new_id, wish.recipe, wish.text, wish.requester, now=now, restart_of=wish.restart_of)
    keyed = {"owner": wish.owner, "idempotency_key": wish.key, "body_hash": wish.body_hash}
    run = runs.insert(s, decision, now=now, **(keyed if wish.key is not None else {}))
    outbox.add(s, run.id, decision.effects)
    return run.id, Started(run.id, fresh=True)
