"""What was asked back, in Slack: under the request and to whoever asked for the run, each said once.

A message with a question is posted like a request: looked for before it is tried again, remembered where it
stands, and redrawn once it is answered or the request is over.
"""

from collections.abc import Callable
from functools import partial

import structlog
from sqlalchemy.orm import Session

from orchestrator.domain.cards import Card
from orchestrator.domain.consent import Place
from orchestrator.domain.events import InquiryPosted
from orchestrator.domain.inquiries import Telling, numbered, parse_telling
from orchestrator.engine.commits import Commits
from orchestrator.engine.ports import SlackPort
from orchestrator.engine.posting import adopt_message, in_turn, maybe_posted, not_posted, unfamiliar_may_pass
from orchestrator.engine.tickets import Act
from orchestrator.errors import (
    OrchestratorError,
    RejectedError,
    UnavailableError,
    UncertainError,
    UnfamiliarError,
)
from orchestrator.store import claims
from orchestrator.store.claims import Claimed

log = structlog.get_logger(__name__)


class Inquiries:
    """Performs the effects that tell people of questions to whoever asked for a run.

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

    def post(self, s: Session, effect: Claimed) -> Act | None:
        """Say it where it can be said. Of a question that is over, an earlier try is looked for."""
        approval, telling = parse_telling(effect.subject)
        card = self._card(s, effect, approval)
        inquiry = numbered(card.approval, telling.number) if card is not None else None
        if self._slack is not None and card is not None and inquiry is not None and _somewhere(card, telling):
            if telling.answer or (card.approval.open and not inquiry.answered):
                act = partial(self._post, effect, card, telling, self._slack)
                return in_turn(self._commit, s, effect, telling.person or card.approval.channel, act)
            if effect.attempts > 1:
                return partial(self._find, effect, card, telling, self._slack)
        claims.done(s, effect)
        return None

    async def _post(self, effect: Claimed, card: Card, telling: Telling, slack: SlackPort) -> None:
        try:
            with unfamiliar_may_pass(effect):
                place = await slack.ask_back(card, telling, seen_before=maybe_posted(effect))
        except (UnavailableError, UncertainError) as e:
            await not_posted(self._commit, effect, e)
        except RejectedError as e:
            log.warning("nobody_asked_back", approval=card.approval.id, what=telling.what, why=str(e))
            await self._commit.write(claims.give_up, effect, str(e))
        else:
            if telling.answer:
                await self._commit.done(effect)
            else:
                await self._commit.conclude(effect, _posted(card, telling, place))

    async def _find(self, effect: Claimed, card: Card, telling: Telling, slack: SlackPort) -> None:
        look = slack.find_asked_back(card, telling)
        await adopt_message(self._commit, effect, look, lambda place: _posted(card, telling, place))

    def update(self, s: Session, effect: Claimed) -> Act | None:
        """Its messages, drawn from what is true at this moment."""
        approval, telling = parse_telling(effect.subject)
        card = self._card(s, effect, approval)
        inquiry = numbered(card.approval, telling.number) if card is not None else None
        if self._slack is not None and card is not None and inquiry is not None and inquiry.places:
            return partial(self._update, effect, card, telling.number, self._slack)
        claims.done(s, effect)
        return None

    async def _update(self, effect: Claimed, card: Card, number: int, slack: SlackPort) -> None:
        """One that fails keeps no other from being redrawn."""
        failed: list[OrchestratorError] = []
        for place in card.approval.questions[number - 1].places:
            try:
                with unfamiliar_may_pass(effect):
                    await slack.redraw_asked_back(card, number, place)
            except (UnavailableError, UncertainError) as e:
                failed.insert(0, e)
            except RejectedError as e:
                log.warning("inquiry_not_redrawn", approval=card.approval.id, number=number, why=str(e))
                failed += [e] if isinstance(e, UnfamiliarError) else []
        if not failed:
            await self._commit.done(effect)
        elif isinstance(failed[0], UnfamiliarError):
            await self._commit.write(claims.give_up, effect, str(failed[0]))
        else:
            await self._commit.again(effect, str(failed[0]), failed[0])


def _posted(card: Card, telling: Telling, place: Place) -> InquiryPosted:
    return InquiryPosted(card.approval.id, telling.number, place.channel, place.ts, telling.person)


def _somewhere(card: Card, telling: Telling) -> bool:
    """Whether there is a place for it; under a request that is not shown yet it is said later."""
    return bool(telling.person or card.approval.ts)
