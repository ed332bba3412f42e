"""The pieces messages are put together from, each with the rule of its text. No I/O.

`plain`, `fact`, `person`       one line of anybody's, never markup
`mrkdwn`, `markup`              ours alone, its parts already escaped
`quoted`, `preformatted`        any text as it is written, line by line
`spoken`                        our own sentences, with mentions
"""

import json
import re
import zlib
from datetime import UTC, datetime
from typing import Any, Final

from orchestrator.domain.consent import SLACK_USER, Actor
from orchestrator.slack.text import line, shorten, visible

Block = dict[str, Any]

_LINK: Final = re.compile(r"https?://[!-;=?-{}~]{1,1900}", re.ASCII)  # visible ASCII without < > |
_SAFE: Final = re.compile(r"(api:)?[A-Za-z0-9][A-Za-z0-9_.-]{0,79}", re.ASCII)
_MENTION: Final = re.compile(rf"<@({SLACK_USER.pattern})>", re.ASCII)


def plain(text: str, most: int) -> Block:
    """One line of plain text, of at most `most` characters."""
    return {"type": "plain_text", "emoji": False, "text": line(text, most)}


def mrkdwn(text: str) -> Block:
    """`text` is markup of ours, its parts already escaped."""
    return {"type": "mrkdwn", "verbatim": True, "text": text}


def markup(label: str, value: str) -> Block:
    """A labelled value of ours, already escaped."""
    return mrkdwn(f"*{label}*\n{value}")


def linked(address: str) -> str:
    """An address of ours that may stand in markup; empty for any other."""
    return address if _LINK.fullmatch(address) else ""


def fact(label: str, text: str) -> Block:
    """A labelled value: bold label where the value cannot be markup, else plain text."""
    if _SAFE.fullmatch(text):
        return markup(label, text)
    return {"type": "plain_text", "emoji": False, "text": f"{label}\n{line(text, 200)}"}


def person(label: str, actor: Actor) -> Block:
    """Somebody: a mention if it is a user id, else by name."""
    if SLACK_USER.fullmatch(actor.id):
        return markup(label, f"<@{actor.id}>")
    return fact(label, f"{actor.id} ({actor.name})" if actor.name and actor.name != actor.id else actor.id)


def button(action: str, label: str, value: str, spoken: str) -> Block:
    """A button; `spoken` is what a screen reader says."""
    return {
        "type": "button",
        "action_id": action,
        "value": value,
        "text": plain(label, 75),
        "accessibility_label": line(spoken, 75),
    }


def modal(kind: str, about: str, title: str, blocks: list[Block], submit: str) -> Block:
    """A window that is filled in and sent off; `kind` and `about` come back with it."""
    return {
        "type": "modal",
        "callback_id": kind,
        "private_metadata": about,
        "title": plain(title, 24),
        "close": plain("Go back", 24),
        "submit": plain(submit, 24),
        "blocks": blocks,
    }


def renewed(block: Block, *about: object) -> Block:
    """`block` with what it shows and what it is about in its id: one that is drawn otherwise is a new one.

    A field keeps its id, and so what is being typed into it.

    Source: Slack, "Block Kit" reference (`block_id`).
    """
    shown = f"{zlib.crc32(json.dumps(block).encode()):08x}"
    parts = (block["block_id"], *(() if block["type"] == "input" else (shown,)), *about)
    return block | {"block_id": ":".join(map(str, parts))}


def utc(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def date(at: datetime) -> str:
    """A moment in the reader's own time zone, with UTC for clients that cannot."""
    return f"<!date^{int(at.timestamp())}^{{date_short_pretty}} {{time}}|{utc(at)}>"


def text(words: str) -> Block:
    return {"type": "text", "text": words}


def bold(words: str) -> Block:
    return {"type": "text", "text": words, "style": {"bold": True}}


def section(*parts: Block) -> Block:
    return {"type": "rich_text_section", "elements": list(parts)}


def preformatted(words: str) -> Block:
    return {"type": "rich_text_preformatted", "elements": [text(words or "—")]}


def sentence(key: str, words: str) -> Block:
    """A block with a line of ours, plain."""
    return {"type": "section", "block_id": key, "text": plain(words, 300)}


def spoken(key: str, words: str) -> Block:
    """A block with our own words. `<@U…>` becomes a mention, everything else is shown as it is written."""
    parts: list[Block] = []
    for index, part in enumerate(_MENTION.split(words)):
        shown = visible(part)[0]
        if index % 2:
            parts.append({"type": "user", "user_id": part})
        elif shown:
            parts.append(text(shorten(shown, 3_000)[0]))
    return {"type": "rich_text", "block_id": key, "elements": [section(*parts)]}


def quoted(key: str, label: str, words: str, most: int) -> Block:
    """A block with a person's or a tool's words, made visible, cut after `most` characters."""
    shown, shortened = shorten(visible(words)[0], most)
    parts = [section(bold(label)), preformatted(shown)]
    if shortened:
        parts.append(section(text(f"{shortened}.")))
    return {"type": "rich_text", "block_id": key, "elements": parts}
