"""Tools that do nothing but write down that they did it: the ledger is the only judge of "once"."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from support.conversation import TERMS

from orchestrator.domain.assessment import CallContext, Finding, Ruling
from orchestrator.domain.consent import Preview, Terms
from orchestrator.domain.exchange import FunctionCall
from orchestrator.domain.jobs import JobWish, Waiting
from orchestrator.domain.model import Outcome, OutcomeKind, Recipe
from orchestrator.domain.plain import JsonObject
from orchestrator.errors import UnavailableError, UncertainError

T = TypeVar("T")


@dataclass
class Rule:
    """A tool and the policy over it.

    `acts` is what the next executions do, then `fine` for ever: `fine`, `fails`, `uncertain` (after
    its effect), `busy` (nothing was started), `raises`. `gate`, where given, is waited for before
    the effect. `would`, where given, is what a preview says; `blind` is what its next tries come to
    (`busy`, or why there is none). `waits` are jobs its call waits for, instead of a result.
    """

    ruling: Ruling = Ruling.ALLOW
    idempotent: bool = False
    terms: Terms = TERMS
    acts: list[str] = field(default_factory=list)
    gate: asyncio.Event | None = None
    version: str = "1"
    policy_version: str = "1"
    would: str = ""
    blind: list[str] = field(default_factory=list)
    must_see: bool = True
    waits: tuple[JobWish, ...] = ()


@dataclass(frozen=True)
class Entry:
    """One effect on the world."""

    call_id: str
    run_id: str
    tool: str
    arguments: JsonObject
    approved_by: str


@dataclass
class FakeToolkit:
    """Implements `ToolkitPort`."""

    rules: dict[str, Rule] = field(default_factory=dict)
    ledger: list[Entry] = field(default_factory=list)
    starts: Counter[str] = field(default_factory=Counter)
    heard_cancel: set[str] = field(default_factory=set)
    barred: set[str] = field(default_factory=set)  # runs for which nothing may start any more
    violations: list[str] = field(default_factory=list)
    looks: Counter[str] = field(default_factory=Counter)
    before_effect: asyncio.Event = field(default_factory=asyncio.Event)  # somebody is at a gate

    def declarations(self, names: Sequence[str]) -> tuple[JsonObject, ...]:
        return tuple({"type": "function", "name": name} for name in names)

    def find(self, recipe: Recipe, call: FunctionCall) -> Finding:
        rule = self.rules.get(call.name) if call.name in recipe.tools else None
        if rule is None:
            return Finding(Ruling.UNKNOWN, reason=f"there is no tool {call.name}")
        if call.arguments is None or "bad" in call.arguments:
            said = "is not a parameter"
            return Finding(Ruling.INVALID, reason="the arguments do not fit", problems=(("bad", said),))
        return Finding(
            rule.ruling,
            call.arguments,
            "not allowed" if rule.ruling is Ruling.DENY else "",
            rule.idempotent,
            rule.terms if rule.ruling is Ruling.ASK else None,
            rule.version,
            rule.policy_version,
            bool(rule.would),
            rule.must_see,
        )

    def terms(self, recipe: Recipe, tool: str) -> Terms | None:
        return self.rules[tool].terms if tool in self.rules else None

    def describe(self, tool: str) -> str:
        return f"what {tool} does"

    async def preview(self, tool: str, arguments: JsonObject, context: CallContext) -> Preview:
        self.looks[context.call_id] += 1
        await asyncio.sleep(0)
        rule = self.rules[tool]
        trouble = rule.blind.pop(0) if rule.blind else ""
        if trouble == "busy":
            raise UnavailableError("no room")
        return Preview("" if trouble else f"{rule.would} {dict(arguments)}", trouble)

    async def execute(
        self, tool: str, arguments: JsonObject, context: CallContext, cancelled: asyncio.Event
    ) -> Outcome | Waiting:
        if cancelled.is_set():
            return Outcome(OutcomeKind.WITHDRAWN, "the run was cancelled before it began")
        rule = self.rules[tool]
        act = rule.acts.pop(0) if rule.acts else "fine"
        if act == "busy":
            raise UnavailableError("no room")
        if context.run_id in self.barred:
            self.violations.append(f"{tool} started after its run was cancelled")
        self.starts[context.call_id] += 1
        if rule.gate is not None:
            self.before_effect.set()
            await rule.gate.wait()
        else:
            await asyncio.sleep(0)
        if cancelled.is_set():
            self.heard_cancel.add(context.call_id)
        return self._effect(tool, arguments, context, rule, act)

    def _effect(
        self, tool: str, arguments: JsonObject, context: CallContext, rule: Rule, act: str
    ) -> Outcome | Waiting:
        if act == "fails":
            return Outcome(OutcomeKind.FAILED, "out of stock")
        if act == "raises":
            raise ZeroDivisionError("a bug in the toolkit itself")
        known = any(e.call_id == context.call_id for e in self.ledger)
        if not (rule.idempotent and known):  # the other side knows the key
            by = context.approved_by.id if context.approved_by else ""
            self.ledger.append(Entry(context.call_id, context.run_id, tool, dict(arguments), by))
        if act == "uncertain":
            raise UncertainError("timed out")
        return Waiting(rule.waits) if rule.waits else Outcome(OutcomeKind.SUCCEEDED, {"done": tool})

    def effects(self) -> Counter[str]:
        """How often each call took effect."""
        return Counter(entry.call_id for entry in self.ledger)
