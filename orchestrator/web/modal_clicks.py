"""Windows in Slack: opened by a button, sent off by a person, believed as little as a card.

A button that opens a window decides nothing. Where Slack cannot be reached, or the press is too old for a
window, nothing is recorded and the person is told so: to guess a rejection without its reason, or an approval
of what was not seen, would be worse than a second press; the HTTP API and the command line decide meanwhile.
What is sent off passes the same gate as a button: entitlement, revision and digest, at that moment.
"""

import asyncio
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

import structlog
from sqlalchemy.orm import Session

from orchestrator.domain import choosing
from orchestrator.domain.asking import is_own
from orchestrator.domain.consent import Actor, Approval, Terms
from orchestrator.domain.decision import Refusal
from orchestrator.domain.edits import Edited
from orchestrator.domain.entitlement import everybody, refusal
from orchestrator.domain.hidden import kept
from orchestrator.domain.model import CallStatus, Run, ToolCall
from orchestrator.domain.pictures import Card
from orchestrator.domain.plain import JsonObject
from orchestrator.domain.verdicts import may_edit
from orchestrator.engine.intake import Answer
from orchestrator.errors import InvalidError, NotFoundError, RejectedError, UnavailableError
from orchestrator.slack import forms, human, modals, past
from orchestrator.slack.action import NOTE_CHARS, Click, Shortcut, Submission
from orchestrator.slack.inputs import ticked, typed
from orchestrator.store import proposals, questions, runs
from orchestrator.web.clicks import CHANGED, GONE, LONG_NOTE, admit, misplaced, person, words
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
UNCHANGED: Final = "Nothing was changed yet. What is right as it is can be approved as it is."
NOT_ANEW: Final = "Nothing is made anew here: choose one, or reject."
NO_NOTE: Final = "Say what should be different."
NO_ANSWERS: Final = "This cannot be answered here; it takes a yes or a no."
TOO_LONG_TO_ANSWER: Final = (
    "This question does not fit a form of Slack's: it can be answered by the HTTP API or on the command line."
)
NO_REASON: Final = "A reason is needed."
OPEN_SECONDS: Final = 2.0
"""A trigger lives 3 s (Slack, "Handling user interaction")."""
_LATE: Final = frozenset({"expired_trigger_id", "exchanged_trigger_id", "invalid_trigger_id"})
_CLEAR: Final[JsonObject] = {"response_action": "clear"}
_PROBLEM: Final = re.compile(r"^- ([^:\n]{1,100}): (.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question as it stands at this moment."""

    run: Run
    call: ToolCall
    approval: Approval
    edited: Edited | None = None


class ModalClicks:
    """Opens windows and takes what comes back from them."""

    def __init__(self, doors: Doors, slack: SlackDoor) -> None:
        self._doors = doors
        self._slack = slack
        self._groups = GroupClicks(doors, lambda run, call, approval: self._card(_Asked(run, call, approval)))
        self._inquiries = InquiryClicks(doors, self._card, self._open)

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
            asked = await self._doors.database.read(_asked, click.approval)
        except NotFoundError:
            return GONE
        if await misplaced(self._doors, self._slack, click):
            return GONE
        back = click.kind in INQUIRIES  # of the run's own questions too
        if (is_own(asked.call) and not back) or not _same(asked.approval, click):
            log.warning("click_refused", approval_id=click.approval, reason=str(Refusal.CHANGED))
            return GONE if is_own(asked.call) else CHANGED
        standing = await self._standing(click, asked.approval)
        current = await self._doors.intake.terms_now(click.approval)
        if back:
            return self._inquiries.view(asked, click, standing, current)
        if click.kind == "details" and await self._doors.database.read(questions.replaced, click.approval):
            return CHANGED  # the arguments are another question's by now, and this one's seal is not theirs
        if click.kind == "details":
            return self._details(asked, person(click), {click.user_id, *standing}, current)
        if (why := self._closed(asked, click, standing, current)) is not None:
            return why
        card = self._card(asked)
        if click.kind == "answer":
            return self._answer(asked, card)
        if click.kind == "again":
            return modals.again(card) if _may_be_made_anew(asked) else NOT_ANEW
        return modals.reject(card) if click.kind == "reject_reason" else self._edit(asked, card, current)

    def _details(
        self, asked: _Asked, by: Actor, stands: set[str], current: Terms | None
    ) -> modals.View | str:
        """For whoever may decide in some stage, then and now; also when it is over."""
        approval = asked.approval
        if any(_shut_out(terms, approval, stands) for terms in (approval.terms, current) if terms):
            answer = Answer(approval, asked.call.tool, "", Refusal.NOT_ENTITLED)
            return words(answer, by=by, approve=None)
        card = self._card(asked)
        return modals.details(card, open_=self._open(asked), past=past.told(card, self._doors.clock()))

    def _closed(
        self, asked: _Asked, click: Click, standing: Collection[str], current: Terms | None
    ) -> str | None:
        """Why this person cannot answer now, in words; None if they can."""
        by, tool, approval = person(click), asked.call.tool, asked.approval
        refused = refusal(asked.run, asked.call, click.user_id, standing, current)
        if refused is not None:
            return words(Answer(approval, tool, refused[1], refused[0]), by=by, approve=None) or GONE
        if not self._open(asked):
            return words(Answer(approval, tool, "", Refusal.ALREADY_DECIDED), by=by, approve=None) or GONE
        return None

    def _open(self, asked: _Asked) -> bool:
        approval = asked.approval
        waits = asked.call.status is CallStatus.AWAITING_APPROVAL and not asked.run.closed
        return approval.open and waits and self._doors.clock() < approval.expires_at

    def _edit(self, asked: _Asked, card: Card, current: Terms | None) -> modals.View | str:
        if not may_edit(asked.approval.terms, current):
            return NO_EDITS
        form = self._form(asked)
        return TOO_LONG if form is None else modals.edit(card, form)

    def _answer(self, asked: _Asked, card: Card) -> modals.View | str:
        if not human.answerable(card):
            return NO_ANSWERS
        form = human.form(asked.call)
        return TOO_LONG_TO_ANSWER if form is None else modals.answer(card, form)

    def _form(self, asked: _Asked) -> forms.Form | None:
        report = next((t for t in self._doors.tools if t.name == asked.call.tool), None)
        schema = report.schema.get("parameters") if report is not None else None
        known, hidden = schema if isinstance(schema, dict) else {}, asked.approval.terms.hidden
        shown = {k: v for k, v in known.get("properties", {}).items() if k not in hidden}
        own = {k: v for k, v in asked.call.arguments.items() if k not in hidden}
        return forms.form({**known, "properties": shown}, own)

    def _card(self, asked: _Asked) -> Card:
        report = next((t for t in self._doors.tools if t.name == asked.call.tool), None)
        return Card(
            approval=asked.approval,
            call=asked.call,
            run_id=asked.run.id,
            workflow=asked.run.recipe.workflow,
            requester=asked.run.requester,
            asked_before=asked.run.recipe.asked_before,
            run_status=asked.run.status,
            run_reason=asked.run.reason,
            description=report.summary if report is not None else "",
            edited=asked.edited,
        )

    async def _standing(self, taken: Click | Submission, approval: Approval) -> tuple[str, ...]:
        return await self._doors.stands_for(taken.user_id, [(approval.id, approval.terms)])

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

    # --- sent off --------------------------------------------------------------------------------------

    def stranger(self) -> JsonObject:
        """The answer to a window that is not of ours, or of another version."""
        return _said(GONE)

    async def send(self, sent: Submission) -> JsonObject:
        """The answer to `view_submission`; a decision is committed on return.

        Raises:
            ForbiddenError: From a workspace or an app that is not ours, or by a bot.
            InvalidError: A field is not of the shape Slack sends.
        """
        if outsider := admit(self._slack, sent):
            return _said(outsider)
        if sent.kind in GROUPS:
            return await self._groups.send(sent)
        try:
            asked = await self._doors.database.read(_asked, sent.approval)
            back = sent.kind in INQUIRIES
            if asked.approval.revision != sent.revision or (is_own(asked.call) and not back):
                log.warning("click_refused", approval_id=sent.approval, reason=str(Refusal.CHANGED))
                return _said(GONE if is_own(asked.call) else CHANGED)
            if back:
                return await self._inquiries.send(sent, asked, await self._standing(sent, asked.approval))
            if sent.kind == "edit":
                return await self._edited(sent, asked)
            if sent.kind == "answer":
                return await self._given(sent, asked)
            if sent.kind == "again":
                return await self._anew(sent, asked)
            return await self._decided(sent, asked)
        except NotFoundError:
            return _said(GONE)

    async def _decided(self, sent: Submission, asked: _Asked) -> JsonObject:
        approve = sent.kind == "details"
        reason = "" if approve else typed(sent.values, modals.REASON, modals.REASON)
        if len(reason) > NOTE_CHARS:
            return _errors({modals.REASON: LONG_NOTE})
        if not approve and not reason and asked.approval.terms.reason_required:
            return _errors({modals.REASON: NO_REASON})
        by = person(sent)
        answer = await self._doors.intake.decide(
            sent.approval,
            approve=approve,
            by=by,
            entitled_as=sent.user_id,
            digest=sent.digest_prefix,
            reason=reason,
            stop=not approve and ticked(sent.values, modals.STOP, modals.STOP),
            standing=await self._standing(sent, asked.approval),
        )
        return _answered(words(answer, by=by, approve=approve))

    async def _given(self, sent: Submission, asked: _Asked) -> JsonObject:
        """An answer, read by the form of the question as it stands now."""
        form = human.form(asked.call)
        if form is None or not _same(asked.approval, sent) or not form.sent(sent.values):
            return _said(GONE)
        filled = form.filled(sent.values)
        if filled.arguments is None:
            return _errors(filled.errors)
        by = person(sent)
        try:
            answer = await self._doors.intake.decide(
                sent.approval,
                approve=False,
                by=by,
                entitled_as=sent.user_id,
                digest=sent.digest_prefix,
                answer=human.answer_of(asked.call, filled.arguments),
                standing=await self._standing(sent, asked.approval),
            )
        except InvalidError as e:
            return _errors(
                form.placed([(p.removeprefix("answer").lstrip("."), t) for p, t in e.fields], str(e))
            )
        if answer.refused is Refusal.NOT_NOW:
            return _said(NO_ANSWERS)
        return _answered(words(answer, by=by, approve=None))

    async def _anew(self, sent: Submission, asked: _Asked) -> JsonObject:
        """None of the files will do: an answer, too, which says what should be different."""
        if not _may_be_made_anew(asked) or not _same(asked.approval, sent):
            return _said(GONE)
        note = typed(sent.values, modals.REASON, modals.REASON)
        if not note:
            return _errors({modals.REASON: NO_NOTE})
        if len(note) > choosing.NOTE_CHARS:
            return _errors({modals.REASON: LONG_NOTE})
        by = person(sent)
        answer = await self._doors.intake.decide(
            sent.approval,
            approve=False,
            by=by,
            entitled_as=sent.user_id,
            digest=sent.digest_prefix,
            answer=choosing.anew(note),
            standing=await self._standing(sent, asked.approval),
        )
        return _answered(words(answer, by=by, approve=None))

    async def _edited(self, sent: Submission, asked: _Asked) -> JsonObject:
        form = self._form(asked)
        if form is None or not _same(asked.approval, sent) or not form.sent(sent.values):
            return _said(GONE)
        filled = form.filled(sent.values)
        reason = typed(sent.values, modals.REASON, modals.REASON)
        if len(reason) > NOTE_CHARS:
            return _errors({modals.REASON: LONG_NOTE})
        if filled.arguments is None:
            return _errors(filled.errors)
        if unseen := form.unseen(sent.values):
            return _errors(unseen)
        wished = kept(filled.arguments, asked.call.arguments, asked.approval.terms.hidden)
        # Of a question that is over, the call may have got these very arguments since.
        if asked.approval.open and forms.alike(wished, asked.call.arguments):
            return _errors(form.placed((), UNCHANGED))
        by = person(sent)
        try:
            answer = await self._doors.intake.edit(
                sent.approval,
                wished,
                by=by,
                entitled_as=sent.user_id,
                digest=sent.digest_prefix,
                reason=reason,
                standing=await self._standing(sent, asked.approval),
            )
        except InvalidError as e:
            return _errors(form.placed(_problems(e), str(e)))
        return _answered(words(answer, by=by, approve=None))


def _shut_out(terms: Terms, approval: Approval, stands: set[str]) -> bool:
    """Whether those terms let somebody who stands for these entries decide in no stage."""
    may = everybody(terms, escalated=approval.escalated)
    return stands.isdisjoint(may) or not stands.isdisjoint(terms.never)


def _asked(s: Session, approval_id: str) -> _Asked:
    """Raises `NotFoundError`."""
    found = questions.load_approval(s, approval_id)
    if found is None:
        raise NotFoundError(f"there is no approval {approval_id}")
    approval, call, run_id = found
    edited = proposals.edited_since(s, run_id, call, approval)
    return _Asked(runs.load(s, run_id), call, approval, edited)


def _may_be_made_anew(asked: _Asked) -> bool:
    return choosing.is_choosing(asked.call) and choosing.again_allowed(asked.call.arguments)


def _same(approval: Approval, taken: Click | Submission) -> bool:
    """Whether what was shown is what is asked now."""
    same = approval.revision == taken.revision
    return same and approval.digest[:16] == taken.digest_prefix


def _problems(error: InvalidError) -> list[tuple[str, str]]:
    """What is wrong, by the arguments' own names, also where it comes as one text for the model."""
    found: list[tuple[str, str]] = []
    for path, text in error.fields:
        lines = _PROBLEM.findall(text)
        found += lines or [(path.removeprefix("arguments").lstrip("."), text)]
    return found


def _answered(refused: str) -> JsonObject:
    return _said(refused) if refused else _CLEAR


def _said(text: str) -> JsonObject:
    return {"response_action": "update", "view": modals.said("Not recorded", text)}


def _errors(errors: Any) -> JsonObject:
    return {"response_action": "errors", "errors": dict(errors)}
