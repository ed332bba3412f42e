"""Questions of the agent's own, put by the built-in tool `ask_human`, and what people may answer.

    text           any words
    choice         one of `choices`
    multi_choice   some of them, or none
    form           an object that fits `schema`

Nothing runs by such a call: a person's answer is its result. What `choose_media` asks is a question too, with
answers of its own, see `choosing`; what a form may be, see `forms`.
"""

import json
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Any, Final

from orchestrator.domain import choosing, forms
from orchestrator.domain.asking import is_own
from orchestrator.domain.consent import Approval, Terms, Verdict
from orchestrator.domain.forms import ANSWER_CHARS, CHOICE_CHARS, MOST_CHOICES, Fault
from orchestrator.domain.legible import legible
from orchestrator.domain.model import ToolCall
from orchestrator.domain.plain import JsonObject
from orchestrator.errors import InvalidError

ASK_HUMAN: Final = "ask_human"
"""The built-in tool by which the agent asks people; no tool of a user's may have that name."""
QUESTIONS: Final = frozenset({ASK_HUMAN, choosing.CHOOSE_MEDIA})
"""The tools that people answer."""

DEEPEST: Final = 32
NOT_RUN: Final = "The tool did not run."
DECLINED_TEXT: Final = "A person declined to answer."
UNANSWERED_TEXT: Final = "Nobody answered in time."


class Kind(StrEnum):
    """What kind of answer is asked for."""

    TEXT = "text"
    CHOICE = "choice"
    MULTI_CHOICE = "multi_choice"
    FORM = "form"


def is_question(call: ToolCall) -> bool:
    """Whether people are asked something; nothing runs by it."""
    return call.tool in QUESTIONS


# --- the question ----------------------------------------------------------------------------------------


def faults(arguments: JsonObject) -> list[Fault]:
    """What is wrong with a question, for the model that put it; nothing if people can be asked it."""
    if arguments.get("kind") not in tuple(Kind):
        return [("kind", f"should be one of {', '.join(Kind)}")]
    kind = Kind(arguments["kind"])
    return [
        *_about_question(arguments.get("question")),
        *_about_choices(kind, arguments.get("choices")),
        *_about_schema(kind, arguments.get("schema")),
    ]


def _about_question(question: object) -> Iterator[Fault]:
    if not isinstance(question, str) or not legible(question):
        yield "question", "should say what is asked"


def _about_choices(kind: Kind, choices: object) -> Iterator[Fault]:
    if kind not in (Kind.CHOICE, Kind.MULTI_CHOICE):
        if choices is not None:
            yield "choices", f"are not for kind {kind}; leave them out"
        return
    if not isinstance(choices, Sequence) or isinstance(choices, str) or not 2 <= len(choices) <= MOST_CHOICES:
        yield "choices", f"are needed for kind {kind}: 2 to {MOST_CHOICES} short texts"
        return
    if not all(forms.short(choice, CHOICE_CHARS) for choice in choices):
        yield "choices", f"should each be one line of 1 to {CHOICE_CHARS} characters"
    elif not forms.differ(choices):
        yield "choices", "should all differ"


def _about_schema(kind: Kind, schema: object) -> Iterator[Fault]:
    if kind is Kind.FORM:
        yield from forms.faults(schema)
    elif schema is not None:
        yield "schema", f"is not for kind {kind}; leave it out"


# --- the answer ------------------------------------------------------------------------------------------


def check(call: ToolCall, answer: Any) -> None:
    """Whether that is an answer to this call.

    Args:
        answer: Plain JSON.

    Raises:
        InvalidError: It is none; `fields` say where, each path beginning with `answer`.
    """
    found = list(_unfit(answer)) or list(_unfitting(call, answer))
    if found:
        raise InvalidError("that is no answer to this question", tuple(found[:20]))


def _unfitting(call: ToolCall, answer: Any) -> Iterator[Fault]:
    if choosing.is_choosing(call):
        yield from choosing.amiss(call.arguments, answer)
    elif is_question(call):
        yield from _amiss(call.arguments, answer)


def _unfit(answer: Any) -> Iterator[Fault]:
    """What no answer may be, whatever was asked."""
    if answer is None:
        yield "answer", "is missing"
    elif not _plain(answer, DEEPEST):
        yield "answer", "should be JSON that everybody reads alike: exact numbers, whole characters"
    elif len(json.dumps(answer, ensure_ascii=False)) > ANSWER_CHARS:
        yield "answer", f"should be at most {ANSWER_CHARS} characters"


def _plain(value: Any, deep: int) -> bool:
    match value:
        case None | bool():
            return True
        case str():
            return not any("\ud800" <= ch <= "\udfff" or ch == "\0" for ch in value)
        case int() | float():
            return forms.is_number(value)
        case list():
            return deep > 0 and all(_plain(v, deep - 1) for v in value)
        case dict():
            return deep > 0 and all(
                isinstance(k, str) and _plain(k, 0) and _plain(v, deep - 1) for k, v in value.items()
            )
        case _:
            return False


def _amiss(arguments: JsonObject, answer: Any) -> Iterator[Fault]:
    choices = arguments.get("choices") or []
    match arguments.get("kind"):
        case Kind.TEXT:
            if not isinstance(answer, str) or not answer.strip():
                yield "answer", "should be text, and not empty"
        case Kind.CHOICE:
            if answer not in choices or not isinstance(answer, str):
                yield "answer", f"should be one of the choices: {forms.listed(choices)}"
        case Kind.MULTI_CHOICE:
            yield from forms.chosen("answer", answer, choices)
        case Kind.FORM:
            yield from forms.amiss(arguments.get("schema") or {}, answer)
        case _:  # older than this kind of tool: it was somebody's own
            yield "answer", "cannot be given: the question is of no kind there is"


# --- whether it may be given, and what the model is told ---------------------------------------------------


def not_sayable(
    call: ToolCall, approval: Approval, verdict: Verdict, current: Terms | None = None
) -> str | None:
    """Why this question takes no such word; None where it does.

    Args:
        current: The terms in force at this moment, where they are known; they must let it be answered too.
    """
    if verdict.stop and (verdict.approve or verdict.refine or verdict.answer is not None):
        return "only a rejection stops the run"
    if verdict.answer is None:
        waits = is_question(call) and (verdict.approve or verdict.refine)
        return "this question waits for an answer, not for a yes" if waits else None
    if verdict.approve or verdict.refine:
        return "an answer is no approval; the tool does not run"
    if is_own(call):
        return "this question takes a yes or a no"
    allowed = approval.terms.answers and (current is None or current.answers)
    if not allowed and not is_question(call):
        return "this call cannot be answered in the tool's place"
    if sum(step.quorum for step in approval.terms.steps) > 1:
        return "an answer is one person's, and several people have to decide here"
    return None


def result(call: ToolCall, answer: Any) -> JsonObject:
    """What the model is told of an answer: not who gave it."""
    if choosing.is_choosing(call):
        answer = choosing.complete(call.arguments, answer)
    if is_question(call):
        return {"answer": answer, "answered_by": "a person"}
    return {"answered_by_a_person": answer, "note": NOT_RUN}
