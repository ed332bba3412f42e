"""Between a workflow's steps a call is prepared; behind its end another workflow is started."""

import json
from collections.abc import Callable
from typing import Any, Final

import structlog
from sqlalchemy.orm import Session

from orchestrator.domain.events import StepBegun
from orchestrator.domain.exchange import FunctionCall
from orchestrator.domain.model import Recipe, Run, TurnStatus
from orchestrator.domain.pipeline import UnresolvedError, resolve, step_call
from orchestrator.domain.plain import MAX_HANDED_ON, size
from orchestrator.domain.values import replace
from orchestrator.engine.commits import Commits
from orchestrator.engine.ports import ToolkitPort
from orchestrator.engine.restarting import WantedRun, start
from orchestrator.engine.seal import assess
from orchestrator.engine.tickets import Act
from orchestrator.store import claims, runs
from orchestrator.store.claims import Claimed

log = structlog.get_logger(__name__)

HOOKS = "orchestrator:hook"
"""Whose idempotency keys the workflows that follow have: one for each run and workflow."""
MAX_TOLD_REASON: Final = 2_000
"""Characters of a run's reason that the workflow which follows is told."""
ROOM: Final = 16 * 1024
"""Bytes kept for what is always told; a character of a reason takes six at the most."""


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
            claims.done(s, effect)
            return None
        if not self._commit.limits.run(s, effect, run, self._commit.now()):
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
            claims.give_up(s, effect, f"there is no workflow {name}")
            return None
        recipe = replace(recipe, asked_before=run.recipe.asked_before)
        wish = WantedRun(recipe, _told(run), run.requester, HOOKS, f"{name} after {run.id}", "")
        new_id, _ = start(s, wish, self._commit.now())
        claims.done(s, effect)
        log.info("hook_started", run_id=run.id, workflow=name, started=new_id)
        return None


def _told(run: Run) -> str:
    """How a run ended, as the input of the workflow that follows it.

    As bounded as a call's result: of what is too much the largest parts are left out, and `left_out` names
    them as a reference would.
    """
    parts: dict[str, Any] = {"input": run.input, "output": run.output}
    parts |= {f"outputs.{name}": value for name, value in run.outputs.items()}
    sizes = {name: size({name: value}) for name, value in parts.items()}
    left_out: list[str] = []
    for name in sorted(parts, key=lambda name: (-sizes[name], name)):
        if sum(sizes.values()) <= MAX_HANDED_ON - ROOM:
            break
        left_out.append(name)
        del sizes[name]
    told: dict[str, Any] = {
        "run": run.id,
        "workflow": run.recipe.workflow,
        "status": str(run.status),
        "reason": run.reason[:MAX_TOLD_REASON],
        **{name: parts[name] for name in ("input", "output") if name in sizes},
        "outputs": {name: value for name, value in run.outputs.items() if f"outputs.{name}" in sizes},
        **({"left_out": sorted(left_out)} if left_out else {}),
    }
    return json.dumps(told, ensure_ascii=False, separators=(",", ":"))
