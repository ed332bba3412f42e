"""Are the declared tools ones that Gemini would take? No state, no I/O in this file.

Source: Gemini API, "Function calling"; tool types as the Developer API takes them.
"""

import json
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

import jsonschema

from orchestrator.emulator.gemini.errors import invalid, unknown_parameter

Json = dict[str, Any]

TOOL_TYPES: Final = (
    "function",
    "google_search",
    "url_context",
    "code_execution",
    "file_search",
    "google_maps",
    "computer_use",
    "mcp_server",
)
FUNCTION_FIELDS: Final = ("type", "name", "description", "parameters", "defer_loading", "short_description")
NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,127}")
SINGLE: Final = ("items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames")
MODES: Final = ("auto", "any", "none", "validated")


def check_tools(body: Json, *, refuse_mixed: bool = False) -> tuple[Json, ...]:
    """The function declarations of a create request that its `tool_choice` lets the model call.

    Raises:
        ApiError: 400.
    """
    tools = body.get("tools", [])
    functions = [tool for tool in tools if _checked_type(tool) == "function"]
    if refuse_mixed and functions and len(functions) < len(tools):
        raise invalid("Function tools cannot be combined with built-in tools for this model.")
    names = [_check_function(function) for function in functions]
    for name in names:
        if names.count(name) > 1:
            raise invalid(f"Function '{name}' is declared twice.")
    allowed = _allowed(body.get("generation_config", {}).get("tool_choice", "auto"), names)
    return tuple(function for function in functions if function["name"] in allowed)


def _checked_type(tool: Any) -> str:
    kind = tool.get("type") if isinstance(tool, dict) else None
    if kind not in TOOL_TYPES:
        raise invalid(f"Tool type '{kind}' is not supported.")
    return str(kind)


def _check_function(function: Json) -> str:
    for key in function:
        if key not in FUNCTION_FIELDS:
            raise unknown_parameter(key, "tools")
    name: Any = function.get("name")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise invalid(f"Function name '{name}' is not valid.")
    if not isinstance(function.get("description", ""), str):
        raise invalid(f"Function '{name}': description must be a string.")
    if "parameters" in function:
        _check_parameters(name, function["parameters"])
    return str(name)


def _check_parameters(name: str, schema: Any) -> None:
    if not isinstance(schema, dict) or schema.get("type") != "object":
        raise invalid(f"Function '{name}': parameters must be a JSON Schema of type object.")
    if (fault := _fault(json.dumps(schema, sort_keys=True))) is not None:
        raise invalid(f"Function '{name}': parameters: {fault}")
    for part in _schemas(schema):
        # Refused live (earendil-works/pi#2172), although JSON Schema allows it.
        if part.get("required") == []:
            raise invalid(f"Function '{name}': 'required' must not be empty.")
        if "$ref" in part and not str(part["$ref"]).startswith("#"):
            raise invalid(f"Function '{name}': '$ref' must be local.")


@lru_cache(maxsize=256)
def _fault(schema: str) -> str | None:
    """What is wrong with a schema, as JSON. Tools come again with every turn, and checking takes its time."""
    try:
        jsonschema.Draft202012Validator.check_schema(json.loads(schema))
    except jsonschema.SchemaError as error:
        return str(error.message)
    return None


def _schemas(schema: Any) -> Iterator[Json]:
    """Every schema inside a schema, without mistaking a property named like a keyword for one."""
    if not isinstance(schema, dict):
        return
    yield schema
    for keyword in ("properties", "$defs", "definitions", "patternProperties", "dependentSchemas"):
        for part in (schema.get(keyword) or {}).values():
            yield from _schemas(part)
    for keyword in ("anyOf", "oneOf", "allOf", "prefixItems"):
        for part in schema.get(keyword) or ():
            yield from _schemas(part)
    for keyword in SINGLE:
        yield from _schemas(schema.get(keyword))


def _allowed(choice: Any, names: list[str]) -> list[str]:
    if isinstance(choice, str):
        if choice not in MODES:
            raise invalid(f"tool_choice '{choice}' is not supported.")
        return [] if choice == "none" else names
    allowed = choice.get("allowed_tools")
    if set(choice) != {"allowed_tools"} or not isinstance(allowed, dict):
        raise invalid("tool_choice must be a mode or {'allowed_tools': {...}}.")
    if allowed.get("mode", "auto") not in MODES:
        raise invalid(f"tool_choice mode '{allowed.get('mode')}' is not supported.")
    tools = allowed.get("tools", [])
    for tool in tools:
        if tool not in names:
            raise invalid(f"tool_choice names '{tool}', which is not declared.")
    return [] if allowed.get("mode") == "none" else list(tools)
