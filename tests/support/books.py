"""The judge's books: what an outsider knows of a history, who was asked and said what, and what happened.

Nothing here is read back from the tables under judgement: a question is written down the moment it was put,
an answer when it was accepted, an effect when the tool did it.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from support.clock import SettableClock
from support.toolkit import FakeToolkit, Rule

from orchestrator.domain.assessment import CallContext, Ruling
from orchestrator.domain.consent import AtTimeout, Edits, Stage, Terms
from orchestrator.domain.model import Outcome

Marks = tuple[str, str, str]
"""Versions of the tool and of the policy, and what the call would do."""


def marks(rule: Rule) -> Marks:
    return rule.version, rule.policy_version, rule.would


@dataclass(frozen=True)
class Effect:
    """Something a tool did, and how the policy stood when it began."""

    run: str
    call: str
    tool: str
    arguments: Mapping[str, Any]
    at: datetime
    marks: Marks
    ruling: Ruling


@dataclass
class Asked:
    """A question as it was put. `author` edited it; `latest`: until when it may be answered, once known."""

    run: str
    call: str
    tool: str
    arguments: Mapping[str, Any]
    marks: Marks
    terms: Terms
    at: datetime
    latest: datetime | None = None
    author: str = ""
    yeses: list[tuple[str, datetime]] = field(default_factory=list)
    over: str = ""  # what ended it other than yeses


class Watched(FakeToolkit):
    """Tools whose effects are written down with the moment and the policy."""

    clock: SettableClock
    seen: list[Effect]

    async def execute(
        self, tool: str, arguments: Any, context: CallContext, cancelled: asyncio.Event
    ) -> Outcome:
        rule, before = self.rules[tool], len(self.ledger)
        one = Effect(
            context.run_id, context.call_id, tool, dict(arguments), self.clock(), marks(rule), rule.ruling
        )
        try:
            return await super().execute(tool, arguments, context, cancelled)
        finally:
            self.seen.extend([one] * (len(self.ledger) - before))


@dataclass
class Books:
    """Questions by their id."""

    asked: dict[str, Asked] = field(default_factory=dict)
    retried: dict[str, datetime] = field(default_factory=dict)
    """By call: when a person last said that it did not happen and is to run."""
    ended: dict[str, int] = field(default_factory=dict)
    """By run: how many effects there were when it was cancelled or stopped."""
    forged: set[str] = field(default_factory=set)
    """Questions whose decision was tampered with: an answer since then counts if it would have anyway."""
    spoiled: dict[str, int] = field(default_factory=dict)
    """Questions of which a sealed part was changed, and how many effects there were: none may follow.

    Who may answer is asked of the tool that stands there now; it comes to nothing.
    """

    def ask(self, approval: str, put: Asked) -> None:
        if put.terms.at_timeout is AtTimeout.REJECT:
            put.latest = put.at + put.terms.expires_after
        self.asked[approval] = put

    def escalated(self, approval: str, at: datetime) -> None:
        """Its first time was up, and that was noticed: it has as much once more."""
        put = self.asked[approval]
        put.latest = put.latest or at + put.terms.expires_after

    def yes(self, approval: str, person: str, at: datetime, now: Terms) -> None:
        """Somebody's yes was accepted: they must have been entitled to it, in time, and once."""
        put = self.asked[approval]
        wrong = self._wrong(approval, put, person, at, now)
        if person in [who for who, _ in put.yeses]:
            wrong = f"{person} counted twice"
        assert not wrong or approval in (*self.forged, *self.spoiled), wrong
        if not wrong:
            put.yeses.append((person, at))

    def no(self, approval: str, person: str, word: str, at: datetime, now: Terms) -> None:
        put = self.asked[approval]
        wrong = self._wrong(approval, put, person, at, now)
        assert not wrong or approval in (*self.forged, *self.spoiled), wrong
        put.over = word

    def _wrong(self, approval: str, put: Asked, person: str, at: datetime, now: Terms) -> str:
        """Why that answer should not have been accepted; empty where it should."""
        if not self.entitled(put, person, put.terms):
            return f"{person} was not asked about {approval}"
        if not self.entitled(put, person, now, at_all=True):
            return f"{person} may no longer decide"
        if self.enough(put):
            return f"a second decision about {approval} stood"
        if put.over:
            return f"{approval} was {put.over} already"
        late = put.latest is not None and at >= put.latest
        return f"{approval} was answered too late" if late else ""

    def entitled(self, put: Asked, person: str, terms: Terms, *, at_all: bool = False) -> bool:
        """Whether they are asked in the stage it is in, or in any."""
        if person == put.author and Edits.OTHER in (terms.edits, put.terms.edits):
            return False
        stage = self.stage(put)
        steps = terms.steps if at_all or stage is None else (stage,)
        late = terms.escalate_to if put.terms.at_timeout is AtTimeout.ESCALATE else ()
        return person not in terms.never and any(person in (*s.approvers, *late) for s in steps)

    def stage(self, put: Asked) -> Stage | None:
        """The first one that has not its yeses; None where all have."""
        left = len(put.yeses)
        for step in put.terms.steps:
            if left < step.quorum:
                return step
            left -= step.quorum
        return None

    def enough(self, put: Asked) -> bool:
        return self.stage(put) is None

    def judge(self, seen: list[Effect]) -> None:
        """Every effect was decided about, just as it happened, or needed nobody."""
        for number, effect in enumerate(seen):
            assert number < self.ended.get(effect.run, len(seen)), f"{effect} after its run was ended"
            mine = {i: q for i, q in self.asked.items() if q.call == effect.call}
            said_no = [q.over for q in mine.values() if q.over in ("rejected", "answered")]
            assert not said_no, f"{effect} although it was {said_no[0]}"
            # An answer under a policy of before is spent at the gate; then a person must say that it may run.
            spent = effect.call in self.retried or not any(self.enough(q) for q in mine.values())
            last = [(q.tool, q.arguments) for q in mine.values()][-1:]
            same = last in ([], [(effect.tool, effect.arguments)])
            free = effect.ruling is Ruling.ALLOW and spent and same
            known = any(self.covers(i, q, effect, number) for i, q in mine.items())
            assert free or known, f"{effect} without a matching decision; asked were {mine}"
        calls = [e.call for e in seen]
        assert len(calls) == len(set(calls)), "a call took effect twice"

    def covers(self, approval: str, put: Asked, effect: Effect, number: int) -> bool:
        """Whether the answers to that question let exactly this happen, then."""
        same = (put.tool, put.arguments, put.marks) == (effect.tool, effect.arguments, effect.marks)
        spoiled = number >= self.spoiled.get(approval, number + 1)
        if not same or spoiled or not self.enough(put) or put.over:
            return False
        began = max(put.yeses[-1][1], self.retried.get(put.call, put.at))
        return effect.at <= began + put.terms.start_within
