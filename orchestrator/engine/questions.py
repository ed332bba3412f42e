"""What people are shown in Slack: each question posted once, redrawn from what is true."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, TypedDict

import structlog
from sqlalchemy.orm import Session

from orchestrator import failpoints
from orchestrator.domain import choosing, jobreports
from orchestrator.domain.asking import GO_ON, PLAN, RESTART, begun, is_own
from orchestrator.domain.batches import awaited
from orchestrator.domain.cards import Card
from orchestrator.domain.choosing import is_choosing
from orchestrator.domain.collecting import waits
from orchestrator.domain.consent import Approval, Place
from orchestrator.domain.deadlines import place_of, undisturbed, worth_saying
from orchestrator.domain.effects import Effect, EffectKind, parse_notice
from orchestrator.domain.escalation import pictures
from orchestrator.domain.events import ApprovalPosted, ApprovalUndelivered
from orchestrator.domain.model import CallStatus, Run, ToolCall
from orchestrator.domain.outcomes import OUTCOME, tell
from orchestrator.domain.reminding import beside
from orchestrator.domain.values import replace
from orchestrator.engine.commits import Commits
from orchestrator.engine.ports import SlackPort, ToolkitPort
from orchestrator.engine.posting import in_turn, maybe_posted, not_posted, unfamiliar_may_pass
from orchestrator.engine.restarting import successor
from orchestrator.engine.tickets import Act
from orchestrator.errors import RejectedError, UnavailableError, UncertainError, UnfamiliarError
from orchestrator.store import claims, digests, locking, outbox, proposals, questions, runs, uploads
from orchestrator.store.claims import Claimed


class _Files(TypedDict, total=False):
    """The fields of a card about files."""

    file_links: tuple[str, ...]
    no_pictures: str


Places = frozenset[tuple[str, str]]
"""Channel and ts of messages."""

DELETED: Final = "message_not_found"
"""Slack's word for a message that is not there any more. A question nobody sees is shown once more."""
_UNDER_NOTHING: Final = frozenset({DELETED, "thread_not_found"})
"""Slack's words for a reply to one."""
OWN_WORDS: Final = {
    PLAN: "The agent shows its plan before it begins: carry it out, send it back with a note, or stop?",
    GO_ON: "The run has used as many tokens as it may: let it go on for as many again, or stop it?",
    RESTART: "Gemini refused to go on: restart the run with a record of what was done, or give it up?",
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
        file_link: Callable[[str], str] = lambda path: "",
        *,
        outcomes: bool = False,
    ) -> None:
        self._commit = commits
        self._slack = slack
        self._toolkit = toolkit
        self._link = link
        self._file_link = file_link
        self._outcomes = outcomes

    def request(self, s: Session, effect: Claimed) -> Act | None:
        """Show a question, once. One that is settled was not shown yet, or an earlier try did show it."""
        if self._slack is None and not self._collected(s, effect):
            claims.done(s, effect)  # nobody is shown it, and nobody expects that
            return None
        card = self.card(s, effect, effect.subject)
        if card is not None and self._comes_with_others(s, effect, card):
            claims.done(s, effect)
            return None
        if self._slack is None and card is not None and waits(card.approval):
            self._commit.settle(s, effect, ApprovalUndelivered(card.approval.id, "no Slack is set up"))
            return None
        if self._slack is not None and card is not None and card.approval.terms.channel:
            if card.approval.open:
                card = self._as_shown(s, effect, card)
                act = partial(self._post, effect, card, self._slack, seen_before=effect.attempts > 1)
                return in_turn(self._commit, s, effect, card.approval.terms.channel, act)
            if effect.attempts > 1:
                taken = _taken_over(card, questions.asked_now(s, card.call.id, card.run_id))
                return partial(self._redraw, effect, card, taken, self._slack)
        claims.done(s, effect)
        return None

    def _collected(self, s: Session, effect: Claimed) -> bool:
        found = questions.load_approval(s, effect.subject, runs.load(s, effect.run_id))
        return found is not None and waits(found[0])

    def _comes_with_others(self, s: Session, effect: Claimed, card: Card) -> bool:
        """Whether the message it stands under is still to be posted, which then asks for it once more."""
        if waits(card.approval):
            over = digests.standing(s, card.approval.collected)
            return over is None or not over.settled
        turn = runs.load(s, effect.run_id).turn
        here = turn.call(card.call.id) is not None
        return self._slack is not None and card.approval.open and here and awaited(turn, card.approval)

    def _as_shown(self, s: Session, effect: Claimed, card: Card) -> Card:
        """The card as it is once people see it: of a question that was collected, its time runs from then."""
        call, _ = begun(card.call, runs.load(s, effect.run_id).turn, self._commit.now())
        return replace(card, call=call, approval=call.approval or card.approval)

    async def _post(self, effect: Claimed, card: Card, slack: SlackPort, *, seen_before: bool) -> None:
        failpoints.hit("before_post")
        try:
            with unfamiliar_may_pass(effect):
                channel, ts = await slack.post(card, seen_before=seen_before)
        except (UnavailableError, UncertainError) as e:
            await not_posted(self._commit, effect, e)
        except RejectedError as e:
            await self._commit.conclude(effect, ApprovalUndelivered(card.approval.id, str(e)))
        else:
            failpoints.hit("after_post")
            await self._commit.conclude(effect, ApprovalPosted(card.approval.id, channel, ts))

    def update(self, s: Session, effect: Claimed) -> Act | None:
        """Drawn from what is true at this moment; what changes while it is sent is drawn once more."""
        if self._slack is None:
            claims.done(s, effect)
            return None
        card = self.card(s, effect, effect.subject)
        # In trouble, or replaced, it may stand there all the same: posted by a try whose answer got lost.
        if card is not None and (_shown_at(card.approval) or card.approval.trouble or card.replaced):
            taken = _taken_over(card, questions.asked_now(s, card.call.id, card.run_id))
            return partial(self._redraw, effect, card, taken, self._slack)
        claims.done(s, effect)
        return None

    async def _redraw(self, effect: Claimed, card: Card, taken: Places, slack: SlackPort) -> None:
        """Everywhere but in the places that show another question by now."""
        failpoints.hit("before_update")
        try:
            await self._everywhere(effect, card, taken, slack)
        except (UnavailableError, UncertainError) as e:
            await self._commit.again(effect, str(e), e)
        except RejectedError as e:
            log.warning("approval_not_redrawn", approval=card.approval.id, why=str(e))
            if e.code == DELETED and card.approval.open and not card.approval.copies:
                # Looked for first: an earlier try may have put it there anew.
                await self._post(effect, card, slack, seen_before=True)
            else:
                await self._commit.write(claims.give_up, effect, str(e))
        else:
            failpoints.hit("after_update")
            await self._commit.write(self._redrawn, effect, card)

    def _redrawn(self, s: Session, effect: Claimed, card: Card) -> None:
        """Drawn; where another question was put in its place meanwhile, that one is drawn over it."""
        newest = questions.asked_now(s, card.call.id, card.run_id)
        if newest is not None and _taken_over(card, newest):
            locking.run(s, effect.run_id)
            outbox.add(s, effect.run_id, [Effect(EffectKind.UPDATE_APPROVAL, newest.id, self._commit.now())])
        elif self._outcomes and not card.replaced:
            outbox.add_once(s, effect.run_id, tell(card.call))
        claims.done(s, effect)

    async def _everywhere(self, effect: Claimed, card: Card, taken: Places, slack: SlackPort) -> None:
        """In the channel and in every copy; one that fails keeps no other from being redrawn."""
        failed: list[Exception] = []
        # Asked to all the same, one whose place was never learned is looked for.
        for picture in pictures(card):
            if (picture.approval.channel, picture.approval.ts) in taken:
                continue
            try:
                with unfamiliar_may_pass(effect):
                    await slack.update(picture)
            except (UnavailableError, UncertainError) as e:
                failed.insert(0, e)
            except RejectedError as e:
                if picture is card or isinstance(e, UnfamiliarError):
                    failed.append(e)
                else:
                    log.warning("copy_not_redrawn", approval=card.approval.id, why=str(e))
        if failed:
            raise failed[0]

    def notify(self, s: Session, effect: Claimed) -> Act | None:
        """Tell people about a question that is still open; what is not news any more is not said."""
        approval, asked = parse_notice(effect.subject)
        now = self._commit.now()
        news = [
            card
            for card, what in self._told_together(s, effect, approval, asked)
            if worth_saying(card.approval, what, now) or what == OUTCOME
        ]
        if news:
            card, *others = news
            if (later := undisturbed(card.approval, now)) > now:
                claims.retry(s, effect, later, "quiet hours")
                return None
            if self._slack is not None and (card.approval.ts or card.approval.copies):
                # By the number of the one that was due, whoever is still told: so an earlier try is found.
                act = partial(self._notify, effect, card, others, asked, self._slack)
                return in_turn(self._commit, s, effect, _told_in(card), act)
            log.info("nobody_reminded", approval=approval, what=asked, why="it is not shown in Slack")
        claims.done(s, effect)
        return None

    def _told_together(self, s: Session, effect: Claimed, approval: str, what: str) -> list[tuple[Card, str]]:
        """The question that is due, and those it is told with, each as it is told."""
        card = self.card(s, effect, approval)
        if card is None:
            return []
        turn = runs.load(s, effect.run_id).turn
        others = beside(turn, card.call, card.approval, what)
        cards = [(self.card(s, effect, c.approval.id), like) for c, like in others if c.approval]
        return [(card, what), *((other, like) for other, like in cards if other is not None)]

    async def _notify(
        self, effect: Claimed, card: Card, others: Sequence[Card], what: str, slack: SlackPort
    ) -> None:
        place = place_of(card.approval, what)
        last = place is not None and place[0] == place[1]
        # Who can see it in no channel is told under their copies.
        places = pictures(card)[:1] if card.approval.ts else [p for p in pictures(card) if p.approval.ts]
        try:
            for shown in places:
                with unfamiliar_may_pass(effect):
                    await slack.remind(
                        shown, what=what, last=last, seen_before=maybe_posted(effect), others=others
                    )
        except (UnavailableError, UncertainError) as e:
            await not_posted(self._commit, effect, e, counts=len(places) > 1)
        except RejectedError as e:
            log.warning("nobody_reminded", approval=card.approval.id, what=what, why=str(e))
            if e.code in _UNDER_NOTHING and card.approval.open and card.approval.ts and not card.thread:
                await self._commit.write(self._looked_after, effect, card.approval.id)
            else:
                await self._commit.write(claims.give_up, effect, str(e))
        else:
            await self._commit.done(effect)

    def _looked_after(self, s: Session, effect: Claimed, approval: str) -> None:
        """Its message was deleted: where it is drawn it is shown once more, which tells people as well."""
        locking.run(s, effect.run_id)
        outbox.add(s, effect.run_id, [Effect(EffectKind.UPDATE_APPROVAL, approval, self._commit.now())])
        claims.done(s, effect)

    def card(self, s: Session, effect: Claimed, approval_id: str) -> Card | None:
        run = runs.load(s, effect.run_id)
        found = questions.load_approval(s, approval_id, run)
        if found is None:
            return None
        approval, call, _ = found
        newest = questions.asked_now(s, call.id, run.id)
        replaced = newest is not None and newest.id != approval.id
        call = proposals.as_asked(s, run.id, call, approval) if replaced else call
        again = approval.open and not is_own(call)
        rejected, rejections = questions.rejections(s, run.id, call) if again else (None, 0)
        taken_up_as = successor(s, run.id) if call.tool == RESTART and run.closed else ""
        return Card(
            approval=approval,
            call=call,
            run_id=run.id,
            workflow=run.recipe.workflow,
            requester=run.requester,
            asked_before=run.recipe.asked_before,
            run_status=run.status,
            run_reason=run.reason,
            description=OWN_WORDS.get(call.tool) or self._toolkit.describe(call.tool),
            link=self._link(run.id),
            progress=_progress(run.turn.calls, call) if run.turn.call(call.id) else "",
            thread=_thread(s, run, call, approval),
            forgotten_at=run.turn.forgotten_at,
            taken_up_as=taken_up_as,
            taken_up_link=self._link(taken_up_as) if taken_up_as else "",
            rejected_before=rejected,
            rejections=rejections,
            edited=proposals.edited_since(s, run.id, call, approval),
            replaced=replaced,
            replaced_by=_shown_at(newest) if replaced and newest else (),
            **self._files(s, call, approval),
        )

    def _files(self, s: Session, call: ToolCall, approval: Approval) -> _Files:
        """Where what is to be chosen from can be had, and of what there is no picture."""
        if not is_choosing(call):
            return {}
        links = tuple(self._file_link(path) for path in choosing.paths(call.arguments))
        return {"file_links": links, "no_pictures": uploads.standing(s, approval.id).trouble}


def _told_in(card: Card) -> str:
    """The channel whose turn it needs; of several direct messages the first stands for all."""
    return card.approval.channel or next((place.person for place in card.approval.copies), "")


def _taken_over(card: Card, newest: Approval | None) -> Places:
    """Where another question about the call stands by now, in the place of this one."""
    other = newest is not None and newest.id != card.approval.id
    return _places(card.approval) & _places(newest) if newest and other else frozenset()


def _places(approval: Approval) -> Places:
    return frozenset((place.channel, place.ts) for place in _shown_at(approval))


def _shown_at(approval: Approval) -> tuple[Place, ...]:
    """The channel first."""
    own = Place(approval.channel, approval.ts)
    return tuple(place for place in (own, *approval.copies) if place.ts)


def _thread(s: Session, run: Run, call: ToolCall, approval: Approval) -> str:
    """The message over the questions of its turn, or of its hour, where it stands under one."""
    if approval.collected:
        digest = digests.standing(s, approval.collected)
        return digest.ts if digest else ""
    over = run.turn.batch if run.turn.call(call.id) else questions.batch_over(s, call.id, run.id)
    return over.ts if over and not is_own(call) and over.channel == approval.terms.channel else ""


def _progress(calls: Sequence[ToolCall], call: ToolCall) -> str:
    """How far what a call waits for is, and a turn of several function calls; else empty."""
    calls = [c for c in calls if not is_own(c)]
    if len(calls) < 2:
        return jobreports.progress(call)
    waiting = sum(1 for c in calls if c.status is CallStatus.AWAITING_APPROVAL)
    turn = f"{waiting} of {len(calls)} calls of this turn wait for a decision"
    return "; ".join(filter(None, (jobreports.progress(call), turn)))
