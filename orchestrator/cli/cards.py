"""An approval as a person in a shell sees it: all that bears on the decision, nothing that deceives. No I/O.

Everything a stranger may have written is spelled out where it is invisible, and cannot draw a row of its
own: a long line is folded behind a bar, never by the terminal.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from rich.cells import cell_len, chop_cells

from orchestrator.cli.entries import instant
from orchestrator.domain.consent import DOORS
from orchestrator.domain.values import replace
from orchestrator.slack.text import Shown, line, prose, render, visible

COLUMNS: Final = ("approval", "about", "workflow", "asked by", "expires in", "state")

DEEPEST: Final = 100
"""Levels below the arguments that the API shows; where there are more it says so in their place."""

PLAN, GO_ON, RESTART = "agent:plan", "run:go_on", "run:restart"
"""What a run's own questions are about, in the place of a tool."""

ASK_HUMAN = "ask_human"
"""The built-in tool by which the agent asks people."""
CHOOSE_MEDIA = "choose_media"
"""The built-in tool by which people choose among files."""

_LABEL: Final = 11
_NARROWEST: Final = 20
_BAR, _FOLD = "│ ", "┆ "
_OURS: Final = {
    PLAN: "the agent's plan",
    GO_ON: "whether to go on beyond the token limit",
    RESTART: "whether to take the work up in a new run",
    ASK_HUMAN: "a question of the agent's",
    CHOOSE_MEDIA: "a choice among files",
}
_EDITS: Final = {
    "same": "may be changed; a changed call counts as approved by who changed it",
    "other": "may be changed; somebody else then has to approve",
}
_WORKED_OUT: Final = "may be changed; what a changed call would do is worked out, and asked about anew"


def card(told: Mapping[str, Any], *, now: datetime, width: int) -> list[str]:
    """What is asked, in lines of at most `width` cells where only their text allows it.

    Args:
        told: An approval as the API gives it.
        now: For how long there is left; aware.
    """
    lines = [fact(name, value, width) for name, value in _facts(told, now)]
    label, subject = _subject(told)
    facts = (one for block in lines for one in block)
    seen = [*_would(told.get("preview"), width), label, *_safe(subject, width)]
    return [*facts, *seen, *_changed(told.get("edited"), width)]


def shown(arguments: Mapping[str, Any], width: int) -> list[str]:
    """Arguments alone, as a card has them."""
    return _safe(_rendered(arguments), width)


def _safe(subject: Shown, width: int) -> list[str]:
    out = [*_barred(subject.text, width), *(f"! {note}" for note in subject.notes)]
    if subject.ascii:
        out += ["the same lines in ASCII", *_barred(subject.ascii, width)]
    return out if subject.whole else [*out, "! This cannot be shown whole: do not approve it here."]


def _would(preview: Mapping[str, Any] | None, width: int) -> list[str]:
    """What it would do, as its tool worked it out, and what had been approved where that has changed."""
    if not preview:
        return []
    label = "no preview, it failed" if preview["trouble"] else "what it would do (worked out by the tool)"
    now_it = [label, *_safe(prose(preview["text"] or preview["trouble"]), width)]
    if preview["before"] is None:
        return now_it
    changed = "! What it would do has changed since it was approved. Nothing was run."
    return [changed, *now_it, "before, as it was approved", *_safe(prose(preview["before"]), width)]


def _changed(edited: Mapping[str, Any] | None, width: int) -> list[str]:
    """What people changed of the arguments, before and after."""
    return ["what was changed", *_safe(render(edited["changes"]), width)] if edited else []


def whole(told: Mapping[str, Any]) -> bool:
    """Whether a card of it really shows what would run."""
    return _subject(told)[1].whole


def row(told: Mapping[str, Any], *, now: datetime) -> list[str]:
    """The same in short, one cell for each of `COLUMNS`."""
    asked, verdict = told["requester"], told["verdict"]
    left, standing = span(told["expires_at"], now), state(told).removeprefix("pending, ")
    if told["status"] != "pending":
        by = f" by {verdict['by']['name'] or verdict['by']['id']}" if verdict else ""
        left, standing = "–", f"{_word(told)}{by}"
    return [told["id"], about(told), told["workflow"], asked["name"] or asked["id"], left, standing]


def state(told: Mapping[str, Any]) -> str:
    """Where it stands: `pending`, how many have said yes, how risky it is called, whether it escalated."""
    words = [told["status"]]
    if told["status"] == "pending":
        words += [f"{have} of {need} yes" for _, have, need in _missing(told) if need > 1 or have]
        words += ["escalated"] if told["escalated"] else []
        words += [f"not in {_unseen(told)}"] if told["trouble"] else []
    if told["risk"]:
        words.append(f"risk: {told['risk']}")
    return ", ".join(words)


def _unseen(told: Mapping[str, Any]) -> str:
    return "its channel" if told["copies"] else "Slack"


def about(told: Mapping[str, Any]) -> str:
    """The tool, or in our words what the run itself asks."""
    return _OURS.get(told["tool"]) or str(told["tool"])


def who(actor: Mapping[str, Any]) -> str:
    """A name and what it stands for."""
    name, key = actor["name"], actor["id"]
    return f"{name} ({key})" if name and name != key else str(key)


def span(text: str, now: datetime) -> str:
    """How long it is until then, in its two largest units."""
    seconds = int((datetime.fromisoformat(text) - now).total_seconds())
    if seconds <= 0:
        return "no time"
    days, hours, minutes = seconds // 86400, seconds // 3600 % 24, seconds // 60 % 60
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min" if minutes else "under a minute"


def ending(told: Mapping[str, Any]) -> str:
    """How it stands, in a sentence of one line without its subject."""
    verdict = told["verdict"]
    if told["call_status"] == "previewing":
        return f"is {told['status']}; it is asked anew once it is worked out what the call would do now"
    if verdict is None:
        return line(f"is {state(told)}", 500)
    word = _word(told)
    reason = f": {verdict['reason']}" if verdict["reason"] else ""
    return line(f"is {word} by {who(verdict['by'])} at {instant(verdict['at'])}{reason}", 2_000)


def _word(told: Mapping[str, Any]) -> str:
    """What became of it, as far as its verdict says more than its status."""
    verdict = told["verdict"]
    if verdict and verdict["answer"] is not None:
        return "answered"
    return "sent back" if verdict and verdict["refine"] else str(told["status"])


def editable(arguments: Mapping[str, Any]) -> str:
    """The arguments as JSON a person can change: what is invisible is written as JSON's own escapes."""
    text = json.dumps(arguments, ensure_ascii=False, indent=2)
    return "".join(json.dumps(ch)[1:-1] if visible(ch)[1] else ch for ch in text) + "\n"


def fact(name: str, value: str, width: int) -> list[str]:
    """One fact, its text on as many lines as it takes, each clear of the names."""
    room = max(_NARROWEST, width - _LABEL - len(_FOLD))
    first, *rest = _folded(line(value, 4_000), room)
    return [f"{name:<{_LABEL}}{first}", *(f"{'':<{_LABEL}}{_FOLD}{part}" for part in rest)]


def _facts(told: Mapping[str, Any], now: datetime) -> Iterator[tuple[str, str]]:
    yield "approval", f"{told['id']}, revision {told['revision']}"
    yield "status", state(told)
    yield "about", about(told)
    yield "workflow", told["workflow"]
    yield "run", f"{told['run']}, turn {told['turn']}"
    yield "asked by", f"{who(told['requester'])}, {instant(told['requested_at'])}"
    if told["status"] == "pending":
        if told.get("collected_until"):
            yield "shown", f"in the digest of {instant(told['collected_until'])}; its time runs from then"
        yield "expires", f"{instant(told['expires_at'])}, in {span(told['expires_at'], now)}"
    yield from _deciders(told)
    if told["status"] == "pending" and told["edits"] in _EDITS:
        anew = told["edits"] == "same" and told.get("preview")
        yield "arguments", _WORKED_OUT if anew else _EDITS[told["edits"]]
    if edited := told.get("edited"):
        yield "changed by", f"{', '.join(map(who, edited['by']))}, {instant(edited['at'])}"
    if told["verdict"]:
        yield from _decision(told["verdict"])
    if told["start_by"] and told["call_status"] == "ready":
        yield "starts by", instant(told["start_by"])
    if told["verdict"] is not None:
        yield "call", told["call_status"]
    yield from _asked_back(told)
    if told["channel"]:
        yield "slack", f"{told['channel']}, message {told['ts']}"
    if told["trouble"]:
        yield "slack", f"not shown in {_unseen(told)}: {told['trouble']}"
    if told["copies"]:
        yield "slack", f"direct messages to {', '.join(c['person'] or c['channel'] for c in told['copies'])}"
    yield "digest", told["digest"]


def _decision(verdict: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    word = "sent back" if verdict["refine"] else "approved" if verdict["approve"] else "rejected"
    by = f"by {who(verdict['by'])} {DOORS.get(verdict['by']['door'], '')}, {instant(verdict['at'])}"
    yield word if verdict["answer"] is None else "answered", by
    if verdict["answer"] is not None:
        yield "answer", json.dumps(verdict["answer"], ensure_ascii=False)
    if verdict["reason"]:
        yield "reason", verdict["reason"]
    if verdict["stop"]:
        yield "run", "stopped with it"


def _asked_back(told: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What was asked of whoever asked for the run, and what they said."""
    for one in told["questions"]:
        yield f"question {one['number']}", f"{who(one['by'])}, {instant(one['at'])}: {one['question']}"
        if one["answer"] is not None:
            yield "answered", f"{who(one['answered_by'])}, {instant(one['answered_at'])}: {one['answer']}"


def _deciders(told: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Who may decide, step by step, and who has said yes."""
    stages = told["stages"]
    for number, stage in enumerate(stages):
        step = f"{number + 1}. {stage['name']}: ".replace(" : ", " ") if len(stages) > 1 else ""
        many = f"{stage['quorum']} of " if stage["quorum"] > 1 else ""
        yield "may decide", f"{step}{many}{', '.join(stage['approvers']) or 'nobody is named'}"
        for vote in (v for v in told["votes"] if v["stage"] == number):
            yield "yes", f"{step}{who(vote['by'])}, {instant(vote['at'])}"
    if told["escalated"] and told["escalate_to"]:
        yield "escalated", f"may decide as well: {', '.join(told['escalate_to'])}"
    if told["never"]:
        yield "may not", ", ".join(told["never"])
    if told["four_eyes"]:
        yield "may not", f"{who(told['requester'])}, who asked for the run"
    if told["reason_required"]:
        yield "a no", "needs a reason"
    if told["answers"] and told["status"] == "pending":
        asks = told["tool"] in (ASK_HUMAN, CHOOSE_MEDIA)
        yield "answer", "asked for" if asks else "may be given in the tool's place, which then does not run"


def _missing(told: Mapping[str, Any]) -> Iterator[tuple[str, int, int]]:
    """The step that is decided in now: its name, how many have said yes, how many must."""
    for number, stage in enumerate(told["stages"]):
        have = sum(v["stage"] == number for v in told["votes"])
        if have < stage["quorum"]:
            yield stage["name"], have, stage["quorum"]
            return


def _subject(told: Mapping[str, Any]) -> tuple[str, Shown]:
    plan = told["arguments"].get("plan")
    if told["tool"] == PLAN and isinstance(plan, str):
        return "the plan", prose(plan)
    return "arguments", _rendered(told["arguments"])


def _rendered(arguments: Mapping[str, Any]) -> Shown:
    drawn = render(arguments)
    return replace(drawn, whole=drawn.whole and not _cut(arguments))


def _cut(arguments: Mapping[str, Any]) -> bool:
    """Whether they go as deep as the API shows, so that something may be left out."""
    level: list[Any] = [arguments]
    for _ in range(DEEPEST + 1):
        below = [tuple(v.values()) if isinstance(v, Mapping) else v for v in level]
        level = [one for many in below if isinstance(many, tuple | list) for one in many]
    return bool(level)


def _barred(text: str, width: int) -> list[str]:
    """Text of others behind a bar; a broken bar where a line goes on that is too long."""
    room = max(_NARROWEST, width - len(_BAR))
    out: list[str] = []
    for whole_line in text.expandtabs(4).split("\n"):
        first, *rest = _folded(whole_line, room)
        out += [_BAR + first, *(_FOLD + part for part in rest)]
    return out


def _folded(text: str, room: int) -> Iterable[str]:
    return [text] if cell_len(text) <= room else chop_cells(text, room)
