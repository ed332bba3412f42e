"""From a verified click to a decision, and the words for the person who pressed.

The message is a picture: nothing on it is believed but which question it shows, and in which
revision and digest. Entitlement is decided by the domain, at this very moment.
"""

from datetime import datetime
from typing import Final

import structlog

from orchestrator.domain.asking import GO_ON, PLAN, RESTART
from orchestrator.domain.choosing import CHOOSE_MEDIA, picked
from orchestrator.domain.consent import SLACK_USER, Actor, ApprovalStatus, Place
from orchestrator.domain.decision import Refusal
from orchestrator.domain.human import ASK_HUMAN, QUESTIONS, Kind
from orchestrator.domain.pipeline import CONFIRM
from orchestrator.domain.plain import JsonObject
from orchestrator.domain.terms import deciders, is_group, possible
from orchestrator.engine.intake import Decided
from orchestrator.errors import ForbiddenError, NotFoundError
from orchestrator.slack.action import NOTE_CHARS, Click, OtherAction, Shortcut, Submission
from orchestrator.store import questions, views
from orchestrator.store.run_rows import terms_value
from orchestrator.web.doors import Doors, SlackDoor

log = structlog.get_logger(__name__)

GONE: Final = "This is no longer active."
CHANGED: Final = "This has changed since it was shown: look at its card as it is now."
OUTSIDER: Final = "Only people of this workspace can decide here."
NO_NOTE: Final = (
    "Nothing was sent back yet: write in the note what the agent should change, then press again."
)
NO_ANSWERS: Final = "This cannot be answered here; it takes a yes or a no."
NO_REASON: Final = "A reason is needed."
LONG_NOTE: Final = f"Nothing was recorded: a note has at most {NOTE_CHARS} characters."
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
        return admit(self._slack, taken) or await self._decide(taken)

    def _other(self, taken: OtherAction) -> str:
        if taken.quiet or not (taken.team_id or taken.sent):
            return ""
        ours(self._slack, taken.team_id, taken.app_id or self._slack.app_id)
        return GONE

    async def _decide(self, click: Click) -> str:
        try:
            row = await self._doors.database.read(views.approval, click.approval)
            return await self._stale(click, row) or await self._decided(click, row)
        except NotFoundError:
            return GONE

    async def _stale(self, click: Click, row: views.Row) -> str:
        """Why the button is not one of the question as it is asked; else empty."""
        if await misplaced(self._doors, self._slack, click):
            return GONE
        if row["revision"] != click.revision:
            log.warning("click_refused", approval_id=click.approval, reason=str(Refusal.CHANGED))
            return CHANGED
        return GONE if click.kind == "choose" and _chosen(click, row) is None else ""

    async def _decided(self, click: Click, row: views.Row) -> str:
        by, terms = person(click), terms_value(row)
        approve, refine, choose = (click.kind == kind for kind in ("approve", "refine", "choose"))
        standing = await self._doors.stands_for(click.user_id, [(click.approval, terms)])
        may = not {click.user_id, *standing}.isdisjoint(deciders(terms))
        if may and (amiss := _amiss(click, row)):
            return amiss
        answer = await self._doors.intake.decide(
            click.approval,
            approve=approve,
            by=by,
            entitled_as=click.user_id,
            digest=click.digest_prefix,
            reason=click.note if row["tool"] == PLAN else "",
            refine=refine,
            answer=_chosen(click, row) if choose else None,
            standing=standing,
        )
        told = words(answer, by=by, approve=None if choose else approve, refine=refine)
        return await since(self._doors, told, click.approval, row["tool"], by)


def _chosen(click: Click, row: views.Row) -> str | JsonObject | None:
    """The choice of a pressed button, by its place: what stands on the button is only a picture."""
    if row["tool"] == CHOOSE_MEDIA:
        return picked(row["arguments"], click.choice)
    asked = row["arguments"] if row["tool"] == ASK_HUMAN else {}
    choices = asked.get("choices")
    if asked.get("kind") != Kind.CHOICE or not isinstance(choices, list):
        return None
    return str(choices[click.choice]) if 0 <= click.choice < len(choices) else None


def admit(slack: SlackDoor, taken: Click | Submission | Shortcut) -> str:
    """Words for somebody of another workspace; empty for who may be listened to.

    Raises:
        ForbiddenError: For a workspace or an app that is not ours, or by a bot.
    """
    ours(slack, taken.team_id, taken.app_id)
    if taken.is_bot:
        raise ForbiddenError("a bot pressed a button")
    if taken.user_team_id in slack.teams():
        return ""
    about = "" if isinstance(taken, Shortcut) else taken.approval
    log.warning("click_refused", approval_id=about, reason="a person of another workspace")
    return OUTSIDER


def ours(slack: SlackDoor, team_id: str, app_id: str) -> None:
    """Raises `ForbiddenError` for a workspace or an app that is not ours."""
    if team_id not in slack.teams():
        raise ForbiddenError("a workspace that is not ours")
    if slack.app_id and app_id != slack.app_id:
        raise ForbiddenError("an app that is not ours")


async def misplaced(doors: Doors, slack: SlackDoor, click: Click) -> bool:
    """Whether it was pressed on a message of another app, or one that shows another question."""
    app = slack.app_id or click.app_id
    amiss = bool(app) and click.message_app_id not in ("", app)
    if click.ts and not amiss:
        there = (click.approval, click.channel, click.ts)
        amiss = await doors.database.read(questions.shown_elsewhere, *there)
    if amiss:
        log.warning("click_refused", approval_id=click.approval, reason="not on a message that shows it")
    elif click.ts and app and click.message_app_id == app and click.kind in _ON_CARDS:
        await _seen(doors, click)
    return amiss


async def _seen(doors: Doors, click: Click) -> None:
    """A message of ours that nobody knew of is redrawn with all the others, whatever comes of the click."""
    direct = click.channel.startswith("D")
    place = Place(click.channel, click.ts, click.user_id if direct else "")
    if await doors.intake.stray(click.approval, place):
        log.info("stray_found", approval_id=click.approval, channel=click.channel, ts=click.ts)


_ON_CARDS: Final = frozenset(
    {"approve", "reject", "refine", "choose", "reject_reason", "edit", "answer", "again"}
)
"""Buttons that stand on a question's own message, and on no list of questions or reply."""


def person(taken: Click | Submission) -> Actor:
    """Who pressed, as the record names them."""
    return Actor(taken.user_id, _printable(taken.user_name), door="slack")


def _amiss(click: Click, row: views.Row) -> str:
    """What is wrong with the note of a click that would count otherwise; it may be pressed again."""
    if row["tool"] != PLAN or row["status"] != ApprovalStatus.PENDING:
        return ""
    if len(click.note) > NOTE_CHARS:
        return LONG_NOTE
    return NO_NOTE if click.kind == "refine" and not click.note else ""


def words(answer: Decided, *, by: Actor, approve: bool | None, refine: bool = False) -> str:
    """What the presser is told about an answer that was refused; nothing where it was taken.

    Only `<@U…>` in it is markup. Pressing the same button twice is no news either; `approve` is None for
    one that neither approves nor rejects.
    """
    if answer.refused is None:
        return ""
    if answer.refused is Refusal.NOT_ENTITLED:
        return _not_you(answer, by)
    verdict = answer.approval.verdict
    if answer.refused is Refusal.ALREADY_DECIDED and verdict is None and answer.approval.open and answer.note:
        return f"{answer.note[:1].upper()}{answer.note[1:]}."  # one yes of several, and it was theirs
    if answer.refused is Refusal.NOT_NOW and verdict is None and answer.approval.open and answer.note:
        return f"Not recorded: {answer.note.replace(by.id, mention(by))}."
    if answer.refused is Refusal.CHANGED:
        return CHANGED
    if answer.refused not in _DECIDED or verdict is None:
        return GONE
    same = (verdict.by.id, verdict.approve, verdict.refine) == (by.id, approve, refine)
    if same and verdict.answer is None:
        return ""
    return f"Already {_done(answer)} by {mention(verdict.by)} at {_clock(verdict.at)}."


async def since(doors: Doors, told: str, approval_id: str, tool: str, by: Actor) -> str:
    """`told`; where that is only that a question is over, what came of the one that was put in its place."""
    newest = await doors.database.read(questions.replaced, approval_id) if told == GONE else None
    if newest is None:
        return told
    later = words(Decided(newest, tool, refused=Refusal.ALREADY_DECIDED), by=by, approve=None)
    return CHANGED if later == GONE else later


_DECIDED: Final = frozenset({Refusal.ALREADY_DECIDED, Refusal.RUN_ENDED, Refusal.NOT_FOUND})
"""Refusals that may only mean that somebody was faster."""


_ABOUT: Final = {
    PLAN: "one of those who decide about this plan",
    GO_ON: "one of those who decide whether this run goes on",
    RESTART: "one of those who decide whether this run is restarted",
    ASK_HUMAN: "one of those who may answer this question",
    CHOOSE_MEDIA: "one of those who may choose here",
}


_ANY: Final = "one of those who may decide about this now"
"""Of an approval step of a workflow, whose tool's name nobody has ever read."""


def _not_you(answer: Decided, by: Actor) -> str:
    """Why somebody may not, and who may; those who are named and still may not are told which rule it is."""
    terms = answer.approval.terms
    if any(by.id in step.approvers for step in terms.steps) and answer.note:
        return f"Not counted: {answer.note.replace(by.id, mention(by))}."
    other = _ANY if answer.tool.startswith(f"{CONFIRM}_") else f"an approver for {answer.tool}"
    about = _ABOUT.get(answer.tool, other)
    return f"You are not {about}. {_ask(possible(terms.steps[answer.approval.stage], terms.never))}"


def _done(answer: Decided) -> str:
    verdict = answer.approval.verdict
    if verdict is not None and verdict.refine:
        return "sent back"
    if verdict is not None and verdict.answer is not None:
        return "answered"
    if verdict is not None and verdict.approve:
        return _APPROVED.get(answer.tool, "approved")
    if answer.tool == RESTART:
        return "given up"
    if answer.tool in QUESTIONS:
        return "declined"
    return "stopped" if answer.tool in _ABOUT else "rejected"


_APPROVED: Final = {
    PLAN: "approved to be carried out",
    GO_ON: "allowed to go on",
    RESTART: "told to be restarted",
}


def _ask(approvers: tuple[str, ...]) -> str:
    people = [f"<@{a}>" for a in approvers if SLACK_USER.fullmatch(a)][:10]
    groups = [f"somebody of the user group {a}" for a in approvers if is_group(a)][:3]
    if not people and not groups:
        return "Nobody in Slack is; it is decided by the HTTP API."
    return f"Ask {' or '.join([*people, *groups])}."


def mention(actor: Actor) -> str:
    """A person of Slack by mention, a machine by its name."""
    return f"<@{actor.id}>" if SLACK_USER.fullmatch(actor.id) else actor.name or actor.id


def _clock(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def _printable(name: str) -> str:
    """People choose their names themselves; the record keeps what every database can hold."""
    return "".join(ch for ch in name if ch.isprintable())[:_NAME_CHARS]
