"""JSON Schema as Pydantic writes it → the smaller JSON Schema that Gemini takes.

References are put in place, alternatives become `anyOf`, constants a one-word `enum`; titles and
null defaults go. `additionalProperties: false` goes too: the validator refuses extra fields
anyway. Of the formats only dates stay; the others become a sentence the model can read.

Source: Gemini API, "Structured outputs" (supported JSON Schema), and "Function calling".
"""

from collections.abc import Mapping
from typing import Any, Final

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

KEPT_FORMATS: Final = frozenset({"date-time", "date", "time"})
HINTS: Final = {
    "decimal": 'A decimal number as text, for example "12.50".',
    "uuid": "A UUID.",
    "duration": 'An ISO 8601 duration, for example "PT30M".',
    "email": "An email address.",
    "uri": "A URL.",
}
DROPPED: Final = frozenset(
    {"title", "$defs", "$schema", "$ref", "discriminator", "propertyNames", "patternProperties", "examples"}
)
BOUNDS: Final = {"gt": "greater than", "ge": "at least", "lt": "less than", "le": "at most"}


class SchemaWriter(GenerateJsonSchema):
    """Pydantic's own writer, but a decimal is text: a JSON number would pass through a double."""

    ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012 (as its base declares it)

    def decimal_schema(self, schema: core_schema.DecimalSchema) -> JsonSchemaValue:
        limits = [f"{word} {schema[key]}" for key, word in BOUNDS.items() if schema.get(key) is not None]  # type: ignore[literal-required]  # the four bounds
        hint = f"It is {' and '.join(limits)}." if limits else ""
        return {"type": "string", "format": "decimal", "x-hint": hint}


def tidy(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The whole schema of one parameter, as Gemini takes it.

    Raises:
        ValueError: It refers to itself, hides its value, or says nothing about its type.
    """
    return _node(schema, schema.get("$defs", {}), ())


def _node(node: Mapping[str, Any], defs: Mapping[str, Any], inside: tuple[str, ...]) -> dict[str, Any]:
    node, inside = _resolve(node, defs, inside)
    if node.get("writeOnly") or node.get("format") in ("binary", "base64url"):
        raise ValueError("secrets and bytes are not for a model to write")
    out = {k: v for k, v in node.items() if k not in DROPPED}
    out = _choices(out)
    for key in ("anyOf", "prefixItems"):
        if key in out:
            out[key] = [_node(child, defs, inside) for child in out[key]]
    if isinstance(out.get("items"), Mapping):
        out["items"] = _node(out["items"], defs, inside)
    if "properties" in out:
        out["properties"] = {k: _node(v, defs, inside) for k, v in out["properties"].items()}
    _extras(out, defs, inside)
    return _checked(_words(out))


def _resolve(
    node: Mapping[str, Any], defs: Mapping[str, Any], inside: tuple[str, ...]
) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """Until nothing refers elsewhere: dropping the null of an `X | None` may bring up a reference."""
    while True:
        before = node
        node, inside = _follow(_without_null(node), defs, inside)
        if node == before:
            return node, inside


def _follow(
    node: Mapping[str, Any], defs: Mapping[str, Any], inside: tuple[str, ...]
) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """Put what a reference names in its place; what stands beside the reference wins."""
    while "$ref" in node or len(node.get("allOf", ())) == 1:
        if "$ref" in node:
            name = str(node["$ref"]).removeprefix("#/$defs/")
            if name in inside:
                raise ValueError(f"{name} contains itself; Gemini takes no recursive schema")
            inside = (*inside, name)
            node = {**defs[name], **{k: v for k, v in node.items() if k != "$ref"}}
        else:
            node = {**node["allOf"][0], **{k: v for k, v in node.items() if k != "allOf"}}
    return node, inside


def _choices(out: dict[str, Any]) -> dict[str, Any]:
    if "oneOf" in out:
        out["anyOf"] = out.pop("oneOf")
    if "const" in out:
        out["enum"] = [out.pop("const")]
    return out


def _without_null(node: Mapping[str, Any]) -> Mapping[str, Any]:
    """`X | None = None` is simply an X that may be left out (null is still accepted)."""
    if node.get("default", ...) is not None:
        return node
    out = {k: v for k, v in node.items() if k != "default"}
    rest = [c for c in out.get("anyOf", ()) if c.get("type") != "null"]
    if len(rest) == 1:
        return {**rest[0], **{k: v for k, v in out.items() if k != "anyOf"}}
    return {**out, "anyOf": rest} if rest else out


def _extras(out: dict[str, Any], defs: Mapping[str, Any], inside: tuple[str, ...]) -> None:
    extra = out.pop("additionalProperties", None)
    if isinstance(extra, Mapping) and extra:
        out["additionalProperties"] = _node(extra, defs, inside)


def _words(out: dict[str, Any]) -> dict[str, Any]:
    hints = [HINTS.get(out["format"], "")] if out.get("format", "date") not in KEPT_FORMATS else []
    if hints:
        del out["format"]
    texts = [out.get("description", ""), *hints, out.pop("x-hint", "")]
    text = " ".join(" ".join(t.split()) for t in texts if t)
    if text:
        out["description"] = text
    if not out.get("required", True):
        del out["required"]
    return out


def _checked(out: dict[str, Any]) -> dict[str, Any]:
    if not out.keys() & {"type", "anyOf", "enum"}:
        raise ValueError("it may be anything; name a type (for a list, also what it holds)")
    if out.get("type") == "array" and not out.keys() & {"items", "prefixItems"}:
        raise ValueError("the list does not say what it holds")
    return out
