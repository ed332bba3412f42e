"""The digest message of a channel and an hour: posted once, its questions under it, and redrawn.

It is of no run, so nothing of a run is decided here: once it stands, each question is asked for in its own
run, and what comes of that is an event of that run. Where the message cannot be posted its questions are
shown one by one. A crash between it and them loses neither: what is still to be shown is a row.

Its row is taken before the effects of runs, and no run is locked: what it shows is only a picture.
"""

from collections.abc import Callable
from functools import partial

import structlog
from sqlalchemy.orm import Session

from orchestrator import failpoints
from orchestrator.domain.cards import DigestCard
from orchestrator.domain.digests import ALL_DECIDED, waiting
from orchestrator.domain.effects import LOOK_AGAIN, Effect, EffectKind
from orchestrator.domain.values import replace
from orchestrator.engine.commits import Commits
from orchestrator.engine.ports import SlackPort
from orchestrator.engine.posting import in_turn, not_posted, redrawn, unfamiliar_may_pass
from orchestrator.engine.tickets import Act
from orchestrator.errors import RejectedError, UnavailableError, UncertainError
from orchestrator.store import claims, digests, outbox
from orchestrator.store.claims import Claimed

log = structlog.get_logger(__name__)


class Digests:
    """Performs the effects about digest messages.

    Args:
        link: Makes the address of a run's page from its id.
    """

    def __init__(self, commits: Commits, slack: SlackPort | None, link: Callable[[str], str]) -> None:
        self._commit = commits
        self._slack = slack
        self._link = link

    def post(self, s: Session, effect: Claimed) -> Act | None:
        """Show it, once, while something in it is open. A question that comes late joins the message."""
        stands = digests.begin(s, effect.subject, self._commit.now())
        if stands.settled or self._slack is None:
            self._follow(s, effect, ts=stands.ts, trouble=stands.trouble or "no Slack is set up")
            return None
        digest = self._picture(s, effect.subject)
        if waiting(digest):
            act = partial(self._post, effect, digest, self._slack)
            return in_turn(self._commit, s, effect, digest.place.channel, act)
        if effect.attempts > 1:
            return partial(self._tidy, effect, digest, self._slack)
        self._follow(s, effect, trouble=ALL_DECIDED)
        return None

    async def _post(self, effect: Claimed, digest: DigestCard, slack: SlackPort) -> None:
        failpoints.hit("before_post")
        try:
            with unfamiliar_may_pass(effect):
                place = await slack.post_batch(digest, seen_before=effect.attempts > 1)
        except (UnavailableError, UncertainError) as e:
            await not_posted(self._commit, effect, e)
        except RejectedError as e:
            log.warning("digest_not_shown", digest=digest.name, why=str(e))
            await self._conclude(effect, trouble=str(e))
        else:
            failpoints.hit("after_post")
            await self._conclude(effect, ts=place.ts)

    async def _tidy(self, effect: Claimed, digest: DigestCard, slack: SlackPort) -> None:
        """An earlier try may have posted it, and nothing in it is open any more."""
        if await self._drawn(effect, digest, slack):
            await self._conclude(effect, trouble=ALL_DECIDED)

    async def _conclude(self, effect: Claimed, *, ts: str = "", trouble: str = "") -> None:
        def job(s: Session) -> tuple[None, None]:
            self._follow(s, effect, ts=ts, trouble=trouble)
            return None, None

        await self._commit.outlast(job)

    def _follow(self, s: Session, effect: Claimed, *, ts: str = "", trouble: str = "") -> None:
        """It is known where it stands: now its questions follow.

        It is drawn once more soon, because what changes while it is being posted finds no message to redraw.
        """
        name, now = effect.subject, self._commit.now()
        digests.settle(s, name, ts=ts, trouble="" if ts else trouble)
        for approval, run_id in sorted(digests.to_show(s, name), key=lambda entry: entry[1]):
            outbox.add(s, run_id, [Effect(EffectKind.REQUEST_APPROVAL, approval, now)])
        if ts:
            outbox.add(s, "", [Effect(EffectKind.UPDATE_DIGEST, name, now + LOOK_AGAIN)])
        claims.done(s, effect)

    def update(self, s: Session, effect: Claimed) -> Act | None:
        """Drawn from what is true at this moment."""
        stands = digests.standing(s, effect.subject)
        if self._slack is not None and stands is not None and stands.ts:
            return partial(self._update, effect, self._picture(s, effect.subject), self._slack)
        claims.done(s, effect)
        return None

    async def _update(self, effect: Claimed, digest: DigestCard, slack: SlackPort) -> None:
        if await self._drawn(effect, digest, slack):
            await self._commit.done(effect)

    async def _drawn(self, effect: Claimed, digest: DigestCard, slack: SlackPort) -> bool:
        refused = lambda why: log.warning("digest_not_redrawn", digest=digest.name, why=why)  # noqa: E731
        return await redrawn(self._commit, effect, slack.update_batch(digest), refused)

    def _picture(self, s: Session, name: str) -> DigestCard:
        digest = digests.picture(s, name)
        return replace(digest, cards=tuple(replace(c, link=self._link(c.run_id)) for c in digest.cards))
