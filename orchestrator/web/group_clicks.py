"""Several questions of a turn answered in one go: the window that shows them, and what comes back from it.

Every question is decided by itself, all of them in one transaction: one that has changed, was decided
meanwhile or that this person may not decide about is refused and told of, the others count, because what was
seen of them is what they are. Whether they may be answered together at all is looked up when the window is
opened and, with everything else, when it is sent off.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import structlog
from sqlalchemy.orm import Session

from orchestrator.domain import batches
from orchestrator.domain.consent import Approval
from orchestrator.domain.decision import Refusal
from orchestrator.domain.entitlement import refusal
from orchestrator.domain.model import Run, ToolCall
from orchestrator.domain.pictures import Card
from orchestrator.domain.plain import JsonObject
from orchestrator.engine.intake import Answer
from orchestrator.errors import NotFoundError
from orchestrator.slack import modals
from orchestrator.slack.action import NOTE_CHARS, Click, Submission, typed
from orchestrator.slack.batches import approve_all, fits, reject_all
from orchestrator.store import runs
from orchestrator.web.clicks import GONE, LONG_NOTE, person, words
from orchestrator.web.doors import Doors

log = structlog.get_logger(__name__)

GROUPS: Final = frozenset({"approve_all", "reject_all"})
"""Buttons and windows about several questions."""
ONE_BY_ONE: Final = "These can no longer be answered in one go: decide about each on its own card."
ALL_DONE: Final = "Nothing is open here any more."
NO_REASON: Final = "A reason is needed."
_CHANGED: Final = "It has changed since it was shown: look at its card."


@dataclass(frozen=True, slots=True)
class _Group:
    """The open questions under one message, as they stand at this moment."""

    run: Run
    calls: tuple[ToolCall, ...]


class GroupClicks:
    """Opens and takes windows about several questions.

    Args:
        card: What a person is shown about one question.
    """

    def __init__(self, doors: Doors, card: Callable[[Run, ToolCall, Approval], Card]) -> None:
        self._doors = doors
        self._card = card

    async def view(self, click: Click) -> modals.View | str:
        """The window with what is open now, or in words why there is none."""
        try:
            group = await self._doors.database.read(_group, click.approval)
        except NotFoundError:
            return GONE
        now = self._doors.clock()
        asked = [(c, c.approval) for c in group.calls if c.approval and now < c.approval.expires_at]
        if not asked:
            return ALL_DONE
        if not batches.together([call for call, _ in asked]):
            return ONE_BY_ONE
        if (why := await self._closed(group.run, asked, click)) is not None:
            return why
        cards = [self._card(group.run, call, approval) for call, approval in asked]
        if not fits(cards):
            return ONE_BY_ONE
        return approve_all(cards) if click.kind == "approve_all" else reject_all(cards)

    async def _closed(self, run: Run, asked: Sequence[tuple[ToolCall, Approval]], click: Click) -> str | None:
        """Why this person cannot answer all of them now; None if they can."""
        by, put = person(click), [(approval.id, approval.terms) for _, approval in asked]
        standing = await self._doors.stands_for(click.user_id, put)
        for call, approval in asked:
            current = await self._doors.intake.terms_now(approval.id)
            refused = refusal(run, call, click.user_id, standing, current)
            if refused is not None:
                answer = Answer(approval, call.tool, refused[1], refused[0])
                return words(answer, by=by, approve=None) or GONE
        return None

    async def send(self, sent: Submission) -> JsonObject:
        """The answer to `view_submission`; what was decided is committed on return."""
        approve, by = sent.kind == "approve_all", person(sent)
        reason = "" if approve else typed(sent.values, modals.REASON, modals.REASON)
        if len(reason) > NOTE_CHARS:
            return _errors(LONG_NOTE)
        try:
            asked = await self._doors.database.read(_approvals, [shown.approval for shown in sent.shown])
            if not approve and not reason and any(a.terms.reason_required for a in asked):
                return _errors(NO_REASON)
            put = [(approval.id, approval.terms) for approval in asked]
            answers = await self._doors.intake.decide_all(
                [(shown.approval, shown.digest_prefix) for shown in sent.shown],
                approve=approve,
                by=by,
                entitled_as=sent.user_id,
                reason=reason,
                standing=await self._doors.stands_for(sent.user_id, put),
            )
        except NotFoundError:
            return _said("Not recorded", GONE)
        told = [line for a in answers if (line := _told(a, words(a, by=by, approve=approve)))]
        if not told:
            return {"response_action": "clear"}
        done = sum(1 for a in answers if a.refused is None)
        log.warning("click_refused", approvals=len(told), of=len(answers), reason="not all of several")
        return _said(
            "Recorded in part" if done else "Not recorded",
            f"{done} of {len(answers)} recorded. {' '.join(told)}",
        )


def _told(answer: Answer, said: str) -> str:
    """What is said of one that was refused; nothing where that is no news."""
    if answer.refused is None or not said:
        return ""
    if answer.refused is Refusal.CHANGED:
        said = _CHANGED
    return f"{answer.tool} (sha256 {answer.approval.digest[:8]}): {said}"


def _group(s: Session, approval_id: str) -> _Group:
    """The open questions of the turn that one belongs to. Raises `NotFoundError`."""
    found = runs.load_approval(s, approval_id)
    run = runs.load(s, found[2]) if found else None
    if found is None or run is None or run.turn.call(found[1].id) is None:
        raise NotFoundError(f"approval {approval_id} is asked no longer")
    return _Group(run, () if run.closed else batches.still_open(run.turn))


def _approvals(s: Session, ids: Sequence[str]) -> list[Approval]:
    """Raises `NotFoundError`."""
    found = [runs.load_approval(s, approval_id) for approval_id in ids]
    if None in found:
        raise NotFoundError("one of these approvals does not exist")
    return [f[0] for f in found if f is not None]


def _said(title: str, text: str) -> JsonObject:
    return {"response_action": "update", "view": modals.said(title, text)}


def _errors(text: str) -> JsonObject:
    errors: Mapping[str, str] = {modals.REASON: text}
    return {"response_action": "errors", "errors": dict(errors)}
