"""Gemini's JSON and our values, both ways. Pure: no I/O, and no client library, in this file.

What comes in is data from strangers: the library passes wrong types through, and the lists of
statuses and step types are open. So nothing inside an interaction can make a reading fail; only an
answer that does not say which interaction it is, or where that stands, is refused as a whole.

Source: Gemini API, Interactions (v1beta), read with google-genai 3.4.0.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final, TypeGuard

import msgspec

from orchestrator.domain.exchange import (
    Correlation,
    CreateRequest,
    FunctionCall,
    FunctionResult,
    Snapshot,
)
from orchestrator.domain.jobs import attempt_of, is_job_key
from orchestrator.domain.onward import TOKENS
from orchestrator.domain.plain import JsonObject, whole
from orchestrator.domain.sources import Source
from orchestrator.errors import RejectedError, UnreadAnswerError

MAX_TEXT: Final = 500  # characters of a foreign message that are kept
MAX_SOURCES: Final = 500
MAX_ERRORS: Final = 20
MAX_URL: Final = 2_048
MAX_TITLE: Final = 300
MAX_CODE: Final = 128
MAX_COUNT: Final = 2**63 - 1  # what a database column holds
_ID: Final = re.compile(r"[A-Za-z0-9_.=-]{1,512}")
_STATUS: Final = re.compile(r"[!-~]{1,64}")
_COUNT: Final = re.compile(r"[0-9]{1,19}")
_AGENT_TOKENS: Final = "max_total_tokens"
_PARTS: Final = ("total_input_tokens", "total_output_tokens", "total_thought_tokens", "total_tool_use_tokens")
"""What all tokens are made of; those from a cache are among the input."""
# Escapes of what no database takes: NUL, and halves of surrogate pairs (whole pairs match too; no harm).
_UNSTORABLE: Final = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
_SPOILT: Final = re.compile("[\x00\ud800-\udfff]")


def is_interaction_id(value: object) -> TypeGuard[str]:
    """Whether `value` may stand in an address: the client library escapes nothing, and dots alone climb."""
    return isinstance(value, str) and _ID.fullmatch(value) is not None and value.strip(".") != ""


# ------------------------------------------------------------------ out: a create's body


def create_body(
    request: CreateRequest, *, resend_tools: bool = True, webhook_uris: Sequence[str] = ()
) -> dict[str, Any]:
    """The JSON object of one create: always in the background, always stored.

    Args:
        request: Everything this turn says. A turn with a continuation token may have an empty
            input; it is then left out, for Gemini has it already.
        resend_tools: Declare the tools again on turns that name a previous interaction.
        webhook_uris: Where Gemini is to send this interaction's events, instead of to the webhooks
            registered for the project.

    Source: Gemini API, Interactions, "Create"; nothing but the conversation is carried over.
    """
    recipe = request.recipe
    tools = [*request.functions, *recipe.builtin_tools] if resend_tools or request.previous_id is None else []
    asked = {
        "model": recipe.model,
        "agent": recipe.agent,
        "background": True,
        "store": True,
        "input": _input(request),
        "previous_interaction_id": request.previous_id,
        "continuation_token": request.continuation,
        "system_instruction": recipe.system_instruction,
        "tools": tools or None,
        "generation_config": recipe.generation_config or None,
        "response_format": recipe.response_format,
        "agent_config": _agent_config(request),
        "environment": request.environment or recipe.environment,
        "webhook_config": {
            **({"uris": list(webhook_uris)} if webhook_uris else {}),
            "user_metadata": _metadata(request.correlation),
        },
    }
    return {key: value for key, value in asked.items() if value is not None}


def _agent_config(request: CreateRequest) -> JsonObject | None:
    """As configured; whether an agent that plans first plans or carries out is this turn's to say.

    Its token limit is a 64-bit number, which travels as text (Gemini API, Antigravity).
    """
    config = request.recipe.agent_config
    if config is None:
        return None
    planning = {} if request.planning is None else {"collaborative_planning": request.planning}
    most = config.get(_AGENT_TOKENS)
    return {**config, **planning, **({_AGENT_TOKENS: str(most)} if type(most) is int else {})}


def _input(request: CreateRequest) -> str | list[JsonObject] | None:
    if request.continuation is not None and not request.input:
        return None
    if isinstance(request.input, str):
        return request.input
    return [_function_result(result) for result in request.input]


def _function_result(result: FunctionResult) -> JsonObject:
    step: dict[str, Any] = {"type": "function_result", "call_id": result.call_id, "name": result.name}
    if result.is_error:
        step["is_error"] = True
    return {**step, "result": _acceptable(result.result)}


def _acceptable(result: object) -> object:
    """A string, an object or a list of content blocks as it is; anything else inside an object."""
    if isinstance(result, str | Mapping):
        return result
    if isinstance(result, list) and result and all(_is_block(item) for item in result):
        return result
    return {"result": result}


def _is_block(item: object) -> bool:
    return isinstance(item, Mapping) and isinstance(item.get("type"), str)


def _metadata(correlation: Correlation) -> JsonObject:
    return {"run": correlation.run, "turn": correlation.turn, "attempt": correlation.attempt}


def encode(body: JsonObject) -> bytes:
    """`body` as UTF-8 JSON. Half surrogate pairs become question marks: UTF-8 has no form for them.

    Raises:
        RejectedError: It holds what JSON has no form for (code `unencodable`); nothing was sent.
    """
    try:
        text = json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain)
    except (TypeError, ValueError, RecursionError) as error:
        raise RejectedError(f"the request is not JSON: {error}"[:MAX_TEXT], code="unencodable") from error
    return text.encode("utf-8", "replace")


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON")


# ------------------------------------------------------------------ in: an answer's bytes, an interaction


def decode(content: bytes) -> Any:
    """JSON out of an answer, with what no database takes (NUL, half surrogate pairs) made visible as U+FFFD.

    Raises:
        ValueError: It is not JSON, or absurdly deep.
    """
    try:
        if _UNSTORABLE.search(content):
            return _mended(json.loads(content, parse_constant=_refuse, parse_float=_finite))
        return msgspec.json.decode(content)
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def decoded(content: bytes) -> Any:
    """The same, or None for a page for people, from something in between."""
    try:
        return decode(content)
    except ValueError:
        return None


def _refuse(word: str) -> object:
    raise ValueError(f"{word} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is too large")
    return number


def _mended(value: Any) -> Any:
    if isinstance(value, str):
        return _SPOILT.sub("\ufffd", value)
    if isinstance(value, dict):
        return {_SPOILT.sub("\ufffd", key): _mended(item) for key, item in value.items()}
    return [_mended(item) for item in value] if isinstance(value, list) else value


def snapshot(raw: object) -> Snapshot:
    """What one answer says about an interaction.

    Args:
        raw: The decoded JSON of a create, a get or a cancel.

    Returns:
        The reading. Unknown steps and fields of a wrong type are passed over. Of two function calls
        with one id the first counts, since Gemini takes one result per id. A call whose id is not
        text cannot be answered and is left out.

    Raises:
        UnreadAnswerError: It is not an interaction: no object, no usable id, no status.
    """
    if not isinstance(raw, Mapping):
        raise UnreadAnswerError(f"the answer is not an interaction but {type(raw).__name__}")
    interaction_id, status = raw.get("id"), raw.get("status")
    if not is_interaction_id(interaction_id):
        raise UnreadAnswerError("the answer names no interaction")
    if not isinstance(status, str) or not _STATUS.fullmatch(status):
        raise UnreadAnswerError("the answer tells no status")
    steps = [step for step in _list(raw.get("steps")) if isinstance(step, Mapping)]
    previous, token = raw.get("previous_interaction_id"), raw.get("continuation_token")
    metadata = _get(raw.get("webhook_config"), "user_metadata")
    job = job_key(metadata)
    return Snapshot(
        interaction_id,
        status,
        calls=_pending(steps),
        output=_output(steps),
        usage=_usage(raw.get("usage")),
        errors=tuple(islice(_errors(raw, steps), MAX_ERRORS)),
        previous_id=previous if is_interaction_id(previous) else None,
        correlation=correlation(metadata),
        job=job,
        job_attempt=attempt_of(metadata) if job else 0,
        continuation=token if isinstance(token, str) and token else None,
        environment=_environment(raw.get("environment_id"), raw.get("environment")),
        sources=_sources(steps),
    )


def _environment(*told: object) -> str | None:
    """A managed agent's sandbox by its id, in whichever form it is told; "remote" asks for a new one."""
    for value in told:
        name = value if isinstance(value, str) else _get(value, "id")
        if is_interaction_id(name) and name != "remote":
            return name
    return None


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _get(value: object, key: str) -> object:
    return value.get(key) if isinstance(value, Mapping) else None


def _pending(steps: list[Mapping[str, Any]]) -> tuple[FunctionCall, ...]:
    """The calls nobody has answered, as they came: what no answer can fit is the domain's to judge.

    Only a result behind a call answers it: those before it are what this interaction was sent, for calls of
    the one before, and ids are an interaction's own, so that both may have the same.
    """
    calls: list[FunctionCall] = []
    answered: set[str | None] = set()
    for step in reversed(steps):
        kind = step.get("type")
        if kind == "function_result":
            answered.add(_text(step.get("call_id")) or None)
        elif kind == "function_call" and (call := _call(step)).id not in answered:
            calls.append(call)
    return tuple(reversed(calls))


def _call(step: Mapping[str, Any]) -> FunctionCall:
    return FunctionCall(_text(step.get("id")), _text(step.get("name")), _arguments(step.get("arguments")))


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _arguments(value: object) -> JsonObject | None:
    """An object as it is, nothing as no arguments, and text that is itself a JSON object as that object.

    The latter has been seen; it is read once, here, so what a person is shown, what is sealed and
    what runs is one and the same object. Anything else is None: the call is answered as invalid.
    """
    if value is None:
        return {}
    if isinstance(value, str):
        try:
            value = decode(value.encode("utf-8", "replace"))
        except ValueError:
            return None
    return value if isinstance(value, Mapping) else None


def _output(steps: list[Mapping[str, Any]]) -> str:
    """The model's text. What only a thought interrupts is one text; what tools interrupt, paragraphs."""
    paragraphs: list[list[str]] = [[]]  # in pieces: to add to a long text copies it, thousands of times
    for step in steps:
        kind = step.get("type")
        if kind == "model_output":
            paragraphs[-1] += filter(None, _texts(step.get("content")))
        elif kind != "thought" and paragraphs[-1]:
            paragraphs.append([])
    return "\n\n".join("".join(pieces) for pieces in paragraphs if pieces)


def _texts(content: object) -> Iterator[str]:
    for block in _list(content):
        text = _get(block, "text")
        if isinstance(text, str) and _get(block, "type") == "text":
            yield text


def _sources(steps: list[Mapping[str, Any]]) -> tuple[Source, ...]:
    """The pages that the model's text cites, each once (`annotations` of type `url_citation`)."""
    outputs = (step.get("content") for step in steps if step.get("type") == "model_output")
    blocks = (block for content in outputs for block in _list(content))
    noted = (note for block in blocks for note in _list(_get(block, "annotations")))
    cited = (note for note in noted if _get(note, "type") == "url_citation")
    found: dict[str, Source] = {}
    for note in cited:
        url, title = _text(_get(note, "url")), _text(_get(note, "title"))
        if url.startswith(("https://", "http://")) and len(url) <= MAX_URL and len(found) < MAX_SOURCES:
            found.setdefault(url, Source(url, title[:MAX_TITLE]))
    return tuple(found.values())


def _usage(value: object) -> dict[str, int]:
    """The totals; counts by modality and the like are left out.

    Every one of them may be missing. The one that a run's limit goes by is then what its parts come to.
    """
    if not isinstance(value, Mapping):
        return {}
    told = {n: _count(c) for n, c in value.items() if isinstance(n, str) and n.startswith("total_")}
    counts = {name: count for name, count in told.items() if count is not None}
    parts = [counts[name] for name in _PARTS if name in counts]
    return {TOKENS: min(sum(parts), MAX_COUNT), **counts} if parts else counts


def _count(value: object) -> int | None:
    """A count as a number, or as digits: Gemini's 64-bit numbers travel as text."""
    if isinstance(value, str) and _COUNT.fullmatch(value):
        value = int(value)
    return value if type(value) is int and 0 <= value <= MAX_COUNT else None


def _errors(raw: Mapping[str, Any], steps: list[Mapping[str, Any]]) -> Iterator[str]:
    """`code: message` of the interaction's errors, then of those inside its outputs."""
    outputs = (step.get("error") for step in steps if step.get("type") == "model_output")
    for error in (*_list(raw.get("errors")), raw.get("error"), *outputs):
        code, message = error_parts(error)
        text = f"{code}: {message}" if code and message else code or message
        if text:
            yield text[:MAX_TEXT]


def error_parts(error: object) -> tuple[str, str]:
    """Code and message of one of Gemini's error objects, in either dialect; empty where it says neither.

    The newer resources give `code` as a word; the older ones give the HTTP number and a `status`
    in capitals, which is the same word.
    """
    code, status, message = _get(error, "code"), _get(error, "status"), _get(error, "message")
    word = code if isinstance(code, str) else status.lower() if isinstance(status, str) else ""
    if not word and type(code) is int and code:  # 0 is the older ones' OK
        word = str(code)[:20] if abs(code) < 10**18 else ""
    text = message if isinstance(message, str) else error if isinstance(error, str) else ""
    return word[:MAX_CODE], text


def correlation(metadata: object) -> Correlation | None:
    """What we sent along with a create, read back; None unless all of it is there and of its type."""
    if metadata is None:
        return None
    run, turn, attempt = (_get(metadata, key) for key in ("run", "turn", "attempt"))
    turn, attempt = whole(turn), whole(attempt)
    if not isinstance(run, str) or not 0 < len(run) <= 128 or turn is None or attempt is None:
        return None
    return Correlation(run, turn, attempt)


def job_key(metadata: object) -> str:
    """The long job of ours that metadata names; empty where it names none."""
    value = _get(metadata, "job")
    return value if isinstance(value, str) and is_job_key(value) else ""
