"""Steps in order: an agent thinks, or a tool is called; each hands its output on by name.

Data passes by references, wherever a value may stand:

    {"from": "input.title"}                what the caller gave: its text, or a field of its object
    {"from": "draft"}                      what the step `draft` came to
    {"from": "film.files.0"}               a part of it, by names and positions

There is nothing else: no conditions, no loops, no text with holes. What a step needs beyond that is a tool.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final

from orchestrator.domain.plain import MAX_SAFE_INTEGER, JsonObject
from orchestrator.domain.sources import Source
from orchestrator.domain.values import Value, field

INPUT: Final = "input"
FROM: Final = "from"
CONFIRM: Final = "confirm"
"""Begins the names under which approval steps stand in policy and in the record."""
CITED: Final = "_sources"
MAX_TEXT: Final = 1_000_000
"""Characters an agent's step may be started with."""
MAX_DEPTH: Final = 64
"""Levels of JSON that is read out of a text."""
_CALL: Final = re.compile(r"step:(.+)\.[0-9]+", re.ASCII)
_SPOILT: Final = re.compile("[\x00\ud800-\udfff]")
"""What JSON can say in escapes, and no database takes."""


class StepKind(StrEnum):
    """Who does a step."""

    AGENT = "agent"
    TOOL = "tool"


class Thinker(Value):
    """Who thinks in an agent's step, and with what; the fields of a recipe that it replaces."""

    model: str | None = None
    agent: str | None = None
    system_instruction: str | None = None
    tools: tuple[str, ...] = ()
    builtin_tools: tuple[JsonObject, ...] = ()
    generation_config: JsonObject = field(default_factory=dict)
    response_format: JsonObject | None = None
    agent_config: JsonObject | None = None
    environment: str | JsonObject | None = None


class Step(Value):
    """One step of a workflow.

    Args:
        name: By which later steps refer to what it came to.
        parts: Of an agent's step: what it is told, each part a value that may refer to others.
        tool, arguments: Of a tool's step: what is called, under the same policy as a model's call.
        again: The step to go back to when people who choose want it done anew; an agent is told their note.
    """

    name: str
    kind: StepKind
    thinker: Thinker | None = None
    parts: tuple[Any, ...] = ()
    tool: str = ""
    arguments: JsonObject = field(default_factory=dict)
    again: str = ""


def confirms(workflow: str, step: str) -> str:
    """The name under which an approval step's question stands in policy and in the record."""
    return f"{CONFIRM}_{workflow}_{step}".replace("-", "_")[:64]


def step_call(step: str, turn: int) -> str:
    """The id of the call a tool's step makes, in the place of one of Gemini's."""
    return f"step:{step}.{turn}"


def step_of(call_id: str) -> str:
    """The step that made a call; empty for a call of an agent's."""
    found = _CALL.fullmatch(call_id)
    return found[1] if found is not None else ""


def asked_by(workflow: str, tool: str, call_id: str) -> str:
    """The approval step whose question a call is; empty for any other call."""
    step = step_of(call_id)
    return step if step and tool == confirms(workflow, step) else ""


def named(workflow: str, tool: str, call_id: str) -> str:
    """What people call a call: an approval step's question by its step, any other by its tool."""
    return f"step {step}" if (step := asked_by(workflow, tool, call_id)) else tool


class UnresolvedError(Exception):
    """A reference names nothing that is there."""


def references(value: Any) -> Iterator[str]:
    """Every reference in a value."""
    if isinstance(value, Mapping):
        if _refers(value):
            yield value[FROM]
        else:
            for item in value.values():
                yield from references(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from references(item)


def resolve(value: Any, text: str, outputs: Mapping[str, Any]) -> Any:
    """The value with what its references stand for.

    Args:
        text: What the run was started with; an object as JSON is read as one.
        outputs: What the steps so far came to, by name.

    Raises:
        UnresolvedError: One of them names nothing that is there; says which.
    """
    if isinstance(value, Mapping):
        if _refers(value):
            return _found(value[FROM], text, outputs)
        return {k: resolve(v, text, outputs) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [resolve(v, text, outputs) for v in value]
    return value


def told(parts: Sequence[Any], text: str, outputs: Mapping[str, Any]) -> str:
    """What an agent is told: its parts one below the other; without any, what the run was started with.

    Raises:
        UnresolvedError: A reference names nothing that is there, or it all comes to no text, or to too much.
    """
    return _fitting("\n\n".join(as_text(resolve(part, text, outputs)) for part in parts) if parts else text)


def as_text(value: Any) -> str:
    """Text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)


def output_of(said: str, structured: bool) -> Any:
    """What an agent's step came to: its text, or the value that text is where it was asked for one."""
    if not structured:
        return said
    try:
        return _read(said)
    except (ValueError, RecursionError):
        return said


def cited(step: str, sources: Sequence[Source]) -> JsonObject:
    """The pages an agent's step cited, under its name and `_sources`, for later steps."""
    pages = [{"url": source.url, "title": source.title} for source in sources]
    return {f"{step}{CITED}": pages} if pages else {}


def wants_again(output: Any) -> bool:
    """Whether people who were to choose want it done anew instead."""
    answer = output.get("answer") if isinstance(output, Mapping) else None
    return isinstance(answer, Mapping) and answer.get("again") is True


def note_of(output: Any) -> str:
    """What people who want it done anew say about it."""
    note = output["answer"].get("note") if wants_again(output) else None
    return note if isinstance(note, str) else ""


def anew(said: str, before: Any, wish: str) -> str:
    """What an agent is told the second time: the same, what it said to it, and what people think of that.

    Raises:
        UnresolvedError: It all comes to too much text.
    """
    return _fitting(f"{said}\n\nYou answered:\n\n{as_text(before)}\n\nPeople want it done anew: {wish}")


def _fitting(said: str) -> str:
    if len(said) > MAX_TEXT:
        raise UnresolvedError(f"its parts make {len(said)} characters; at most {MAX_TEXT} are taken")
    if not said.strip():
        raise UnresolvedError("its parts make no text: there is nothing to tell it")
    return said


def _refers(value: Mapping[str, Any]) -> bool:
    return len(value) == 1 and isinstance(value.get(FROM), str)


def _found(reference: str, text: str, outputs: Mapping[str, Any]) -> Any:
    first, *path = reference.split(".")
    if first == INPUT:
        found: Any = _given(text) if path else text
    elif first in outputs:
        found = outputs[first]
    else:
        raise UnresolvedError(f"{reference}: there is no {first}")
    for part in path:
        found = _below(found, part, reference)
    return found


def _below(value: Any, part: str, reference: str) -> Any:
    if isinstance(value, Mapping) and part in value:
        return value[part]
    if isinstance(value, list | tuple) and part.isdecimal() and int(part) < len(value):
        return value[int(part)]
    raise UnresolvedError(f"{reference}: there is no {part}")


def _given(text: str) -> Any:
    try:
        return _read(text)
    except (ValueError, RecursionError):
        return None


def _read(text: str) -> Any:
    """JSON as every store and wire can hold it. Raises `ValueError`, `RecursionError`: it is none of that."""
    return _plain(json.loads(text, parse_constant=_no_number))


def _plain(value: Any, depth: int = 0) -> Any:
    if depth > MAX_DEPTH or (isinstance(value, float) and not math.isfinite(value)):
        raise ValueError("nested too deeply, or no finite number")
    if isinstance(value, str):
        return _SPOILT.sub("\ufffd", value)
    if isinstance(value, int) and abs(value) > MAX_SAFE_INTEGER:
        return str(value)
    if isinstance(value, dict):
        return {_plain(k): _plain(v, depth + 1) for k, v in value.items()}
    return [_plain(v, depth + 1) for v in value] if isinstance(value, list) else value


def _no_number(word: str) -> Any:
    raise ValueError(f"{word} is no number of JSON")
