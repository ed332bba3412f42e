"""What a caller gives as a run's input: checked against the workflow, then put into text.

A caller is neither the model nor an approver (promises of the HTTP API): function calls, function
results and other model steps are refused by name, wherever the schema leaves room for them.
No fault repeats a caller's value.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from jsonschema import Draft202012Validator, ValidationError, validators

from orchestrator.errors import InvalidError, OversizeError
from orchestrator.settings.fields import Path, dotted
from orchestrator.settings.prompt import as_text, fill
from orchestrator.settings.schema import closed, unfold
from orchestrator.settings.strict_yaml import is_text

MAX_INPUT_CHARS: Final = 100_000
MAX_DEPTH: Final = 32
MAX_FAULTS: Final = 20
MAX_NAME_CHARS: Final = 80
STEPS: Final = re.compile(
    r"user_input|model_output|thought|.*_call|.*_result|.*_content|text|image|audio|video|document"
)
_END: Final = re.compile(r"(\\.|\[\^?\]?(?:\\.|[^\]\\])*\])|\$", re.DOTALL)  # else: an escape, a set
WORDS: Final = {"object": "an object", "array": "a list", "string": "text", "integer": "a whole number",
                "number": "a number", "boolean": "true or false", "null": "null"}  # fmt: skip
Fault = tuple[str, str]
Schemas = Sequence[Mapping[str, Any]]


class InputForm:
    """The input of one workflow: text, or an object of declared fields.

    Args:
        schema: JSON Schema of the object, already checked; None for plain text.
        prompt: Template over the schema's fields; None hands the object on as JSON.
        max_chars: Longest text that may come out.
    """

    def __init__(
        self, schema: Mapping[str, Any] | None, prompt: str | None = None, *, max_chars: int = MAX_INPUT_CHARS
    ) -> None:
        self._schema = closed(schema) if schema is not None else None
        self._prompt = prompt
        self._max_chars = max_chars

    def render(self, value: object) -> str:
        """The text the model is started with.

        Raises:
            InvalidError: The input does not fit; its `fields` name each place below `input`.
        """
        text = self._plain(value) if self._schema is None else self._filled(value, self._schema)
        if not text.strip():
            raise _refused([("input", "must not be empty")])
        if len(text) > self._max_chars:
            told = f"makes {len(text)} characters of text; at most {self._max_chars} are taken"
            raise OversizeError(f"input {told}", [("input", told)])
        return text

    def _plain(self, value: object) -> str:
        if not isinstance(value, str):
            raise _refused([("input", f"must be text, not {_kind(value)}")])
        if fault := _unsafe(value):
            raise _refused([("input", fault)])
        return value

    def _filled(self, value: object, schema: Mapping[str, Any]) -> str:
        if not isinstance(value, Mapping):
            raise _refused([("input", "must be an object with the fields this workflow declares")])
        if faults := list(_strangers(value, unfold(schema, schema), schema, ("input",))):
            raise _refused(faults)
        try:
            if faults := list(_misfits(value, schema)):
                raise _refused(faults)
        except RecursionError:
            raise _refused([("input", "is nested too deeply")]) from None
        return as_text(value) if self._prompt is None else fill(self._prompt, schema, value)


def _refused(faults: Sequence[Fault]) -> InvalidError:
    distinct = list(dict.fromkeys(faults))[:MAX_FAULTS]
    return InvalidError("; ".join(f"{path} {text}" for path, text in distinct), distinct)


def _kind(value: object) -> str:
    if isinstance(value, Mapping | list | tuple):
        kind = "an object" if isinstance(value, Mapping) else "a list"
        return f"{kind}; a model's steps and contents are not taken from a caller"
    if isinstance(value, bool):
        return "true or false"
    return "a number" if isinstance(value, int | float) else "null"


def _unsafe(text: str) -> str:
    return "" if is_text(text) else "holds a character that is no text (a lone surrogate or U+0000)"


def _name(path: Path) -> str:
    """The path for people; a key that a caller made up is cut and made printable."""
    cut = [p if isinstance(p, int) else p[:MAX_NAME_CHARS] for p in path]
    return dotted(tuple(p if isinstance(p, int) or p.isprintable() else ascii(p)[1:-1] for p in cut))


def _strangers(value: object, schemas: Schemas, root: Mapping[str, Any], path: Path) -> Iterator[Fault]:
    """What no schema may let in: model steps nobody declared, text that is no text, absurd depth."""
    if len(path) > MAX_DEPTH:
        yield _name(path[:4]), "is nested too deeply"
    elif isinstance(value, str) and (fault := _unsafe(value)):
        yield _name(path), fault
    elif isinstance(value, float) and not math.isfinite(value):
        yield _name(path), "must be a finite number"
    elif isinstance(value, Mapping):
        if _is_step(value) and not _declared(schemas, "type"):
            yield _name(path), "looks like a model's step or content; a caller gives only the declared fields"
        for key, item in value.items():
            if fault := _unsafe(key):
                yield _name((*path, key)), fault
            yield from _strangers(item, _open(_below(schemas, key), root), root, (*path, key))
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            yield from _strangers(item, _open(_items(schemas, i), root), root, (*path, i))


def _is_step(value: Mapping[str, Any]) -> bool:
    return isinstance(kind := value.get("type"), str) and STEPS.fullmatch(kind) is not None


def _declared(schemas: Schemas, key: str) -> list[object]:
    return [s["properties"][key] for s in schemas if key in s.get("properties", {})]


def _by_pattern(schemas: Schemas, key: str) -> list[object]:
    return [p for s in schemas for word, p in s.get("patternProperties", {}).items() if re.search(word, key)]


def _below(schemas: Schemas, key: str) -> list[object]:
    """The schemas of a property: its own, else those of its pattern, else those of any other."""
    named = [*_declared(schemas, key), *_by_pattern(schemas, key)]
    return named or [s["additionalProperties"] for s in schemas if "additionalProperties" in s]


def _items(schemas: Schemas, index: int) -> list[object]:
    first = [s["prefixItems"][index] for s in schemas if index < len(s.get("prefixItems", ()))]
    return first or [s["items"] for s in schemas if "items" in s]


def _open(schemas: Sequence[object], root: Mapping[str, Any]) -> Schemas:
    return [part for schema in schemas for part in unfold(schema, root)]


def _keeps_to(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[ValidationError]:
    """`pattern`, whose `$` is the very end, as in the dialect of JSON Schema (ECMA-262).

    Python's own is also before a line break at the end, which would let a second line in.
    """
    if isinstance(instance, str) and not re.search(_strict_end(pattern), instance):
        yield ValidationError("does not match")


def _strict_end(pattern: str) -> str:
    """The pattern with each `$` that stands for the end, not for itself, as Python's `\\Z`."""
    return _END.sub(lambda found: found[1] or r"\Z", pattern)


_Validator: Final = validators.extend(  # type: ignore[no-untyped-call]
    Draft202012Validator, {"pattern": _keeps_to}
)


def _misfits(value: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[Fault]:
    """Where the value breaks the schema, in our words: the library's own would quote the value."""
    validator = _Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
    for error in sorted(validator.iter_errors(value), key=lambda e: [str(p) for p in e.absolute_path]):
        yield from _told(error, schema)


def _told(error: ValidationError, root: Mapping[str, Any]) -> Iterator[Fault]:
    path: Path = ("input", *error.absolute_path)
    wanted: Any = error.validator_value
    instance: Any = error.instance
    if error.validator == "required" and isinstance(instance, Mapping):
        for name in wanted:
            if name not in instance:
                yield (
                    _name((*path, name)),
                    f"is missing; {_expected(_declared(unfold(error.schema, root), name))}",
                )
    elif error.validator in ("additionalProperties", "unevaluatedProperties") and wanted is False:
        known = unfold(error.schema, root)
        for name in instance:
            if not _declared(known, name) and not _by_pattern(known, name):
                yield _name((*path, name)), "is not a field of this input"
    elif error.validator == "type":
        yield _name(path), _expected([error.schema])
    elif error.validator in ("enum", "const"):
        allowed = wanted if error.validator == "enum" else [wanted]
        yield _name(path), f"must be one of {', '.join(as_text(a) for a in allowed)}"
    else:
        yield _name(path), f"does not keep to {error.validator}{_limit(wanted)}"


def _limit(wanted: object) -> str:
    return f" {json.dumps(wanted)}" if isinstance(wanted, str | int | float) else ""


def _expected(schemas: Sequence[object]) -> str:
    kinds = next((s["type"] for s in schemas if isinstance(s, Mapping) and "type" in s), None)
    if kinds is None:
        return "must be given"
    named = [kinds] if isinstance(kinds, str) else kinds
    return "must be " + " or ".join(WORDS[k] for k in named)
