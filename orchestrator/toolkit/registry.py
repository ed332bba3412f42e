"""The registered tools and the policy over them: what the engine asks for through `ToolkitPort`.

All that can be wrong is found when it is built; afterwards `find` only answers.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from orchestrator.domain.model import (
    CallContext,
    Finding,
    FunctionCall,
    JsonObject,
    Outcome,
    OutcomeKind,
    Recipe,
    Ruling,
    Terms,
)
from orchestrator.errors import ConfigError, InvalidError
from orchestrator.toolkit.declare import Tool, record_of
from orchestrator.toolkit.execute import Executor
from orchestrator.toolkit.plain import give
from orchestrator.toolkit.policy import Gate, Rule

Override = Mapping[str, Any] | Rule
"""What a config says about one tool; see `Rule.merged`."""

NOBODY: Final = Terms(approvers=())
SHOWN_NAME_CHARS: Final = 64


class Toolkit:
    """Implements `ToolkitPort`.

    Args:
        tools: Decorated functions, or their records.
        overrides: By tool name: what the config says instead of the declaration.
        workflows: By workflow, then by tool name: the same for one workflow, over `overrides`.
        defaults: Approvers, channel and spans where neither says anything.
        workers: Synchronous calls at a time; see `Executor`.
        executor: Instead of one with `workers`; for tests.

    Raises:
        ConfigError: Two tools of one name, an override for an unknown tool or of an unknown key, a
            broken `when`, or a tool that may ask while nobody may decide. Names the tool.
    """

    def __init__(
        self,
        tools: Iterable[Tool | Callable[..., Any]],
        *,
        overrides: Mapping[str, Override] | None = None,
        workflows: Mapping[str, Mapping[str, Override]] | None = None,
        defaults: Terms = NOBODY,
        workers: int = 8,
        executor: Executor | None = None,
    ) -> None:
        self._tools = _by_name(tools)
        self._defaults = defaults
        overrides = overrides or {}
        self._check_names(overrides, "tool")
        self._rules = {name: self._merge(name, tool.rule, overrides) for name, tool in self._tools.items()}
        self._gates = {(name, ""): self._gate(name, rule, name) for name, rule in self._rules.items()}
        for workflow, special in (workflows or {}).items():
            self._add_workflow(workflow, special)
        self._executor = executor or Executor(workers)

    def _add_workflow(self, workflow: str, special: Mapping[str, Override]) -> None:
        self._check_names(special, f"workflow {workflow!r}, tool")
        for name in special:
            where = f"{name} in workflow {workflow!r}"
            rule = self._merge(name, self._rules[name], special, where)
            self._gates[name, workflow] = self._gate(name, rule, where)

    def _check_names(self, overrides: Mapping[str, Override], where: str) -> None:
        for name in overrides:
            if name not in self._tools:
                raise ConfigError(f"{where} {name!r}: is not registered; {self._known()}")

    def _known(self) -> str:
        return f"registered are {', '.join(self._tools) or 'none'}"

    def _merge(self, name: str, rule: Rule, overrides: Mapping[str, Override], where: str = "") -> Rule:
        try:
            return rule.merged(overrides.get(name, {}))
        except ConfigError as error:
            raise ConfigError(f"tool {where or name}: {error}") from None

    def _gate(self, name: str, rule: Rule, where: str) -> Gate:
        parameters = [p.name for p in self._tools[name].signature.parameters]
        try:
            return Gate(rule, self._defaults, parameters)
        except ConfigError as error:
            raise ConfigError(f"tool {where}: {error}") from error

    @property
    def tools(self) -> tuple[Tool, ...]:
        """In the order they were registered."""
        return tuple(self._tools.values())

    def gate(self, tool: str, workflow: str = "") -> Gate:
        """The rule in force. Raises `ConfigError` for a tool that is not registered."""
        if tool not in self._tools:
            raise ConfigError(f"tool {tool!r}: is not registered; {self._known()}")
        return self._gates.get((tool, workflow)) or self._gates[tool, ""]

    def declarations(self, names: Sequence[str]) -> tuple[JsonObject, ...]:
        """Those tools as Gemini takes them; one that is not registered is left out.

        A run keeps its recipe for life, so a tool may have been taken out of the config since it began.
        """
        return tuple(self._tools[name].declaration() for name in names if name in self._tools)

    def describe(self, tool: str) -> str:
        """The docstring's first line; empty if the tool is not known."""
        known = self._tools.get(tool)
        return known.summary if known else ""

    def find(self, recipe: Recipe, call: FunctionCall) -> Finding:
        """Validate the arguments and apply the policy; never raises on what a model wrote.

        Returns:
            `arguments` as they would run: plain JSON in the schema's types with defaults filled in;
            finding them again gives the same. `terms` only where people are to be asked.
        """
        tool = self._tools.get(call.name)
        if tool is None or call.name not in recipe.tools:
            return Finding(Ruling.UNKNOWN, reason=_unknown(call.name, self._available(recipe)))
        gate = self.gate(tool.name, recipe.workflow)
        try:
            checked = tool.signature.check(call.arguments)
        except InvalidError as error:
            return Finding(Ruling.INVALID, reason=str(error), idempotent=tool.idempotent)
        ruling = gate.rule_on(checked.seen, recipe.workflow)
        return Finding(
            ruling,
            arguments=checked.shown,
            reason="denied by policy" if ruling is Ruling.DENY else "",
            idempotent=tool.idempotent,
            terms=gate.terms if ruling is Ruling.ASK else None,
            tool_version=tool.version,
            policy_version=gate.version,
        )

    def _available(self, recipe: Recipe) -> list[str]:
        return [name for name in recipe.tools if name in self._tools]

    async def execute(
        self, tool: str, arguments: JsonObject, context: CallContext, cancelled: asyncio.Event
    ) -> Outcome:
        """Run it, time-boxed; the gate is the caller's to check.

        Raises:
            UncertainError: Cut off, and the tool is not idempotent.
            UnavailableError: Nothing was started.
        """
        known = self._tools.get(tool)
        if known is None:  # taken out of the config since the call was found
            return Outcome(OutcomeKind.FAILED, "The tool is not available any more.")
        return await self._executor.execute(known, arguments, context, cancelled)


def _by_name(things: Iterable[Tool | Callable[..., Any]]) -> dict[str, Tool]:
    tools: dict[str, Tool] = {}
    for thing in things:
        tool = record_of(thing)
        if tool is None:
            raise ConfigError(f"{thing!r} is no tool; put @tool above it")
        if tool.name in tools:
            first = tools[tool.name].module
            raise ConfigError(f"tool {tool.name!r} is declared twice, in {first} and in {tool.module}")
        tools[tool.name] = tool
    return tools


def _unknown(name: str, available: Sequence[str]) -> str:
    # The name is the model's own text: bounded, and mended so that any store takes it.
    shown = str(give(name))[:SHOWN_NAME_CHARS]
    return f"There is no tool {shown!r}. Available: {', '.join(available) or 'none'}."
