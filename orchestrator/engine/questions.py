"""What people are shown in Slack: each question posted once, redrawn from what is true."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Final

import structlog
from sqlalchemy.orm import Session

from orchestrator import failpoints
from orchestrator.domain.asking import GO_ON, PLAN
from orchestrator.domain.events import ApprovalPosted, ApprovalUndelivered
from orchestrator.domain.model import CallStatus, Card, ToolCall
from orchestrator.engine.commits import Commits
from orchestrator.engine.ports import SlackPort, ToolkitPort
from orchestrator.engine.tickets import Act
from orchestrator.errors import RejectedError, UnavailableError, UncertainError
from orchestrator.store import outbox, runs
from orchestrator.store.outbox import Claimed

LOOK_AGAIN: Final = timedelta(seconds=2)
"""Before a post whose answer got lost is looked for (Slack needs a moment to show it)."""

OWN_WORDS: Final = {
    PLAN: "The agent shows its plan before it begins: carry it out, send it back with a note, or stop?",
    GO_ON: "The run has used as many tokens as it may: let it go on for as many again, or stop it?",
}
"""What the run's own questions are about."""

log = structlog.get_logger(__name__)


class Questions:
    """Performs the effects that talk to Slack; without one, approvals are decided over the API."""

    def __init__(
        self,
        commits: Commits,
        slack: SlackPort | None,
        toolkit: ToolkitPort,
        link: Callable[[str], str],
    ) -> None:
        self._commit = commits
        self._slack = slack
        self._toolkit = toolkit
        self._link = link

    def request(self, s: Session, effect: Claimed) -> Act | None:
        """Show a question, once. One that is settled was not shown yet, or an earlier try did show it."""
        card = self._card(s, effect)
        if self._slack is not None and card is not None and card.approval.terms.channel:
            if card.approval.open:
                return partial(self._post, effect, card, self._slack)
            if effect.attempts > 1:
                return partial(self._redraw, effect, card, self._slack)
        outbox.done(s, effect)
        return None

    async def _post(self, effect: Claimed, card: Card, slack: SlackPort) -> None:
        failpoints.hit("before_post")
        try:
            channel, ts = await slack.post(card, seen_before=effect.attempts > 1)
        except UnavailableError as e:
            await self._commit.again(effect, str(e), e)
        except UncertainError as e:
            await self._commit.write(outbox.retry, effect, self._commit.now() + LOOK_AGAIN, str(e))
        except RejectedError as e:
            await self._commit.conclude(effect, ApprovalUndelivered(card.approval.id, str(e)))
        else:
            failpoints.hit("after_post")
            await self._commit.conclude(effect, ApprovalPosted(card.approval.id, channel, ts))

    def update(self, s: Session, effect: Claimed) -> Act | None:
        """Drawn from what is true at this moment; what changes while it is sent is drawn once more."""
        card = self._card(s, effect)
        # One in trouble may stand there all the same: an earlier try whose answer got lost had posted it.
        if self._slack is not None and card is not None and (card.approval.ts or card.approval.trouble):
            return partial(self._redraw, effect, card, self._slack)
        outbox.done(s, effect)
        return None

    async def _redraw(self, effect: Claimed, card: Card, slack: SlackPort) -> None:
        failpoints.hit("before_update")
        try:
            await slack.update(card)
        except (UnavailableError, UncertainError) as e:
            await self._commit.again(effect, str(e), e)
        except RejectedError as e:
            log.warning("approval_not_redrawn", approval=card.approval.id, why=str(e))
            await self._commit.write(outbox.bury, effect, str(e))
        else:
            failpoints.hit("after_update")
            await self._commit.done(effect)

    def _card(self, s: Session, effect: Claimed) -> Card | None:
        run = runs.load(s, effect.run_id)
        found = runs.load_approval(s, effect.subject, run)
        if found is None:
            return None
        approval, call, _ = found
        return Card(
            approval=approval,
            call=call,
            run_id=run.id,
            workflow=run.recipe.workflow,
            requester=run.requester,
            run_status=run.status,
            run_reason=run.reason,
            description=OWN_WORDS.get(call.tool) or self._toolkit.describe(call.tool),
            link=self._link(run.id),
            progress=_progress(run.turn.calls) if run.turn.call(call.id) else "",
            forgotten_at=run.turn.forgotten_at,
        )


def _progress(calls: Sequence[ToolCall]) -> str:
    """How far a turn of several calls is; empty where there is only one."""
    if len(calls) < 2:
        return ""
    decided = sum(1 for c in calls if c.status is not CallStatus.AWAITING_APPROVAL)
    return f"{decided} of {len(calls)} calls of this turn need no decision any more"
