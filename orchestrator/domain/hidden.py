"""Arguments their tool keeps from view: what stands in their place wherever people look.

The call itself, its digest and what Gemini is sent hold the real value. So does the record; it is covered
where it is read.
"""

import json
import re
from collections.abc import Collection, Mapping
from typing import Any, Final

from orchestrator.domain.plain import JsonObject

_COVER: Final = re.compile(r"\[hidden(, [0-9]+ characters?)?\]")
_NOTHING: Final = (None, "")


def cover(value: Any) -> Any:
    """`[hidden, 40 characters]` for a text, `[hidden]` for any other value; null and no text stay."""
    if value in _NOTHING:
        return value
    if not isinstance(value, str):
        return "[hidden]"
    return f"[hidden, {len(value)} character{'' if len(value) == 1 else 's'}]"


def covered(arguments: JsonObject, hidden: Collection[str]) -> dict[str, Any]:
    """The arguments as people may see them; `hidden` are names of parameters."""
    return {name: cover(value) if name in hidden else value for name, value in arguments.items()}


def kept(wished: JsonObject, stored: JsonObject, hidden: Collection[str]) -> dict[str, Any]:
    """Arguments somebody changed who saw them covered: what is left out or still covered is as it was."""
    unseen = {name: stored[name] for name in hidden if name in stored and _untouched(wished, name)}
    return {**wished, **unseen}


def _untouched(wished: JsonObject, name: str) -> bool:
    given = wished.get(name)
    return name not in wished or (isinstance(given, str) and _COVER.fullmatch(given) is not None)


def covered_record(data: Any, hidden: Mapping[str, Collection[str]]) -> Any:
    """An entry of a run's record as people may see it.

    Args:
        hidden: Names of parameters by tool; those its assessments were frozen with count as well.
    """
    return _covered_within(data, {**hidden, **_frozen(data, hidden)})


def _frozen(data: Any, hidden: Mapping[str, Collection[str]]) -> dict[str, set[str]]:
    """By tool, what is hidden now and was when people were to be asked about calls just read."""
    seen = data.get("assessments") if isinstance(data, Mapping) else None
    found: dict[str, set[str]] = {}
    for one in seen if isinstance(seen, list) else ():
        if isinstance(one, Mapping) and isinstance(tool := one.get("tool"), str):
            found.setdefault(tool, set()).update(_names(one, hidden))
    return found


def _covered_within(data: Any, hidden: Mapping[str, Collection[str]]) -> Any:
    if isinstance(data, list):
        return [_covered_within(one, hidden) for one in data]
    if not isinstance(data, Mapping):
        return data
    inner = {key: _covered_within(value, hidden) for key, value in data.items() if key != "arguments"}
    if "arguments" not in data:
        return inner
    return {**inner, "arguments": _all_covered(data["arguments"], _names(data, hidden))}


def _names(data: JsonObject, hidden: Mapping[str, Collection[str]]) -> set[str]:
    """What is hidden of the arguments beside a tool's name, its assessment, or the terms of one."""
    about = _inside(data, "assessment") or data
    named = [name for key in ("tool", "name") if isinstance(name := about.get(key), str)]
    frozen = _inside(about, "terms").get("hidden")
    names = {name for name in (frozen if isinstance(frozen, list) else ()) if isinstance(name, str)}
    return names.union(*(hidden.get(tool, ()) for tool in named))


def _inside(data: JsonObject, key: str) -> JsonObject:
    """The object there; an empty one where a stranger's JSON has something else of that name."""
    found = data.get(key)
    return found if isinstance(found, Mapping) else {}


def _all_covered(arguments: Any, names: Collection[str]) -> Any:
    """What a model wrote need not be an object; then all of it is covered."""
    if isinstance(arguments, Mapping):
        return covered(arguments, names)
    return cover(json.dumps(arguments)) if names and arguments is not None else arguments
