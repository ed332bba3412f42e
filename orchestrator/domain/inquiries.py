"""Asked back: who may decide puts a question to whoever asked for the run, and decides with the answer.

a request is open ─┬─ asked ──► told in its thread and directly ── answered ──► shown with the request
                   └─ decided, or its time is up ──► nothing more is asked or answered

All of it is talk beside the request: nothing that is sealed changes by it, it settles nothing, and no clock
stops for it. Each question has one answer, by the one person it was put to.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from orchestrator.domain import entitlement
from orchestrator.domain.asking import redraw
from orchestrator.domain.consent import SLACK_USER, Approval, Inquiry, Place
from orchestrator.domain.decision import Decision, Refusal, unheard
from orchestrator.domain.effects import Effect, EffectKind, notice_subject, parse_notice
from orchestrator.domain.escalation import MACHINE
from orchestrator.domain.events import InquiryPosted, QuestionAnswered, QuestionAsked
from orchestrator.domain.model import CallStatus, Policy, Run, ToolCall
from orchestrator.domain.values import Value, replace
from orchestrator.domain.verdicts import already

MOST: Final = 5
"""Questions to whoever asked for the run, about one call."""
CHARS: Final = 3_000
"""Most characters of a question, and of an answer."""
NOT_ASKED: Final = "that question is no longer asked"


class Telling(Value):
    """What is said in Slack of one question: the question itself, or that it was answered.

    Without a `person` it is said in the thread of the request, else to them directly.
    """

    number: int
    answer: bool = False
    person: str = ""

    @property
    def what(self) -> str:
        """The same as a part of an effect's subject."""
        return f"{self.number}{'=' if self.answer else ''}" + (f"@{self.person}" if self.person else "")


def parse_telling(subject: str) -> tuple[str, Telling]:
    """The approval, and what is said."""
    approval, what = parse_notice(subject)
    number, _, person = what.partition("@")
    return approval, Telling(int(number.removesuffix("=")), number.endswith("="), person)


def numbered(approval: Approval, number: int) -> Inquiry | None:
    """The question of that number, from 1; None where there is none."""
    return approval.questions[number - 1] if 1 <= number <= len(approval.questions) else None


def is_person(entry: str) -> bool:
    """Whether that is a person in Slack, who can be written to."""
    return SLACK_USER.fullmatch(entry) is not None


def answers_back(requester: str) -> bool:
    """Whether whoever asked for a run can be asked back: a person in Slack, or the holder of a token."""
    return is_person(requester) or requester.startswith(MACHINE)


def askable(approval: Approval, requester: str) -> bool:
    """Whether there is room for one more question about it."""
    return approval.open and answers_back(requester) and len(approval.questions) < MOST


def asked(run: Run, event: QuestionAsked, policy: Policy, now: datetime) -> Decision:
    """By who may decide now. The same question of the same person, not answered yet, is asked once."""
    call = run.turn.by_approval(event.approval)
    if call is None or call.approval is None:
        return unheard(run, NOT_ASKED, Refusal.NOT_FOUND)
    approval = call.approval
    refused = entitlement.refusal(run, call, event.entitled_as, event.standing, event.current)
    if refused is not None:
        return unheard(run, refused[1], refused[0])
    if (over := _over(call, approval, now)) is not None:
        return unheard(run, over[1], over[0])
    if any(q.by.id == event.by.id and q.text == event.text and not q.answered for q in approval.questions):
        return Decision(run)
    if (why := _not_askable(run, approval, event)) is not None:
        return unheard(run, why, Refusal.NOT_NOW)
    inquiry = Inquiry(event.by, event.at, event.text)
    call = replace(call, approval=replace(approval, questions=(*approval.questions, inquiry)))
    number, requester = len(approval.questions) + 1, run.requester.id
    told = [Telling(number), *([Telling(number, person=requester)] if is_person(requester) else [])]
    effects = (*_say(approval.id, told, now), *redraw(call, now))
    note = f"{event.by.name or event.by.id} asks {run.requester.name or requester}"
    return Decision(replace(run, turn=run.turn.with_call(call)), effects, note=note)


def _over(call: ToolCall, approval: Approval, now: datetime) -> tuple[Refusal, str] | None:
    """Why nothing is asked or answered about it any more."""
    if not approval.open or call.status is not CallStatus.AWAITING_APPROVAL:
        return Refusal.ALREADY_DECIDED, already(approval)
    return (Refusal.EXPIRED, "its time is up") if now >= approval.expires_at else None


def _not_askable(run: Run, approval: Approval, event: QuestionAsked) -> str | None:
    requester = run.requester.id
    if requester == event.entitled_as:
        return "you asked for this run yourself"
    if not answers_back(requester):
        return f"{requester} asked for this run and cannot be asked back"
    if not event.text.strip() or len(event.text) > CHARS:
        return f"a question has 1 to {CHARS} characters"
    if len(approval.questions) >= MOST:
        return f"{MOST} questions have been asked about this already"
    return None


def answered(run: Run, event: QuestionAnswered, policy: Policy, now: datetime) -> Decision:
    """By whoever asked for the run, and by nobody else. The first answer stands."""
    call = run.turn.by_approval(event.approval)
    if call is None or call.approval is None:
        return unheard(run, NOT_ASKED, Refusal.NOT_FOUND)
    approval = call.approval
    if event.entitled_as != run.requester.id:
        return unheard(run, "only who asked for this run can answer that", Refusal.NOT_ENTITLED)
    inquiry = numbered(approval, event.number)
    if inquiry is None:
        return unheard(run, f"there is no question {event.number} about this", Refusal.NOT_FOUND)
    if inquiry.answered:
        same = (inquiry.answer, inquiry.answered_by) == (event.text, event.by)
        return Decision(run) if same else unheard(run, told(inquiry), Refusal.ALREADY_DECIDED)
    if (over := _over(call, approval, now)) is not None:
        return unheard(run, over[1], over[0])
    if not event.text.strip() or len(event.text) > CHARS:
        return unheard(run, f"an answer has 1 to {CHARS} characters", Refusal.NOT_NOW)
    inquiry = replace(inquiry, answer=event.text, answered_by=event.by, answered_at=event.at)
    call = _with(call, approval, event.number, inquiry)
    effects = (*_say(approval.id, _news(approval, event.number, inquiry), now), *redraw(call, now))
    effects = (*effects, *_draw(approval, event.number, inquiry, now))
    note = f"{event.by.name or event.by.id} answers {inquiry.by.name or inquiry.by.id}"
    return Decision(replace(run, turn=run.turn.with_call(call)), effects, note=note)


def told(inquiry: Inquiry) -> str:
    """Who answered, and when, in words for who comes second."""
    by, at = inquiry.answered_by, inquiry.answered_at
    if by is None or at is None:
        return ""
    return f"already answered by {by.name or by.id} at {at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _news(approval: Approval, number: int, inquiry: Inquiry) -> list[Telling]:
    """To who had asked, in the thread; directly where there is none."""
    if approval.ts:
        return [Telling(number, answer=True)]
    return [Telling(number, True, inquiry.by.id)] if is_person(inquiry.by.id) else []


def posted(run: Run, event: InquiryPosted, policy: Policy, now: datetime) -> Decision:
    """Where it can be answered. What is over by then is redrawn at once."""
    call = run.turn.by_approval(event.approval)
    inquiry = numbered(call.approval, event.number) if call and call.approval else None
    if call is None or call.approval is None or inquiry is None:
        return unheard(run, f"{event.approval} is not a question of this turn")
    place = Place(event.channel, event.ts, event.person)
    if place in inquiry.places:
        return Decision(run)
    shown = replace(inquiry, places=(*inquiry.places, place))
    approval = call.approval
    run = replace(run, turn=run.turn.with_call(_with(call, approval, event.number, shown)))
    over = inquiry.answered or not approval.open
    return Decision(run, _draw(approval, event.number, shown, now) if over else ())


def redrawn(before: Run, decision: Decision, now: datetime) -> Decision:
    """The decision, and with it what it means for questions that were asked back.

    Once a request is over no button to answer under it stays live; and what was asked before the request
    itself could be seen is said when it can.
    """
    known = decision.left or decision.run.turn
    if known is before.turn:
        return decision
    more = tuple(e for call in before.turn.calls for e in _follows(call, known.call(call.id), now))
    return replace(decision, effects=(*decision.effects, *more)) if more else decision


def _follows(old: ToolCall, new: ToolCall | None, now: datetime) -> Iterator[Effect]:
    was = old.approval
    if was is None or not was.open:
        return
    approval = new.approval if new is not None and new.approval and new.approval.id == was.id else None
    waiting = [(n, q) for n, q in enumerate(was.questions, 1) if not q.answered]
    if approval is None or not approval.open:
        for number, inquiry in waiting:
            yield from _draw(was, number, inquiry, now)
    elif approval.ts and not was.ts:
        yield from _say(was.id, [Telling(n) for n, _ in waiting], now)


def _with(call: ToolCall, approval: Approval, number: int, inquiry: Inquiry) -> ToolCall:
    questions = (*approval.questions[: number - 1], inquiry, *approval.questions[number:])
    return replace(call, approval=replace(approval, questions=questions))


def _say(approval: str, tellings: list[Telling], now: datetime) -> tuple[Effect, ...]:
    subjects = [notice_subject(approval, telling.what) for telling in tellings]
    return tuple(Effect(EffectKind.POST_INQUIRY, subject, now) for subject in subjects)


def _draw(approval: Approval, number: int, inquiry: Inquiry, now: datetime) -> tuple[Effect, ...]:
    """Its messages are to be shown as it stands now."""
    subject = notice_subject(approval.id, Telling(number).what)
    return (Effect(EffectKind.UPDATE_INQUIRY, subject, now),) if inquiry.places else ()
