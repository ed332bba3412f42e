"""Windows in Slack, opened by a button; what is sent off from them is taken in `submissions`.

A button that opens a window decides nothing. Where Slack cannot be reached, or the press is too old for a
window, nothing is recorded and the person is told so: to guess a rejection without its reason, or an approval
of what was not seen, would be worse than a second press; the HTTP API and the command line decide meanwhile.
"""

import asyncio
from typing import Final

import structlog

from orchestrator.domain.asking import is_own
from orchestrator.domain.cards import Card
from orchestrator.domain.consent import Actor, Terms
from orchestrator.domain.decision import Refusal
from orchestrator.domain.entitlement import in_some_stage
from orchestrator.domain.proposals import may_edit
from orchestrator.errors import NotFoundError, RejectedError, UnavailableError
from orchestrator.slack import human, modals, past
from orchestrator.slack.action import Click, Shortcut
from orchestrator.store import questions
from orchestrator.web.asked import Asked, look_up
from orchestrator.web.clicks import CHANGED, GONE, NO_ANSWERS, admit, misplaced, person
from orchestrator.web.doors import Doors, SlackDoor
from orchestrator.web.group_clicks import GROUPS, GroupClicks
from orchestrator.web.inquiry_clicks import INQUIRIES, InquiryClicks

log = structlog.get_logger(__name__)

OPENS: Final = frozenset({"reject_reason", "edit", "details", "answer", "again"}) | GROUPS | INQUIRIES
"""Buttons that open a window."""
TOO_LATE: Final = "That took too long, press again."
NOT_OPENED: Final = (
    "Slack did not open the window, and nothing was recorded. Press again, or decide by the HTTP API."
)
NO_EDITS: Final = "The arguments of this call cannot be changed."
TOO_LONG: Final = "These arguments do not fit a form of Slack's: they can be changed by the HTTP API."
NOT_ANEW: Final = "Nothing is made anew here: choose one, or reject."
TOO_LONG_TO_ANSWER: Final = (
    "This question does not fit a form of Slack's: it can be answered by the HTTP API or on the command line."
)
OPEN_SECONDS: Final = 2.0
"""A trigger lives 3 s (Slack, "Handling user interaction")."""
_LATE: Final = frozenset({"expired_trigger_id", "exchanged_trigger_id", "invalid_trigger_id"})


class Windows:
    """Opens them."""

    def __init__(self, doors: Doors, slack: SlackDoor) -> None:
        self._doors = doors
        self._slack = slack
        self._groups = GroupClicks(doors)
        self._inquiries = InquiryClicks(doors)

    async def open(self, click: Click) -> str:
        """Show the window a button stands for; what to whisper if that was not done, empty if it was.

        In a window and on the Home tab nobody can be whispered to: there the words get a window of their own.

        Raises:
            ForbiddenError: From a workspace or an app that is not ours, or by a bot.
            UnavailableError: Words for somebody in a window could not be shown; Slack then shows a failure.
        """
        view = admit(self._slack, click) or await self._view(click)
        if not click.view_id:
            return view if isinstance(view, str) else await self._show(click, view)
        amiss = await self._show(click, modals.said("Not done", view) if isinstance(view, str) else view)
        if amiss:
            raise UnavailableError("the window was not opened")
        return ""

    async def show(self, used: Shortcut, view: modals.View) -> None:
        """A window for who used a shortcut that belongs to no message.

        Raises:
            UnavailableError: It could not be shown; Slack then shows a failure.
        """
        if amiss := await self._opened(used.trigger_id, view):
            raise UnavailableError(amiss)

    async def _view(self, click: Click) -> modals.View | str:
        """What to open, or why not."""
        if click.kind in GROUPS:
            return await self._groups.view(click)
        try:
            asked = await self._doors.database.read(look_up, click.approval)
        except NotFoundError:
            return GONE
        if await misplaced(self._doors, self._slack, click):
            return GONE
        back = click.kind in INQUIRIES  # of the run's own questions too
        if (is_own(asked.call) and not back) or not asked.shown_as(click):
            log.warning("click_refused", approval_id=click.approval, reason=str(Refusal.CHANGED))
            return GONE if is_own(asked.call) else CHANGED
        return await self._about(click, asked)

    async def _about(self, click: Click, asked: Asked) -> modals.View | str:
        """The window about a question, for who may have it."""
        put = [(click.approval, asked.approval.terms)]
        standing = await self._doors.stands_for(click.user_id, put)
        current = await self._doors.intake.terms_now(click.approval)
        if click.kind in INQUIRIES:
            return self._inquiries.view(asked, click, standing, current)
        if click.kind == "details":
            if (await self._doors.database.read(questions.replaced, click.approval)) is not None:
                return CHANGED  # the arguments are another question's now, and this one's seal is not theirs
            return self._details(asked, person(click), {click.user_id, *standing}, current)
        if (why := asked.closed_to(person(click), standing, current, self._doors.clock())) is not None:
            return why
        card = asked.card(self._doors.tools)
        if click.kind == "answer":
            return self._answer(asked, card)
        if click.kind == "again":
            return modals.again(card) if asked.may_be_made_anew else NOT_ANEW
        return modals.reject(card) if click.kind == "reject_reason" else self._edit(asked, card, current)

    def _details(self, asked: Asked, by: Actor, stands: set[str], current: Terms | None) -> modals.View | str:
        """For whoever may decide in some stage, then and now; also when it is over."""
        frozen, escalated = asked.approval.terms, asked.approval.escalated
        if not all(in_some_stage(terms, stands, escalated=escalated) for terms in (frozen, current) if terms):
            return asked.no(by, Refusal.NOT_ENTITLED)
        card, now = asked.card(self._doors.tools), self._doors.clock()
        return modals.details(card, open_=asked.waits(now), past=past.told(card, now))

    def _edit(self, asked: Asked, card: Card, current: Terms | None) -> modals.View | str:
        if not may_edit(asked.approval.terms, current):
            return NO_EDITS
        form = asked.form(self._doors.tools)
        return TOO_LONG if form is None else modals.edit(card, form)

    def _answer(self, asked: Asked, card: Card) -> modals.View | str:
        if not human.answerable(card):
            return NO_ANSWERS
        form = human.form(asked.call)
        return TOO_LONG_TO_ANSWER if form is None else modals.answer(card, form)

    async def _show(self, click: Click, view: modals.View) -> str:
        """Open it; in words why it did not open."""
        push = bool(click.view_id) and not click.home
        return await self._opened(click.trigger_id, view, click.approval, push=push)

    async def _opened(self, trigger: str, view: modals.View, about: str = "", *, push: bool = False) -> str:
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                await self._slack.open_view(trigger, view, push=push)
        except (UnavailableError, TimeoutError) as e:
            log.warning("window_not_opened", approval_id=about, reason=str(e) or type(e).__name__)
            return NOT_OPENED
        except RejectedError as e:
            if e.code in _LATE:
                return TOO_LATE
            log.error("window_refused", approval_id=about, code=e.code, reason=str(e))
            return NOT_OPENED
        return ""
