"""Who must be asked before a tool runs: rules, and their `when` expressions.

A rule's `approval` says what happens, `when` narrows it, and whatever is not covered falls to the
next stricter or milder side. An expression that fails, or says neither true nor false, counts as
the stricter side:

    approval   when true   when false   when it fails   without `when`
    allow      allow       ask          ask             allow
    ask        ask         allow        ask             ask
    deny       deny        ask          deny            deny

Expressions are CEL (github.com/google/cel-spec), evaluated by the CEL project's own runtime. They
see `args`, the validated arguments with decimals as numbers and dates as ISO 8601 text, and
`workflow`, its name: `args.amount > 50.0 && workflow != "night-shift"`. The runtime stops after
10 000 steps of a comprehension, which counts as a failure.
"""

import hashlib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from typing import Any, Final, Literal, get_args

import structlog

from orchestrator.domain.model import JsonObject, Ruling, Terms
from orchestrator.errors import ConfigError
from orchestrator.toolkit.plain import compact

Approval = Literal["allow", "ask", "deny"]

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Rule:
    """When a tool needs a person, and under which terms one is asked.

    Args:
        approval: What happens, or happens `when` the expression holds; see the module's table.
        when: A CEL expression over `args` and `workflow`; None for always.
        approvers: Who may decide, as in `Terms`; empty for the config's default.
        channel: Slack channel id; empty for the config's default.
        expires_after: From the request to its lapse; None for the config's default.
        start_within: From the approval to the start; None for the config's default.

    Raises:
        ConfigError: A value that cannot be meant.
    """

    approval: Approval = "ask"
    when: str | None = None
    approvers: tuple[str, ...] = ()
    channel: str = ""
    expires_after: timedelta | None = None
    start_within: timedelta | None = None

    def __post_init__(self) -> None:
        if self.approval not in get_args(Approval):
            raise ConfigError(f"approval: {self.approval!r} is not one of {', '.join(get_args(Approval))}")
        if self.when is not None and not (isinstance(self.when, str) and self.when.strip()):
            raise ConfigError("when: should be an expression; leave it out for always")
        _people(self.approvers)
        if not isinstance(self.channel, str):
            raise ConfigError("channel: should be a Slack channel id")
        _span("expires_after", self.expires_after)
        _span("start_within", self.start_within)

    @property
    def may_ask(self) -> bool:
        """Whether some call could end up as a question to people."""
        return self.approval == "ask" or self.when is not None

    def merged(self, override: "Mapping[str, Any] | Rule") -> "Rule":
        """This rule with what an override says instead.

        A `Rule` replaces it whole. A mapping replaces key by key (None means not said), except
        that `approval` and `when` go together: an override that says `approval` drops the old `when`.

        Raises:
            ConfigError: An unknown key, a wrong value, or `when` without `approval`.
        """
        if isinstance(override, Rule):
            return override
        _known_keys(override)
        said = {key: value for key, value in override.items() if value is not None}
        if "when" in said and "approval" not in said:
            raise ConfigError("when: say `approval` beside it, because the one gives the other its meaning")
        if "approval" in said:
            said.setdefault("when", None)
        if isinstance(said.get("approvers"), list):
            said["approvers"] = tuple(said["approvers"])
        return replace(self, **said)

    def in_words(self) -> str:
        """For people, for example "asks a person when `args.amount > 50.0`, otherwise runs"."""
        says, otherwise = WORDS[self.approval]
        return says if self.when is None else f"{says} when `{self.when}`, otherwise {otherwise}"


WORDS: Final = {
    "allow": ("runs without asking", "asks a person"),
    "ask": ("asks a person", "runs"),
    "deny": ("is refused", "asks a person"),
}


def _known_keys(override: Mapping[str, Any]) -> None:
    known = [f.name for f in fields(Rule)]
    for key in override:
        if key not in known:
            raise ConfigError(f"{key}: is not a setting of a tool; those are {', '.join(known)}")


def _people(approvers: object) -> None:
    if not isinstance(approvers, tuple):
        raise ConfigError("approvers: should be a list of ids")
    for person in approvers:
        if not isinstance(person, str) or not person or any(c.isspace() for c in person):
            raise ConfigError(f"approvers: {person!r} is not an id")


def _span(key: str, value: object) -> None:
    if value is not None and (not isinstance(value, timedelta) or value <= timedelta(0)):
        raise ConfigError(f"{key}: should be a span of time above zero")


STRINGS: Final = re.compile(
    r"""[rRbB]{0,2}(\"\"\"[\s\S]*?\"\"\"|'''[\s\S]*?'''|"(\\.|[^"\\])*"|'(\\.|[^'\\])*')"""
)
ARGUMENT: Final = re.compile(r"\bargs\s*\.\s*([A-Za-z_]\w*)(?!\w*\s*\()")


class Predicate:
    """A compiled `when`.

    Raises:
        ConfigError: It is no CEL, can never be true or false, or names a parameter the tool has not.
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
        for name in ARGUMENT.findall(STRINGS.sub('""', text)):
            if name not in parameters:
                raise ConfigError(f"when: `{text}` names args.{name}, which is no parameter of the tool")

    def holds(self, seen: JsonObject, workflow: str) -> bool | None:
        """True or false, or None when that cannot be said; never raises."""
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


YES: Final = {"allow": Ruling.ALLOW, "ask": Ruling.ASK, "deny": Ruling.DENY}
NO: Final = {"allow": Ruling.ASK, "ask": Ruling.ALLOW, "deny": Ruling.ASK}
UNSURE: Final = {"allow": Ruling.ASK, "ask": Ruling.ASK, "deny": Ruling.DENY}


class Gate:
    """A rule in force for one tool: compiled, with the config's defaults behind it.

    Args:
        rule: The tool's own, with all overrides.
        defaults: Where the rule says nothing.
        parameters: Names an expression may use after `args.`.

    Raises:
        ConfigError: A broken expression, or a rule that may ask while nobody may decide.
    """

    def __init__(self, rule: Rule, defaults: Terms, parameters: Collection[str]) -> None:
        self.rule = rule
        self.terms = Terms(
            approvers=rule.approvers or defaults.approvers,
            channel=rule.channel or defaults.channel,
            expires_after=rule.expires_after or defaults.expires_after,
            start_within=rule.start_within or defaults.start_within,
        )
        if rule.may_ask and not self.terms.approvers:
            raise ConfigError("approvers: calls may need approval, but nobody is named who may decide")
        self._predicate = Predicate(rule.when, parameters) if rule.when is not None else None
        self.version = _version(rule, self.terms)

    def rule_on(self, seen: JsonObject, workflow: str) -> Ruling:
        """What the rule says about these arguments; see the module's table."""
        if self._predicate is None:
            return YES[self.rule.approval]
        match self._predicate.holds(seen, workflow):
            case True:
                return YES[self.rule.approval]
            case False:
                return NO[self.rule.approval]
        return UNSURE[self.rule.approval]


def _version(rule: Rule, terms: Terms) -> str:
    """16 hex digits over everything the rule says, terms included."""
    canonical = {
        "approval": rule.approval,
        "when": rule.when,
        "approvers": list(terms.approvers),
        "channel": terms.channel,
        "expires_after_seconds": terms.expires_after.total_seconds(),
        "start_within_seconds": terms.start_within.total_seconds(),
    }
    return hashlib.sha256(compact(canonical).encode()).hexdigest()[:16]
