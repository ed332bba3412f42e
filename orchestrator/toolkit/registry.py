"""The registered tools and the policy over them: what the engine asks for through `ToolkitPort`.

All that can be wrong is found when it is built; afterwards `find` only answers.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from orchestrator.domain.assessment import CallContext, Finding, Ruling
from orchestrator.domain.consent import Preview, Terms
from orchestrator.domain.exchange import FunctionCall
from orchestrator.domain.jobs import Waiting
from orchestrator.domain.model import Outcome, OutcomeKind, Recipe
from orchestrator.domain.plain import JsonObject
from orchestrator.domain.triggers import under
from orchestrator.domain.values import replace
from orchestrator.errors import ConfigError, InvalidError
from orchestrator.toolkit import human, media
from orchestrator.toolkit.declare import Tool, record_of
from orchestrator.toolkit.execute import Executor
from orchestrator.toolkit.modules import PACKAGE
from orchestrator.toolkit.plain import give
from orchestrator.toolkit.policy import Ban, Forbidden, Gate, Judgement, Rule, Sources

Override = Mapping[str, Any] | Rule
"""What a config says about one tool; see `Rule.merged`."""

NOBODY: Final = Terms(approvers=())
SHOWN_NAME_CHARS: Final = 64
_QUESTIONS: Final[Mapping[str, tuple[Tool, Callable[[JsonObject], None]]]] = {
    human.TOOL.name: (human.TOOL, human.refuse),
    media.TOOL.name: (media.TOOL, media.refuse),
}
"""What people answer: the built-in tools, and who refuses a question nobody could answer."""


@dataclass(frozen=True, slots=True)
class Explained:
    """A finding, and how it came about: the rule in force and what it said, where it came to that."""

    finding: Finding
    gate: Gate | None = None
    judgement: Judgement | None = None


class Toolkit:
    """Implements `ToolkitPort`.

    Args:
        tools: Decorated functions, or their records.
        overrides: By tool name: what the config says instead of the declaration.
        workflows: By workflow, then by tool name: the same for one workflow, over `overrides`.
        defaults: The terms where neither says anything; without roles.
        roles: Who stands behind `role:<name>` wherever people are named.
        forbidden: Calls that no rule and no person lets pass; the first one that holds is told.
        workers: Synchronous calls at a time; see `Executor`.
        executor: Instead of one with `workers`; for tests.

    Raises:
        ConfigError: Two tools of one name, an override for an unknown tool or of an unknown key, a
            broken `when`, or a tool that may ask while nobody, or too few, may decide. Names the tool.
    """

    def __init__(
        self,
        tools: Iterable[Tool | Callable[..., Any]],
        *,
        overrides: Mapping[str, Override] | None = None,
        workflows: Mapping[str, Mapping[str, Override]] | None = None,
        defaults: Terms = NOBODY,
        roles: Mapping[str, Sequence[str]] | None = None,
        forbidden: Sequence[Forbidden] = (),
        workers: int = 8,
        executor: Executor | None = None,
    ) -> None:
        self._tools = _by_name(tools)
        self._defaults = defaults
        self._roles = roles or {}
        self._bans = [self._ban(i, f) for i, f in enumerate(forbidden)]
        overrides = overrides or {}
        self._check_names(overrides, "tools.overrides")
        self._rules = {name: self._merge(name, tool.rule, overrides) for name, tool in self._tools.items()}
        said = {name: [(f"tools.overrides.{name}", o)] for name, o in overrides.items()}
        self._gates = {
            (name, ""): self._gate(name, rule, name, said.get(name, ())) for name, rule in self._rules.items()
        }
        for workflow, special in (workflows or {}).items():
            self._check_names(special, f"workflows.{workflow}.overrides")
            for name in special:
                where = f"{name} in workflow {workflow!r}"
                rule = self._merge(name, self._rules[name], special, where)
                layers = [*said.get(name, ()), (f"workflows.{workflow}.overrides.{name}", special[name])]
                self._gates[name, workflow] = self._gate(name, rule, where, layers)
        self._executor = executor or Executor(workers)

    def _ban(self, position: int, forbidden: Forbidden) -> Ban:
        """It may name the parameters of any tool it matches; on a tool without them it fails, so refuses."""
        where = f"approvals.forbidden[{position}] {forbidden.tool!r}"
        matched = [t for t in self._tools.values() if forbidden.matches(t.name)]
        if not matched and forbidden.one:
            raise ConfigError(f"{where}: is not registered; {self._known()}")
        parameters = {p.name for t in matched or self._tools.values() for p in t.signature.parameters}
        try:
            return Ban(forbidden, parameters)
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from error

    def _check_names(self, overrides: Mapping[str, Override], where: str) -> None:
        for name in overrides:
            if name not in self._tools:
                raise ConfigError(f"{where}: tool {name!r} is not registered; {self._known()}")

    def _known(self) -> str:
        return f"registered are {', '.join(self._tools) or 'none'}"

    def _merge(self, name: str, rule: Rule, overrides: Mapping[str, Override], where: str = "") -> Rule:
        try:
            return rule.merged(overrides.get(name, {}))
        except ConfigError as error:
            raise ConfigError(f"tool {where or name}: {error}") from None

    def _gate(self, name: str, rule: Rule, where: str, layers: Sequence[tuple[str, Override]]) -> Gate:
        tool = self._tools[name]
        asks = tool.name in _QUESTIONS
        try:
            if asks:
                human.check_rule(rule)
            return Gate(
                rule,
                self._defaults,
                [p.name for p in tool.signature.parameters],
                roles=self._roles,
                bans=[ban for ban in self._bans if ban.forbidden.matches(name)],
                sources=_sources(tool, layers),
                shaped=human.terms if asks else _hiding(tool),
            )
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

    def gates(self, tool: str) -> dict[str, Gate]:
        """The rules in force for it, by the workflow they are for; "" is for all others."""
        return {workflow: gate for (name, workflow), gate in self._gates.items() if name == tool}

    def declarations(self, names: Sequence[str]) -> tuple[JsonObject, ...]:
        """Those tools as Gemini takes them; one that is not registered is left out.

        A run keeps its recipe for life, so a tool may have been taken out of the config since it began.
        """
        return tuple(self._tools[name].declaration() for name in names if name in self._tools)

    def terms(self, recipe: Recipe, tool: str) -> Terms | None:
        """Under which people would be asked about that tool now; None if it is not known."""
        return under(self.gate(tool, recipe.workflow).terms, recipe.contract) if tool in self._tools else None

    def describe(self, tool: str) -> str:
        """The docstring's first line; empty if the tool is not known."""
        known = self._tools.get(tool)
        return known.summary if known else ""

    @property
    def forbidden(self) -> tuple[tuple[Forbidden, tuple[str, ...]], ...]:
        """What is forbidden, each with the names of the tools it is about."""
        return tuple(
            (ban.forbidden, tuple(name for name in self._tools if ban.forbidden.matches(name)))
            for ban in self._bans
        )

    def find(self, recipe: Recipe, call: FunctionCall) -> Finding:
        """Validate the arguments and apply the policy; never raises on what a model wrote.

        Returns:
            `arguments` as they would run: plain JSON in the schema's types with defaults filled in;
            finding them again gives the same. `terms` only where people are to be asked.
        """
        found = self.explain(recipe, call).finding
        return replace(found, terms=under(found.terms, recipe.contract)) if found.terms else found

    def explain(self, recipe: Recipe, call: FunctionCall) -> Explained:
        """What `find` finds, and why; for people who test their policy."""
        tool = self._tools.get(call.name)
        if tool is None or call.name not in recipe.tools:
            return Explained(Finding(Ruling.UNKNOWN, reason=_unknown(call.name, self._available(recipe))))
        gate = self.gate(tool.name, recipe.workflow)
        forbidden = gate.forbids()
        try:
            checked = tool.signature.check(call.arguments)
            if tool.name in _QUESTIONS:
                _QUESTIONS[tool.name][1](checked.shown)
        except InvalidError as error:
            if forbidden is not None:
                return Explained(_ruled(tool, gate, forbidden, {}), gate, forbidden)
            told, problems = str(error), error.fields
            invalid = Finding(Ruling.INVALID, reason=told, idempotent=tool.idempotent, problems=problems)
            return Explained(invalid, gate)
        judgement = forbidden or gate.judge(checked.seen, recipe.workflow)
        return Explained(_ruled(tool, gate, judgement, checked.shown), gate, judgement)

    def _available(self, recipe: Recipe) -> list[str]:
        return [name for name in recipe.tools if name in self._tools]

    async def preview(self, tool: str, arguments: JsonObject, context: CallContext) -> Preview:
        """What the call would do; where that cannot be worked out, `trouble` says why.

        Raises:
            UnavailableError: Nothing was started.
        """
        known = self._tools.get(tool)
        if known is None or known.preview is None:  # taken out of the config since the call was found
            return Preview("", "The tool cannot tell any more what it would do.")
        return await self._executor.preview(known, known.preview, arguments, context)

    async def execute(
        self, tool: str, arguments: JsonObject, context: CallContext, cancelled: asyncio.Event
    ) -> Outcome | Waiting:
        """Run it, time-boxed; the gate is the caller's to check.

        Raises:
            UncertainError: Cut off, and the tool is not idempotent.
            UnavailableError: Nothing was started.
        """
        known = self._tools.get(tool)
        if known is None:  # taken out of the config since the call was found
            return Outcome(OutcomeKind.FAILED, "The tool is not available any more.")
        return await self._executor.execute(known, arguments, context, cancelled)


def _ruled(tool: Tool, gate: Gate, judgement: Judgement, arguments: JsonObject) -> Finding:
    return Finding(
        judgement.ruling,
        arguments=arguments,
        reason=judgement.reason,
        idempotent=tool.idempotent,
        terms=gate.terms if judgement.ruling is Ruling.ASK else None,
        tool_version=tool.version,
        policy_version=gate.version,
        previews=tool.preview is not None,
        preview_required=tool.preview is None or tool.preview.required,
    )


def _hiding(tool: Tool) -> Callable[[Terms], Terms]:
    return lambda terms: replace(terms, hidden=tool.signature.secret)


def _sources(tool: Tool, layers: Sequence[tuple[str, Override]]) -> Sources:
    """Who had the last word; `layers` are the overrides in their order, each with its place in the config."""
    declared = f"@tool in {tool.module.removeprefix(f'{PACKAGE}.')}"
    who = declared if tool.rule.approvers or tool.rule.people.stages else "approvals"
    what = declared
    for place, override in layers:
        whole = isinstance(override, Rule)
        said = {} if isinstance(override, Rule) else override
        what = place if whole or said.get("approval") else what
        who = place if whole or said.get("approvers") or said.get("stages") else who
    return Sources(what, who)


def _by_name(things: Iterable[Tool | Callable[..., Any]]) -> dict[str, Tool]:
    tools: dict[str, Tool] = {}
    for thing in things:
        tool = record_of(thing)
        if tool is None:
            raise ConfigError(f"{thing!r} is no tool; put @tool above it")
        if tool.name in _QUESTIONS and tool is not _QUESTIONS[tool.name][0]:
            raise ConfigError(
                f"tool {tool.name!r} in {tool.module}: is the built-in one's name; take another"
            )
        if tool.name in tools:
            first = tools[tool.name].module
            raise ConfigError(f"tool {tool.name!r} is declared twice, in {first} and in {tool.module}")
        tools[tool.name] = tool
    return tools


def _unknown(name: str, available: Sequence[str]) -> str:
    # The name is the model's own text: bounded, and mended so that any store takes it.
    shown = str(give(name))[:SHOWN_NAME_CHARS]
    return f"There is no tool {shown!r}. Available: {', '.join(available) or 'none'}."
