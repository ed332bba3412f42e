"""An approval drawn in Block Kit: a picture of the rows, made anew each time. No I/O.

Where each kind of text may stand:

    our own words, checked ids      mrkdwn (escaped, `verbatim`) and the top-level `text`
    names of people and machines    a mention if it is a user id, else `plain_text` without emoji
    arguments, results, reasons     `rich_text_preformatted`, made visible; never anywhere else

And no blind approval: the Approve button exists only beside the complete arguments.

Source: Slack, "Block Kit" reference (blocks, limits); the text budget is measured, not documented.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from orchestrator.domain.model import Actor, Card, Verdict
from orchestrator.slack.looks import HEADLINES, Look, look, sentence
from orchestrator.slack.text import MENTION, Shown, escape, line, render, shorten, visible, weight

Block = dict[str, Any]

EVENT_TYPE: Final = "approval_request"
"""Name of the metadata by which a message of ours is found again."""

TEXT_BUDGET: Final = 10_000  # UTF-16 units of text in all blocks; Slack refuses somewhere above 13 200
_RESERVE: Final = 1_600  # of these, for notes, labels and the confirm dialog
_FIRST_PART: Final = 2_000  # shown of arguments that do not fit
_OUTCOME_PART: Final = 600
_REASON_PART: Final = 300
_MOST_NAMED: Final = 20  # approvers by name; the others as a number

_SAFE: Final = re.compile(r"(api:)?[A-Za-z0-9][A-Za-z0-9_.-]{0,79}", re.ASCII)
_LINK: Final = re.compile(r"https?://[!-;=?-{}~]{1,1900}", re.ASCII)  # visible ASCII without < > |
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
    above = [_header(card, state), *_words(card, state), _facts(card, state)]
    below = [*_reason(card, state), *_outcome(card, state), _terms(card, state)]
    room = TEXT_BUDGET - _RESERVE - _weigh([*above, *below])
    arguments, whole = _arguments(card, state, room)
    blocks = [*above, arguments, *below]
    if state is Look.PENDING:
        blocks += _decide(card, whole=whole)
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
    parts: list[Block] = []
    for index, part in enumerate(re.split(r"<@([UW][A-Z0-9]{2,})>", text, flags=re.ASCII)):
        shown = visible(part)[0]
        if index % 2:
            parts.append({"type": "user", "user_id": part})
        elif shown:
            parts.append({"type": "text", "text": shorten(shown, 3_000)[0]})
    block = {"type": "rich_text", "block_id": "whisper", "elements": [_section(*parts)]}
    return Message(escape(line(re.sub(r"[<>@]", "", text), 300)), [block], {})


def _metadata(card: Card) -> dict[str, Any]:
    """Ids only: everybody in the workspace can read metadata."""
    payload = {"request_id": card.approval.id, "rev": card.approval.revision}
    return {"event_type": EVENT_TYPE, "event_payload": payload}


def _summary(card: Card, state: Look) -> str:
    """The top-level text. It is mrkdwn and shows on lock screens: our words, tool and workflow only."""
    about = f"{HEADLINES[state]}: {line(card.call.tool, 100)} (workflow {line(card.workflow, 100)})."
    until = f" Expires {_utc(card.approval.expires_at)}." if state is Look.PENDING else ""
    return escape(about + until)


def _named(block: Block, card: Card, state: Look) -> Block:
    return block | {"block_id": f"{block['block_id']}:{card.approval.revision}:{state}"}


# --- what frames the arguments --------------------------------------------------------------------


def _header(card: Card, state: Look) -> Block:
    return {
        "type": "header",
        "block_id": "h",
        "text": _plain(f"{HEADLINES[state]}: {line(card.call.tool, 100)}", 150),
    }


def _words(card: Card, state: Look) -> list[Block]:
    """What the state means, and the tool's own summary."""
    texts = (("state", sentence(card, state), 300), ("d", card.description, 300))
    return [
        {"type": "section", "block_id": key, "text": _plain(text, most)} for key, text, most in texts if text
    ]


def _facts(card: Card, state: Look) -> Block:
    link, approval = _link(card), card.approval
    run = (
        _markup("Run", f"<{escape(link)}|{escape(line(card.run_id, 80))}>")
        if link
        else _fact("Run", card.run_id)
    )
    fields = [_fact("Workflow", card.workflow), run, _person("Asked for by", card.requester)]
    if approval.verdict is not None and state is not Look.PENDING:
        fields += _verdict(approval.verdict)
    if state is Look.APPROVED and approval.start_by is not None:
        fields.append(_markup("Starts by", _date(approval.start_by)))
    if (took := _took(card)) and state in (Look.DONE, Look.FAILED):
        fields.append(_fact("Took", took))
    return {"type": "section", "block_id": "m", "fields": fields}


def _verdict(verdict: Verdict) -> list[Block]:
    label = "Approved by" if verdict.approve else "Rejected by"
    door = _DOORS.get(verdict.by.door, "")
    when = f"{_date(verdict.at)}, {door}" if door else _date(verdict.at)
    return [_person(label, verdict.by), _markup("When", when)]


def _took(card: Card) -> str:
    started, settled = card.call.started_at, card.call.settled_at
    if started is None or settled is None:
        return ""
    return f"{max(0.0, (settled - started).total_seconds()):.1f} s"


def _reason(card: Card, state: Look) -> list[Block]:
    """What a person gave as a reason, or what ended the run: words of others, so only quoted as text."""
    verdict = card.approval.verdict
    if verdict is not None and verdict.reason:
        return [_quoted("r", "Reason given", verdict.reason, _REASON_PART)]
    if card.run_reason and state in (Look.WITHDRAWN, Look.IN_DOUBT):
        return [_quoted("r", "About the run", card.run_reason, _REASON_PART)]
    return []


def _outcome(card: Card, state: Look) -> list[Block]:
    if state not in (Look.DONE, Look.FAILED) or card.call.outcome is None:
        return []
    result = card.call.outcome.result
    text = result if isinstance(result, str) else render(result).text
    return [_quoted("o", "What the tool said (not checked)", text, _OUTCOME_PART)]


def _quoted(key: str, label: str, text: str, most: int) -> Block:
    shown, shortened = shorten(visible(text)[0], most)
    parts = [_section(_bold(label)), _preformatted(shown)]
    if shortened:
        parts.append(_section(_text(f"{shortened}.")))
    return {"type": "rich_text", "block_id": key, "elements": parts}


def _terms(card: Card, state: Look) -> Block:
    approval = card.approval
    name, digest = escape(line(approval.id, 60)), escape(approval.digest[:8])
    seal = f"`{name}` rev {approval.revision} · sha256 `{digest}`"
    if state is not Look.PENDING:
        return {"type": "context", "block_id": "c", "elements": [_mrkdwn(seal)]}
    deadline = _mrkdwn(f"expires {_date(approval.expires_at)} · {seal}")
    return {"type": "context", "block_id": "c", "elements": [*_deciders(approval.terms.approvers), deadline]}


def _deciders(approvers: Sequence[str]) -> list[Block]:
    """Who may decide. Only what is a user id becomes a mention."""
    people = [a for a in approvers if MENTION.fullmatch(a)]
    others = [a for a in approvers if not MENTION.fullmatch(a)]
    elements = []
    if people:
        more = f" and {len(people) - _MOST_NAMED} more" if len(people) > _MOST_NAMED else ""
        named = " ".join(f"<@{person}>" for person in people[:_MOST_NAMED])
        elements.append(_mrkdwn(f"may decide: {named}{more}"))
    if others:
        elements.append(_plain(f"may decide: {', '.join(others)}", 300))
    return elements or [_plain("nobody is named who may decide", 300)]


# --- the arguments, and whether they can be decided on here ---------------------------------------


def _arguments(card: Card, state: Look, room: int) -> tuple[Block, bool]:
    """The arguments within `room`, and whether they are all there."""
    shown = render(card.call.arguments)
    text, shortened = shown.text, ""
    if weight(text) > room:
        text, shortened = shorten(text, min(_FIRST_PART, room))
    parts = [_section(_bold("Arguments")), _preformatted(text)]
    if shortened:
        parts.append(_section(_text(f"{shortened}. "), *_all_of_it(card)))
    if shown.notes:
        parts.append(_section(_text("\n".join(shown.notes))))
        parts += _in_ascii(shown, room - weight(text))
    whole = shown.whole and not shortened
    if state is Look.PENDING and not whole:
        parts.append(_section(_bold(_not_here(card))))
    return {"type": "rich_text", "block_id": "a", "elements": parts}, whole


def _in_ascii(shown: Shown, room: int) -> list[Block]:
    """The doubtful lines once more, in letters nobody can mistake."""
    if not shown.ascii:
        return []
    text, shortened = shorten(shown.ascii, max(0, min(_FIRST_PART, room)))
    if not text:
        return []
    label = f"The same in ASCII. {shortened}." if shortened else "The same in ASCII"
    return [_section(_bold(label)), _preformatted(text)]


def _all_of_it(card: Card) -> list[Block]:
    link = _link(card)
    return [{"type": "link", "url": link, "text": "All of it"}] if link else []


def _not_here(card: Card) -> str:
    """Why there is no Approve button, and where there is one."""
    if _link(card):
        return "Too long to approve here. Review… shows everything; the decision to approve is made there."
    return f"Too long to approve here. {_elsewhere()}"


def _elsewhere() -> str:
    return (
        "It can be reviewed and decided with the HTTP API or on the command line, where everything is shown."
    )


def _decide(card: Card, *, whole: bool) -> list[Block]:
    tool, approval = line(card.call.tool, 60), card.approval
    value = f"{approval.id}|{approval.revision}|{approval.digest[:16]}"
    confirm = {
        "title": _plain(f"Run {tool}?", 100),
        "text": _plain("The agent will run this now with the arguments shown.", 300),
        "confirm": _plain("Approve", 30),
        "deny": _plain("Go back", 30),
    }
    reject = _button("reject", "Reject", value, f"Reject {tool}") | {"style": "danger"}
    if whole:
        approve = _button("approve", "Approve", value, f"Approve {tool}") | {
            "style": "primary",
            "confirm": confirm,
        }
        buttons = [approve, reject]
    else:
        link = _link(card)
        review = {"type": "button", "action_id": "review", "url": link, "text": _plain("Review…", 75)}
        buttons = [review, reject] if link else [reject]
    return [{"type": "actions", "block_id": "decide", "elements": buttons}]


def _button(action: str, label: str, value: str, spoken: str) -> Block:
    return {
        "type": "button",
        "action_id": action,
        "value": value,
        "text": _plain(label, 75),
        "accessibility_label": line(spoken, 75),
    }


# --- pieces ---------------------------------------------------------------------------------------


def _plain(text: str, most: int) -> Block:
    return {"type": "plain_text", "emoji": False, "text": line(text, most)}


def _mrkdwn(text: str) -> Block:
    """`text` is markup of ours, its parts already escaped."""
    return {"type": "mrkdwn", "verbatim": True, "text": text}


def _markup(label: str, value: str) -> Block:
    return _mrkdwn(f"*{label}*\n{value}")


def _fact(label: str, text: str) -> Block:
    """A labelled value: bold label where the value cannot be markup, else plain text."""
    if _SAFE.fullmatch(text):
        return _markup(label, text)
    return {"type": "plain_text", "emoji": False, "text": f"{label}\n{line(text, 200)}"}


def _person(label: str, actor: Actor) -> Block:
    if MENTION.fullmatch(actor.id):
        return _markup(label, f"<@{actor.id}>")
    return _fact(label, f"{actor.id} ({actor.name})" if actor.name and actor.name != actor.id else actor.id)


def _utc(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _date(at: datetime) -> str:
    """A moment in the reader's own time zone, with UTC for clients that cannot."""
    return f"<!date^{int(at.timestamp())}^{{date_short_pretty}} {{time}}|{_utc(at)}>"


def _link(card: Card) -> str:
    return card.link if _LINK.fullmatch(card.link) else ""


def _text(text: str) -> Block:
    return {"type": "text", "text": text}


def _bold(text: str) -> Block:
    return {"type": "text", "text": text, "style": {"bold": True}}


def _section(*parts: Block) -> Block:
    return {"type": "rich_text_section", "elements": list(parts)}


def _preformatted(text: str) -> Block:
    return {"type": "rich_text_preformatted", "elements": [_text(text or "—")]}


def _weigh(value: Any) -> int:
    """The budget taken by everything under a `text` key."""
    if isinstance(value, list):
        return sum(_weigh(entry) for entry in value)
    if not isinstance(value, dict):
        return 0
    own = weight(value["text"]) if isinstance(value.get("text"), str) else 0
    return own + sum(_weigh(entry) for entry in value.values())
