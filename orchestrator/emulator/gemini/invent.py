"""Arguments from a JSON schema, as a model would fill them in from what the user wrote.

Pure: the schema, the text and a source of randomness in, a JSON value out.
"""

import importlib
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import jsonschema

Json = dict[str, Any]

REFERENCE: Final = re.compile(r"\b[A-Z][A-Z0-9]{0,9}-\d+\b")
QUOTED: Final = re.compile(r"[\"“']([^\"”']{1,80})[\"”']")
PROSE: Final = re.compile(
    r"reason|message|text|comment|note|summary|description|query|body|content|title|subject|question"
)
EXAMPLE: Final = re.compile(r"for example \"([^\"]{1,80})\"")
NUMBER: Final = re.compile(r"\d+(?:\.\d+)?")
DEPTH: Final = 6  # below this only what a schema demands is filled in
PROSE_LENGTH: Final = 200
NUMBERS_TRIED: Final = 1000
FORMATS: Final[
    dict[str, tuple[str, str]]
] = {  # format: what to look for in the text, what to write otherwise
    "date": (r"\b\d{4}-\d\d-\d\d\b", "2026-11-21"),
    "date-time": (r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:Z|[+-]\d\d:\d\d)", "2026-11-21T10:00:00Z"),
    "time": (r"\b\d\d:\d\d:\d\dZ", "10:00:00Z"),
    "duration": (r"\bP(?:\d+D|T\d+[HMS])\b", "PT1H"),
    "email": (r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+", "ada@example.com"),
    "uri": (r"https?://[^\s\"'<>)]+", "https://example.com/"),
    "uuid": (r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "00000000-0000-4000-8000-000000000001"),
    "hostname": (r"\b(?:[a-z0-9-]+\.)+[a-z]{2,}\b", "example.com"),
    "ipv4": (r"\b(?:\d{1,3}\.){3}\d{1,3}\b", "192.0.2.1"),
    "ipv6": (r"\b2001:db8::[0-9a-f]+\b", "2001:db8::1"),
}


def reference(text: str) -> str | None:
    """The first thing in the text that looks like an order or ticket number, such as `A-17`."""
    found = REFERENCE.search(text)
    return found.group() if found else None


def arguments(schema: Mapping[str, Any], text: str, rng: random.Random) -> Json:
    """Arguments for a function whose parameters are `schema`; `{}` where nothing is wanted."""
    value = Inventor(dict(schema), text, rng).value(dict(schema))
    return value if isinstance(value, dict) else {}


@dataclass
class Inventor:
    """Walks one schema; `root` is where its `$ref`s point into."""

    root: Json
    text: str
    rng: random.Random

    def value(self, schema: Any, name: str = "", depth: int = 0) -> Any:
        """A value that `schema` allows; `name` is the property it is for."""
        if not isinstance(schema, dict):
            return self.text or "sample"
        schema = self._plain(schema, depth)
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return self._choice(schema["enum"])
        if schema.get("examples"):
            return schema["examples"][0]
        return self._of_type(schema, name, depth)

    def _of_type(self, schema: Json, name: str, depth: int) -> Any:
        makers: dict[str, Callable[[], Any]] = {
            "object": lambda: self._object(schema, depth),
            "array": lambda: self._array(schema, name, depth),
            "string": lambda: self._string(schema, name),
            "integer": lambda: int(self._number(schema, 1)),
            "number": lambda: self._number(schema, 0.5),
            "boolean": lambda: True,
            "null": lambda: None,
        }
        return makers[_type(schema)]()

    def _choice(self, options: list[Any]) -> Any:
        said = [
            option for option in options if isinstance(option, str) and option.lower() in self.text.lower()
        ]
        return said[0] if said else options[0]

    def _plain(self, schema: Json, depth: int) -> Json:
        """The schema with its reference followed and one alternative chosen."""
        for _ in range(32):  # a reference to itself ends here
            if "$ref" in schema:
                schema = {**self._resolve(schema["$ref"]), **_without(schema, "$ref")}
            elif schema.get("anyOf") or schema.get("oneOf"):
                keyword = "anyOf" if schema.get("anyOf") else "oneOf"
                schema = {**_without(schema, keyword), **self._alternative(schema[keyword], depth)}
            elif schema.get("allOf"):
                schema = _merged(
                    [_without(schema, "allOf"), *(self._plain(p, depth) for p in schema["allOf"])]
                )
            else:
                return schema
        return {}

    def _alternative(self, options: list[Json], depth: int) -> Json:
        empty = [option for option in options if option.get("type") == "null"]
        if depth > DEPTH and empty:  # the way out of a schema that contains itself
            return empty[0]
        return next((option for option in options if option not in empty), options[0])

    def _resolve(self, ref: str) -> Json:
        target: Any = self.root
        for part in ref.removeprefix("#").strip("/").split("/"):
            if part:
                key = part.replace("~1", "/").replace("~0", "~")
                target = target.get(key, {}) if isinstance(target, dict) else {}
        return target if isinstance(target, dict) else {}

    def _object(self, schema: Json, depth: int) -> Json:
        properties = schema.get("properties", {})
        # A schema that demands nothing would give an empty call; fill in what it offers.
        wanted = schema.get("required") or (list(properties) if depth <= 1 else [])
        return {name: self.value(properties.get(name, {}), name, depth + 1) for name in wanted}

    def _array(self, schema: Json, name: str, depth: int) -> list[Any]:
        fixed = [self.value(part, name, depth + 1) for part in schema.get("prefixItems", ())]
        least = schema.get("minItems", 0 if depth > DEPTH else 1)
        items = schema.get("items", {})
        if fixed and "minItems" not in schema:
            return fixed
        while len(fixed) < min(least, schema.get("maxItems", least)):
            fixed.append(self._another(items, name, depth, fixed if schema.get("uniqueItems") else []))
        return fixed

    def _another(self, items: Any, name: str, depth: int, taken: list[Any]) -> Any:
        plain = self._plain(items, depth) if isinstance(items, dict) else {}
        for option in plain.get("enum", ()):
            if option not in taken:
                return option
        value = self.value(items, name, depth + 1)
        if value in taken and isinstance(value, str):
            return f"{value} {len(taken) + 1}"
        return value + len(taken) if value in taken and isinstance(value, int | float) else value

    def _string(self, schema: Json, name: str) -> str:
        if schema.get("format") in FORMATS:
            pattern, otherwise = FORMATS[schema["format"]]
            found = re.search(pattern, self.text)
            return found.group() if found else otherwise
        if "pattern" in schema:
            return self._matching(schema)
        return self._fitted(self._word(name, str(schema.get("description", ""))), schema)

    def _word(self, name: str, description: str) -> str:
        if PROSE.search(name.lower()) and self.text:
            return self.text[:PROSE_LENGTH]
        if examples := EXAMPLE.findall(description):
            found = re.search(_shape(examples[-1]), self.text)
            return found.group() if found else str(examples[-1])
        quoted = QUOTED.search(self.text)
        return reference(self.text) or (quoted.group(1) if quoted else "sample")

    def _matching(self, schema: Json) -> str:
        """A word of the text that the pattern takes, or a string made from the pattern."""
        pattern: str = schema["pattern"]
        words: list[str] = [reference(self.text) or "", *re.findall(r"[^\s,;!?]+", self.text)]
        for word in (w for raw in words for w in (raw, raw.rstrip("."))):
            if word and re.search(pattern, word) and self._fitted(word, schema) == word:
                return word
        return _sample(pattern)

    def _fitted(self, word: str, schema: Json) -> str:
        least, most = int(schema.get("minLength", 0)), int(schema.get("maxLength", len(word)))
        return word[:most].ljust(least, "x")

    def _number(self, schema: Json, step: float) -> float:
        """The smallest positive number allowed, or else the first allowed one."""
        step = schema.get("multipleOf", step)
        low = schema.get("minimum", schema.get("exclusiveMinimum"))
        high = schema.get("maximum", schema.get("exclusiveMaximum"))
        start = low if low is not None else min(1, high if high is not None else 1)
        first = -(-start // step)  # rounded up to a whole number of steps
        for steps in range(NUMBERS_TRIED):
            candidate = (first + steps) * step
            if candidate and _allows(schema, candidate):
                return float(candidate) if isinstance(candidate, float) else candidate
        return float(start) if high is None else (start + high) / 2


def _shape(example: str) -> str:
    """A pattern for what looks like it: letters where it has letters, digits where it has digits."""
    if NUMBER.fullmatch(example):
        return rf"(?<![\w.-]){NUMBER.pattern}(?![\w-])"
    kinds = (r"[A-Z]+", r"[a-z]+", r"[0-9]+")
    alike = re.sub(
        "|".join(kinds), lambda run: next(k for k in kinds if re.match(k, run[0])), re.escape(example)
    )
    return rf"(?<![\w-]){alike}(?![\w-])"


def _type(schema: Json) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((k for k in kind if k != "null"), "null")
    if kind is None:
        kind = "object" if "properties" in schema else "array" if "items" in schema else "string"
    return str(kind)


def _without(schema: Json, keyword: str) -> Json:
    return {key: value for key, value in schema.items() if key != keyword}


def _merged(parts: list[Json]) -> Json:
    whole: Json = {}
    for part in parts:
        properties = {**whole.get("properties", {}), **part.get("properties", {})}
        required = [*whole.get("required", []), *part.get("required", [])]
        whole = {**whole, **part}
        if properties:
            whole["properties"] = properties
        if required:
            whole["required"] = list(dict.fromkeys(required))
    return whole


def _allows(schema: Json, value: Any) -> bool:
    bounds = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
    limits = {key: schema[key] for key in bounds if key in schema}
    return bool(jsonschema.Draft202012Validator(limits).is_valid(value))


def _sample(pattern: str) -> str:
    """The shortest plain string of a regular expression; look-arounds and references are left out."""
    return "".join(_emit(op, arg) for op, arg in importlib.import_module("re._parser").parse(pattern))


def _emit(op: Any, arg: Any) -> str:
    match str(op):
        case "LITERAL":
            return chr(int(arg))
        case "IN":
            return _from_set(arg)
        case "ANY" | "NOT_LITERAL":
            return "x"
        case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
            low, _, body = arg
            return "".join(_emit(*part) for part in body) * int(low)
        case "SUBPATTERN":
            return "".join(_emit(*part) for part in arg[-1])
        case "ATOMIC_GROUP":
            return "".join(_emit(*part) for part in arg)
        case "BRANCH":
            return "".join(_emit(*part) for part in arg[1][0])
        case _:
            return ""


def _from_set(parts: list[Any]) -> str:
    (op, arg), rest = parts[0], parts[1:]
    match str(op):
        case "NEGATE":
            return next((c for c in "x0A-. " if not any(_holds(kind, value, c) for kind, value in rest)), "~")
        case "RANGE":
            return chr(arg[0])
        case "CATEGORY":
            return {"CATEGORY_DIGIT": "1", "CATEGORY_SPACE": " ", "CATEGORY_WORD": "a"}.get(str(arg), "-")
        case _:
            return chr(arg)


def _holds(op: Any, arg: Any, char: str) -> bool:
    match str(op):
        case "RANGE":
            return bool(arg[0] <= ord(char) <= arg[1])
        case "CATEGORY":
            tests = {"CATEGORY_DIGIT": str.isdecimal, "CATEGORY_SPACE": str.isspace}
            return tests.get(str(arg), str.isalnum)(char)
        case _:
            return bool(ord(char) == arg)
