"""From a verified click to a decision, and the words for the person who pressed.

The message is a picture: nothing on it is believed but which question it shows, and in which
revision and digest. Entitlement is decided by the domain, at this very moment.
"""

import re
from datetime import datetime
from typing import Final

import structlog

from orchestrator.domain.asking import GO_ON, PLAN
from orchestrator.domain.decision import Refusal
from orchestrator.domain.model import Actor, ApprovalStatus
from orchestrator.engine.intake import Answer
from orchestrator.errors import ForbiddenError, NotFoundError
from orchestrator.slack.action import NOTE_CHARS, Click, OtherAction
from orchestrator.store import views
from orchestrator.web.doors import Doors, SlackDoor

log = structlog.get_logger(__name__)

GONE: Final = "This is no longer active."
OUTSIDER: Final = "Only people of this workspace can decide here."
NO_NOTE: Final = (
    "Nothing was sent back yet: write in the note what the agent should change, then press again."
)
LONG_NOTE: Final = f"Nothing was recorded: a note has at most {NOTE_CHARS} characters."
_USER: Final = re.compile(r"[UW][A-Z0-9]{2,}", re.ASCII)
_NAME_CHARS: Final = 80


class Clicks:
    """Decides about what people press."""

    def __init__(self, doors: Doors, slack: SlackDoor) -> None:
        self._doors = doors
        self._slack = slack

    async def take(self, taken: Click | OtherAction) -> str:
        """What to whisper to the person, empty for nothing; a decision is committed on return.

        Raises:
            ForbiddenError: From a workspace or an app that is not ours, or by a bot.
        """
        if isinstance(taken, OtherAction):
            return self._other(taken)
        teams = self._slack.teams()
        self._ours(taken.team_id in teams, taken.app_id)
        if taken.is_bot:
            raise ForbiddenError("a bot pressed a button")
        if taken.user_team_id not in teams:
            log.warning("click_refused", approval_id=taken.approval, reason="a person of another workspace")
            return OUTSIDER
        return await self._decide(taken)

    def _other(self, taken: OtherAction) -> str:
        if taken.quiet or not taken.team_id:
            return ""
        self._ours(taken.team_id in self._slack.teams(), taken.app_id or self._slack.app_id)
        return GONE

    def _ours(self, team: bool, app_id: str) -> None:
        if not team:
            raise ForbiddenError("a workspace that is not ours")
        if self._slack.app_id and app_id != self._slack.app_id:
            raise ForbiddenError("an app that is not ours")

    async def _decide(self, click: Click) -> str:
        approve, refine = click.kind == "approve", click.kind == "refine"
        by = Actor(click.user_id, _printable(click.user_name), door="slack")
        try:
            row = await self._doors.database.read(views.approval, click.approval)
            if row["revision"] != click.revision:
                log.warning("click_refused", approval_id=click.approval, reason=str(Refusal.CHANGED))
                return GONE
            if click.user_id in row["terms"]["approvers"] and (amiss := _amiss(click, row)):
                return amiss
            answer = await self._doors.intake.decide(
                click.approval,
                approve=approve,
                by=by,
                entitled_as=click.user_id,
                digest=click.digest_prefix,
                reason=click.note if row["tool"] == PLAN else "",
                refine=refine,
            )
        except NotFoundError:
            return GONE
        return words(answer, by=by, approve=approve, refine=refine)


def _amiss(click: Click, row: views.Row) -> str:
    """What is wrong with the note of a click that would count otherwise; it may be pressed again."""
    if row["tool"] != PLAN or row["status"] != ApprovalStatus.PENDING:
        return ""
    if len(click.note) > NOTE_CHARS:
        return LONG_NOTE
    return NO_NOTE if click.kind == "refine" and not click.note else ""


def words(answer: Answer, *, by: Actor, approve: bool, refine: bool = False) -> str:
    """What the presser is told about an answer that was refused; nothing where it was taken.

    Only `<@U…>` in it is markup. Pressing the same button twice is no news either.
    """
    if answer.refused is None:
        return ""
    if answer.refused is Refusal.NOT_ENTITLED:
        about = _ABOUT.get(answer.tool, f"an approver for {answer.tool}")
        return f"You are not {about}. {_ask(answer.approval.terms.approvers)}"
    verdict = answer.approval.verdict
    if answer.refused not in _DECIDED or verdict is None:
        return GONE
    if (verdict.by.id, verdict.approve, verdict.refine) == (by.id, approve, refine):
        return ""
    return f"Already {_done(answer)} by {mention(verdict.by)} at {_clock(verdict.at)}."


_DECIDED: Final = frozenset({Refusal.ALREADY_DECIDED, Refusal.RUN_ENDED, Refusal.NOT_FOUND})
"""Refusals that may only mean that somebody was faster."""


_ABOUT: Final = {
    PLAN: "one of those who decide about this plan",
    GO_ON: "one of those who decide whether this run goes on",
}


def _done(answer: Answer) -> str:
    verdict = answer.approval.verdict
    if verdict is not None and verdict.refine:
        return "sent back"
    if verdict is not None and verdict.approve:
        return {PLAN: "approved to be carried out", GO_ON: "allowed to go on"}.get(answer.tool, "approved")
    return "stopped" if answer.tool in _ABOUT else "rejected"


def _ask(approvers: tuple[str, ...]) -> str:
    people = [f"<@{a}>" for a in approvers if _USER.fullmatch(a)]
    if not people:
        return "Nobody in Slack is; it is decided by the HTTP API."
    return f"Ask {' or '.join(people[:10])}."


def mention(actor: Actor) -> str:
    """A person of Slack by mention, a machine by its name."""
    return f"<@{actor.id}>" if _USER.fullmatch(actor.id) else actor.name or actor.id


def _clock(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def _printable(name: str) -> str:
    """People choose their names themselves; the record keeps what every database can hold."""
    return "".join(ch for ch in name if ch.isprintable())[:_NAME_CHARS]
