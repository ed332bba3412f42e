"""What the agent asks people, on a card and in a window, and the form they answer in. No I/O.

The question, what it is for and the choices are the agent's words: preformatted text and plain labels, never
markup. Choices are known by their place, never by their text.

    choice, at most five    a button each, beside the complete question
    files to choose among   a button each, beside the question and what they are called
    everything else         "Answer…" opens a window with a form
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from orchestrator.domain import choosing
from orchestrator.domain.cards import Card
from orchestrator.domain.human import Kind, is_question
from orchestrator.domain.model import ToolCall
from orchestrator.slack import forms, kit
from orchestrator.slack.action import MOST_BUTTONS
from orchestrator.slack.kit import Block
from orchestrator.slack.text import Shown, line, prose, render, shorten, weight

ANSWER: Final = "Answer"
"""Label of the only field, where there is one."""
ASKED: Final = 12_000
"""Units of a question a window shows; more are only made of what is spelled out."""
_LABEL: Final = 75  # characters of a button
_PART: Final = 2_900  # units of one text; any text object of a view takes 3000


def answerable(card: Card) -> bool:
    """Whether one person's answer settles it: the agent's own question, or a call whose terms allow it."""
    terms = card.approval.terms
    return is_question(card.call) or (terms.answers and sum(step.quorum for step in terms.steps) == 1)


def parts(call: ToolCall, room: int) -> tuple[list[Block], bool]:
    """The question as elements of rich text, within so many units of it, and whether it is all there."""
    blocks: list[Block] = []
    whole = True
    texts = _asked(call)
    for label, shown in texts:
        text, shortened = shown.text, ""
        if weight(text) > room:
            text, shortened = shorten(text, max(0, room))
            whole = False
        room -= weight(text) + weight(shown.ascii)
        blocks += _labelled(label, text)
        if shortened:
            blocks.append(kit.section(kit.text(f"{shortened}.")))
        if shown.notes:
            blocks.append(kit.section(kit.text("\n".join(shown.notes))))
            if shown.ascii and room > 0:
                blocks += [kit.section(kit.bold("The same in ASCII")), kit.preformatted(shown.ascii)]
    return blocks, whole and room >= 0


def _labelled(label: str, text: str) -> list[Block]:
    """The text in pieces that Slack takes; one that follows another in the same line says so."""
    blocks: list[Block] = []
    while weight(text) > _PART:
        piece = shorten(text, _PART)[0]
        blocks += [kit.section(kit.bold(label)), kit.preformatted(piece)]
        label, text = "It goes on in the same place", text[len(piece) :]
    return [*blocks, kit.section(kit.bold(label)), kit.preformatted(text)]


def _asked(call: ToolCall) -> list[tuple[str, Shown]]:
    """What is asked, part by part, each under its label."""
    return _choosing(call.arguments) if choosing.is_choosing(call) else _texts(call.arguments)


def _choosing(arguments: Mapping[str, Any]) -> list[tuple[str, Shown]]:
    asked = str(arguments.get("question") or "")
    return [("What is asked", prose(asked)), ("The files", prose("\n".join(_called(arguments))))]


def _called(arguments: Mapping[str, Any]) -> list[str]:
    """Every file by its number, with its label where it has one, and by its path."""
    files, names = choosing.paths(arguments), choosing.names(arguments)
    labelled = isinstance(arguments.get("labels"), list)
    return [f"{n} ({p})" if labelled else f"{n}. {p}" for n, p in zip(names, files, strict=True)]


def file(call: ToolCall, place: int) -> str:
    """One of the files to choose among, from 0; empty for any other choice."""
    return _called(call.arguments)[place] if choosing.is_choosing(call) else ""


def given(call: ToolCall, answer: Any) -> tuple[str, str]:
    """What a person answered, under its label."""
    if not choosing.is_choosing(call):
        return "The answer", answer if isinstance(answer, str) else render(answer).text
    if choosing.wants_others(answer):
        return "What should be different", str(answer.get("note") or "")
    return "The choice", file(call, choosing.complete(call.arguments, answer)["number"] - 1)


def _texts(arguments: Mapping[str, Any]) -> list[tuple[str, Shown]]:
    why, choices = arguments.get("why"), arguments.get("choices")
    told = [("The agent asks", prose(str(arguments.get("question") or "")))]
    told += [("What for", prose(why))] if isinstance(why, str) and why.strip() else []
    if isinstance(choices, list):
        told.append(("Choices", prose("\n".join(f"{n}. {text}" for n, text in enumerate(choices, 1)))))
    return told


def buttons(card: Card) -> tuple[str, ...]:
    """The labels of a choice that fits on buttons, by place; empty for anything else."""
    if choosing.is_choosing(card.call):
        return tuple(line(name, _LABEL) for name in choosing.names(card.call.arguments))
    choices = card.call.arguments.get("choices")
    if card.call.arguments.get("kind") != Kind.CHOICE or not isinstance(choices, list):
        return ()
    labels = tuple(line(str(choice), _LABEL) for choice in choices)
    return labels if len(labels) <= MOST_BUTTONS and len(set(labels)) == len(labels) else ()


def form(call: ToolCall) -> forms.Form | None:
    """The empty form in which people answer; None where Slack's fields cannot hold it.

    Nor is a question answered in a window that does not show all of it.
    """
    if not is_question(call):
        return forms.form(_only({"type": "string", "format": "text"}), {})
    if not parts(call, ASKED)[1]:
        return None
    if choosing.is_choosing(call):
        return _which(list(choosing.names(call.arguments)))
    choices, schema = call.arguments.get("choices"), call.arguments.get("schema")
    match call.arguments.get("kind"):
        case Kind.CHOICE if isinstance(choices, list):
            return _offered(forms.form(_only({"type": "string", "enum": choices}), {}), choices)
        case Kind.MULTI_CHOICE if isinstance(choices, list):
            items = {"type": "string", "enum": choices}
            return _offered(forms.form(_only({"type": "array", "items": items}), {}), choices)
        case Kind.FORM if isinstance(schema, dict):
            return forms.form(schema, {})
        case _:
            return forms.form(_only({"type": "string", "format": "text"}), {})


def _which(names: list[str]) -> forms.Form | None:
    return _offered(forms.form(_only({"type": "string", "enum": names}), {}), names)


def _only(field: Mapping[str, Any]) -> dict[str, Any]:
    return {"properties": {ANSWER: dict(field)}, "required": [ANSWER]}


def _offered(made: forms.Form | None, choices: Sequence[str]) -> forms.Form | None:
    """With few choices all of them are to be seen at once."""
    return made if made is None or len(choices) > forms.MOST_SEEN else forms.spread(made)


def answer_of(call: ToolCall, filled: Mapping[str, Any]) -> Any:
    """The answer a filled-in form stands for."""
    if choosing.is_choosing(call):
        names = choosing.names(call.arguments)
        chosen = filled.get(ANSWER)
        return choosing.picked(call.arguments, names.index(chosen) if chosen in names else -1)
    alone = not is_question(call) or call.arguments.get("kind") != Kind.FORM
    return filled.get(ANSWER) if alone else dict(filled)
