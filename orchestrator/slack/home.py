"""One person's inbox: the Home tab, and the list a slash command answers with. No I/O.

Our own words and the names of tools, workflows and people; never arguments: those stand in the window that
Details opens, which asks again whether that person may see them.

Source: Slack, "App Home", `views.publish`, "Implementing slash commands", "Block Kit" reference.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from orchestrator.domain.asking import is_own
from orchestrator.domain.cards import Card
from orchestrator.domain.collecting import parse, waits
from orchestrator.domain.human import is_question
from orchestrator.domain.values import replace
from orchestrator.slack import kit
from orchestrator.slack.kit import Block
from orchestrator.slack.looks import approval_step, look
from orchestrator.slack.modals import button_value
from orchestrator.slack.text import escape, line
from orchestrator.slack.wording import wording

View = dict[str, Any]
Answer = dict[str, Any]

AT_HOME: Final = 20
"""Most open questions on a Home tab."""
LISTED: Final = 10
"""Most in a message, whose text is short."""
LATELY: Final = 10
"""Most decisions on a Home tab."""
HELP: Final = (
    "/approvals mine: what waits for you. /approvals all: every open question that names you, and those of"
    " runs you asked for. /approvals ID: that one. The Home tab of this app shows what waits for you, too."
)
_CHANNEL: Final = re.compile(r"[CG][A-Z0-9]{2,}", re.ASCII)


@dataclass(frozen=True, slots=True)
class HomeEntry:
    """One question in the inbox; `opens` says whether that person may look at its details."""

    card: Card
    opens: bool = True


def home(waiting: Sequence[HomeEntry], decided: Sequence[Card], *, now: datetime) -> View:
    """The Home tab of somebody for whom those questions wait, and who decided those lately.

    Args:
        waiting: The nearest deadline first; those beyond `AT_HOME` are only counted.
        now: Said on the tab: it is drawn when it is opened, not when something happens.
    """
    blocks: list[Block] = [_header("Waits for you")]
    blocks += _entries(waiting, AT_HOME, now) or [_words("none", "Nothing waits for you.")]
    if decided:
        blocks += [{"type": "divider"}, _header("You decided lately")]
        blocks += [_decision(n, card, now) for n, card in enumerate(decided[:LATELY])]
    as_of = kit.mrkdwn(f"As of {kit.date(now)}. Open this tab again to see it anew.")
    blocks.append({"type": "context", "block_id": "as_of", "elements": [as_of]})
    return {"type": "home", "callback_id": "inbox", "blocks": blocks}


def listed(title: str, found: Sequence[HomeEntry], *, now: datetime) -> Answer:
    """What a slash command answers, to who typed it alone; `title` is ours."""
    return {
        "response_type": "ephemeral",
        "text": escape(title),
        "blocks": [_words("title", title), *_entries(found, LISTED, now)],
    }


def window(waiting: Sequence[HomeEntry], *, now: datetime) -> View:
    """The same list as a window, for who used our shortcut."""
    blocks = _entries([replace(entry, opens=False) for entry in waiting], LISTED, now)
    return {
        "type": "modal",
        "title": kit.plain("Waits for you", 24),
        "close": kit.plain("Close", 24),
        "blocks": [*(blocks or [_words("none", "Nothing waits for you.")]), _words("help", HELP)],
    }


def told(words: str) -> Answer:
    """Our own words as the answer to a slash command."""
    return {"response_type": "ephemeral", "text": escape(words), "blocks": [_words("told", words)]}


def _header(text: str) -> Block:
    return {"type": "header", "text": kit.plain(text, 150)}


def _words(key: str, text: str) -> Block:
    return kit.spoken(key, text)


def _entries(found: Sequence[HomeEntry], most: int, now: datetime) -> list[Block]:
    blocks = [block for n, one in enumerate(found[:most]) for block in _entry(n, one, now)]
    if len(found) > most:
        blocks.append(_words("more", f"And {len(found) - most} more."))
    return blocks


def _entry(number: int, entry: HomeEntry, now: datetime) -> list[Block]:
    card = entry.card
    words, approval = wording(card), card.approval
    fields = [
        kit.fact("Workflow", card.workflow),
        kit.person("Asked for by", card.requester),
        kit.markup(*_when(card)),
        kit.fact("Approval", approval.id),
    ]
    if approval.terms.risk:
        fields.append(kit.fact("Risk", approval.terms.risk))
    if counted := _counted(card):
        fields.append(kit.fact("So far", counted))
    block: Block = {
        "type": "section",
        "block_id": f"q:{number}:{approval.id}",
        "text": kit.plain(words.headline(look(card, now)), 150),
        "fields": fields,
    }
    if entry.opens and not is_own(card.call):
        block["accessory"] = kit.button(
            "details", "Details…", button_value(card), f"Details of {words.spoken}"
        )
    notes = [*_place(card), *_trouble(card)]
    more: Block = {"type": "context", "block_id": f"n:{number}:{approval.id}", "elements": notes}
    return [block, *([more] if notes else [])]


def _when(card: Card) -> tuple[str, str]:
    """When it lapses; of one that is not shown in its channel yet, when it is."""
    if waits(card.approval):
        return "Shown in its channel", kit.date(parse(card.approval.collected)[1])
    return "Expires", kit.date(card.approval.expires_at)


def _counted(card: Card) -> str:
    """How many yeses there are, where more than one is needed."""
    approval, stages = card.approval, card.approval.terms.steps
    step = stages[approval.stage]
    if step.quorum < 2 and len(stages) < 2:
        return ""
    where = f" in stage {approval.stage + 1} of {len(stages)}" if len(stages) > 1 else ""
    noun = "approval" if step.quorum == 1 else "approvals"
    return f"{approval.yeses(approval.stage)} of {step.quorum} {noun}{where}"


def _place(card: Card) -> list[Block]:
    """Where a question is answered that has no window of its own."""
    if not is_own(card.call):
        return []
    channel = card.approval.channel
    if card.approval.ts and _CHANNEL.fullmatch(channel):
        return [kit.mrkdwn(f"Answer it in <#{channel}>.")]
    return [kit.mrkdwn("Answer it by the HTTP API or on the command line.")]


def _trouble(card: Card) -> list[Block]:
    """That the question could not be shown where it belongs, and why."""
    approval = card.approval
    if not approval.trouble:
        return []
    named = approval.terms.channel
    where = f"in <#{named}>" if _CHANNEL.fullmatch(named) else "in its channel"
    return [kit.mrkdwn(f"It could not be shown {where}:"), kit.plain(line(approval.trouble, 300), 300)]


def _decision(number: int, card: Card, now: datetime) -> Block:
    state = look(card, now)
    verdict = card.approval.verdict
    at = kit.date(verdict.at) if verdict is not None else ""
    told = wording(card).headline(state)
    if not (is_question(card.call) or approval_step(card)):  # of these it stands there already
        told += f" · {line(card.workflow, 60)}"
    about = kit.plain(told, 200)
    return {
        "type": "context",
        "block_id": f"d:{number}",
        "elements": [about, *([kit.mrkdwn(at)] if at else [])],
    }
