"""Who must be asked before a tool runs: rules, and their `when` expressions.

A rule's `approval` says what happens, `when` narrows it, and whatever is not covered falls to the
next stricter or milder side. An expression that fails, or says neither true nor false, counts as
the stricter side:

    approval   when true   when false   when it fails   without `when`
    allow      allow       ask          ask             allow
    ask        ask         allow        ask             ask
    deny       deny        ask          deny            deny

Above all rules stand the `Forbidden` calls: they are refused whatever a rule or a person says, and an
expression of theirs that fails refuses the call. What expressions are: see `toolkit.predicate`.
"""

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import timedelta
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Any, Final, Literal, get_args

import msgspec

from orchestrator.domain.assessment import Ruling
from orchestrator.domain.consent import Terms
from orchestrator.domain.plain import JsonObject
from orchestrator.domain.terms import faults
from orchestrator.domain.values import replace
from orchestrator.errors import ConfigError
from orchestrator.toolkit.people import People, names, said, terms_of
from orchestrator.toolkit.plain import compact
from orchestrator.toolkit.predicate import Predicate

Approval = Literal["allow", "ask", "deny"]
NOTHING_SAID: Final = People()


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
        people: How they are asked: how many, in which stages, who never, and so on.

    Raises:
        ConfigError: A value that cannot be meant.
    """

    approval: Approval = "ask"
    when: str | None = None
    approvers: tuple[str, ...] = ()
    channel: str = ""
    expires_after: timedelta | None = None
    start_within: timedelta | None = None
    people: People = NOTHING_SAID

    def __post_init__(self) -> None:
        if self.approval not in get_args(Approval):
            raise ConfigError(f"approval: {self.approval!r} is not one of {', '.join(get_args(Approval))}")
        if self.when is not None and not (isinstance(self.when, str) and self.when.strip()):
            raise ConfigError("when: should be an expression; leave it out for always")
        if not isinstance(self.approvers, tuple):
            raise ConfigError("approvers: should be a list of ids")
        names("approvers", self.approvers)
        if self.people.stages and (self.approvers or self.people.quorum is not None):
            raise ConfigError("stages: name approvers and quorum of their own; leave out those beside them")
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
        `stages` drop `approvers` and `quorum`, `approvers` drop `stages`. `never` adds up.

        Raises:
            ConfigError: An unknown key, a wrong value, or `when` without `approval`.
        """
        if isinstance(override, Rule):
            return override
        _known_keys(override)
        told = {key: value for key, value in override.items() if value is not None}
        if "when" in told and "approval" not in told:
            raise ConfigError("when: say `approval` beside it, because the one gives the other its meaning")
        if "approval" in told:
            told.setdefault("when", None)
        if isinstance(told.get("approvers"), list):
            told["approvers"] = tuple(told["approvers"])
        base = self.people
        if told.get("stages"):
            told.setdefault("approvers", ())
            base = replace(base, quorum=None)
        elif told.get("approvers"):
            base = replace(base, stages=())
        people = said({key: told.pop(key) for key in PEOPLE if key in told}, base)
        return replace(self, **told, people=people)

    def in_words(self) -> str:
        """For people, for example "asks a person when `args.amount > 50.0`, otherwise runs"."""
        says, otherwise = WORDS[self.approval]
        return says if self.when is None else f"{says} when `{self.when}`, otherwise {otherwise}"


WORDS: Final = {
    "allow": ("runs without asking", "asks a person"),
    "ask": ("asks a person", "runs"),
    "deny": ("is refused", "asks a person"),
}


OWN: Final = tuple(f.name for f in fields(Rule) if f.name != "people")
PEOPLE: Final = tuple(f.name for f in fields(People))


def _known_keys(override: Mapping[str, Any]) -> None:
    for key in override:
        if key not in (*OWN, *PEOPLE):
            raise ConfigError(f"{key}: is not a setting of a tool; those are {', '.join((*OWN, *PEOPLE))}")


def _span(key: str, value: object) -> None:
    if value is not None and (not isinstance(value, timedelta) or value <= timedelta(0)):
        raise ConfigError(f"{key}: should be a datetime.timedelta above zero")


@dataclass(frozen=True, slots=True)
class Forbidden:
    """Calls nobody can let pass, in the operator's own words.

    Args:
        tool: A tool's name, or a pattern for names with `*`, `?` or `[…]`.
        when: A CEL expression over `args` and `workflow`; None for every call.
        reason: Why; the model is told.
    """

    tool: str
    when: str | None = None
    reason: str = ""

    def matches(self, tool: str) -> bool:
        return fnmatchcase(tool, self.tool)

    @property
    def one(self) -> bool:
        """Whether it names one tool, and no pattern."""
        return not set(self.tool) & set("*?[")

    def in_words(self) -> str:
        """For people, for example "forbidden when `args.amount > 10000.0`: too much for a machine"."""
        return "forbidden" + (f" when `{self.when}`" if self.when else "") + f": {self.reason}"


class Ban:
    """A `Forbidden` in force for one tool.

    Raises:
        ConfigError: A broken expression.
    """

    def __init__(self, forbidden: Forbidden, parameters: Collection[str]) -> None:
        self.forbidden = forbidden
        self._predicate = Predicate(forbidden.when, parameters) if forbidden.when is not None else None

    @property
    def always(self) -> bool:
        return self._predicate is None

    def holds(self, seen: JsonObject, workflow: str) -> bool | None:
        """True or false, or None where that cannot be said, which refuses as well."""
        return True if self._predicate is None else self._predicate.holds(seen, workflow)

    @property
    def told(self) -> str:
        """What the model hears."""
        return f"denied by policy: {self.forbidden.reason}" if self.forbidden.reason else "denied by policy"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What policy says about a call, and why.

    Args:
        held: What the expression that decided said: None where there was none, or it could not be told.
        ban: The forbidden kind of call it is, if it is one.
        reason: For the model, where it is denied.
    """

    ruling: Ruling
    held: bool | None = None
    ban: Forbidden | None = None
    reason: str = ""


YES: Final = {"allow": Ruling.ALLOW, "ask": Ruling.ASK, "deny": Ruling.DENY}
NO: Final = {"allow": Ruling.ASK, "ask": Ruling.ALLOW, "deny": Ruling.ASK}
UNSURE: Final = {"allow": Ruling.ASK, "ask": Ruling.ASK, "deny": Ruling.DENY}


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the rule in force comes from, in words: who said `approval`, and who said who decides."""

    approval: str = "@tool"
    people: str = "approvals"


class Gate:
    """A rule in force for one tool: compiled, with the config's defaults behind it and the bans above it.

    Args:
        rule: The tool's own, with all overrides.
        defaults: Where the rule says nothing; without roles.
        parameters: Names an expression may use after `args.`.
        roles: Who stands behind `role:<name>`.
        bans: Those that match the tool.
        sources: Who said `approval`, and who said who decides; for people.
        shaped: Makes of the terms what its tool needs of them.

    Raises:
        ConfigError: A broken expression, or a rule that may ask while nobody, or too few, may decide.
    """

    def __init__(
        self,
        rule: Rule,
        defaults: Terms,
        parameters: Collection[str],
        *,
        roles: Mapping[str, Sequence[str]] = MappingProxyType({}),
        bans: Sequence[Ban] = (),
        sources: Sources = Sources(),
        shaped: Callable[[Terms], Terms] | None = None,
    ) -> None:
        self.rule = rule
        self.bans = tuple(bans)
        self.sources = sources
        self.terms = replace(
            terms_of(rule.approvers, rule.people, defaults, roles),
            channel=rule.channel or defaults.channel,
            expires_after=rule.expires_after or defaults.expires_after,
            start_within=rule.start_within or defaults.start_within,
        )
        if shaped is not None:
            self.terms = shaped(self.terms)
        if rule.may_ask:
            _can_be_met(self.terms)
        self._predicate = Predicate(rule.when, parameters) if rule.when is not None else None
        self.version = _version(rule, self.terms, [ban.forbidden for ban in self.bans])

    def forbids(self) -> Judgement | None:
        """A ban that asks for no arguments, if there is one."""
        always = next((ban for ban in self.bans if ban.always), None)
        return Judgement(Ruling.DENY, True, always.forbidden, always.told) if always else None

    def judge(self, seen: JsonObject, workflow: str) -> Judgement:
        """What bans and rule say about these arguments; see the module's table."""
        for ban in self.bans:
            if (held := ban.holds(seen, workflow)) is not False:
                return Judgement(Ruling.DENY, held, ban.forbidden, ban.told)
        held = self._predicate.holds(seen, workflow) if self._predicate else None
        sides = YES if self._predicate is None or held else NO if held is False else UNSURE
        ruling = sides[self.rule.approval]
        return Judgement(ruling, held, reason="denied by policy" if ruling is Ruling.DENY else "")


def _can_be_met(terms: Terms) -> None:
    if not terms.approvers and not terms.stages:
        raise ConfigError(
            "approvers: calls may need approval, but nobody is named who may decide,"
            " here or in approvals.approvers"
        )
    if wrong := [f"{key}: {text}" for key, text in faults(terms)]:
        raise ConfigError("; ".join(wrong))


def _version(rule: Rule, terms: Terms, bans: Sequence[Forbidden]) -> str:
    """16 hex digits over everything the rule says, terms and bans included.

    What is left as `Terms` has it by itself is left out, so that a new kind of term changes no
    version by its mere existence: that would spoil every request that is open over an upgrade.
    """
    canonical: dict[str, Any] = {
        "approval": rule.approval,
        "when": rule.when,
        "approvers": list(terms.approvers),
        "channel": terms.channel,
        "expires_after_seconds": terms.expires_after.total_seconds(),
        "start_within_seconds": terms.start_within.total_seconds(),
    }
    usual = Terms(approvers=())
    for key in PEOPLE:
        if (value := getattr(terms, key)) != getattr(usual, key):
            canonical[key] = msgspec.to_builtins(value)
    if bans:
        canonical["forbidden"] = [msgspec.to_builtins(ban) for ban in bans]
    return hashlib.sha256(compact(canonical).encode()).hexdigest()[:16]
