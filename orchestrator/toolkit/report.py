"""The tools as data for people: what `orchestrator tools list`, `check` and `schema` show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.domain.consent import Terms
from orchestrator.domain.plain import JsonObject
from orchestrator.domain.terms import deciders
from orchestrator.errors import ConfigError
from orchestrator.toolkit.declare import Tool
from orchestrator.toolkit.modules import PACKAGE, load_module
from orchestrator.toolkit.people import in_words
from orchestrator.toolkit.policy import Forbidden
from orchestrator.toolkit.registry import NOBODY, Override, Toolkit


@dataclass(frozen=True, slots=True)
class ToolReport:
    """One tool. `approval` is the rule in words, with what is forbidden before it; `approvers` and
    `deciders` (the same in words, with quorum and stages) only where somebody may be asked.
    `forbidden` is what no rule and no person lets pass, in words. `preview` says whether the tool can tell
    what a call would do, in words; empty if it cannot. `secret` are the parameters nobody is shown."""

    name: str
    module: str
    summary: str
    approval: str
    approvers: tuple[str, ...]
    deciders: str
    forbidden: tuple[str, ...]
    idempotent: bool
    attempts: int
    timeout_seconds: float
    preview: str
    tool_version: str
    policy_version: str
    schema: JsonObject
    secret: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What would stop the service from starting, one line each; `tools` is empty if anything would.

    `idle` are patterns of what is forbidden that no registered tool's name matches.
    """

    problems: tuple[str, ...]
    tools: tuple[ToolReport, ...]
    idle: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return not self.problems


def list_tools(toolkit: Toolkit, workflow: str = "") -> tuple[ToolReport, ...]:
    """All tools, as they stand for one workflow, or for those without rules of their own."""
    return tuple(_report(toolkit, tool, workflow) for tool in toolkit.tools)


def check_tools(
    folder: Path,
    names: Sequence[str],
    *,
    overrides: Mapping[str, Override] | None = None,
    workflows: Mapping[str, Mapping[str, Override]] | None = None,
    defaults: Terms = NOBODY,
    roles: Mapping[str, Sequence[str]] | None = None,
    forbidden: Sequence[Forbidden] = (),
    built_in: Sequence[Tool] = (),
) -> CheckReport:
    """Load every module and build the toolkit; all broken modules are named, not only the first."""
    tools: list[Tool] = [*built_in]
    problems: list[str] = []
    for name in names:
        try:
            tools += load_module(folder, name)
        except ConfigError as error:
            problems.append(str(error))
    if problems:
        return CheckReport(tuple(problems), ())
    try:
        toolkit = Toolkit(
            tools,
            overrides=overrides,
            workflows=workflows,
            defaults=defaults,
            roles=roles,
            forbidden=forbidden,
        )
    except ConfigError as error:
        return CheckReport((str(error),), ())
    idle = tuple(f.tool for f, matched in toolkit.forbidden if not matched)
    return CheckReport((), list_tools(toolkit), idle)


def schema_of(toolkit: Toolkit, name: str) -> JsonObject:
    """The declaration of one tool as Gemini takes it. Raises `ConfigError` if it is not registered."""
    toolkit.gate(name)
    return toolkit.declarations([name])[0]


def _report(toolkit: Toolkit, tool: Tool, workflow: str) -> ToolReport:
    gate = toolkit.gate(tool.name, workflow)
    forbidden = tuple(ban.forbidden.in_words() for ban in gate.bans)
    return ToolReport(
        name=tool.name,
        module=tool.module.removeprefix(f"{PACKAGE}."),
        summary=tool.summary,
        approval="; ".join((*forbidden, gate.rule.in_words())),
        approvers=deciders(gate.terms) if gate.rule.may_ask else (),
        deciders=in_words(gate.terms) if gate.rule.may_ask else "",
        forbidden=forbidden,
        idempotent=tool.idempotent,
        attempts=tool.attempts,
        timeout_seconds=tool.timeout_seconds,
        preview=_preview(tool),
        tool_version=tool.version,
        policy_version=gate.version,
        schema=tool.declaration(),
        secret=tool.signature.secret,
    )


def _preview(tool: Tool) -> str:
    if tool.preview is None:
        return ""
    return "required" if tool.preview.required else "if it can be worked out"
