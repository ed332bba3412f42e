"""From what happened to a workflow's input: CEL expressions, as in the rules of tools.

They see `occurrence` (`key`, `trigger`, `at`, `local`, `missed`, which counts to 1000) and, of a feed,
`entry`, of a webhook, `body`. What a sender writes is data to them and never an expression. The runtime
stops after 10 000 steps of a comprehension; what they may copy and search is bounded before, see
`domain.expressions`.
"""

import math
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any, Final

from orchestrator.domain.expressions import Effort, effort
from orchestrator.domain.plain import JsonObject
from orchestrator.errors import ConfigError, InvalidError, OversizeError

MAX_CHARS: Final = 1_000_000
"""Of all texts of one input together, before the workflow's own bounds."""
MAX_DEPTH: Final = 32


class Mapped:
    """What makes a run's input.

    Args:
        text: One expression for a workflow that takes plain text; else
        fields: one for each field of the input object.
        sees: The names the expressions may use.

    Raises:
        ConfigError: One of them is no expression, or uses another name, or takes a pattern from what it
            sees; the text begins with its field.
    """

    def __init__(self, text: str | None, fields: Mapping[str, str], sees: tuple[str, ...]) -> None:
        from cel_expr_python import cel  # type: ignore[import-untyped]  # ships no py.typed

        self._wrong = (cel.Type.ERROR, cel.Type.UNKNOWN)
        env = cel.NewEnv(variables=dict.fromkeys(sees, cel.Type.DYN))

        def compiled(name: str, expression: str) -> tuple[Any, Effort]:
            try:
                program = env.compile(expression)
            except Exception as e:  # noqa: BLE001  the runtime has no base class of its own
                why = (str(e).splitlines() or [type(e).__name__])[0]
                raise ConfigError(f"{name}: `{expression}` is no expression: {why}") from None
            try:
                return program, effort(expression, sees)
            except ConfigError as e:
                raise ConfigError(f"{name}: {e}") from None

        self._text = compiled("text", text) if text is not None else None
        self._fields = {name: compiled(f"input.{name}", e) for name, e in fields.items()}

    def __call__(self, seen: JsonObject) -> object:
        """The input. Raises `InvalidError` where an expression fails; the text names its field, no value."""
        value = self._built(seen)
        if (size := _size(value)) > MAX_CHARS:
            raise OversizeError(f"the mapping makes {size} characters; at most {MAX_CHARS} are taken")
        return value

    def _built(self, seen: JsonObject) -> object:
        if self._text is None:
            return {name: self._one(f"input.{name}", e, seen) for name, e in self._fields.items()}
        value = self._one("text", self._text, seen)
        if not isinstance(value, str):
            raise InvalidError("text: the expression does not make a text", [("text", "must be text")])
        return value

    def _one(self, name: str, compiled: tuple[Any, Effort], seen: JsonObject) -> Any:
        expression, effort = compiled
        if not effort.bears(seen):
            raise OversizeError(f"{name}: the lists and texts are too much for the expression")
        try:
            found = expression.eval(data=dict(seen))
            wrong = found.type() in self._wrong
            value = None if wrong else found.plain_value()
        except Exception as e:
            # The runtime has no base class of its own; its text may quote data.
            raise InvalidError(f"{name}: the expression failed: {type(e).__name__}") from e
        if wrong:
            raise InvalidError(f"{name}: the expression failed: {_said(found)}", [(name, "cannot be made")])
        return _plain(name, value)


def _said(found: Any) -> str:
    """The runtime's word for what went wrong, without what it quotes."""
    return str(found.plain_value()).partition(":")[0][:64]


def _plain(name: str, value: Any, depth: int = 0) -> Any:
    """As JSON has it: instants and spans as texts. Raises `InvalidError` for what JSON has not."""
    if depth > MAX_DEPTH:
        raise InvalidError(f"{name}: is nested too deeply")
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, timedelta):
        return f"{value.total_seconds():g}s"
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise InvalidError(f"{name}: has a key that is no text")
        return {key: _plain(name, item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(name, item, depth + 1) for item in value]
    if value is None or isinstance(value, bool | int | str) or _is_number(value):
        return value
    raise InvalidError(f"{name}: makes {type(value).__name__}, which is no JSON")


def _is_number(value: Any) -> bool:
    return isinstance(value, float) and math.isfinite(value)


def _size(value: object) -> int:
    if isinstance(value, str):
        return len(value)
    if isinstance(value, Mapping):
        return sum(len(key) + _size(item) for key, item in value.items())
    return sum(map(_size, value)) if isinstance(value, list) else 1
