"""The one message over several questions of a turn: posted once, before any of them, and redrawn.

It is told of by the turn's number. Where it cannot be posted its questions are shown one by one, and a crash
between it and them loses neither: what is still to be shown is a row.
"""

from collections.abc import Callable
from functools import partial

import structlog
from sqlalchemy.orm import Session

from orchestrator import failpoints
from orchestrator.domain import batches
from orchestrator.domain.asking import is_own
from orchestrator.domain.cards import BatchCard, Card
from orchestrator.domain.consent import Place
from orchestrator.domain.events import BatchPosted, BatchUndelivered
from orchestrator.domain.model import CallStatus, Run, Turn
from orchestrator.engine.commits import Commits
from orchestrator.engine.ports import SlackPort, ToolkitPort
from orchestrator.engine.posting import in_turn, not_posted, redrawn, unfamiliar_may_pass
from orchestrator.engine.tickets import Act
from orchestrator.errors import RejectedError, UnavailableError, UncertainError
from orchestrator.store import claims, runs, turns
from orchestrator.store.claims import Claimed

log = structlog.get_logger(__name__)

Draws = Callable[[Session, Claimed, str], Card | None]


class Batches:
    """Performs the effects about messages over questions.

    Args:
        card: What is shown of one question; None where there is no such.
        link: Makes the address of a run's page from its id.
    """

    def __init__(
        self,
        commits: Commits,
        slack: SlackPort | None,
        toolkit: ToolkitPort,
        card: Draws,
        link: Callable[[str], str],
    ) -> None:
        self._commit = commits
        self._slack = slack
        self._toolkit = toolkit
        self._card = card
        self._link = link

    def post(self, s: Session, effect: Claimed) -> Act | None:
        """Show it, once, while something under it is open; what is decided already needs none."""
        run, turn = self._turn(s, effect)
        if turn.batch is None or turn.batch.ts:
            claims.done(s, effect)
            return None
        if self._slack is None:
            self._commit.settle(s, effect, BatchUndelivered(turn.number, "no Slack is set up"))
            return None
        batch = self._batch(s, effect, run, turn, turn.batch)
        waits = not run.closed and turn.number == run.turn.number
        if waits and (batches.still_open(turn) or batch.preparing):
            face = batches.face(turn) if effect.attempts == 1 else ""
            act = partial(self._post, effect, batch, face, self._slack)
            return in_turn(self._commit, s, effect, batch.place.channel, act)
        if effect.attempts > 1:
            return partial(self._tidy, effect, batch, self._slack)
        self._commit.settle(s, effect, BatchUndelivered(turn.number, "all were decided before"))
        return None

    async def _post(self, effect: Claimed, batch: BatchCard, face: str, slack: SlackPort) -> None:
        failpoints.hit("before_post")
        try:
            with unfamiliar_may_pass(effect):
                place = await slack.post_batch(batch, seen_before=effect.attempts > 1)
        except (UnavailableError, UncertainError) as e:
            await not_posted(self._commit, effect, e)
        except RejectedError as e:
            log.warning("batch_not_shown", run_id=batch.run_id, turn=batch.turn, why=str(e))
            await self._commit.conclude(effect, BatchUndelivered(batch.turn, str(e)))
        else:
            failpoints.hit("after_post")
            await self._commit.conclude(effect, BatchPosted(batch.turn, place.channel, place.ts, face))

    async def _tidy(self, effect: Claimed, batch: BatchCard, slack: SlackPort) -> None:
        """An earlier try may have posted it, and nothing under it is open any more."""
        if await self._drawn(effect, batch, slack):
            await self._commit.conclude(effect, BatchUndelivered(batch.turn, "all were decided before"))

    def update(self, s: Session, effect: Claimed) -> Act | None:
        """Drawn from what is true at this moment."""
        run, turn = self._turn(s, effect)
        if self._slack is not None and turn.batch is not None and turn.batch.ts:
            return partial(self._update, effect, self._batch(s, effect, run, turn, turn.batch), self._slack)
        claims.done(s, effect)
        return None

    async def _update(self, effect: Claimed, batch: BatchCard, slack: SlackPort) -> None:
        if await self._drawn(effect, batch, slack):
            await self._commit.done(effect)

    async def _drawn(self, effect: Claimed, batch: BatchCard, slack: SlackPort) -> bool:
        refused = lambda why: log.warning("batch_not_redrawn", run_id=batch.run_id, turn=batch.turn, why=why)  # noqa: E731
        return await redrawn(self._commit, effect, slack.update_batch(batch), refused)

    def _turn(self, s: Session, effect: Claimed) -> tuple[Run, Turn]:
        run, number = runs.load(s, effect.run_id), int(effect.subject)
        return run, run.turn if run.turn.number == number else turns.load(s, run.id, number)

    def _batch(self, s: Session, effect: Claimed, run: Run, turn: Turn, place: Place) -> BatchCard:
        asked = [c.approval for c in batches.members(turn) if c.approval is not None]
        cards = [self._card(s, effect, approval.id) for approval in asked]
        return BatchCard(
            run_id=run.id,
            turn=turn.number,
            workflow=run.recipe.workflow,
            requester=run.requester,
            run_status=run.status,
            place=place,
            asked_at=min((a.requested_at for a in asked), default=turn.sent_at or run.created_at),
            cards=tuple(card for card in cards if card is not None),
            preparing=self._preparing(run, turn, place.channel),
            together=not run.closed and batches.together(batches.still_open(turn)),
            link=self._link(run.id),
        )

    def _preparing(self, run: Run, turn: Turn, channel: str) -> tuple[str, ...]:
        """The tools people will be asked about there, once it is known what the calls would do."""
        known = {c.id for c in batches.members(turn)}
        soon = [c for c in turn.calls if c.status is CallStatus.PREVIEWING and c.id not in known]
        terms = [(c.tool, self._toolkit.terms(run.recipe, c.tool)) for c in soon if not is_own(c)]
        return tuple(tool for tool, t in terms if t is not None and t.channel == channel)
