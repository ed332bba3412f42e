"""Opening runs: one that was asked for, and one that takes up the work of another.

A restart is asked for by the doors (`Intake.restart`), or by people in Slack, for whom a worker makes it.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog
from sqlalchemy.orm import Session

from orchestrator.domain.announcements import announce
from orchestrator.domain.asking import RESTART, is_own
from orchestrator.domain.consent import Actor, ApprovalStatus
from orchestrator.domain.events import TakenUp
from orchestrator.domain.lifecycle import open_run
from orchestrator.domain.model import OutcomeKind, Policy, Recipe, Run, RunStatus, TurnStatus
from orchestrator.domain.pipeline import StepKind, named, wants_again
from orchestrator.domain.transcript import summary
from orchestrator.domain.values import replace
from orchestrator.engine import step
from orchestrator.engine.commits import Commits
from orchestrator.errors import ConflictError
from orchestrator.store import callbacks, claims, outbox, runs, turns, views
from orchestrator.store.claims import Claimed

log = structlog.get_logger(__name__)

RESTARTS: Final = "orchestrator:restart"
"""Whose idempotency keys restarts have: one for each run; no token has such a name."""


@dataclass(frozen=True, slots=True)
class Started:
    """A run that was asked for; `fresh` is False where an earlier request had made it."""

    run_id: str
    fresh: bool


@dataclass(frozen=True, slots=True)
class WantedRun:
    """A run somebody wants; `key` of that `owner` is taken once.

    `after` is the run whose steps it goes on with: what those that are done came to is not made again;
    `record` is what the agent of the step it was at had been told and did, where that was something.
    """

    recipe: Recipe
    text: str
    requester: Actor
    owner: str
    key: str | None
    body_hash: str
    restart_of: str | None = None
    after: Run | None = None
    record: str = ""


def start(s: Session, wish: WantedRun, now: datetime) -> tuple[str, Started]:
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
        new_id,
        wish.recipe,
        wish.text,
        wish.requester,
        now=now,
        restart_of=wish.restart_of,
        after=wish.after,
        record=wish.record,
    )
    keyed = {"owner": wish.owner, "idempotency_key": wish.key, "body_hash": wish.body_hash}
    run = runs.insert(s, decision, now=now, **(keyed if wish.key is not None else {}))
    outbox.add(s, run.id, decision.effects)
    if run.closed:  # its first step cannot begin
        before = replace(decision.run, status=RunStatus.QUEUED, closed_at=None)
        outbox.add(s, run.id, callbacks.put(s, run.id, announce(before, decision, now), now))
    return run.id, Started(run.id, fresh=True)


def restart(
    s: Session, run_id: str, recipe: Recipe, by: Actor, *, policy: Policy, now: datetime
) -> tuple[str, Started]:
    """Open the run that takes up this one's work, and close this one where it waits for a person.

    Raises:
        NotFoundError: There is no such run.
        ConflictError: It is still at work, or it completed; or it is at a tool's step that may have taken
            effect, which would be called again.
    """
    run = runs.load(s, run_id)
    if run.status not in (RunStatus.ATTENTION, RunStatus.FAILED, RunStatus.CANCELLED):
        raise ConflictError(
            f"the run is {run.status}: only one that failed, was cancelled or waits for a person is restarted"
        )
    if known := successor(s, run_id):
        return known, Started(known, fresh=False)
    after = _gone_on(run) if _same_steps(recipe, run.recipe) else None
    if after is None and acted(run):
        raise ConflictError(
            "the workflow's steps have changed since, and what was done would be done again: start a new run"
        )
    text = run.input if recipe.steps else _record(s, run)
    told, record = _taking_up(_told_alike(recipe, run.recipe), run), _of_step(s, run) if after else ""
    wish = WantedRun(told, text, by, RESTARTS, _key(run_id), "", run_id, after, record)
    new_id, started = start(s, wish, now)
    if started.fresh and not run.closed:
        step.apply(s, run_id, TakenUp(by, new_id), policy=policy, now=now)
    return new_id, started


def acted(run: Run) -> bool:
    """Whether a tool's step of it is done: that must not be done once more."""
    return any(s.kind is StepKind.TOOL and s.name in run.outputs for s in run.recipe.steps)


def _same_steps(recipe: Recipe, before: Recipe) -> bool:
    return bool(recipe.steps) and [s.name for s in recipe.steps] == [s.name for s in before.steps]


def _gone_on(run: Run) -> Run:
    """The run as another one goes on with it; what a tool's step came to after the end is not made again."""
    step, call = run.doing, next(iter(run.turn.calls), None) if run.calls_a_tool else None
    if step is None or call is None or call.jobs:
        return run
    outcome = call.outcome
    if outcome is not None and not outcome.is_error and not wants_again(outcome.result):
        if run.step + 1 == len(run.recipe.steps):
            raise ConflictError("every step of the run is done")
        return replace(run, step=run.step + 1, outputs={**run.outputs, step.name: outcome.result})
    began = call.claim is not None or call.started_at is not None
    if began and (outcome is None or outcome.kind is OutcomeKind.WITHDRAWN):
        way = "start a new run for what is left" if run.closed else "say first what became of it"
        what = named(run.recipe.workflow, call.tool, call.call_id)
        raise ConflictError(f"it is not known whether {what} took effect, and it would run again: {way}")
    return run


def _of_step(s: Session, run: Run) -> str:
    """What its step's agent was told and did, for the one that takes it up; empty if it called nothing."""
    chain = [run.turn]
    while chain[0].previous_id is not None:
        chain.insert(0, turns.load(s, run.id, chain[0].number - 1))
    if run.calls_a_tool or all(is_own(call) for turn in chain for call in turn.calls):
        return ""
    asked = replace(run, input=chain[0].note or run.input)
    return summary(asked, [replace(chain[0], note=""), *chain[1:]])


def _record(s: Session, run: Run) -> str:
    """The earlier request, with what was done about it."""
    return summary(run, [turns.load(s, run.id, n) for n in range(1, run.turn.number + 1)])


def _told_alike(recipe: Recipe, before: Recipe) -> Recipe:
    """Who wanted to be told of the earlier run is told of this one, too."""
    own = [c for c in before.callbacks if c.own]
    others = [c for c in recipe.callbacks if c.url not in {o.url for o in own}]
    return replace(recipe, callbacks=(*others, *own)) if own else recipe


def _taking_up(recipe: Recipe, before: Run) -> Recipe:
    """Who asked for the work at first has not become somebody else because another had it taken up."""
    asked = (*before.recipe.asked_before, before.requester.id)
    return replace(recipe, asked_before=tuple(dict.fromkeys(asked)))


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


class Restarts:
    """Restarts that people asked for in Slack.

    Args:
        recipe: The workflow of that name as it stands now; None for one that is no longer configured.
    """

    def __init__(self, commits: Commits, recipe: Callable[[str], Recipe | None]) -> None:
        self._commits, self._recipe = commits, recipe

    def restart(self, s: Session, effect: Claimed) -> None:
        """In one transaction, which a crash undoes whole; what came before it, a cancel for one, has won."""
        run = runs.load(s, effect.run_id)
        claims.done(s, effect)
        if (by := wanted_by(run, effect.subject)) is not None:
            # What a changed workflow would do once more, the one the run was begun with goes on behind.
            current = self._recipe(run.recipe.workflow)
            recipe = run.recipe if current is None or acted(run) else current
            now = self._commits.now()
            restart(s, run.id, recipe, by, policy=self._commits.policy(s), now=now)
            log.info("run_restarted", run_id=run.id, by=by.id)
