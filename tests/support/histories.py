"""Approvals under everything that befalls them, played and judged: who decided what, and what ran by it.

    cd tests && python -m support.histories --count 10000      in the folder of the tests
    cd tests && python -m support.histories --seed 4711        one of them, again

Each seed is one run with a few gated calls: decisions of everybody, entitled or not, edits, answers in the
tool's place, quorums, stages, previews that drift, changes of the policy, lapses, cancels, processes that die
at any point, everything twice, and changes made in the database behind the service's back. `Books` judges,
which knows only what an outsider knows. The real steps, gates and transactions, on SQLite in memory.
"""

import argparse
import asyncio
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.orm import Session
from support.books import Asked, Books, Watched, marks
from support.clock import SettableClock
from support.conversation import ANNA, BEN, TERMS
from support.deaths import arm, disarm
from support.gemini import FakeGemini
from support.toolkit import Rule
from support.world import MortalPerformer, OneThread

from orchestrator.domain.assessment import Ruling
from orchestrator.domain.consent import Actor, Approval, ApprovalStatus, AtTimeout, Edits, Stage, Verdict
from orchestrator.domain.effects import Effect, EffectKind
from orchestrator.domain.events import AttentionResolved, CallDoubted, CancelRequested, Choice, CreateClaimed
from orchestrator.domain.exchange import FunctionCall, Snapshot
from orchestrator.domain.lifecycle import open_run
from orchestrator.domain.model import CallStatus, OutcomeKind, Policy, Recipe, Run, RunStatus, ToolCall
from orchestrator.domain.values import replace
from orchestrator.engine import answers, step
from orchestrator.errors import InvalidError
from orchestrator.store import audit, audit_check, claims, migrate, outbox, run_rows, runs, turns

COUNT: Final = 10_000
CLEO, EVE = Actor("U0CLEO", "cleo", "slack"), Actor("U0EVE", "eve", "slack")
PEOPLE: Final = (ANNA, BEN, CLEO, EVE)
ONE: Final = replace(TERMS, approvers=(ANNA.id, BEN.id, CLEO.id), never=(EVE.id,))
STAGES: Final = (Stage("risk", (ANNA.id, BEN.id)), Stage("legal", (CLEO.id, BEN.id)))
PERFORMED: Final = (EffectKind.PREVIEW_CALL, EffectKind.EXECUTE_TOOL, EffectKind.EXPIRE_APPROVAL)
DEATHS: Final = ("before_preview", "after_preview", "before_tool", "after_tool", "after_tool_stored")
MOVING: Final = (CallStatus.PREVIEWING, CallStatus.READY, CallStatus.EXECUTING)
QUESTION: Final = {"question": "Which?", "kind": "choice", "choices": ["red", "blue"]}
FORGED: Final = (
    '{"approve": true, "by": {"id": "U0EVE", "name": "", "door": "api"}, "at": "2026-11-21T12:00:00Z"}'
)

SEALED: Final = {
    "arguments": "UPDATE call SET arguments = '{\"n\": 666}' WHERE id = :call",
    "tool": "UPDATE call SET tool = 'note' WHERE id = :call",
    "call": "UPDATE call SET call_id = 'fc77' WHERE id = :call",
    "interaction": "UPDATE turn SET interaction_id = 'i_other' WHERE run_id = :run",
    "workflow": "UPDATE run SET recipe = json_set(recipe, '$.workflow', 'other') WHERE id = :run",
    "digest": "UPDATE approval SET digest = replace(digest, substr(digest, 17, 1), 'x') WHERE id = :approval",
    "preview": "UPDATE approval SET preview = json_set(preview, '$.text', 'nothing') WHERE id = :approval",
}
"""What the digest seals, as the tables have it; versions of tool and policy are changed where they are."""
OF_DECISION: Final = {
    "status": "UPDATE approval SET status = iif(status = 'approved', 'pending', 'approved')"
    " WHERE id = :approval",
    "verdict": "UPDATE approval SET verdict = :forged WHERE id = :approval",
    "votes": "UPDATE approval SET votes = json_insert(votes, '$[#]', json_object('by',"
    " json_extract(:forged, '$.by'), 'at', '2026-11-21T12:00:00Z', 'stage', 0)) WHERE id = :approval",
    "who may": "UPDATE approval SET terms = json_set(terms, iif(json_array_length(terms, '$.stages'),"
    " '$.stages[0].approvers[0]', '$.approvers[0]'), 'U0EVE', '$.quorum', 1) WHERE id = :approval",
    "end": "UPDATE approval SET expires_at = '2031-01-01 00:00:00.000000' WHERE id = :approval",
    "start": "UPDATE approval SET start_by = '2031-01-01 00:00:00.000000' WHERE id = :approval",
}
"""What was decided, and by whom it may be: the audit is held against these."""
EVERYWHERE: Final = ("interaction", "workflow")
"""Parts that all calls of the turn share."""
COLUMNS: Final = {"who may": "terms", "end": "expires_at", "start": "start_by"}
"""Where they are, if they are not named like their column."""
WHILE_IT_COUNTS: Final = ("who may", "end")
"""Parts that mean nothing any more once the question is over."""


def rules() -> dict[str, Rule]:
    """A tool for each kind of question, and two that need nobody."""
    kinds = {
        "note": Rule(idempotent=True),
        "look": Rule(),
        "pay": Rule(Ruling.ASK, terms=ONE),
        "refund": Rule(Ruling.ASK, idempotent=True, terms=replace(ONE, edits=Edits.SAME, answers=True)),
        "wire": Rule(Ruling.ASK, terms=replace(ONE, quorum=2, edits=Edits.SAME)),
        "wipe": Rule(Ruling.ASK, would="gone", terms=replace(ONE, approvers=(), stages=STAGES)),
        "move": Rule(Ruling.ASK, would="moved", terms=replace(ONE, edits=Edits.OTHER)),
        "late": Rule(
            Ruling.ASK,
            terms=replace(ONE, at_timeout=AtTimeout.ESCALATE, escalate_to=(CLEO.id,), edits=Edits.OTHER),
        ),
        "ask_human": Rule(Ruling.ASK, terms=ONE),
    }
    return {name: replace(rule, acts=[], blind=[]) for name, rule in kinds.items()}


class InMemory(OneThread):
    """One database for many histories, emptied in between."""

    def __init__(self) -> None:
        super().__init__("sqlite://", lambda: 0)
        migrate.upgrade(self.engine)
        self._emptying = [f"DELETE FROM {t.name}" for t in reversed(migrate.TABLES)]  # noqa: S608

    def wipe(self) -> None:
        with self.engine.begin() as conn:
            for statement in self._emptying:
                conn.exec_driver_sql(statement)


class History:
    """One of them."""

    def __init__(self, database: OneThread, seed: int) -> None:
        self.dice, self.database = random.Random(seed), database
        self.clock, self.books, self.found = SettableClock(), Books(), Counter[str]()
        self.toolkit = Watched(rules())
        self.toolkit.clock, self.toolkit.seen = self.clock, []
        self.policy = Policy()
        self.id = f"run_{seed:024x}"
        self.poked: tuple[str, str, str] | None = None  # which part of which call and question
        self.run: Run | None = None  # as it was seen last
        self.edits: dict[str, Actor] = {}  # by call, whose edit has not been asked about yet
        self.final: RunStatus | None = None
        self.boot()

    def boot(self) -> None:
        """A new process; who held a claim is gone."""
        self.performer = MortalPerformer(
            self.database,
            FakeGemini(),
            self.toolkit,
            None,
            policy=self.policy,
            clock=self.clock,
            roll=self.dice.random,
        ).begin()

    def write(self, job: Any, *args: Any, **kwargs: Any) -> Any:
        self.run = None  # whatever was known of it
        with Session(self.database.engine, expire_on_commit=False) as s, s.begin():
            value = job(s, *args, **kwargs)
            audit.append(s)
            return value

    def apply(self, event: Any) -> step.Applied:
        done: step.Applied = self.write(step.apply, self.id, event, policy=self.policy, now=self.clock())
        return done

    # --- the model ---------------------------------------------------------------------

    def begin(self) -> None:
        """The run is asked for, and its model wants a few calls."""
        recipe = Recipe("refunds", model="gemini-3.8-flash", tools=tuple(self.toolkit.rules))

        def job(s: Session) -> None:
            opened = open_run(self.id, recipe, "story", EVE, now=self.clock())
            runs.insert(s, opened, now=self.clock())
            outbox.add(s, self.id, opened.effects)

        self.write(job)
        self.apply(CreateClaimed(1, 1))
        tools = self.dice.choices(
            [*self.toolkit.rules], [1, 1, 2, 3, 3, 2, 2, 2, 1], k=self.dice.randint(1, 3)
        )
        given = [QUESTION if t == "ask_human" else {"n": n, "to": "x"} for n, t in enumerate(tools)]
        calls = tuple(FunctionCall(f"fc{n}", t, given[n]) for n, t in enumerate(tools))
        self.seen = Snapshot("i_1", "requires_action", calls)
        self.observe()

    def observe(self) -> None:
        self.write(
            step.observe, (self.id, 1, 1), self.seen, self.toolkit, policy=self.policy, now=self.clock()
        )
        self.look()

    def look(self) -> Run:
        """What an outsider sees after each move: the questions that are new, an end that stays one."""
        if self.run is not None:
            return self.run
        with Session(self.database.engine, expire_on_commit=False) as s:
            run = self.run = runs.load(s, self.id)
        assert self.final in (None, run.status), "an ended run moved"
        self.final = run.status if run.closed else None
        for call in run.turn.calls:
            if call.approval is not None and call.approval.id not in self.books.asked:
                self.write_down(call, call.approval)
            if call.approval is not None and call.approval.escalated:
                self.books.escalated(call.approval.id, self.clock())
        return run

    def write_down(self, call: ToolCall, approval: Approval) -> None:
        """Before anything else happens: this is what people are asked."""
        rule, now = self.toolkit.rules[call.tool], self.clock()
        before = [q for q in self.books.asked.values() if q.call == call.id]
        put = Asked(self.id, call.id, call.tool, dict(call.arguments), marks(rule), approval.terms, now)
        self.books.ask(approval.id, put)
        edit = self.edits.pop(call.id, None)
        if edit is not None:
            put.author, put.latest = edit.id, before[-1].latest
            same = {before[-1].terms.edits, put.terms.edits} == {Edits.SAME}
            if same and not rule.would and self.books.entitled(put, edit.id, put.terms):
                self.books.yes(approval.id, edit.id, now, rule.terms)

    # --- moves -------------------------------------------------------------------------

    async def step(self) -> None:
        moves: dict[Callable[[], Coroutine[Any, Any, None] | None], float] = {
            self.work: 6,
            self.decide: 7,
            self.edit: 2,
            self.change_policy: 0.8,
            self.wait: 1.2,
            self.die: 0.8,
            self.repeat: 1.0,
            self.poke: 1.0,
            self.resolve: 1.5,
            self.go_wrong: 0.6,
            self.cancel: 0.2,
        }
        (move,) = self.dice.choices([*moves], [*moves.values()])
        if (working := move()) is not None:
            await working
        self.look()

    async def work(self) -> None:
        """What is due of previews, tools and lapses; a death on the way is followed by another process."""
        for which, _ in self.write(claims.due, self.clock(), 20, PERFORMED):
            taken = await self.performer.commits.take(which)
            if taken is not None and taken.own is not None:
                await self.performer.perform(taken.own)
            self.run = None
            if self.performer.dead:
                disarm()
                self.boot()
                self.write(claims.release_all, self.clock())
            self.look()

    def questions(self, *, open_only: bool = True) -> list[tuple[ToolCall, Approval]]:
        run = self.look()
        known = [(c, c.approval) for c in run.turn.calls if c.approval is not None]
        return [(c, a) for c, a in known if a.open or not open_only]

    def decide(self) -> None:
        """Anybody about anything, mostly of what was shown; sometimes pressed twice."""
        asked = self.questions(open_only=self.dice.random() < 0.8)
        if asked:
            call, approval = self.dice.choice(asked)
            word = self.dice.choices(["yes", "no", "stop", "answer"], [14, 2, 0.5, 1.5])[0]
            shown = approval.digest if self.dice.random() < 0.93 else "e" * 64
            by = self.dice.choices(PEOPLE, [4, 3, 3, 1])[0]
            for _ in range(self.dice.choices([1, 2], [4, 1])[0]):
                self.say(call, approval, by, word, shown)

    def say(self, call: ToolCall, approval: Approval, by: Actor, word: str, shown: str) -> None:
        answer = "red" if word == "answer" else None
        verdict = Verdict(word == "yes", by, self.clock(), "because", answer=answer, stop=word == "stop")
        person = answers.Person(by, by.id, (), shown)
        told: answers.Decided | None = None
        with suppress(InvalidError):
            told = self.write(answers.decide, approval.id, person, verdict, self.bench())
        if told is None or told.refused is not None:
            self.found["refused"] += 1
            return
        assert by is not EVE, "somebody who may not decided"
        now = self.toolkit.rules[self.books.asked[approval.id].tool].terms
        if word == "yes":
            self.books.yes(approval.id, by.id, self.clock(), now)
        else:
            ended = "answered" if word == "answer" else "rejected"
            self.books.no(approval.id, by.id, ended, self.clock(), now)
        if word == "stop":
            self.books.ended.setdefault(self.id, len(self.toolkit.seen))
        self.found[word] += 1

    def bench(self) -> answers.DecisionContext:
        return answers.DecisionContext(self.toolkit, self.policy, self.clock())

    def edit(self) -> None:
        """Other arguments; the old question is spent, whatever was said about it."""
        asked = self.questions()
        if not asked or self.poked is not None:
            return
        call, approval = self.dice.choice(asked)
        by = self.dice.choice(PEOPLE)
        person = answers.Person(by, by.id, (), approval.digest)
        given = {"n": self.dice.choice([call.arguments.get("n"), 7, 8]), "to": "y"}
        told = self.write(answers.edit, approval.id, person, given, "better so", self.bench())
        if told.refused is None:
            assert by is not EVE, "somebody who may not edited"
            self.books.asked[approval.id].over = "replaced"
            self.edits[call.id] = by
            self.found["edit"] += 1

    def change_policy(self) -> None:
        """Another version, another ruling, other approvers, another outlook."""
        name = self.dice.choice([*self.toolkit.rules])
        rule, kind = (
            self.toolkit.rules[name],
            self.dice.choice(["tool", "policy", "ruling", "people", "would"]),
        )
        number = f"{self.dice.randint(2, 99)}"
        if kind == "tool":
            rule.version = number
        elif kind == "policy":
            rule.policy_version = number
        elif kind == "ruling" and name != "ask_human":
            rule.ruling, rule.policy_version = self.dice.choice([*Ruling][:3]), number
        elif kind == "people" and not rule.terms.stages:
            rule.terms = replace(rule.terms, approvers=(ANNA.id, CLEO.id))
        elif kind == "would" and rule.would:
            rule.would = f"{rule.would}, and more"
        self.found["policy"] += 1

    def wait(self) -> None:
        """Some time; up to just before or just after an end."""
        ends = [a.expires_at for _, a in self.questions()] + [
            a.start_by for _, a in self.questions(open_only=False) if a.start_by is not None
        ]
        if ends and self.dice.random() < 0.5:
            self.clock.reach(self.dice.choice(ends) + timedelta(seconds=self.dice.choice([-1, 0, 1])))
        else:
            self.clock.advance(timedelta(minutes=self.dice.choice([1, 20, 50])))

    def die(self) -> None:
        """At once, or at the next point of that name."""
        if self.dice.random() < 0.3:
            self.boot()
            self.write(claims.release_all, self.clock())
        arm(self.dice.choice(DEATHS), self.dice.randint(1, 2))

    def repeat(self) -> None:
        """What was read is read again; what was asked for is asked for again."""
        if self.dice.random() < 0.5 and (self.poked is None or self.poked[0] not in EVERYWHERE):
            self.observe()
        again = [
            Effect(kind, call.id, self.clock())
            for call in self.look().turn.calls
            for kind in (EffectKind.EXECUTE_TOOL, EffectKind.PREVIEW_CALL)
        ]
        self.write(outbox.add, self.id, again)

    def resolve(self) -> None:
        """A person says what they saw, where nobody else can know."""
        run = self.look()
        doubtful = [c for c in run.turn.calls if c.status is CallStatus.IN_DOUBT]
        if run.status is RunStatus.ATTENTION and doubtful:
            call = self.dice.choice(doubtful)
            happened = any(e.call == call.id for e in self.toolkit.seen)
            choice = (
                Choice.HAPPENED
                if happened
                else self.dice.choice([Choice.RETRY, Choice.RETRY, Choice.GIVE_UP])
            )
            if choice is Choice.RETRY:
                self.books.retried[call.id] = self.clock()
            self.apply(AttentionResolved(choice, ANNA, call.id, "seen"))

    def go_wrong(self) -> None:
        rule = self.toolkit.rules[self.dice.choice([*self.toolkit.rules])]
        rule.acts.append(self.dice.choice(["fails", "uncertain", "busy"]))
        if rule.would:
            rule.blind.append(self.dice.choice(["busy", "no look"]))

    def cancel(self) -> None:
        if not self.look().closed:
            self.apply(CancelRequested(ANNA, "enough"))
            self.books.ended.setdefault(self.id, len(self.toolkit.seen))

    def poke(self) -> None:
        """Somebody changes one thing in the database, once, while a question counts."""
        counts = [
            (c, a)
            for c, a in self.questions(open_only=False)
            if a.open or (a.status is ApprovalStatus.APPROVED and c.status is CallStatus.READY)
        ]
        if self.poked is not None or not counts:
            return
        call, approval = self.dice.choice(counts)
        part = self.dice.choice([*SEALED, *OF_DECISION])
        if part == "preview" and approval.preview is None:
            part = "digest"
        values = {"call": call.id, "run": self.id, "approval": approval.id, "forged": FORGED}
        text = SEALED.get(part) or OF_DECISION[part]
        self.write(lambda s: s.connection().execute(sa.text(text), values))
        if part in OF_DECISION:
            self.left = self.column(part, approval.id)
            self.books.forged.add(approval.id)
        else:
            others = [a.id for _, a in counts if part in EVERYWHERE]
            self.books.spoiled.update(dict.fromkeys([approval.id, *others], len(self.toolkit.seen)))
        self.poked = (part, call.id, approval.id)
        self.found["poke"] += 1

    def column(self, part: str, approval: str) -> Any:
        """As it is in the table now."""
        column = run_rows.approval_t.c[COLUMNS.get(part, part)]
        query = sa.select(column).where(run_rows.approval_t.c.id == approval)
        return self.write(lambda s: s.connection().execute(query).scalar_one())

    # --- the end -----------------------------------------------------------------------

    async def calm(self) -> None:
        """Nothing goes wrong any more, and everybody who is asked says yes."""
        disarm()
        for rule in self.toolkit.rules.values():
            rule.acts.clear()
            rule.blind.clear()
        for _ in range(6):
            await self.work()
            asked = [(c, a) for c, a in self.questions() if c.tool != "ask_human"]
            for call, approval in asked:
                for by in (ANNA, CLEO, BEN):
                    if self.books.stage(self.books.asked[approval.id]) is not None:
                        self.say(call, approval, by, "yes", approval.digest)
            self.clock.advance(timedelta(minutes=2))
            if not asked and all(c.status not in MOVING for c in self.look().turn.calls):
                return

    def judge(self) -> None:
        self.books.judge(self.toolkit.seen)
        self.found["effects"] += len(self.toolkit.seen)
        with self.database.engine.connect() as conn:
            assert audit_check.walk(conn).broken is None
            faults = audit_check.compare(conn).faults
        if self.poked is None:
            assert faults == (), faults
            return
        entries = self.write(audit.entries, run_id=self.id, limit=10_000)
        refused = any(e["kind"] == "claim_refused" or _doubted(e) for e in entries)
        if faults or refused:
            self.found["poke stopped" if refused else "poke found"] += 1
        else:
            assert self.moot(*self.poked), f"nobody noticed that {self.poked} was changed"
            self.found["poke moot"] += 1

    def moot(self, part: str, call_id: str, approval_id: str) -> bool:
        """Whether the question was over before anything was to run by it."""
        put, run = self.books.asked[approval_id], self.look()
        call = self.write(turns.load, self.id, 1).call(call_id)
        if part in OF_DECISION and self.column(part, approval_id) != self.left:
            return True  # what people said since stands in its place
        over = bool(put.over) or run.closed or (call.outcome is not None)
        if call.outcome is not None and call.outcome.kind is OutcomeKind.SUCCEEDED:
            return any(q.call == call_id and i != approval_id for i, q in self.books.asked.items()) or bool(
                put.over
            )
        if part in OF_DECISION:
            return over and part in WHILE_IT_COUNTS
        return over or not self.books.enough(put)


def _doubted(entry: Mapping[str, Any]) -> bool:
    """Of a question that people answer nothing is claimed: what is found out only raises attention."""
    return bool(json.loads(entry["body"]).get("because") == CallDoubted.__name__)


async def play(database: InMemory, seed: int) -> Counter[str]:
    """One history from its beginning to the verdict; what happened in it."""
    disarm()
    try:
        history = History(database, seed)
        history.begin()
        for _ in range(history.dice.randint(5, 14)):
            await history.step()
        await history.calm()
        history.judge()
    except BaseException as e:
        e.add_note(f"seed {seed}: python -m support.histories --seed {seed}")
        raise
    finally:
        disarm()
        database.wipe()
    return history.found


async def main(first: int, count: int) -> Counter[str]:
    """So many, one seed after the other."""
    database, found = InMemory(), Counter[str]()
    try:
        for seed in range(first, first + count):
            found += await play(database, seed)
    finally:
        database.close()
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m support.histories")
    parser.add_argument("--count", type=int, help=f"how many ({COUNT}; 1 with --seed)")
    parser.add_argument("--seed", type=int, help="the first one (0)")
    chosen = parser.parse_args()
    many = chosen.count or (COUNT if chosen.seed is None else 1)
    began = time.perf_counter()
    happened = asyncio.run(main(chosen.seed or 0, many))
    took = time.perf_counter() - began
    print(
        f"{many} histories in {took:.1f} s, {many / took:.0f} a second: 0 effects without a matching decision"
    )
    print(", ".join(f"{name} {n}" for name, n in sorted(happened.items())))
    sys.exit(0)
