"""People choose among finished files: one of them, or all of them anew with a note, or none.

    {"file": "run_1/job_1-1", "number": 1}     the first of the files; either of the two will do
    {"again": true, "note": "darker"}          none of these: they are to be made anew, where that is allowed

Like what `ask_human` asks, it is a question whose answer is the call's result: nothing runs by it.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from orchestrator.domain.forms import Fault, short
from orchestrator.domain.model import ToolCall
from orchestrator.domain.plain import JsonObject

CHOOSE_MEDIA: Final = "choose_media"
"""The built-in tool by which people are shown files; no tool of a user's may have that name."""

MOST_FILES: Final = 20
NOTE_CHARS: Final = 1_000
LABEL_CHARS: Final = 60
PATH: Final = r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}(/[A-Za-z0-9][A-Za-z0-9_-]{0,99}){0,3}(\.[a-z0-9]{1,8})?"
"""How a stored file is named: by us, never by whoever made it."""

_PATH: Final = re.compile(PATH, re.ASCII)


def is_choosing(call: ToolCall) -> bool:
    """Whether people are to choose among files."""
    return call.tool == CHOOSE_MEDIA


def faults(arguments: JsonObject) -> Iterator[Fault]:
    """What is wrong with such a question: where, and what is expected there."""
    files, labels = arguments.get("files"), arguments.get("labels")
    if not isinstance(files, list) or not 1 <= len(files) <= MOST_FILES:
        yield "files", f"should be 1 to {MOST_FILES} paths of stored files"
        return
    if not all(isinstance(path, str) and _PATH.fullmatch(path) for path in files):
        yield "files", "should each be the path of a stored file, as the step that made it says"
    elif len(set(files)) < len(files):
        yield "files", "should all differ"
    if labels is None:
        return
    if not isinstance(labels, list) or len(labels) != len(files):
        yield "labels", "should be as many as files, or left out"
    elif not all(short(label, LABEL_CHARS) for label in labels):
        yield "labels", f"should each be one line of 1 to {LABEL_CHARS} characters"


def amiss(arguments: JsonObject, answer: Any) -> Iterator[Fault]:
    """What is wrong with an answer; nothing if it is one."""
    if not isinstance(answer, Mapping) or not answer:
        yield "answer", "should be an object: file or number, or again with a note"
    elif "again" in answer:
        yield from _anew(arguments, answer)
    else:
        yield from _one(paths(arguments), answer)


def _anew(arguments: JsonObject, answer: Mapping[str, Any]) -> Iterator[Fault]:
    note = answer.get("note")
    yield from _strange(answer, {"again", "note"})
    if answer["again"] is not True:
        yield "answer.again", "should be true, or left out"
    elif not again_allowed(arguments):
        yield "answer.again", "is not offered here: choose one of the files, or reject"
    if not isinstance(note, str) or not note.strip():
        yield "answer.note", "should say what is to be different"
    elif len(note) > NOTE_CHARS:
        yield "answer.note", f"should be at most {NOTE_CHARS} characters"


def _one(files: tuple[str, ...], answer: Mapping[str, Any]) -> Iterator[Fault]:
    file, number = answer.get("file"), answer.get("number")
    yield from _strange(answer, {"file", "number"})
    if "file" in answer and file not in files:
        yield "answer.file", "should be one of the files of this question"
    if "number" not in answer:
        return
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= len(files):
        yield "answer.number", f"should be a whole number from 1 to {len(files)}"
    elif file in files and files[number - 1] != file:
        yield "answer.number", "should be the place of that file, from 1"


def _strange(answer: Mapping[str, Any], known: set[str]) -> Iterator[Fault]:
    for name in answer:
        if name not in known:
            yield f"answer.{name}"[:100], f"should not be there beside {' and '.join(sorted(known))}"


def complete(arguments: JsonObject, answer: Any) -> Any:
    """An answer that fits, with both the file and its place; one that asks for others as it is."""
    files = paths(arguments)
    if not isinstance(answer, Mapping) or "again" in answer:
        return answer
    number = answer["number"] if "number" in answer else files.index(answer["file"]) + 1
    return {"file": files[number - 1], "number": number}


def picked(arguments: JsonObject, place: int) -> JsonObject | None:
    """The answer that stands for the file at that place, from 0; None where there is none."""
    files = paths(arguments)
    return {"file": files[place], "number": place + 1} if 0 <= place < len(files) else None


def anew(note: str) -> JsonObject:
    """The answer that asks for others."""
    return {"again": True, "note": note}


def wants_others(answer: Any) -> bool:
    """Whether an answer is that one."""
    return isinstance(answer, Mapping) and answer.get("again") is True


def paths(arguments: JsonObject) -> tuple[str, ...]:
    """The files, in their order."""
    files = arguments.get("files")
    return tuple(f for f in files if isinstance(f, str)) if isinstance(files, list) else ()


def names(arguments: JsonObject) -> tuple[str, ...]:
    """What each is called: its place from 1, and its label if it has one. No two are alike."""
    files, labels = paths(arguments), arguments.get("labels")
    if not isinstance(labels, list) or len(labels) != len(files):
        return tuple(str(n) for n in range(1, len(files) + 1))
    return tuple(f"{n}. {label}" for n, label in enumerate(labels, 1))


def again_allowed(arguments: JsonObject) -> bool:
    """Whether people may ask for others."""
    return arguments.get("again_allowed", True) is True
