"""Answers that no honest server would give: right bytes in, wrong ones out. No state, no I/O in this file."""

import copy
import json
from typing import Any, Final

Json = dict[str, Any]
STRANGE_STEPS: Final[tuple[Any, ...]] = (
    {"type": "holographic_call", "id": "h1", "payload": {"beam": 7}},
    None,
    "a step",
    {},
    {"content": [{"type": "text", "text": "no type"}]},
)


def spoil(kind: str, body: Any) -> Any:
    """An interaction's JSON, or a job's, spoilt as the fault's kind says; all else stays as it is."""
    if not isinstance(body, dict):
        return body
    if "id" not in body and "name" in body:
        return _job(kind, copy.deepcopy(body))
    spoilt = copy.deepcopy(body)
    match kind:
        case "wrong_types":
            return _wrong_types(spoilt)
        case "unknown_status":
            return {**spoilt, "status": "pondering"}
        case "unknown_steps":
            return {**spoilt, "steps": [*spoilt.get("steps", []), *STRANGE_STEPS]}
        case "missing_id":
            spoilt.pop("id", None)
        case "string_arguments":
            for call in function_calls(spoilt):
                call["arguments"] = json.dumps(call.get("arguments"))
        case "missing_arguments":
            for call in function_calls(spoilt):
                call.pop("arguments", None)
        case "duplicate_call_ids":
            _one_id(spoilt)
    return spoilt


def function_calls(view: Json) -> list[Json]:
    """The function call steps of an interaction as JSON."""
    steps = view.get("steps", [])
    return [s for s in steps if isinstance(s, dict) and s.get("type") == "function_call"]


def _wrong_types(view: Json) -> Json:
    wrong = {
        "id": 7,
        "status": ["completed"],
        "steps": "none",
        "usage": "much",
        "created": False,
        "errors": 3,
    }
    return {**view, **wrong}


def _job(kind: str, view: Json) -> Json:
    """The same for an operation or a batch."""
    match kind:
        case "wrong_types":
            return {**view, "name": 7, "done": "almost", "response": ["film"], "metadata": "none", "error": 3}
        case "missing_name":
            del view["name"]
        case "unknown_state":
            view["metadata"] = {**view.get("metadata", {}), "state": "BATCH_STATE_PONDERING"}
    return view


def _one_id(view: Json) -> None:
    calls = function_calls(view)
    if len(calls) == 1:
        view["steps"].append({**calls[0], "name": f"{calls[0].get('name')}"})
    for call in calls[1:]:
        call["id"] = calls[0].get("id")
