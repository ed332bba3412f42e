"""The JSON Schema (draft 2020-12) of a workflow's input: checked once, then closed.

Closed means: an object that declares fields takes those and no others, unless its schema says
otherwise. Nothing is ever fetched: a `$ref` points into the same schema or is refused.
"""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any, Final

from jsonschema import Draft202012Validator, SchemaError

BESIDE: Final = ("allOf", "anyOf", "oneOf")
SAYS_FIELDS: Final = (
    "properties", "patternProperties", "additionalProperties", "unevaluatedProperties", "$ref", *BESIDE,
)  # fmt: skip


def check_schema(schema: Mapping[str, Any]) -> None:
    """Raises `ValueError` unless it is a valid schema of an object with declared fields, whole in itself."""
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as e:
        raise ValueError(f"is not a JSON Schema at {_where(e.absolute_path)}: {_wanted(e)}") from None
    if schema.get("type") != "object" or not isinstance(schema.get("properties"), dict):
        raise ValueError("must be a schema with type: object and properties")
    if absent := [name for name in schema.get("required", ()) if name not in schema["properties"]]:
        raise ValueError(f"requires {', '.join(absent)}, which it does not declare")
    for path, part in _objects(schema, ()):
        if "$dynamicRef" in part or "$id" in part:
            raise ValueError(f"must not use $id or $dynamicRef, as at {_where(path)}")
        if isinstance(ref := part.get("$ref"), str) and _chase(schema, ref) is None:
            raise ValueError(f"has a $ref at {_where(path)} that points nowhere inside this schema")
        if any(p is part for side in _beside(part, schema) for p in unfold(side, schema)):
            raise ValueError(f"describes itself by itself at {_where(path)}")
        if part.get("type") == "object" and not any(k in part for k in SAYS_FIELDS):
            raise ValueError(
                f"says nothing about the fields at {_where(path)}: add properties or additionalProperties"
            )


def _wanted(error: SchemaError) -> str:
    """What must stand there: one of some words, or whatever the rule that is broken says."""
    for e in (error, *(error.context or ())):
        if e.validator == "enum" and isinstance(e.validator_value, list):
            return f"must be one of {', '.join(map(str, e.validator_value))}"
    return f"breaks {error.validator}"


def closed(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A copy in which an object with declared fields refuses others, unless it says something of them."""
    whole = deepcopy(dict(schema))
    _close(whole, place=True)
    return whole


def unfold(schema: object, root: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The schema with all that apply to the same value: what `$ref`, `allOf`, `if` and the like bring in."""
    found: list[Mapping[str, Any]] = []
    ahead = [schema]
    while ahead:
        part = ahead.pop(0)
        if isinstance(part, Mapping) and not any(part is f for f in found):
            found.append(part)
            ahead += _beside(part, root)
    return found


def _beside(schema: Mapping[str, Any], root: Mapping[str, Any]) -> list[object]:
    found: list[object] = [p for word in BESIDE for p in schema.get(word, ())]
    found += [schema[word] for word in ("if", "then", "else") if word in schema]
    found += schema.get("dependentSchemas", {}).values()
    if isinstance(ref := schema.get("$ref"), str):
        found.append(_chase(root, ref))
    return found


def _close(schema: Any, *, place: bool) -> None:
    """`place`: the schema describes a value of its own, not another view of its parent's."""
    if not isinstance(schema, dict):
        return
    for word in ("properties", "patternProperties"):
        for part in schema.get(word, {}).values():
            _close(part, place=True)
    for word in ("items", "additionalProperties"):
        _close(schema.get(word), place=True)
    for part in schema.get("prefixItems", ()):
        _close(part, place=True)
    for part in (*(p for w in BESIDE for p in schema.get(w, ())), *schema.get("$defs", {}).values()):
        _close(part, place=False)
    says = "additionalProperties" in schema or "unevaluatedProperties" in schema
    if place and not says and any(k in schema for k in ("properties", "$ref", *BESIDE)):
        schema["unevaluatedProperties"] = False


def _objects(part: Any, path: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], Mapping[str, Any]]]:
    if isinstance(part, Mapping):
        yield path, part
        for key, below in part.items():
            if key not in ("const", "enum", "default", "examples"):
                yield from _objects(below, (*path, key))
    elif isinstance(part, list):
        for i, below in enumerate(part):
            yield from _objects(below, (*path, i))


def _chase(root: Mapping[str, Any], ref: str) -> Mapping[str, Any] | None:
    """The schema a local reference names: `#`, or `#/` and a JSON pointer (RFC 6901)."""
    if ref != "#" and not ref.startswith("#/"):
        return None
    here: Any = root
    for part in ref.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        here = here.get(key) if isinstance(here, Mapping) else None
    return here if isinstance(here, Mapping) else None


def _where(path: Any) -> str:
    return ".".join(str(p) for p in path) or "its top"
