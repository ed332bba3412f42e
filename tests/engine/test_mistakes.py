"""Every check of a promise is shown to be able to fail: one planted mistake for each.

The checks are in `support/promises.py`. Each runs once on the code as it is, and once with one
function of ours exchanged for a plausible wrong one.
"""

import hashlib
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from support import promises

from orchestrator.domain import calls, decision, evidence, interaction_status, lifecycle, turns, verdicts
from orchestrator.domain.decision import Decision, create_effect, with_turn
from orchestrator.domain.effects import Effect, EffectKind
from orchestrator.domain.events import ApprovalDecided, CallCutOff, CancelRequested, CreateUncertain
from orchestrator.domain.model import TurnStatus
from orchestrator.domain.values import replace
from orchestrator.engine import answers, commits, questions, restarting, seal
from orchestrator.engine import calls as engine_calls
from orchestrator.store import audit, audit_check, batched_writes, chain, claims, outbox, writer
from orchestrator.store.sql.prepared import Prepared

pytestmark = pytest.mark.asyncio

Check = Callable[[str], Awaitable[None]]
Plant = Callable[[pytest.MonkeyPatch], None]


def answers_before_the_commit(patch: pytest.MonkeyPatch) -> None:
    async def put(self: Any, item: Any) -> bool:
        self._waiting.append(item)  # "it will be written soon"
        return True

    patch.setattr(batched_writes.BatchedWrites, "put", put)


def believes_the_savepoint(patch: pytest.MonkeyPatch) -> None:
    def undo(sqlite: Any) -> None:
        with suppress(sqlite3.OperationalError):  # "no such savepoint: it will be all right"
            sqlite.execute("ROLLBACK TO job")
            sqlite.execute("RELEASE job")

    patch.setattr(writer, "_undo", undo)


def trusts_webhooks_to_arrive(patch: pytest.MonkeyPatch) -> None:
    def watch(run: Any, interaction_id: str, every: timedelta, now: Any) -> Effect:
        return Effect(EffectKind.FETCH_INTERACTION, interaction_id, now + timedelta(days=1))

    for room in (turns, interaction_status):
        patch.setattr(room, "watch", watch)


def admits_calls_at_every_reading(patch: pytest.MonkeyPatch) -> None:
    def observe(run: Any, event: Any, policy: Any, now: Any) -> Decision:
        run = replace(run, turn=replace(run.turn, status=TurnStatus.LIVE, calls=()))
        return original(run, event, policy, now)

    original = turns.observe
    patch.setitem(lifecycle._HANDLERS, turns.InteractionObserved, observe)  # type: ignore[arg-type]


def starts_every_tool_again(patch: pytest.MonkeyPatch) -> None:
    def cut_off(run: Any, event: Any, policy: Any, now: Any) -> Decision:
        call = replace(run.turn.call(event.call), idempotent=True)
        return calls.cut_off(replace(run, turn=run.turn.with_call(call)), event, policy, now)

    patch.setitem(lifecycle._HANDLERS, CallCutOff, cut_off)  # type: ignore[arg-type]


def settles_whoever_asks(patch: pytest.MonkeyPatch) -> None:
    rows = outbox.effect_t
    anybody = rows.update().where(rows.c.id == sa.bindparam("of_effect")).values(state="done")
    patch.setattr(claims, "_DONE", Prepared(anybody))


def believes_its_old_claim(patch: pytest.MonkeyPatch) -> None:
    async def still_ours(self: Any, effect: Any, until: Any) -> bool:
        return True

    patch.setattr(commits.Commits, "still_ours", still_ours)


def sends_a_lost_create_again(patch: pytest.MonkeyPatch) -> None:
    def uncertain(run: Any, event: Any, policy: Any, now: Any) -> Decision:
        turn = replace(run.turn, status=TurnStatus.INTENDED)
        return Decision(with_turn(run, turn), (create_effect(turn, now),))

    patch.setitem(lifecycle._HANDLERS, CreateUncertain, uncertain)  # type: ignore[arg-type]


def goes_on_at_the_first_result(patch: pytest.MonkeyPatch) -> None:
    def advance(run: Any, now: Any, effects: Any = (), drop: Any = ()) -> Decision:
        if not any(c.settled for c in run.turn.calls):
            return Decision(run, effects, drop)
        left = replace(run.turn, status=TurnStatus.ENDED)
        turn = decision.Turn(number=left.number + 1, previous_id=left.interaction_id)
        return Decision(with_turn(run, turn), (*effects, create_effect(turn, now)), drop, left=left)

    patch.setattr(calls, "advance", advance)


def hears_after_the_end(patch: pytest.MonkeyPatch) -> None:
    def after_the_end(run: Any, event: Any, now: Any) -> Decision:
        return lifecycle._HANDLERS[type(event)](run, event, calls.Policy(), now)

    patch.setattr(lifecycle, "after_the_end", after_the_end)


def cancels_when_there_is_time(patch: pytest.MonkeyPatch) -> None:
    def cancel(run: Any, event: Any, policy: Any, now: Any) -> Decision:
        return Decision(run, note="noted")

    patch.setitem(lifecycle._HANDLERS, CancelRequested, cancel)  # type: ignore[arg-type]


def leaves_the_gate_open(patch: pytest.MonkeyPatch) -> None:
    def gated(run: Any, call: Any, approval: Any, event: Any, now: Any) -> Decision:
        return calls._execute(run, call, event, now)

    patch.setattr(calls, "_gated", gated)


def seals_without_the_arguments(patch: pytest.MonkeyPatch) -> None:
    def assess(toolkit: Any, run: Any, interaction_id: str, call: Any, *more: Any, **about: Any) -> Any:
        bare = original(toolkit, run, interaction_id, replace(call, arguments={}), *more, **about)
        return replace(original(toolkit, run, interaction_id, call, *more, **about), digest=bare.digest)

    original = seal.assess
    patch.setattr(seal, "assess", assess)
    patch.setattr(engine_calls, "assess", assess)
    patch.setattr(answers, "assess", assess)
    believes_the_tables(patch)


def believes_the_tables(patch: pytest.MonkeyPatch) -> None:
    """The gate's second look, at the audit, would make up for some other mistakes."""
    patch.setattr(audit_check, "doubts", lambda s, call: ())


def claims_without_looking_again(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(engine_calls.Calls, "_to_be_seen", lambda self, call, as_it_was: False)


def takes_the_last_decision(patch: pytest.MonkeyPatch) -> None:
    def decided(run: Any, event: Any, policy: Any, now: Any) -> Decision:
        call = run.turn.by_approval(event.approval)
        move = verdicts._approve if event.verdict.approve else verdicts._reject
        return move(run, call, call.approval, event.verdict, now)

    patch.setitem(lifecycle._HANDLERS, ApprovalDecided, decided)  # type: ignore[arg-type]
    believes_the_tables(patch)


def approves_all_as_they_are_now(patch: pytest.MonkeyPatch) -> None:
    def decide_all(s: Any, asked: Any, person: Any, verdict: Any, bench: Any) -> Any:
        return tuple(
            answers.decide(s, approval, replace(person, digest=None), verdict, bench) for approval, _ in asked
        )

    patch.setattr(answers, "decide_all", decide_all)


def runs_what_was_answered(patch: pytest.MonkeyPatch) -> None:
    def by_a_person(run: Any, call: Any, approval: Any, verdict: Any, now: Any) -> Decision:
        return verdicts._approve(run, call, approval, replace(verdict, approve=True), now)

    patch.setattr(verdicts, "_by_a_person", by_a_person)


def restarts_on_any_yes(patch: pytest.MonkeyPatch) -> None:
    def wanted_by(run: Any, approval: str) -> Any:
        call = run.turn.by_approval(approval)
        return call.approval.verdict.by if call and call.approval.verdict else None

    patch.setattr(restarting, "wanted_by", wanted_by)


def says_whatever_was_due(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(questions, "worth_saying", lambda approval, what, now: True)


def redraws_the_channel_only(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(questions, "pictures", lambda card: (card,))


def writes_down_what_succeeds(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(evidence, "_turned_away", lambda run, event, decision: iter(()))


def hashes_each_entry_alone(patch: pytest.MonkeyPatch) -> None:
    def hash_of(previous: str, body: str) -> str:
        return hashlib.sha256(body.encode()).hexdigest()

    def fault(self: Any, row: Any) -> str:
        return "" if row["hash"] == hash_of("", row["body"]) else "is not what its hash was made of"

    patch.setattr(audit, "hash_of", hash_of)
    patch.setattr(chain.Chain, "_fault", fault)


MISTAKES: dict[str, tuple[Check, Plant]] = {
    "P1": (promises.stored_before_answered, answers_before_the_commit),
    "P1, shared commit": (
        promises.nobody_is_told_of_a_commit_that_was_undone,
        believes_the_savepoint,
    ),
    "P2": (promises.lost_webhooks_are_made_up_for, trusts_webhooks_to_arrive),
    "P3": (promises.late_readings_change_nothing, admits_calls_at_every_reading),
    "P4": (promises.no_effect_twice, starts_every_tool_again),
    "P5": (promises.one_continuation, sends_a_lost_create_again),
    "P6": (promises.every_call_has_its_result_first, goes_on_at_the_first_result),
    "P8": (promises.an_old_claim_settles_nothing, settles_whoever_asks),
    "P8, at the gate": (promises.a_paused_worker_leaves_its_successor_alone, believes_its_old_claim),
    "P9": (promises.terminal_is_terminal, hears_after_the_end),
    "P10": (promises.cancel_wins, cancels_when_there_is_time),
    "P10, restart": (promises.a_restart_is_made_only_where_it_was_wanted, restarts_on_any_yes),
    "P20": (promises.a_call_without_a_decision_does_not_run, leaves_the_gate_open),
    "P20, answered": (promises.an_answered_call_does_not_run, runs_what_was_answered),
    "P21": (promises.what_was_approved_is_what_runs, seals_without_the_arguments),
    "P21, what it would do": (
        promises.what_would_do_something_else_by_now_is_asked_anew,
        claims_without_looking_again,
    ),
    "P21, all together": (promises.all_together_is_each_as_it_was_shown, approves_all_as_they_are_now),
    "P23": (promises.the_first_decision_stands, takes_the_last_decision),
    "P35": (promises.a_refused_attempt_is_evidence, writes_down_what_succeeds),
    "P35, the chain": (promises.an_entry_cannot_be_exchanged, hashes_each_entry_alone),
    "P26": (promises.expired_is_not_approved, takes_the_last_decision),
    "P23, copies": (promises.no_copy_keeps_its_buttons, redraws_the_channel_only),
    "P26, reminders": (promises.nobody_is_reminded_after_the_decision, says_whatever_was_due),
}


@pytest.mark.parametrize("promise", MISTAKES)
async def test_the_promise_is_kept(sqlite_url: str, promise: str) -> None:
    await MISTAKES[promise][0](sqlite_url)


@pytest.mark.parametrize("promise", MISTAKES)
async def test_a_planted_mistake_is_found(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch, promise: str
) -> None:
    check, plant = MISTAKES[promise]
    plant(monkeypatch)
    with pytest.raises(AssertionError):
        await check(sqlite_url)
