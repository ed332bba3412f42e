"""Asking back in Slack: the windows in which a question is put to whoever asked for the run, and answered.

Opened by a button and sent off like any other window, and believed as little: who may ask, who may answer,
and whether there is still anything to ask or answer are looked up when it is opened and when it is sent.
"""

from collections.abc import Collection
from typing import Final

from orchestrator.domain.consent import Actor, Terms
from orchestrator.domain.decision import Refusal
from orchestrator.domain.inquiries import CHARS, askable, numbered, told
from orchestrator.domain.plain import JsonObject
from orchestrator.engine.intake import Decided
from orchestrator.slack import asking_back, modals
from orchestrator.slack.action import Click, Submission
from orchestrator.slack.inputs import typed
from orchestrator.slack.response_actions import clear, errors, not_recorded
from orchestrator.web.asked import Asked
from orchestrator.web.clicks import GONE, mention, person, words
from orchestrator.web.doors import Doors

INQUIRIES: Final = frozenset({"ask", "reply"})
"""Buttons and windows about questions to whoever asked for the run."""
NOT_YOURS: Final = "Only {who}, who asked for this run, can answer that."
NO_MORE: Final = "Nothing more can be asked about this."
YOURSELF: Final = "You asked for this run yourself: there is nobody to ask."
EMPTY: Final = "Write something."
TOO_LONG: Final = f"At most {CHARS} characters."


class InquiryClicks:
    """Opens and takes these windows."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors

    def view(
        self, asked: Asked, click: Click, standing: Collection[str], current: Terms | None
    ) -> modals.View | str:
        """The window, or in words why there is none."""
        if click.kind == "reply":
            return self._reply(asked, click)
        if (why := asked.closed_to(person(click), standing, current, self._doors.clock())) is not None:
            return why
        if asked.run.requester.id == click.user_id:
            return YOURSELF
        if not askable(asked.approval, asked.run.requester.id):
            return NO_MORE
        return asking_back.ask(asked.card(self._doors.tools))

    def _reply(self, asked: Asked, click: Click) -> modals.View | str:
        inquiry, requester = numbered(asked.approval, click.number), asked.run.requester
        if inquiry is None:
            return GONE
        if requester.id != click.user_id:
            return NOT_YOURS.format(who=mention(requester))
        if inquiry.answered:
            return f"{told(inquiry).capitalize()}."
        if not asked.waits(self._doors.clock()):
            return asked.no(person(click), Refusal.ALREADY_DECIDED)
        return asking_back.reply(asked.card(self._doors.tools), click.number)

    async def send(self, sent: Submission, asked: Asked, standing: Collection[str]) -> JsonObject:
        """The answer to `view_submission`; what was said is committed on return."""
        text = typed(sent.values, modals.REASON, modals.REASON)
        if not text or len(text) > CHARS:
            return errors({modals.REASON: TOO_LONG if text else EMPTY})
        by, intake = person(sent), self._doors.intake
        if sent.kind == "ask":
            answer = await intake.ask_back(
                sent.approval, text, by=by, entitled_as=sent.user_id, standing=standing
            )
        else:
            answer = await intake.answer_back(
                sent.approval, sent.number, text, by=by, entitled_as=sent.user_id
            )
        return clear() if answer.refused is None else not_recorded(_why(sent, asked, answer, by))


def _why(sent: Submission, asked: Asked, answer: Decided, by: Actor) -> str:
    """Why nothing was recorded, for who sent it off."""
    if answer.refused is Refusal.NOT_ENTITLED and sent.kind == "reply":
        return NOT_YOURS.format(who=mention(asked.run.requester))
    inquiry = numbered(answer.approval, sent.number)
    if sent.kind == "reply" and inquiry is not None and inquiry.answered:
        return f"{told(inquiry).capitalize()}."
    if answer.refused is Refusal.EXPIRED:
        return "Its time is up."
    return words(answer, by=by, approve=None) or GONE
