"""A function's signature and docstring → what Gemini is told, and what its arguments are held to.

The two never disagree, because both come from the same Pydantic types; where Gemini's schema is
poorer (it ignores lengths, knows no decimals), the validator is the one that counts. Validation
is strict JSON: "12" is no integer, "true" no boolean, an extra field is an error. Dates, UUIDs and
enums come as JSON has them: text. A decimal may come as a number and is always text afterwards.
"""

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, get_type_hints

import docstring_parser
import pydantic
import structlog
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from orchestrator.domain.plain import JsonObject
from orchestrator.errors import ConfigError, InvalidError
from orchestrator.toolkit.gemini_schema import SchemaWriter, tidy
from orchestrator.toolkit.plain import PlainError, compact, decimal_text, give, join, size, take, weigh
from orchestrator.toolkit.secret import MARK, in_log, is_secret, marked

MAX_ARGUMENTS_BYTES: Final = 64 * 1024
"""Of the arguments of a tool that says nothing else."""

MAX_PROBLEMS: Final = 10
"""That one answer names."""
MAX_ALTERNATIVES: Final = 10
"""Of what one field could have been."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Checked:
    """Arguments that fit.

    Args:
        shown: Plain JSON in the schema's types, defaults filled in; what people see and what is stored.
        values: The same as Python values, by parameter name; what the function is called with.
        seen: The same as `shown`, but with decimals as numbers; what a `when` expression compares.
    """

    shown: dict[str, Any]
    values: dict[str, Any]
    seen: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter the model fills in. `default` is plain JSON and counts only if not `required`.

    Nobody is shown the value of one that is `secret`.
    """

    name: str
    adapter: pydantic.TypeAdapter[Any]
    schema: JsonObject
    required: bool
    default: Any = None
    secret: bool = False

    def convert(self, raw: Any) -> tuple[Any, Any, Any]:
        """One argument as (value, shown, seen).

        Raises:
            pydantic.ValidationError: It does not fit.
            PlainError: It fits, but not in a way that everyone would read alike.
        """
        try:
            return self._converted(raw)
        except PlainError as error:
            raise error.inside(self.name) from None

    def _converted(self, raw: Any) -> tuple[Any, Any, Any]:
        written = compact(raw)
        value, dumped = self._read(written)
        decimals: list[Decimal] = []

        def noted(value: Decimal) -> str:
            decimals.append(value)
            return decimal_text(value)

        shown = give(dumped, decimal=noted)
        if (text := compact(shown)) != written:
            _refuse_drift(raw, shown)
        again, dumped_again = self._read(text)
        # What was shown must be what runs, also after it was stored and read again.
        if again != value or (text != written and compact(give(dumped_again)) != text):
            raise PlainError("", "has no form that stays the same when it is read again")
        return value, shown, give(dumped, decimal=float) if decimals else shown

    def _read(self, text: str) -> tuple[Any, Any]:
        value = self.adapter.validate_json(text, strict=True, extra="forbid")
        return value, self.adapter.dump_python(value, by_alias=True, round_trip=True, warnings=False)


EPOCH: Final = re.compile(r"[+-]?\d+(\.\d*)?")
ISO_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d")


def _refuse_drift(raw: Any, shown: Any) -> None:
    """Pydantic, strict as it is, reads `true` as the literal 1 and "1735689600" as a date; we do not."""
    match raw, shown:
        case (bool(), bool()):
            return
        case (bool(), _):
            raise PlainError("", "should not be a boolean")
        case (str(), str()) if EPOCH.fullmatch(raw) and ISO_DATE.match(shown):
            raise PlainError("", "should be an ISO 8601 date")
        case (dict(), dict()):
            _refuse_drifts((key, raw[key], shown[key]) for key in raw.keys() & shown.keys())
        case (list(), list()) if len(raw) == len(shown):
            _refuse_drifts(zip(range(len(raw)), raw, shown, strict=True))


def _refuse_drifts(parts: Iterable[tuple[object, Any, Any]]) -> None:
    for part, before, after in parts:
        try:
            _refuse_drift(before, after)
        except PlainError as error:
            raise error.inside(part) from None


@dataclass(frozen=True, slots=True)
class Signature:
    """What a tool takes. `context` names the parameter that gets the `ToolContext`, if there is one.

    `most_bytes` are those of the arguments' compact JSON in UTF-8.
    """

    parameters: tuple[Parameter, ...]
    context: str | None = None
    summary: str = ""
    description: str = ""
    most_bytes: int = MAX_ARGUMENTS_BYTES
    schema: JsonObject = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "schema", _object_schema(self.parameters))

    @property
    def secret(self) -> tuple[str, ...]:
        """The parameters whose values nobody is shown."""
        return tuple(p.name for p in self.parameters if p.secret)

    def check(self, arguments: Mapping[str, Any] | None) -> Checked:
        """Validate what a model wrote.

        Raises:
            InvalidError: It does not fit. The text is for the model: one line per field with what
                was expected, and nothing about our insides.
        """
        raw = self._take(arguments)
        problems = self._strangers(raw)
        checked = Checked({}, {}, {})
        for parameter in self.parameters:
            problems += _convert(parameter, raw, checked)
        if problems:
            raise refusal(problems)
        self._limit(checked.shown)
        return checked

    def _take(self, arguments: Mapping[str, Any] | None) -> dict[str, Any]:
        if not isinstance(arguments, Mapping):
            raise refusal([("arguments", "should be a JSON object")])
        try:
            weigh(arguments, self.most_bytes)  # first of all: whoever sent them waits in a transaction
            raw: dict[str, Any] = take(arguments)
        except PlainError as error:
            raise refusal([(error.path or "arguments", error.text)]) from None
        self._limit(raw)
        return raw

    def _limit(self, arguments: Mapping[str, Any]) -> None:
        if size(arguments) > self.most_bytes:
            raise refusal([("arguments", f"are larger than {self.most_bytes // 1024} KiB")])

    def _strangers(self, raw: Mapping[str, Any]) -> list[tuple[str, str]]:
        names = [p.name for p in self.parameters]
        known = f"the parameters are {', '.join(names)}" if names else "there are none"
        return [(key, f"is not a parameter; {known}") for key in raw if key not in names]


def _convert(parameter: Parameter, raw: Mapping[str, Any], into: Checked) -> list[tuple[str, str]]:
    """Fill `into` with one parameter, or say what is wrong with it."""
    name = parameter.name
    if name not in raw and parameter.required:
        return [(name, "is required")]
    given = raw.get(name, parameter.default)
    try:
        into.values[name], into.shown[name], into.seen[name] = parameter.convert(given)
    except pydantic.ValidationError as error:
        details = error.errors(include_url=False, include_context=False, include_input=False)
        return [_explain(detail, given, name) for detail in details]
    except PlainError as error:
        return [(error.path, error.text)]
    except Exception as error:  # noqa: BLE001 (a validator in the user's own model may raise anything)
        # The model hears no insides.
        log.error("argument_validator_failed", parameter=name, **in_log(error, secret=parameter.secret))
        return [(name, "could not be checked")]
    return []


PLAINER: Final = {
    "missing": "is required",
    "extra_forbidden": "is not a field here",
    "unexpected_keyword_argument": "is not a field here",
    "decimal_type": "should be a decimal number, as text or as a number",
}


def _explain(detail: ErrorDetails, given: Any, name: str) -> tuple[str, str]:
    """Where and what, without the type names Pydantic puts into a path."""
    path, here = name, given
    for part in detail["loc"]:
        inside = isinstance(here, dict) and part in here
        nth = isinstance(here, list) and isinstance(part, int) and part < len(here)
        if inside or nth:
            path, here = join(path, part), here[part]
        elif detail["type"] == "missing" and part == detail["loc"][-1]:
            path = join(path, part)
    text = PLAINER.get(detail["type"]) or detail["msg"].removeprefix("Input ")
    return path, text.removeprefix("Value error, ").removeprefix("Assertion failed, ")


def refusal(problems: list[tuple[str, str]]) -> InvalidError:
    """The problems as one answer to the model; several about one field share a line."""
    merged: dict[str, dict[str, None]] = {}
    for path, text in problems:
        told = merged.setdefault(_line(path, 100), {})
        if len(told) < MAX_ALTERNATIVES:
            told[_line(text, 200)] = None
    joined = {path: ", or ".join(told) for path, told in merged.items()}
    lines = [f"- {path}: {text}" for path, text in joined.items()]
    rest = len(lines) - MAX_PROBLEMS
    more = [f"- and {rest} more"] if rest > 0 else []
    text = "\n".join(["The arguments do not fit:", *lines[:MAX_PROBLEMS], *more])
    return InvalidError(text, tuple(joined.items())[:MAX_PROBLEMS])


def _line(text: str, limit: int) -> str:
    """One printable line of bounded length; field names in it may be the model's own."""
    start = text[:limit]  # of a long one no more is read
    clean = "".join(c if c.isprintable() and not "\ud800" <= c <= "\udfff" else " " for c in start)
    return clean if len(text) <= limit else clean[: limit - 1] + "…"


def _object_schema(parameters: tuple[Parameter, ...]) -> JsonObject:
    schema: dict[str, Any] = {"type": "object", "properties": {p.name: p.schema for p in parameters}}
    required = [p.name for p in parameters if p.required]
    # An empty `required` has been refused by the API.
    return {**schema, "required": required} if required else schema


# Reading a function


def read(function: Callable[..., Any], context_type: type) -> Signature:
    """The signature of a tool function.

    Raises:
        ConfigError: It cannot be put to a model; names module, function and parameter.
    """
    where = f"{function.__module__}.{function.__qualname__}"
    hints = _hints(function, where)
    own, context = _split(function, hints, context_type, where)
    docs = _docs(function, where, {p.name for p in own} | ({context} if context else set()))
    texts = {p.arg_name: " ".join((p.description or "").split()) for p in docs.params}
    parameters = tuple(_parameter(p, hints, texts.get(p.name, ""), where) for p in own)
    summary = " ".join((docs.short_description or "").split())
    body = (docs.long_description or "").strip()
    return Signature(parameters, context, summary, f"{summary}\n\n{body}" if body else summary)


def _hints(function: Callable[..., Any], where: str) -> dict[str, Any]:
    try:
        return get_type_hints(function, include_extras=True)
    except Exception as error:
        raise ConfigError(f"{where}: an annotation cannot be read: {error}") from error


def _split(
    function: Callable[..., Any], hints: Mapping[str, Any], context_type: type, where: str
) -> tuple[list[inspect.Parameter], str | None]:
    """The model's parameters, and the name of ours."""
    own: list[inspect.Parameter] = []
    contexts: list[str] = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            kind = parameter.kind.description
            raise ConfigError(f"{where}, parameter {parameter.name!r}: {kind} parameters cannot be declared")
        if parameter.name not in hints:
            raise ConfigError(f"{where}, parameter {parameter.name!r}: an annotation is missing")
        is_context = hints[parameter.name] is context_type
        contexts.append(parameter.name) if is_context else own.append(parameter)
    if len(contexts) > 1:
        raise ConfigError(f"{where}: more than one {context_type.__name__}: {', '.join(contexts)}")
    return own, contexts[0] if contexts else None


def _docs(function: Callable[..., Any], where: str, known: set[str]) -> docstring_parser.Docstring:
    docs = docstring_parser.parse(function.__doc__ or "", docstring_parser.DocstringStyle.GOOGLE)
    if not docs.short_description:
        raise ConfigError(f"{where}: a docstring is missing; the model and the approver read it")
    for parameter in docs.params:
        name = parameter.arg_name
        if parameter.args[0] == "param" and name not in known:
            raise ConfigError(f"{where}: the docstring describes {name!r}, which is no parameter")
    return docs


def _parameter(parameter: inspect.Parameter, hints: Mapping[str, Any], text: str, where: str) -> Parameter:
    name = parameter.name
    here = f"{where}, parameter {name!r}"
    required = parameter.default is parameter.empty
    if isinstance(parameter.default, FieldInfo):
        raise ConfigError(f"{here}: put Field(...) into Annotated[...], not in the place of a default")
    adapter = _adapter(hints[name], here)
    default = None if required else _default(adapter, parameter.default, here)
    schema = _schema(adapter, text, default, required, here)
    made = Parameter(name, adapter, schema, required, default, is_secret(hints[name]))
    if not required:
        _check_default(made, here)
    return made


def _adapter(annotation: Any, here: str) -> pydantic.TypeAdapter[Any]:
    try:
        return pydantic.TypeAdapter(annotation)
    except (pydantic.PydanticUserError, RecursionError) as error:
        raise ConfigError(f"{here}: this type cannot be validated: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _default(adapter: pydantic.TypeAdapter[Any], value: Any, here: str) -> Any:
    try:
        dumped = adapter.dump_python(value, by_alias=True, round_trip=True, warnings="error")
        return take(give(dumped))
    except (pydantic.PydanticUserError, ValueError, TypeError) as error:
        raise ConfigError(f"{here}: the default {value!r} does not fit the type") from error


def _check_default(parameter: Parameter, here: str) -> None:
    try:
        parameter.convert(parameter.default)
    except ValueError as error:
        raise ConfigError(f"{here}: the default {parameter.default!r} does not fit the type") from error


def _schema(
    adapter: pydantic.TypeAdapter[Any], text: str, default: Any, required: bool, here: str
) -> JsonObject:
    try:
        raw = adapter.json_schema(schema_generator=SchemaWriter)
        raw.pop(MARK, None)
        if marked(raw):
            raise ValueError("Secret() marks a whole parameter: Annotated[str | None, Secret()]")
        described = {**raw, "description": text} if text else raw
        with_default = described if required else {**described, "default": default}
        return tidy(with_default)
    except (pydantic.PydanticUserError, ValueError) as error:
        raise ConfigError(f"{here}: this type cannot be told to the model: {_reason(error)}") from error
