"""The calls of a reading, assessed before the transaction: what was found stands while the run acts so."""

from support.clock import NOON
from support.conversation import ANNA, recipe
from support.toolkit import FakeToolkit, Rule

from orchestrator.domain.exchange import FunctionCall, Snapshot
from orchestrator.domain.lifecycle import open_run
from orchestrator.domain.model import Run
from orchestrator.domain.values import replace
from orchestrator.engine.seal import assess, assess_all

TOOLKIT = FakeToolkit({"lookup": Rule(), "refund": Rule()})
CALLS = tuple(FunctionCall(f"c{n}", "refund", {"n": n}) for n in range(5))
READING = Snapshot("int_1", "requires_action", CALLS)


def a_run(most: int = 5) -> Run:
    return open_run("run_1", recipe(max_calls_per_turn=most), "work", ANNA, now=NOON).run


def test_it_is_what_is_found_within() -> None:
    run = a_run()
    each = tuple(assess(TOOLKIT, run, "int_1", call) for call in CALLS)
    assert assess_all(TOOLKIT, run, READING).calls == each


def test_of_too_many_one_more_is_assessed_than_are_allowed() -> None:
    assert [w.call_id for w in assess_all(TOOLKIT, a_run(2), READING).calls] == ["c0", "c1", "c2"]


def test_what_was_found_stands_while_the_run_acts_so() -> None:
    run = a_run()
    before = assess_all(TOOLKIT, run, READING)
    assert assess_all(TOOLKIT, replace(run, reason="since"), READING, before) is before
    other = replace(run, recipe=replace(run.recipe, tools=("lookup",)))
    anew = assess_all(TOOLKIT, other, READING, before)
    assert anew == assess_all(TOOLKIT, other, READING) != before
