"""What a call would do, worked out before people are asked; nothing happens by it, so often as need be."""

from functools import partial

from sqlalchemy.orm import Session

from orchestrator.domain.assessment import CallContext
from orchestrator.domain.consent import Preview
from orchestrator.domain.events import CallPreviewed
from orchestrator.domain.exchange import FunctionCall
from orchestrator.domain.model import CallStatus, ToolCall
from orchestrator.engine.calls import context_of, foreseen
from orchestrator.engine.commits import Commits
from orchestrator.engine.ports import ToolkitPort
from orchestrator.engine.seal import assess
from orchestrator.engine.tickets import Act
from orchestrator.store import asked, claims, locking, runs
from orchestrator.store.claims import Claimed


class Previews:
    """Performs the effects that work a preview out."""

    def __init__(self, commits: Commits, toolkit: ToolkitPort) -> None:
        self._commit = commits
        self._toolkit = toolkit

    def preview(self, s: Session, effect: Claimed) -> Act | None:
        """Only for a call that waits for it."""
        run = runs.load(s, effect.run_id)
        call = run.turn.call(effect.subject)
        if call is None or call.status is not CallStatus.PREVIEWING or run.closed:
            claims.done(s, effect)
            return None
        return partial(self._look, effect, call, context_of(run, call))

    async def _look(self, effect: Claimed, call: ToolCall, context: CallContext) -> None:
        preview = await foreseen(self._commit, self._toolkit, effect, call, context)
        if preview is None:
            return

        def job(s: Session) -> tuple[str, None]:
            self._tell(s, effect, call, preview)
            return effect.run_id, None

        await self._commit.outlast(job, effect.run_id)

    def _tell(self, s: Session, effect: Claimed, before: ToolCall, preview: Preview) -> None:
        """Sealed with everything else as it is at this moment."""
        locking.run(s, effect.run_id)
        run = runs.load(s, effect.run_id)
        call = run.turn.call(before.id) or before
        if call.status is CallStatus.PREVIEWING and call.arguments != before.arguments:
            claims.retry(s, effect, self._commit.now(), "it was changed while it was looked at")
            return
        if not claims.done(s, effect):
            return  # whoever took it over tells
        wish = FunctionCall(call.call_id, call.tool, call.arguments)
        fresh = assess(self._toolkit, run, run.turn.interaction_id or "", wish, preview)
        [fresh] = asked.counted(s, [fresh])
        self._commit.apply(s, run.id, CallPreviewed(call.id, before.arguments, fresh))
