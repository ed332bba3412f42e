"""Prompt templates: `{field}` stands for an input field, `{{` and `}}` for braces. Nothing more.

One pass over the template, so a brace inside a caller's value is only a brace.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

TOKEN: Final = re.compile(r"\{\{|\}\}|\{([A-Za-z_][A-Za-z0-9_]*)\}|[{}]")


def check_prompt(prompt: str, schema: Mapping[str, Any] | None) -> None:
    """Raises `ValueError` where the prompt has a stray brace or names a field `schema` does not declare."""
    if schema is None:
        raise ValueError("needs an input schema that declares its fields")
    for match in TOKEN.finditer(prompt):
        if match[0] in ("{", "}"):
            line = prompt.count("\n", 0, match.start()) + 1
            raise ValueError(f"has a single {match[0]} on its line {line}; write {match[0] * 2} for a brace")
        if (name := match[1]) and name not in schema.get("properties", {}):
            raise ValueError(f"names {{{name}}}, which the input schema does not declare")


def fill(prompt: str, schema: Mapping[str, Any], values: Mapping[str, Any]) -> str:
    """The prompt with the values in place: text as it is, anything else as JSON.

    A field the caller left out shows its schema's `default`, or nothing.
    """

    def put(match: re.Match[str]) -> str:
        if (name := match[1]) is None:
            return match[0][0]
        declared = schema["properties"][name]
        fallback = declared.get("default", "") if isinstance(declared, Mapping) else ""
        return as_text(values.get(name, fallback))

    return TOKEN.sub(put, prompt)


def as_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, allow_nan=False)
