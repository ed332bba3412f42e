"""What frames the subject of a card: what it is, who asked, how it stands, what came of it. No I/O."""

from datetime import timedelta
from typing import Final

from orchestrator.domain import jobreports
from orchestrator.domain.asking import is_own
from orchestrator.domain.cards import Card
from orchestrator.domain.consent import DOORS, Verdict
from orchestrator.domain.human import is_question
from orchestrator.slack import human, kit
from orchestrator.slack.action import NOTE_CHARS
from orchestrator.slack.arguments import discreet
from orchestrator.slack.deciders import mention, who_decides
from orchestrator.slack.kit import Block
from orchestrator.slack.looks import Look, approval_step, sentence
from orchestrator.slack.text import escape, line, render
from orchestrator.slack.wording import decided_by, reason_given, wording

_OUTCOME_PART: Final = 600
_REASON_PART: Final = 300
_NOTE_PART: Final = 2 * NOTE_CHARS  # whole, however wide its characters are
_MINUTES: Final = 120.0  # seconds, from which on minutes are told
_SOON: Final = timedelta(hours=48)  # between expiry and Gemini's forgetting: then people are told of both


def header(card: Card, state: Look) -> Block:
    return {"type": "header", "block_id": "h", "text": kit.plain(wording(card).headline(state), 150)}


def words(card: Card, state: Look) -> list[Block]:
    """What the state means, and the tool's own summary; a question that was answered is not put again."""
    answered = is_own(card.call) and state is not Look.PENDING
    said_already = answered or is_question(card.call) or approval_step(card)
    about = "" if said_already else card.description
    texts = (("state", sentence(card, state), 300), ("d", about, 300))
    return [
        {"type": "section", "block_id": key, "text": kit.plain(text, most)}
        for key, text, most in texts
        if text
    ]


def facts(card: Card, state: Look) -> Block:
    link, approval = kit.linked(card.link), card.approval
    run = (
        kit.markup("Run", f"<{escape(link)}|{escape(line(card.run_id, 80))}>")
        if link
        else kit.fact("Run", card.run_id)
    )
    fields = [kit.fact("Workflow", card.workflow), run, kit.person("Asked for by", card.requester)]
    if approval.terms.risk:
        fields.append(kit.fact("Risk", approval.terms.risk))
    fields += decided(card, state)
    if link := kit.linked(card.replaced_link):
        fields.append(kit.markup("In its place", f"<{escape(link)}|the new message>"))
    if card.taken_up_as:
        fields.append(_taken_up(card))
    if card.progress and not card.call.settled:  # it is the newest turn's, and only such calls surely are
        fields.append(kit.fact("Progress", card.progress))
    return {"type": "section", "block_id": "m", "fields": fields}


def decided(card: Card, state: Look) -> list[Block]:
    """Who decided and when, until when it starts, how long it took."""
    approval, fields = card.approval, list[Block]()
    if approval.verdict is not None and state is not Look.PENDING:
        fields += _verdict(card, approval.verdict)
    if state is Look.APPROVED and approval.start_by is not None:
        fields.append(kit.markup("Starts by", kit.date(approval.start_by)))
    if (took := _took(card)) and state in (Look.DONE, Look.FAILED) and not approval_step(card):
        fields.append(kit.markup("Took", took))  # our own digits
    return fields


def _taken_up(card: Card) -> Block:
    link, name = kit.linked(card.taken_up_link), card.taken_up_as
    if not link:
        return kit.fact("Restarted as", name)
    return kit.markup("Restarted as", f"<{escape(link)}|{escape(line(name, 80))}>")


def _verdict(card: Card, verdict: Verdict) -> list[Block]:
    door = DOORS.get(verdict.by.door, "")
    when = f"{kit.date(verdict.at)}, {door}" if door else kit.date(verdict.at)
    return [kit.person(decided_by(card, verdict), verdict.by), kit.markup("When", when)]


def _took(card: Card) -> str:
    started, settled = card.call.started_at, card.call.settled_at
    if started is None or settled is None:
        return ""
    seconds = max(0.0, (settled - started).total_seconds())
    if seconds < _MINUTES:
        return f"{seconds:.1f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def reason(card: Card, state: Look) -> list[Block]:
    """What a person gave as a reason, or what ended the run: words of others, so only quoted as text."""
    verdict = card.approval.verdict
    if verdict is not None and verdict.reason:
        most = _NOTE_PART if is_own(card.call) else _REASON_PART
        return [kit.quoted("r", reason_given(verdict), verdict.reason, most)]
    if card.run_reason and state in (Look.WITHDRAWN, Look.IN_DOUBT) and not card.taken_up_as:  # said above
        return [kit.quoted("r", "About the run", card.run_reason, _REASON_PART)]
    return []


def before(card: Card, state: Look) -> list[Block]:
    """That people have said no to the very same already."""
    verdict = card.rejected_before
    if verdict is None or state is not Look.PENDING:
        return []
    who = mention(verdict.by.id) or escape(line(verdict.by.name or verdict.by.id, 80))
    times = f" ({card.rejections} times)" if card.rejections > 1 else ""
    said = f"The same call was rejected by {who} at {kit.date(verdict.at)}{times}."
    return [{"type": "context", "block_id": "again", "elements": [kit.mrkdwn(said)]}]


def outcome(card: Card, state: Look) -> list[Block]:
    """What came of it, where the channel is told such things."""
    return [] if discreet(card) else result(card, state)


def result(card: Card, state: Look) -> list[Block]:
    """What people answered, or what the tool gave back."""
    verdict = card.approval.verdict
    if state is Look.ANSWERED and verdict is not None:
        return [kit.quoted("o", *human.given(card.call, verdict.answer), _NOTE_PART)]
    if state not in (Look.DONE, Look.FAILED) or card.call.outcome is None:
        return []
    if state is Look.DONE and approval_step(card):
        return []  # it only says again what was shown and who said yes
    told = jobreports.brief(card.call.outcome.result)
    text = told if isinstance(told, str) else render(told).text
    return [kit.quoted("o", "What the tool said (not checked)", text, _OUTCOME_PART)]


def seal(card: Card, state: Look) -> Block:
    approval = card.approval
    name, digest = escape(line(approval.id, 60)), escape(approval.digest[:8])
    seal = f"`{name}` rev {approval.revision} · sha256 `{digest}`"
    if state is not Look.PENDING:
        return {"type": "context", "block_id": "c", "elements": [kit.mrkdwn(seal)]}
    deadline = kit.mrkdwn(f"expires {kit.date(approval.expires_at)} · {seal}")
    elements = [*who_decides(card), deadline, *_forgotten(card)]
    return {"type": "context", "block_id": "c", "elements": elements}


def _forgotten(card: Card) -> list[Block]:
    """Until when Gemini keeps what waits, where that comes soon after the expiry or has moved it forward."""
    at = card.forgotten_at
    if at is None or at - card.approval.expires_at >= _SOON:
        return []
    return [kit.mrkdwn(f"Gemini keeps this until {kit.date(at)}, no answer counts after that")]
