"""Between a workflow's steps a call is prepared; behind its end another workflow is started."""

import json
from collections.abc import Callable

import structlog
from sqlalchemy.orm import Session

from orchestrator.domain.events import StepBegun
from orchestrator.domain.exchange import FunctionCall
from orchestrator.domain.model import Recipe, Run, TurnStatus
from orchestrator.domain.pipeline import UnresolvedError, resolve, step_call
from orchestrator.engine.commits import Commits
from orchestrator.engine.ports import ToolkitPort
from orchestrator.engine.restarting import Wish, start
from orchestrator.engine.seal import assess
from orchestrator.engine.tickets import Act
from orchestrator.store import outbox, runs
from orchestrator.store.outbox import Claimed

log = structlog.get_logger(__name__)

HOOKS = "orchestrator:hook"
"""Whose idempotency keys the workflows that follow have: one for each run and workflow."""


class Steps:
    """Performs the effects between steps; nothing of them leaves the transaction.

    Args:
        recipe: The workflow of that name as it stands now; None for one that is no longer configured.
    """

    def __init__(
        self, commits: Commits, toolkit: ToolkitPort, recipe: Callable[[str], Recipe | None]
    ) -> None:
        self._commit = commits
        self._toolkit = toolkit
        self._recipe = recipe

    def begin(self, s: Session, effect: Claimed) -> Act | None:
        """The call of a tool's step, with what earlier steps came to in its arguments."""
        run = runs.load(s, effect.run_id)
        waits = run.turn.status is TurnStatus.INTENDED and str(run.turn.number) == effect.subject
        if run.closed or not waits or run.doing is None:
            outbox.done(s, effect)
            return None
        self._commit.settle(s, effect, self._begun(run))
        return None

    def _begun(self, run: Run) -> StepBegun:
        step = run.doing
        assert step is not None  # noqa: S101  whoever calls has looked
        try:
            arguments = resolve(step.arguments, run.input, run.outputs)
        except UnresolvedError as e:
            return StepBegun(run.turn.number, None, str(e))
        wish = FunctionCall(step_call(step.name, run.turn.number), step.tool, arguments)
        return StepBegun(run.turn.number, assess(self._toolkit, run, "", wish))

    def follow(self, s: Session, effect: Claimed) -> Act | None:
        """Start the workflow that follows the end of this one, once."""
        run, name = runs.load(s, effect.run_id), effect.subject
        recipe = self._recipe(name)
        if recipe is None:
            log.warning("hook_unknown", run_id=run.id, workflow=name)
            outbox.bury(s, effect, f"there is no workflow {name}")
            return None
        wish = Wish(recipe, _told(run), run.requester, HOOKS, f"{name} after {run.id}", "")
        new_id, _ = start(s, wish, self._commit.now())
        outbox.done(s, effect)
        log.info("hook_started", run_id=run.id, workflow=name, started=new_id)
        return None


def _told(run: Run) -> str:
    """How a run ended, as the input of the workflow that follows it."""
    told = {
        "run": run.id,
        "workflow": run.recipe.workflow,
        "status": str(run.status),
        "reason": run.reason,
        "input": run.input,
        "output": run.output,
        "outputs": dict(run.outputs),
    }
    return json.dumps(told, ensure_ascii=False)
