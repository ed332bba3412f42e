"""Several questions answered in one go: the window that shows them, and what comes back from it.

Every question is decided by itself, all of them in one transaction: one that has changed, was decided
meanwhile or that this person may not decide about is refused and told of, the others count, because what was
seen of them is what they are. Whether they may be answered together at all is looked up when the window is
opened and, with everything else, when it is sent off.

Of a turn all open questions are answered or none. A digest message is about any number of runs: there the
window has those of one kind that this person may decide about, as many as it can show whole.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog
from sqlalchemy.orm import Session

from orchestrator.domain import batches, digests
from orchestrator.domain.cards import Card
from orchestrator.domain.consent import Actor, Approval
from orchestrator.domain.entitlement import refusal
from orchestrator.domain.model import CallStatus, Run, ToolCall
from orchestrator.domain.plain import JsonObject
from orchestrator.engine.intake import Decided
from orchestrator.errors import NotFoundError
from orchestrator.slack import modals
from orchestrator.slack.action import NOTE_CHARS, Click, Submission
from orchestrator.slack.batches import approve_all, fits, reject_all
from orchestrator.slack.digests import in_one_go
from orchestrator.slack.inputs import typed
from orchestrator.slack.response_actions import clear, errors, instead, not_recorded
from orchestrator.store import digests as stored
from orchestrator.store import questions, runs
from orchestrator.web.asked import Asked
from orchestrator.web.clicks import CHANGED, GONE, LONG_NOTE, NO_REASON, person, since, words
from orchestrator.web.doors import Doors

log = structlog.get_logger(__name__)

GROUPS: Final = frozenset({"approve_all", "reject_all"})
"""Buttons and windows about several questions."""
ONE_BY_ONE: Final = "These can no longer be answered in one go: decide about each on its own card."
ALL_DONE: Final = "Nothing is open here any more."
_CHANGED: Final = "It has changed since it was shown: look at its card."


MOST_LOOKED_AT: Final = 40
"""Questions of a digest message of which it is looked up whether a person may decide about them."""


@dataclass(frozen=True, slots=True)
class _Group:
    """The open questions of a message that a button is about; `of_runs` where they are of any runs."""

    asked: tuple[Asked, ...]
    of_runs: bool = False


class GroupClicks:
    """Opens and takes windows about several questions."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors

    async def view(self, click: Click) -> modals.View | str:
        """The window with what is open now, or in words why there is none."""
        try:
            group = await self._doors.database.read(_group, click.approval)
        except NotFoundError:
            return GONE
        now = self._doors.clock()
        asked = [a for a in group.asked if now < a.approval.expires_at]
        if not asked:
            return ALL_DONE
        if not group.of_runs and not batches.together([a.call for a in asked]):
            return ONE_BY_ONE
        refused = await self._refused(asked, click)
        theirs = [a for a in asked if a.approval.id not in refused]
        if refused and (not group.of_runs or not theirs):
            return next(iter(refused.values()))
        cards: Sequence[Card] = [a.card(self._doors.tools) for a in theirs]
        if group.of_runs:
            cards = in_one_go(cards)
        if not fits(cards):
            return ONE_BY_ONE
        return approve_all(cards) if click.kind == "approve_all" else reject_all(cards)

    async def _refused(self, asked: Sequence[Asked], click: Click) -> dict[str, str]:
        """Those this person cannot answer now, by their ids, and why."""
        by, put = person(click), [(a.approval.id, a.approval.terms) for a in asked]
        standing = await self._doors.stands_for(click.user_id, put)
        why: dict[str, str] = {}
        for a in asked:
            current = await self._doors.intake.terms_now(a.approval.id)
            refused = refusal(a.run, a.call, click.user_id, standing, current)
            if refused is not None:
                why[a.approval.id] = a.no(by, *refused)
        return why

    async def send(self, sent: Submission) -> JsonObject:
        """The answer to `view_submission`; what was decided is committed on return."""
        approve, by = sent.kind == "approve_all", person(sent)
        reason = "" if approve else typed(sent.values, modals.REASON, modals.REASON)
        if len(reason) > NOTE_CHARS:
            return errors({modals.REASON: LONG_NOTE})
        try:
            asked = await self._doors.database.read(_approvals, [shown.approval for shown in sent.shown])
            if not approve and not reason and any(a.terms.reason_required for a in asked):
                return errors({modals.REASON: NO_REASON})
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
            return not_recorded(GONE)
        return _came_to(answers, [_told(a, await self._why(a, by, approve=approve)) for a in answers])

    async def _why(self, answer: Decided, by: Actor, *, approve: bool) -> str:
        """Why one of them does not count, or what came of the one in its place; empty for no news."""
        refused = words(answer, by=by, approve=approve)
        return await since(self._doors, refused, answer.approval.id, answer.tool, by)


def _came_to(answers: Sequence[Decided], told: Sequence[str]) -> JsonObject:
    """What the window says about those that were refused, in words each; it closes where there are none."""
    refused = [line for line in told if line]
    if not refused:
        return clear()
    done = sum(1 for a in answers if a.refused is None)
    log.warning("click_refused", approvals=len(refused), of=len(answers), reason="not all of several")
    return instead(
        "Recorded in part" if done else "Not recorded",
        f"{done} of {len(answers)} recorded. {' '.join(refused)}",
    )


def _told(answer: Decided, said: str) -> str:
    """What is said of one that was refused; nothing where that is no news."""
    if answer.refused is None or not said:
        return ""
    if said == CHANGED:
        said = _CHANGED
    return f"{answer.tool} (sha256 {answer.approval.digest[:8]}): {said}"


def _group(s: Session, approval_id: str) -> _Group:
    """The open questions of the turn that one belongs to, or those like it. Raises `NotFoundError`."""
    found = questions.load_approval(s, approval_id)
    if found is not None and found[0].collected:
        return _of_digest(s, found[0].collected, found[1])
    run = runs.load(s, found[2]) if found else None
    if found is None or run is None or run.turn.call(found[1].id) is None:
        raise NotFoundError(f"approval {approval_id} is asked no longer")
    calls = () if run.closed else batches.still_open(run.turn)
    return _Group(tuple(Asked(run, c, c.approval) for c in calls if c.approval))


def _of_digest(s: Session, name: str, call: ToolCall) -> _Group:
    """The open ones of its kind in a digest message. Runs are read in the order everybody takes them in."""
    cards = stored.picture(s, name).cards
    card = next((c for c in cards if c.call.id == call.id), None)
    if card is None:
        raise NotFoundError(f"call {call.id} is not in {name}")
    chosen = digests.alike(card, cards)[:MOST_LOOKED_AT]
    known = {run_id: runs.load(s, run_id) for run_id in sorted({c.run_id for c in chosen})}
    asked = (_asked(known[c.run_id], c.call.id) for c in chosen)
    return _Group(tuple(a for a in asked if a is not None), of_runs=True)


def _asked(run: Run, call_id: str) -> Asked | None:
    call = None if run.closed else run.turn.call(call_id)
    waits = call is not None and call.status is CallStatus.AWAITING_APPROVAL
    return Asked(run, call, call.approval) if call and waits and call.approval else None


def _approvals(s: Session, ids: Sequence[str]) -> list[Approval]:
    """Raises `NotFoundError`."""
    found = [questions.load_approval(s, approval_id) for approval_id in ids]
    if None in found:
        raise NotFoundError("one of these approvals does not exist")
    return [f[0] for f in found if f is not None]
