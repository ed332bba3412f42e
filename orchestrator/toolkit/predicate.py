"""`when`: an expression over a call, compiled once, and never raising when it is asked.

Expressions are CEL (github.com/google/cel-spec), evaluated by the CEL project's own runtime. They
see `args`, the validated arguments with decimals as numbers and dates as ISO 8601 text, and
`workflow`, its name: `args.amount > 50.0 && workflow != "night-shift"`. The runtime stops after
10 000 steps of a comprehension, which counts as a failure; so does what is too much to be asked over, see
`domain.expressions`.
"""

import re
from collections.abc import Collection
from typing import Final

import structlog

from orchestrator.domain.expressions import bare, effort
from orchestrator.domain.plain import JsonObject
from orchestrator.errors import ConfigError

log = structlog.get_logger(__name__)

ARGUMENT: Final = re.compile(r"\bargs\s*\.\s*([A-Za-z_]\w*)(?!\w*\s*\()")


class Predicate:
    """A compiled `when`.

    Raises:
        ConfigError: It is no CEL, can never be true or false, names a parameter the tool has not, or takes
            a pattern from the arguments.
    """

    def __init__(self, text: str, parameters: Collection[str]) -> None:
        # Imported here, so that unit-testing a tool module does not load the runtime.
        from cel_expr_python import cel  # type: ignore[import-untyped]  # ships no py.typed

        self.text = text
        names = {"args": cel.Type.Map(cel.Type.STRING, cel.Type.DYN), "workflow": cel.Type.STRING}
        try:
            self._program = cel.NewEnv(variables=names).compile(text)
        except Exception as error:
            raise ConfigError(f"when: `{text}` is no expression: {_first_line(error)}") from error
        if self._program.return_type() not in (cel.Type.BOOL, cel.Type.DYN):
            raise ConfigError(f"when: `{text}` is neither true nor false")
        for name in ARGUMENT.findall(bare(text)):
            if name not in parameters:
                raise ConfigError(f"when: `{text}` names args.{name}, which is no parameter of the tool")
        try:
            self._effort = effort(text, ("args",))
        except ConfigError as error:
            raise ConfigError(f"when: {error}") from None

    def holds(self, seen: JsonObject, workflow: str) -> bool | None:
        """True or false, or None when that cannot be said; never raises."""
        if not self._effort.bears(seen):
            log.warning("when_too_much", when=self.text)
            return None
        try:
            value = self._program.eval(data={"args": dict(seen), "workflow": workflow}).value()
        except Exception as error:  # noqa: BLE001 (the runtime has no base class of its own; fails closed)
            log.warning("when_failed", when=self.text, error=type(error).__name__)
            return None
        if isinstance(value, bool):
            return value
        # CEL's own errors come as values too; their text may quote arguments, so it is not logged.
        log.warning("when_undecided", when=self.text, got=type(value).__name__)
        return None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
