"""The cases of `orchestrator policy test`: a file of calls, and what the policy should say about each.

cases:
  - name: a small refund runs by itself
    workflow: refund
    tool: refund_order
    arguments: {order_id: A-17, amount: "12.50"}
    expect: allow
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from orchestrator.domain.consent import Terms
from orchestrator.domain.exchange import FunctionCall
from orchestrator.domain.model import Recipe
from orchestrator.domain.terms import deciders, expand
from orchestrator.errors import ConfigError, NotFoundError
from orchestrator.settings import Settings, strict_yaml
from orchestrator.settings.addresses import Approver
from orchestrator.settings.environment import suggest
from orchestrator.settings.fields import UNIQUE, Items, Section, dotted, model_at
from orchestrator.settings.fields import Path as Key
from orchestrator.settings.loader import SAYINGS
from orchestrator.toolkit import Toolkit
from orchestrator.toolkit.people import in_words
from orchestrator.toolkit.registry import Explained


class Case(Section):
    """One call, and what should come of it; what is left out is not looked at."""

    name: str = Field(min_length=1)
    workflow: str = Field(min_length=1)
    tool: str = Field(min_length=1)
    arguments: dict[str, Any] = Field(default={})
    expect: Literal["allow", "ask", "deny", "unknown", "invalid"]
    approvers: Annotated[Items[Approver], UNIQUE] | None = Field(default=None, min_length=1)
    quorum: int | None = Field(default=None, ge=1)
    reason: str | None = Field(default=None, min_length=1)


class Cases(Section):
    """The whole file."""

    cases: Items[Case] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class Result:
    """One case after it was run.

    Args:
        got: The ruling, by the word that `expect` takes.
        wrong: Every difference from what was expected, in words; empty if it is met.
        why: How the policy came to its ruling, in words.
    """

    case: Case
    got: str
    wrong: tuple[str, ...]
    why: str


def load_cases(file: Path, settings: Settings) -> tuple[Case, ...]:
    """The cases of a file.

    Raises:
        ConfigError: It cannot be read or understood; one line per fault: `file:line: key: …`.
    """
    try:
        document = strict_yaml.parse(file.read_bytes())
    except OSError as e:
        raise ConfigError(f"{file}: cannot be read: {e.strerror}") from None
    except strict_yaml.YamlError as e:
        raise ConfigError(f"{file}:{e.line}: {e}") from None
    if not isinstance(document.tree, dict):
        raise ConfigError(f"{file}:1: the top level must be a mapping with the key cases")
    faults = list(document.faults)
    cases: tuple[Case, ...] = ()
    try:
        cases = Cases.model_validate(document.tree).cases
    except ValidationError as e:
        faults += [_told(detail, document) for detail in e.errors(include_input=False, include_url=False)]
    faults += [(_line(document, key), f"{dotted(key)}: {text}") for key, text in _astray(cases, settings)]
    if faults:
        raise ConfigError("\n".join(f"{file}:{line}: {text}" for line, text in faults))
    return cases


def _told(detail: Any, document: strict_yaml.Document) -> tuple[int, str]:
    key: Key = tuple(part for part in detail["loc"] if part != "[key]")
    if detail["type"] == "extra_forbidden":
        model = model_at(Cases, key)
        text = f"is no key of a case{suggest(str(key[-1]), model.model_fields if model else ())}"
    elif (saying := SAYINGS.get(detail["type"])) is not None:
        text = saying.format_map(detail.get("ctx", {}))
    else:
        text = str(detail["msg"]).lower()
    return _line(document, key), f"{dotted(key)}: {text}"


def _line(document: strict_yaml.Document, key: Key) -> int:
    """Where it stands, or the nearest thing around it that stands somewhere."""
    return next((found for n in range(len(key), 0, -1) if (found := document.lines.get(key[:n]))), 1)


def _astray(cases: tuple[Case, ...], settings: Settings) -> Iterator[tuple[Key, str]]:
    """What only the settings can tell: workflows and roles that are not there; and names used twice."""
    seen: set[str] = set()
    for i, case in enumerate(cases):
        if case.workflow not in settings.workflows:
            text = f"is no workflow{suggest(case.workflow, settings.workflows)}"
            yield ("cases", i, "workflow"), text
        if case.name in seen:
            yield ("cases", i, "name"), "is given twice"
        seen.add(case.name)
        try:
            expand(case.approvers or (), settings.approvals.roles)
        except ConfigError as e:
            yield ("cases", i, "approvers"), str(e)


def run_case(case: Case, settings: Settings, toolkit: Toolkit) -> Result:
    """The case as the service would find the call, compared with what it expects."""
    explained = toolkit.explain(
        settings.recipe(case.workflow), FunctionCall("case", case.tool, case.arguments)
    )
    wrong = tuple(_differences(case, explained, settings))
    return Result(case, str(explained.finding.ruling), wrong, why(explained))


def _differences(case: Case, explained: Explained, settings: Settings) -> Iterator[str]:
    finding = explained.finding
    if finding.ruling != case.expect:
        yield f"expected {case.expect}, got {finding.ruling}"
    asked = finding.terms or Terms(approvers=())
    if case.approvers is not None:
        wanted = set(expand(case.approvers, settings.approvals.roles))
        if wanted != (found := set(deciders(asked))):
            yield f"expected approvers {_list(wanted)}, got {_list(found)}"
    needed = sum(step.quorum for step in asked.steps) if finding.terms else 0
    if case.quorum is not None and case.quorum != needed:
        yield f"expected {case.quorum} to say yes in all, got {needed}"
    if case.reason is not None and case.reason not in finding.reason:
        yield f"expected a reason with {case.reason!r}, got {finding.reason!r}"


def _list(people: set[str]) -> str:
    return ", ".join(sorted(people)) or "nobody"


def why(explained: Explained) -> str:
    """How the policy came to its ruling: which rule, from where, and what its expression said."""
    finding, gate, judgement = explained.finding, explained.gate, explained.judgement
    if gate is None or judgement is None:
        return finding.reason
    if judgement.ban is not None:
        ban = judgement.ban
        return f"approvals.forbidden {ban.tool!r}: {ban.in_words()}{_said(ban.when, judgement.held)}"
    rule = f"{gate.sources.approval}: {gate.rule.in_words()}{_said(gate.rule.when, judgement.held)}"
    if finding.terms is None:
        return rule
    return f"{rule}; asks {in_words(finding.terms)} (from {gate.sources.people})"


def _said(when: str | None, held: bool | None) -> str:
    if when is None:
        return ""
    words = {True: "true", False: "false", None: "neither true nor false, so the stricter side counts"}
    return f"; `when` is {words[held]}"


def as_json(explained: Explained) -> dict[str, Any]:
    """An outcome for machines."""
    finding, gate, judgement = explained.finding, explained.gate, explained.judgement
    terms = finding.terms
    return {
        "ruling": str(finding.ruling),
        "why": why(explained),
        "reason": finding.reason,
        "rule_from": _origin(explained),
        "when": None if judgement is None else judgement.ban.when if judgement.ban else _when(explained),
        "when_held": judgement.held if judgement else None,
        "arguments": dict(finding.arguments),
        "policy_version": finding.policy_version,
        "terms_from": gate.sources.people if gate and terms else None,
        "steps": [{"name": s.name, "approvers": list(s.approvers), "quorum": s.quorum} for s in terms.steps]
        if terms
        else [],
        "never": list(terms.never) if terms else [],
        "four_eyes": terms.four_eyes if terms else None,
        "edits": str(terms.edits) if terms else None,
        "at_timeout": str(terms.at_timeout) if terms else None,
        "risk": terms.risk if terms else "",
    }


def _when(explained: Explained) -> str | None:
    return explained.gate.rule.when if explained.gate else None


def _origin(explained: Explained) -> str | None:
    """Which place of the config, or which module, had the last word; None where no rule was looked at."""
    if explained.gate is None or explained.judgement is None:
        return None
    return "approvals.forbidden" if explained.judgement.ban else explained.gate.sources.approval


def recipe_of(settings: Settings, workflow: str) -> Recipe:
    """Raises `ConfigError` for a workflow that is not configured."""
    try:
        return settings.recipe(workflow)
    except NotFoundError as e:
        raise ConfigError(f"--workflow: {e}") from None
