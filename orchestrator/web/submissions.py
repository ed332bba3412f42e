"""Windows in Slack that a person sent off, believed as little as a card.

What is sent off passes the same gate as a button: entitlement, revision and digest, at that moment.
"""

from typing import Final

import structlog

from orchestrator.domain import choosing
from orchestrator.domain.asking import is_own
from orchestrator.domain.decision import Refusal
from orchestrator.domain.hidden import kept
from orchestrator.domain.plain import JsonObject
from orchestrator.engine.intake import Decided
from orchestrator.errors import InvalidError, NotFoundError
from orchestrator.slack import forms, human, modals
from orchestrator.slack.action import NOTE_CHARS, Submission
from orchestrator.slack.inputs import ticked, typed
from orchestrator.slack.response_actions import clear, errors, not_recorded
from orchestrator.web.asked import Asked, look_up
from orchestrator.web.clicks import (
    CHANGED,
    GONE,
    LONG_NOTE,
    NO_ANSWERS,
    NO_REASON,
    admit,
    person,
    since,
    words,
)
from orchestrator.web.doors import Doors, SlackDoor
from orchestrator.web.group_clicks import GROUPS, GroupClicks
from orchestrator.web.inquiry_clicks import INQUIRIES, InquiryClicks

log = structlog.get_logger(__name__)

UNCHANGED: Final = "Nothing was changed yet. What is right as it is can be approved as it is."
NO_NOTE: Final = "Say what should be different."


class Submissions:
    """Takes what comes back from windows."""

    def __init__(self, doors: Doors, slack: SlackDoor) -> None:
        self._doors = doors
        self._slack = slack
        self._groups = GroupClicks(doors)
        self._inquiries = InquiryClicks(doors)

    async def send(self, sent: Submission) -> JsonObject:
        """The answer to `view_submission`; a decision is committed on return.

        Raises:
            ForbiddenError: From a workspace or an app that is not ours, or by a bot.
            InvalidError: A field is not of the shape Slack sends.
        """
        if outsider := admit(self._slack, sent):
            return not_recorded(outsider)
        if sent.kind in GROUPS:
            return await self._groups.send(sent)
        try:
            asked = await self._doors.database.read(look_up, sent.approval)
            back = sent.kind in INQUIRIES
            if asked.approval.revision != sent.revision or (is_own(asked.call) and not back):
                log.warning("click_refused", approval_id=sent.approval, reason=str(Refusal.CHANGED))
                return not_recorded(GONE if is_own(asked.call) else CHANGED)
            if back:
                return await self._inquiries.send(sent, asked, await self._standing(sent, asked))
            if sent.kind == "edit":
                return await self._edited(sent, asked)
            if sent.kind == "answer":
                return await self._given(sent, asked)
            if sent.kind == "again":
                return await self._anew(sent, asked)
            return await self._decided(sent, asked)
        except NotFoundError:
            return not_recorded(GONE)

    async def _decide(
        self,
        sent: Submission,
        asked: Asked,
        *,
        approve: bool = False,
        reason: str = "",
        stop: bool = False,
        answer: str | JsonObject | None = None,
    ) -> Decided:
        return await self._doors.intake.decide(
            sent.approval,
            approve=approve,
            by=person(sent),
            entitled_as=sent.user_id,
            digest=sent.digest_prefix,
            reason=reason,
            stop=stop,
            answer=answer,
            standing=await self._standing(sent, asked),
        )

    async def _standing(self, sent: Submission, asked: Asked) -> tuple[str, ...]:
        return await self._doors.stands_for(sent.user_id, [(asked.approval.id, asked.approval.terms)])

    async def _decided(self, sent: Submission, asked: Asked) -> JsonObject:
        approve = sent.kind == "details"
        reason = "" if approve else typed(sent.values, modals.REASON, modals.REASON)
        if len(reason) > NOTE_CHARS:
            return errors({modals.REASON: LONG_NOTE})
        if not approve and not reason and asked.approval.terms.reason_required:
            return errors({modals.REASON: NO_REASON})
        stop = not approve and ticked(sent.values, modals.STOP, modals.STOP)
        answer = await self._decide(sent, asked, approve=approve, reason=reason, stop=stop)
        return await self._told(sent, asked, words(answer, by=person(sent), approve=approve))

    async def _given(self, sent: Submission, asked: Asked) -> JsonObject:
        """An answer, read by the form of the question as it stands now."""
        form = human.form(asked.call)
        if form is None or not asked.shown_as(sent) or not form.sent(sent.values):
            return await self._over(sent, asked)
        filled = form.filled(sent.values)
        if filled.arguments is None:
            return errors(filled.errors)
        try:
            answered = human.answer_of(asked.call, filled.arguments)
            answer = await self._decide(sent, asked, answer=answered)
        except InvalidError as e:
            return errors(form.placed(_within("answer", e), str(e)))
        if answer.refused is Refusal.NOT_NOW:
            return not_recorded(NO_ANSWERS)
        return await self._told(sent, asked, words(answer, by=person(sent), approve=None))

    async def _anew(self, sent: Submission, asked: Asked) -> JsonObject:
        """None of the files will do: an answer, too, which says what should be different."""
        if not asked.may_be_made_anew or not asked.shown_as(sent):
            return await self._over(sent, asked)
        note = typed(sent.values, modals.REASON, modals.REASON)
        if not note:
            return errors({modals.REASON: NO_NOTE})
        if len(note) > choosing.NOTE_CHARS:
            return errors({modals.REASON: LONG_NOTE})
        answer = await self._decide(sent, asked, answer=choosing.anew(note))
        return await self._told(sent, asked, words(answer, by=person(sent), approve=None))

    async def _edited(self, sent: Submission, asked: Asked) -> JsonObject:
        form = asked.form(self._doors.tools)
        if form is None or not asked.shown_as(sent) or not form.sent(sent.values):
            return await self._over(sent, asked)
        filled = form.filled(sent.values)
        reason = typed(sent.values, modals.REASON, modals.REASON)
        if len(reason) > NOTE_CHARS:
            return errors({modals.REASON: LONG_NOTE})
        if filled.arguments is None:
            return errors(filled.errors)
        if unseen := form.unseen(sent.values):
            return errors(unseen)
        wished = kept(filled.arguments, asked.call.arguments, asked.approval.terms.hidden)
        # Of a question that is over, the call may have got these very arguments since.
        if asked.approval.open and forms.alike(wished, asked.call.arguments):
            return errors(form.placed((), UNCHANGED))
        try:
            answer = await self._doors.intake.edit(
                sent.approval,
                wished,
                by=person(sent),
                entitled_as=sent.user_id,
                digest=sent.digest_prefix,
                reason=reason,
                standing=await self._standing(sent, asked),
            )
        except InvalidError as e:
            return errors(form.placed(_within("arguments", e), str(e)))
        return await self._told(sent, asked, words(answer, by=person(sent), approve=None))

    async def _over(self, sent: Submission, asked: Asked) -> JsonObject:
        """Of a window that fits nothing asked now."""
        return await self._told(sent, asked, asked.no(person(sent), Refusal.ALREADY_DECIDED))

    async def _told(self, sent: Submission, asked: Asked, refused: str) -> JsonObject:
        by, tool = person(sent), asked.call.tool
        why = await since(self._doors, refused, sent.approval, tool, by)
        return not_recorded(why) if why else clear()


def _within(whole: str, error: InvalidError) -> list[tuple[str, str]]:
    """What is wrong, by the names of its parts."""
    return [(path.removeprefix(whole).lstrip("."), text) for path, text in error.fields]
