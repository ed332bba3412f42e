"""Requests among the direct messages of those who may decide: who they are, and one copy for each.

A copy is posted like the message in the channel: once, looked for before it is tried again, and redrawn
with it. See `domain.escalation` for when.
"""

from collections.abc import Callable
from functools import partial

import structlog
from sqlalchemy.orm import Session

from orchestrator.domain import escalation
from orchestrator.domain.cards import Card
from orchestrator.domain.consent import Place
from orchestrator.domain.deadlines import undisturbed, unseen
from orchestrator.domain.effects import parse_notice
from orchestrator.domain.events import ApprovalCopied, ApprovalNotCopied, ApproversFound
from orchestrator.engine.commits import Commits
from orchestrator.engine.ports import SlackPort
from orchestrator.engine.posting import adopt_message, in_turn, maybe_posted, not_posted, unfamiliar_may_pass
from orchestrator.engine.tickets import Act
from orchestrator.errors import RejectedError, UnavailableError, UncertainError
from orchestrator.store import claims
from orchestrator.store.claims import Claimed

log = structlog.get_logger(__name__)


class Copies:
    """Performs the effects that write to people directly.

    Args:
        card: What is to be shown of an approval, by its id, as it is at this moment.
    """

    def __init__(
        self,
        commits: Commits,
        slack: SlackPort | None,
        card: Callable[[Session, Claimed, str], Card | None],
    ) -> None:
        self._commit = commits
        self._slack = slack
        self._card = card

    def spread(self, s: Session, effect: Claimed) -> Act | None:
        """Find out who is written to. In quiet hours that waits, but not where nobody sees the question."""
        card, now = self._card(s, effect, effect.subject), self._commit.now()
        if self._slack is None or card is None or not _to_be_spread(card):
            claims.done(s, effect)
            return None
        if not unseen(card.approval) and (later := undisturbed(card.approval, now)) > now:
            claims.retry(s, effect, later, "quiet hours")
            return None
        return partial(self._spread, effect, card, self._slack)

    async def _spread(self, effect: Claimed, card: Card, slack: SlackPort) -> None:
        try:
            members = await slack.members(escalation.groups(card.approval))
        except UnavailableError as e:
            await self._commit.again(effect, str(e), e)
            return
        people = escalation.people(card.approval, card.asked_for_it, members)
        await self._commit.conclude(effect, ApproversFound(card.approval.id, people))

    def copy(self, s: Session, effect: Claimed) -> Act | None:
        """Show it to one person, once. Of one that is settled, an earlier try is looked for."""
        approval, person = parse_notice(effect.subject)
        card = self._card(s, effect, approval)
        if self._slack is not None and card is not None:
            if card.approval.open:
                act = partial(self._post, effect, card, person, self._slack)
                return in_turn(self._commit, s, effect, person, act)
            if effect.attempts > 1:
                return partial(self._find, effect, card, person, self._slack)
        claims.done(s, effect)
        return None

    async def _post(self, effect: Claimed, card: Card, person: str, slack: SlackPort) -> None:
        approval = card.approval.id
        try:
            with unfamiliar_may_pass(effect):
                place = await slack.copy(card, person, seen_before=maybe_posted(effect))
        except (UnavailableError, UncertainError) as e:
            await not_posted(self._commit, effect, e)
        except RejectedError as e:
            log.warning("approval_not_copied", approval=approval, person=person, why=str(e))
            await self._commit.conclude(effect, ApprovalNotCopied(approval, person, str(e)))
        else:
            await self._commit.conclude(effect, _copied(card, person, place))

    async def _find(self, effect: Claimed, card: Card, person: str, slack: SlackPort) -> None:
        await adopt_message(
            self._commit, effect, slack.find_copy(card, person), lambda place: _copied(card, person, place)
        )


def _copied(card: Card, person: str, place: Place) -> ApprovalCopied:
    return ApprovalCopied(card.approval.id, person, place.channel, place.ts)


def _to_be_spread(card: Card) -> bool:
    return card.approval.open and bool(escalation.written_to(card.approval))
