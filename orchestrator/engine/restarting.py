"""Opening runs: one that was asked for, and one that takes up the work of another.

A restart is asked for by the doors (`Intake.restart`), or by people in Slack, for whom a worker makes it.
"""

import secrets
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from sqlalchemy.orm import Session

from orchestrator.domain.asking import RESTART
from orchestrator.domain.consent import Actor, ApprovalStatus
from orchestrator.domain.events import TakenUp
from orchestrator.domain.lifecycle import open_run
from orchestrator.domain.model import Policy, Recipe, Run, RunStatus, TurnStatus
from orchestrator.domain.transcript import summary
from orchestrator.engine import step
from orchestrator.errors import ConflictError
from orchestrator.store import outbox, runs, views

RESTARTS: Final = "orchestrator:restart"
"""Whose idempotency keys restarts have: one for each run; no token has such a name."""


@dataclass(frozen=True, slots=True)
class Started:
    """A run that was asked for; `fresh` is False where an earlier request had made it."""

    run_id: str
    fresh: bool


@dataclass(frozen=True, slots=True)
class Wish:
    """A run somebody wants; `key` of that `owner` is taken once.

    `after` is the run whose steps it goes on with: what those that are done came to is not made again.
    """

    recipe: Recipe
    text: str
    requester: Actor
    owner: str
    key: str | None
    body_hash: str
    restart_of: str | None = None
    after: Run | None = None


def start(s: Session, wish: Wish, now: datetime) -> tuple[str, Started]:
    """Open the run, or find the one an earlier wish under that key has opened. Returns its id, too.

    Raises:
        ConflictError: The key was used for another request.
    """
    if wish.key is not None and (known := views.by_idempotency_key(s, wish.owner, wish.key)):
        if wish.restart_of is None and known[1] != wish.body_hash:
            raise ConflictError("this idempotency key was used for another request")
        return known[0], Started(known[0], fresh=False)
    new_id = f"run_{secrets.token_hex(12)}"
    decision = open_run(
        new_id, wish.recipe, wish.text, wish.requester, now=now, restart_of=wish.restart_of, after=wish.after
    )
    keyed = {"owner": wish.owner, "idempotency_key": wish.key, "body_hash": wish.body_hash}
    run = runs.insert(s, decision, now=now, **(keyed if wish.key is not None else {}))
    outbox.add(s, run.id, decision.effects)
    return run.id, Started(run.id, fresh=True)


def restart(
    s: Session, run_id: str, recipe: Recipe, by: Actor, *, policy: Policy, now: datetime
) -> tuple[str, Started]:
    """Open the run that takes up this one's work, and close this one where it waits for a person.

    Raises:
        NotFoundError: There is no such run.
        ConflictError: It is still at work, or it completed.
    """
    run = runs.load(s, run_id)
    if run.status not in (RunStatus.ATTENTION, RunStatus.FAILED, RunStatus.CANCELLED):
        raise ConflictError(
            f"the run is {run.status}: only one that failed or waits for a person is restarted"
        )
    after = run if _same_steps(recipe, run.recipe) else None
    text = run.input if recipe.steps else _record(s, run)
    wish = Wish(_told_alike(recipe, run.recipe), text, by, RESTARTS, _key(run_id), "", run_id, after)
    new_id, started = start(s, wish, now)
    if started.fresh and not run.closed:
        step.apply(s, run_id, TakenUp(by, new_id), policy=policy, now=now)
    return new_id, started


def _same_steps(recipe: Recipe, before: Recipe) -> bool:
    return bool(recipe.steps) and [s.name for s in recipe.steps] == [s.name for s in before.steps]


def _record(s: Session, run: Run) -> str:
    """The earlier request, with what was done about it."""
    return summary(run, [runs.load_turn(s, run.id, n) for n in range(1, run.turn.number + 1)])


def _told_alike(recipe: Recipe, before: Recipe) -> Recipe:
    """Who wanted to be told of the earlier run is told of this one, too."""
    own = [c for c in before.callbacks if c.own]
    others = [c for c in recipe.callbacks if c.url not in {o.url for o in own}]
    return replace(recipe, callbacks=(*others, *own)) if own else recipe


def wanted_by(run: Run, approval: str) -> Actor | None:
    """Who wants the run restarted, by that question; None if it went on, was ended or restarted since."""
    call = run.turn.by_approval(approval)
    if run.closed or run.turn.status is not TurnStatus.REFUSED or call is None or call.approval is None:
        return None
    verdict = call.approval.verdict
    wanted = call.tool == RESTART and call.approval.status is ApprovalStatus.APPROVED
    return verdict.by if wanted and verdict is not None else None


def successor(s: Session, run_id: str) -> str:
    """The run that took this one's work up; empty for none."""
    known = views.by_idempotency_key(s, RESTARTS, _key(run_id))
    return known[0] if known else ""


def _key(run_id: str) -> str:
    return f"restart of {run_id}"
