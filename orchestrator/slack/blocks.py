"""An approval drawn in Block Kit: a picture of the rows, made anew each time. No I/O.

Where each kind of text may stand:

    our own words, checked ids      mrkdwn (escaped, `verbatim`) and the top-level `text`
    names of people and machines    a mention if it is a user id, else `plain_text` without emoji
    arguments, plans, reasons       `rich_text_preformatted`, made visible; never anywhere else

And no blind approval: the Approve button exists only beside the complete arguments.

Source: Slack, "Block Kit" reference (blocks, limits); the text budget is measured, not documented.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from orchestrator.domain import choosing, joblife
from orchestrator.domain.asking import is_own
from orchestrator.domain.consent import Edits, Stage, Terms, Verdict
from orchestrator.domain.human import is_question
from orchestrator.domain.inquiries import askable
from orchestrator.domain.pictures import Card
from orchestrator.slack import foresight, human, inquiries, kit, modals
from orchestrator.slack.action import NOTE, NOTE_CHARS
from orchestrator.slack.arguments import label as label_of
from orchestrator.slack.arguments import seen
from orchestrator.slack.kit import Block
from orchestrator.slack.looks import Look, approval_step, block_id, look, sentence
from orchestrator.slack.text import MENTION, Shown, escape, line, prose, render, shorten, weight
from orchestrator.slack.wording import decided_by, limit_reached, plan_of, reason_given, refused, wording

EVENT_TYPE: Final = "approval_request"
"""Name of the metadata by which a message of ours is found again."""

TEXT_BUDGET: Final = 10_000  # UTF-16 units of text in all blocks; Slack refuses somewhere above 13 200
_RESERVE: Final = 1_600  # of these, for notes, labels and the confirm dialog
_FIRST_PART: Final = 2_000  # shown of arguments that do not fit
_OUTCOME_PART: Final = 600
_REASON_PART: Final = 300
_NOTE_PART: Final = 2 * NOTE_CHARS  # whole, however wide its characters are
_MOST_NAMED: Final = 20  # approvers by name; the others as a number
_MOST_STAGES: Final = 6  # told of on a card
_GROUP: Final = re.compile(r"S[A-Z0-9]{2,}", re.ASCII)

_LINK: Final = re.compile(r"https?://[!-;=?-{}~]{1,1900}", re.ASCII)  # visible ASCII without < > |
_MINUTES: Final = 120.0  # seconds, from which on minutes are told
_SOON: Final = timedelta(hours=48)  # between expiry and Gemini's forgetting: then people are told of both
_DOORS: Final = {"slack": "in Slack", "api": "by the HTTP API", "shell": "on the command line"}


@dataclass(frozen=True, slots=True)
class Message:
    """What a post or an update takes: `text` for notifications, `blocks`, ids in `metadata`."""

    text: str
    blocks: list[Block]
    metadata: dict[str, Any]


def draw(card: Card, *, now: datetime) -> Message:
    """The message about `card` as it is true at `now` (aware).

    Within every limit of Block Kit for any arguments; block ids carry revision and state, so that a redrawn
    block is a new one.
    """
    state = look(card, now)
    above = [_header(card, state), *_words(card, state), _facts(card, state), *_progress(card, state)]
    below = [
        *_before(card, state),
        *inquiries.counted(card),
        *_reason(card, state),
        *_outcome(card, state),
        _terms(card, state),
    ]
    note = _note(card) if state is Look.PENDING else []
    room = TEXT_BUDGET - _RESERVE - _weigh([*above, *below, *note])
    would, seen = _would(card, state, room)
    subject, whole = _subject(card, state, room - _weigh(would))
    blocks = [*above, *would, subject, *below, *note]
    if state is Look.PENDING:
        blocks += _decide(card, whole=whole and seen)
    elif _discreet(card):
        blocks += _only_details(card)
    return Message(_summary(card, state), [_named(b, card, state) for b in blocks], _metadata(card))


def plain(card: Card, *, now: datetime) -> Message:
    """The same news without blocks, for when Slack refuses our drawing: no arguments, no buttons."""
    state = look(card, now)
    link = _link(card)
    label = "Review it here" if state is Look.PENDING else "See the run"
    more = f" <{escape(link)}|{label}>" if link else ""
    if state is Look.PENDING and not link:
        more = f" {_elsewhere()}"
    return Message(_summary(card, state) + more, [], _metadata(card))


def whisper(text: str) -> Message:
    """Our own words to one person. `<@U…>` becomes a mention, everything else is shown as it is written."""
    return Message(escape(line(re.sub(r"[<>@]", "", text), 300)), [kit.spoken("whisper", text)], {})


def _metadata(card: Card) -> dict[str, Any]:
    """Ids only: everybody in the workspace can read metadata."""
    payload = {"request_id": card.approval.id, "rev": card.approval.revision}
    return {"event_type": EVENT_TYPE, "event_payload": payload}


def _summary(card: Card, state: Look) -> str:
    """The top-level text. It is mrkdwn and shows on lock screens: our words, tool and workflow only."""
    about = f"{wording(card).headline(state)} (workflow {line(card.workflow, 100)})."
    until = f" Expires {kit.utc(card.approval.expires_at)}." if state is Look.PENDING else ""
    return escape(about + until)


def _named(block: Block, card: Card, state: Look) -> Block:
    return block | {"block_id": block_id(block["block_id"], card.approval.revision, state)}


# --- what frames the subject ----------------------------------------------------------------------


def _header(card: Card, state: Look) -> Block:
    return {"type": "header", "block_id": "h", "text": kit.plain(wording(card).headline(state), 150)}


def _words(card: Card, state: Look) -> list[Block]:
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


def _facts(card: Card, state: Look) -> Block:
    link, approval = _link(card), card.approval
    run = (
        kit.markup("Run", f"<{escape(link)}|{escape(line(card.run_id, 80))}>")
        if link
        else kit.fact("Run", card.run_id)
    )
    fields = [kit.fact("Workflow", card.workflow), run, kit.person("Asked for by", card.requester)]
    if approval.terms.risk:
        fields.append(kit.fact("Risk", approval.terms.risk))
    if approval.verdict is not None and state is not Look.PENDING:
        fields += _verdict(card, approval.verdict)
    if state is Look.APPROVED and approval.start_by is not None:
        fields.append(kit.markup("Starts by", kit.date(approval.start_by)))
    if card.taken_up_as:
        fields.append(_taken_up(card))
    if (took := _took(card)) and state in (Look.DONE, Look.FAILED) and not approval_step(card):
        fields.append(kit.markup("Took", took))  # our own digits
    if card.progress and not card.call.settled:  # it is the newest turn's, and only such calls surely are
        fields.append(kit.fact("Progress", card.progress))
    return {"type": "section", "block_id": "m", "fields": fields}


def _taken_up(card: Card) -> Block:
    link, name = card.taken_up_link, card.taken_up_as
    if not _LINK.fullmatch(link):
        return kit.fact("Restarted as", name)
    return kit.markup("Restarted as", f"<{escape(link)}|{escape(line(name, 80))}>")


def _verdict(card: Card, verdict: Verdict) -> list[Block]:
    door = _DOORS.get(verdict.by.door, "")
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


def _reason(card: Card, state: Look) -> list[Block]:
    """What a person gave as a reason, or what ended the run: words of others, so only quoted as text."""
    verdict = card.approval.verdict
    if verdict is not None and verdict.reason:
        most = _NOTE_PART if is_own(card.call) else _REASON_PART
        return [kit.quoted("r", reason_given(verdict), verdict.reason, most)]
    if card.run_reason and state in (Look.WITHDRAWN, Look.IN_DOUBT):
        return [kit.quoted("r", "About the run", card.run_reason, _REASON_PART)]
    return []


def _before(card: Card, state: Look) -> list[Block]:
    """That people have said no to the very same already."""
    verdict = card.rejected_before
    if verdict is None or state is not Look.PENDING:
        return []
    who = _mention(verdict.by.id) or escape(line(verdict.by.name or verdict.by.id, 80))
    times = f" ({card.rejections} times)" if card.rejections > 1 else ""
    said = f"The same call was rejected by {who} at {kit.date(verdict.at)}{times}."
    return [{"type": "context", "block_id": "again", "elements": [kit.mrkdwn(said)]}]


def _outcome(card: Card, state: Look) -> list[Block]:
    verdict = card.approval.verdict
    if state is Look.ANSWERED and verdict is not None and not _discreet(card):
        return [kit.quoted("o", *human.given(card.call, verdict.answer), _NOTE_PART)]
    if state not in (Look.DONE, Look.FAILED) or card.call.outcome is None or _discreet(card):
        return []
    if state is Look.DONE and approval_step(card):
        return []  # it only says again what was shown and who said yes
    result = joblife.brief(card.call.outcome.result)
    text = result if isinstance(result, str) else render(result).text
    return [kit.quoted("o", "What the tool said (not checked)", text, _OUTCOME_PART)]


def _terms(card: Card, state: Look) -> Block:
    approval = card.approval
    name, digest = escape(line(approval.id, 60)), escape(approval.digest[:8])
    seal = f"`{name}` rev {approval.revision} · sha256 `{digest}`"
    if state is not Look.PENDING:
        return {"type": "context", "block_id": "c", "elements": [kit.mrkdwn(seal)]}
    deadline = kit.mrkdwn(f"expires {kit.date(approval.expires_at)} · {seal}")
    elements = [*_who_decides(approval.terms), deadline, *_forgotten(card)]
    return {"type": "context", "block_id": "c", "elements": elements}


def _forgotten(card: Card) -> list[Block]:
    """Until when Gemini keeps what waits, where that comes soon after the expiry or has moved it forward."""
    at = card.forgotten_at
    if at is None or at - card.approval.expires_at >= _SOON:
        return []
    return [kit.mrkdwn(f"Gemini keeps this until {kit.date(at)}, no answer counts after that")]


def _who_decides(terms: Terms) -> list[Block]:
    """Who may decide, at most five elements; where it goes by stages, `_progress` tells of each."""
    if terms.stages:
        return [kit.plain(f"decided in {len(terms.stages)} stages", 300)]
    return _deciders(terms.approvers)


def _deciders(approvers: Sequence[str]) -> list[Block]:
    """Who may decide. Only what is a user id or a user group's becomes a mention."""
    people = [a for a in approvers if _mention(a)]
    others = [a for a in approvers if not _mention(a)]
    elements = []
    if people:
        elements.append(kit.mrkdwn(f"may decide: {_named_people(people)}"))
    if others:
        elements.append(kit.plain(f"{'and' if people else 'may decide:'} {', '.join(others)}", 300))
    return elements or [kit.plain("nobody is named who may decide", 300)]


def _mention(entry: str) -> str:
    """Markup for a person or a user group; empty for anything else."""
    if MENTION.fullmatch(entry):
        return f"<@{entry}>"
    return f"<!subteam^{entry}>" if _GROUP.fullmatch(entry) else ""


def _named_people(people: Sequence[str]) -> str:
    more = f" and {len(people) - _MOST_NAMED} more" if len(people) > _MOST_NAMED else ""
    return " ".join(map(_mention, people[:_MOST_NAMED])) + more


def _progress(card: Card, state: Look) -> list[Block]:
    """How many have said yes, step by step, where more than one yes is needed."""
    terms = card.approval.terms
    if is_own(card.call) or (not terms.stages and terms.quorum < 2):
        return []
    elements = [_step(card, number, step) for number, step in enumerate(terms.steps[:_MOST_STAGES])]
    if state is Look.PENDING and terms.stages and (now_at := _stage_now(card)) is not None:
        elements += _deciders(terms.steps[now_at].approvers)
    return [{"type": "context", "block_id": "votes", "elements": elements}]


def _step(card: Card, number: int, step: Stage) -> Block:
    voted = [vote.by.id for vote in card.approval.votes if vote.stage == number]
    name = f"{escape(line(step.name, 40))}: " if step.name else ""
    by = ", ".join(_mention(v) or escape(line(v, 40)) for v in voted[:_MOST_NAMED])
    return kit.mrkdwn(f"{name}{len(voted)} of {step.quorum} approved" + (f": {by}" if by else ""))


def _stage_now(card: Card) -> int | None:
    """The stage that is being decided; None after the last."""
    voted = [vote.stage for vote in card.approval.votes]
    steps = enumerate(card.approval.terms.steps)
    return next((number for number, step in steps if voted.count(number) < step.quorum), None)


# --- what it is about, and whether that can be decided on here -------------------------------------


def _subject(card: Card, state: Look, room: int) -> tuple[Block, bool]:
    """What is decided about within `room`, and whether it is all there."""
    if (told := refused(card.call)) is not None:
        return _refused(*told), True
    if facts := limit_reached(card.call):
        said = kit.section(kit.text("\n".join(facts)))
        return {"type": "rich_text", "block_id": "a", "elements": [said]}, True
    if _discreet(card):
        return _kept_back(card, state), False
    if is_question(card.call):
        parts, whole = human.parts(card.call, room)
        parts += _files(card, state)
        if state is Look.PENDING and human.form(card.call) is None and not (whole and human.buttons(card)):
            parts.append(kit.section(kit.bold(_elsewhere())))
        return {"type": "rich_text", "block_id": "a", "elements": parts}, whole
    plan = plan_of(card.call)
    label, shown = (label_of(card), seen(card)) if plan is None else ("The plan", prose(plan))
    text, shortened = shown.text, ""
    if weight(text) > room:
        text, shortened = shorten(text, max(0, min(_FIRST_PART, room)))
    parts = [kit.section(kit.bold(label)), kit.preformatted(text)]
    if shortened:
        parts.append(kit.section(kit.text(f"{shortened}. "), *_all_of_it(card)))
    if shown.notes:
        parts.append(kit.section(kit.text("\n".join(shown.notes))))
        parts += _in_ascii(shown, room - weight(text))
    whole = shown.whole and not shortened
    if state is Look.PENDING and not whole:
        parts.append(kit.section(kit.bold(_not_here(card))))
    return {"type": "rich_text", "block_id": "a", "elements": parts}, whole


def _files(card: Card, state: Look) -> list[Block]:
    """Where the files to choose among can be had, and why there are no pictures of them, if that is known."""
    links = [(str(n), linked(address)) for n, address in enumerate(card.file_links, 1)]
    parts: list[Block] = []
    if whole := [part for part in links if part[1]]:
        shown = [{"type": "link", "url": address, "text": f" {n} "} for n, address in whole]
        parts.append(kit.section(kit.text("To save: "), *shown))
    if card.no_pictures and state is Look.PENDING:
        parts.append(kit.section(kit.text(f"{line(card.no_pictures, 300).rstrip('.')}.")))
    return parts


def _would(card: Card, state: Look, room: int) -> tuple[list[Block], bool]:
    """What it would do, before the arguments, which keep some of the room; and whether it is all there."""
    preview, room = card.approval.preview, max(0, room - _FIRST_PART)
    if preview is None or _discreet(card):
        return [], True
    shown = foresight.would(preview)
    text, shortened = shown.text, ""
    if weight(text) > room:
        text, shortened = shorten(text, min(_FIRST_PART, room))
    was = foresight.before(card) if state is Look.PENDING else None
    parts = [] if was is None else [kit.section(kit.bold(foresight.CHANGED))]
    parts += [kit.section(kit.bold(foresight.heading(preview))), kit.preformatted(text)]
    if shortened:
        parts.append(kit.section(kit.text(f"{shortened}. ")))
    if shown.notes:
        parts.append(kit.section(kit.text("\n".join(shown.notes))))
        parts += _in_ascii(shown, room - weight(text))
    if was is not None:
        former = shorten(was.text, max(0, min(_FIRST_PART, room - _weigh(parts))))[0]
        parts += [kit.section(kit.bold(foresight.BEFORE)), kit.preformatted(former)]
    if state is Look.PENDING and shortened:
        parts.append(kit.section(kit.bold(_not_here(card))))
    return [{"type": "rich_text", "block_id": "w", "elements": parts}], not shortened


def _refused(facts: Sequence[str], said: str) -> Block:
    """Nothing of it runs: what Gemini said is there to judge by, as far as there is room."""
    shown = prose(said)
    elements = [kit.section(kit.text("\n".join(facts)))]
    if shown.text:
        text = shorten(shown.text, _FIRST_PART)[0]
        elements += [kit.section(kit.bold("What Gemini said (not checked)")), kit.preformatted(text)]
    return {"type": "rich_text", "block_id": "a", "elements": elements}


def _discreet(card: Card) -> bool:
    """Whether the channel is shown no arguments; the run's own questions have none to hide."""
    return card.approval.terms.discreet and not is_own(card.call)


def _kept_back(card: Card, state: Look) -> Block:
    said = "The arguments are not shown here. Who may decide sees them under Details"
    more = ", and approves there." if state is Look.PENDING else "."
    if is_question(card.call):
        said, more = "The question is not shown here. Who may answer sees it", " in a window of their own."
    if not modals.fits(card) or (is_question(card.call) and human.form(card.call) is None):
        said, more = "The arguments are not shown here and too long for Slack.", f" {_elsewhere()}"
    return {"type": "rich_text", "block_id": "a", "elements": [kit.section(kit.text(said + more))]}


def _in_ascii(shown: Shown, room: int) -> list[Block]:
    """The doubtful lines once more, in letters nobody can mistake."""
    if not shown.ascii:
        return []
    text, shortened = shorten(shown.ascii, max(0, min(_FIRST_PART, room)))
    if not text:
        return []
    label = f"The same in ASCII. {shortened}." if shortened else "The same in ASCII"
    return [kit.section(kit.bold(label)), kit.preformatted(text)]


def _all_of_it(card: Card) -> list[Block]:
    link = _link(card)
    return [{"type": "link", "url": link, "text": "All of it"}] if link else []


def _not_here(card: Card) -> str:
    """Why there is no Approve button, and where there is one."""
    if _link(card) or _in_a_window(card):
        return "Too long to approve here. Review… shows everything; the decision to approve is made there."
    return f"Too long to approve here. {_elsewhere()}"


def _elsewhere() -> str:
    return (
        "It can be reviewed and decided with the HTTP API or on the command line, where everything is shown."
    )


def _note(card: Card) -> list[Block]:
    """Where people say what to change, for a question that can be sent back."""
    if not wording(card).refine:
        return []
    field = {
        "type": "plain_text_input",
        "action_id": NOTE,
        "multiline": True,
        "max_length": NOTE_CHARS,
        "placeholder": kit.plain("What the agent should change", 150),
    }
    hint = "Needed to send it back, and goes to the agent then; with Stop it is kept as the reason."
    block = {"type": "input", "block_id": NOTE, "optional": True, "element": field}
    return [block | {"label": kit.plain("Note", 100), "hint": kit.plain(hint, 150)}]


def _decide(card: Card, *, whole: bool) -> list[Block]:
    """The buttons; whatever lets it happen only where everything is shown."""
    words = wording(card)
    if is_question(card.call):
        return [{"type": "actions", "block_id": "decide", "elements": _answers(card, whole=whole)}]
    buttons = []
    if whole:
        buttons.append(_button(card, "approve", words.approve) | {"style": "primary", "confirm": _sure(card)})
    else:
        buttons += _review(card)
    if is_own(card.call):
        buttons += [_button(card, "refine", words.refine)] if words.refine else []
        buttons.append(_button(card, "reject", words.reject) | {"style": "danger"})
    else:
        if card.approval.terms.edits is not Edits.NO:
            buttons.append(_button(card, "edit", "Edit…"))
        if human.answerable(card):
            buttons.append(_button(card, "answer", "Answer instead…"))
        buttons.append(_button(card, "reject_reason", f"{words.reject}…") | {"style": "danger"})
        buttons += [_button(card, "details", "Details")] if whole else []
        buttons += [] if whole or _in_a_window(card) else _ask_back(card)
    return [{"type": "actions", "block_id": "decide", "elements": buttons}]


def _answers(card: Card, *, whole: bool) -> list[Block]:
    """A choice of few has a button each, beside the whole question; any other answer is given in a window."""
    labels = human.buttons(card) if whole else ()
    buttons = [_chosen(card, place, label) for place, label in enumerate(labels)]
    if not labels and human.form(card.call) is not None:
        buttons.append(_button(card, "answer", "Answer…") | {"style": "primary"})
    if choosing.is_choosing(card.call) and choosing.again_allowed(card.call.arguments):
        buttons.append(_button(card, "again", modals.AGAIN))
    decline = _button(card, "reject_reason", f"{wording(card).reject}…")
    return [*buttons, decline | {"style": "danger"}, *_ask_back(card)]


def _chosen(card: Card, place: int, label: str) -> Block:
    file = human.file(card.call, place)
    sure = {
        "title": kit.plain(wording(card).sure[0], 100),
        "text": kit.plain(file or label, 300),
        "confirm": kit.plain("Take it" if file else "Answer", 30),
        "deny": kit.plain("Go back", 30),
    }
    button = kit.button(f"choose_{place}", label, modals.button_value(card), f"Answer: {label}")
    return button | {"confirm": sure}


def _button(card: Card, action: str, label: str) -> Block:
    return kit.button(action, label, modals.button_value(card), f"{label} {wording(card).spoken}")


def _ask_back(card: Card) -> list[Block]:
    """Where there are no details to ask from."""
    return [_button(card, "ask", "Ask…")] if askable(card.approval, card.requester.id) else []


def _review(card: Card) -> list[Block]:
    """The way to everything: a window of Slack's where it fits in, else our page, else none."""
    if _in_a_window(card):
        return [_button(card, "details", "Details" if _discreet(card) else "Review…") | {"style": "primary"}]
    if (link := _link(card)) and not _discreet(card):
        return [{"type": "button", "action_id": "review", "url": link, "text": kit.plain("Review…", 75)}]
    return []


def _in_a_window(card: Card) -> bool:
    return not is_own(card.call) and modals.fits(card)


def _only_details(card: Card) -> list[Block]:
    """What was decided about stays readable for those who could decide."""
    elements = [_button(card, "details", "Details")]
    return [{"type": "actions", "block_id": "more", "elements": elements}]


def _sure(card: Card) -> Block:
    """What is asked before it happens."""
    words = wording(card)
    title, follows = words.sure
    return {
        "title": kit.plain(title, 100),
        "text": kit.plain(follows, 300),
        "confirm": kit.plain(words.approve, 30),
        "deny": kit.plain("Go back", 30),
    }


def _link(card: Card) -> str:
    return linked(card.link)


def linked(address: str) -> str:
    """An address of ours that may stand in markup; empty for any other."""
    return address if _LINK.fullmatch(address) else ""


def _weigh(value: Any) -> int:
    """The budget taken by everything under a `text` key."""
    if isinstance(value, list):
        return sum(_weigh(entry) for entry in value)
    if not isinstance(value, dict):
        return 0
    own = weight(value["text"]) if isinstance(value.get("text"), str) else 0
    return own + sum(_weigh(entry) for entry in value.values())
