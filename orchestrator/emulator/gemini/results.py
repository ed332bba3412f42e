"""What a batch's lines come to. Pure: the requests and the plan in, result lines and their counts out.

Source: Gemini API, Batch: a line's result is `response` or `error`, beside the key it came with.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from orchestrator.emulator.gemini.plans import Plan

Json = dict[str, Any]
LINE_ERROR: Final = {"code": 13, "message": "Internal error encountered."}
CHARACTERS_PER_TOKEN: Final = 4


@dataclass(frozen=True)
class Results:
    """All results of a batch, in the order they are written; the counts know of missing lines, too."""

    lines: tuple[Json, ...]
    succeeded: int
    failed: int


def results(requests: Sequence[Any], plan: Plan, *, model: str, inline: bool, seed: str) -> Results:
    """One result for each request, unless the plan says that some are missing.

    Args:
        inline: Keys stand in `metadata`, as they do in inline requests, not beside the request.
        seed: Says which lines a plan's `fail_share` strikes, and how its `shuffle` turns out.
    """
    done: list[tuple[str, Json]] = []
    for number, request in enumerate(requests):
        key = key_of(request, inline=inline) or str(number)
        dice = random.Random(f"{seed}:{key}")  # noqa: S311 - to be repeatable
        fails = key in plan.fail_keys or dice.random() < plan.fail_share
        line = {"error": {**LINE_ERROR, **plan.error}} if fails else _answered(request, key, plan, model)
        done.append((key, {**_mark(request, inline=inline), **line}))
    failed = sum("error" in line for _, line in done)
    lines = [line for key, line in done if key not in plan.missing_keys]
    if plan.shuffle:
        random.Random(seed).shuffle(lines)  # noqa: S311 - to be repeatable
    return Results(tuple(lines), len(done) - failed, failed)


def key_of(request: Any, *, inline: bool) -> str:
    """The key a request came with; empty where there is none."""
    holder = request.get("metadata") if inline and isinstance(request, dict) else request
    key = holder.get("key") if isinstance(holder, dict) else None
    return "" if key is None else str(key)


def text_of(request: Any) -> str:
    """All that a request says in words."""
    asked = request.get("request") if isinstance(request, dict) else None
    contents = asked.get("contents") if isinstance(asked, Mapping) else None
    if not isinstance(contents, list):
        return ""
    parts = [part for content in contents if isinstance(content, dict) for part in content.get("parts", ())]
    return " ".join(str(part["text"]) for part in parts if isinstance(part, dict) and "text" in part)


def _mark(request: Any, *, inline: bool) -> Json:
    name = "metadata" if inline else "key"
    return {name: request[name]} if isinstance(request, dict) and name in request else {}


def _answered(request: Any, key: str, plan: Plan, model: str) -> Json:
    asked = request.get("request") if isinstance(request, dict) else None
    if not isinstance(asked, Mapping) or not asked.get("contents"):
        return {"error": {"code": 3, "message": "contents must be set."}}
    said = text_of(request)
    text = plan.answers.get(key, plan.text.replace("${input}", said).replace("${key}", key))
    candidate = {"content": {"role": "model", "parts": [{"text": text}]}, "finishReason": "STOP", "index": 0}
    read, written = len(said) // CHARACTERS_PER_TOKEN + 1, len(text) // CHARACTERS_PER_TOKEN + 1
    usage = {
        "promptTokenCount": read,
        "candidatesTokenCount": written,
        "totalTokenCount": read + written,
    }
    return {"response": {"candidates": [candidate], "usageMetadata": usage, "modelVersion": model}}
