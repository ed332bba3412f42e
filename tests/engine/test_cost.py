"""What one run asks of the database: not how long that takes, but how often it is spoken to."""

import threading
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from support.gemini import Plan
from support.toolkit import Rule
from support.world import World

from orchestrator.domain.assessment import Ruling
from orchestrator.domain.model import CallStatus, RunStatus
from orchestrator.store.sql import spelled
from orchestrator.store.sql.pipeline import Pipeline

pytestmark = pytest.mark.asyncio

STORIES = {"work": (Plan((("refund", {"n": 1}),)), Plan(output="worked"))}
WRITES = 101
"""Of a run with one call that a person lets through. More of them need a reason.

Two are none of the run's: what a worker forgets in its first turn, and once an hour.
"""


def world_on(url: str) -> World:
    return World(url, stories=STORIES, rules={"refund": Rule(Ruling.ASK)}, eager=True)


async def played(world: World) -> None:
    run_id, approval = await world.one_question("work")
    await world.decide(approval, True)
    await world.to_the_end(run_id)
    assert (await world.run(run_id)).status is RunStatus.COMPLETED


async def test_a_run_writes_no_more_than_it_did(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said: Counter[str] = Counter()
    plain = spelled.Spelled.parameters

    def counted(text: Any, values: Any) -> Any:
        said[text.sql] += not text.sql.startswith("SELECT")
        return plain(text, values)

    monkeypatch.setattr(spelled.Spelled, "parameters", counted)
    async with world_on(sqlite_url) as world:
        await played(world)
    assert said.total() <= WRITES, said.most_common(10)


async def test_no_call_is_assessed_while_nobody_else_can_write(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How long that takes is up to whoever wrote its arguments."""
    asked: list[tuple[str, bool]] = []
    async with world_on(sqlite_url) as world:
        world.gemini.stories["work"] = (Plan((("refund", {"n": 1}), ("refund", {"n": 2}))),)
        plain = world.toolkit.find

        def noted(recipe: Any, call: Any) -> Any:
            asked.append((call.id, threading.current_thread() is threading.main_thread()))
            return plain(recipe, call)

        monkeypatch.setattr(world.toolkit, "find", noted)
        run_id = await world.start("work")
        await world.settle()
        calls = (await world.run(run_id)).turn.calls
    assert [c.status for c in calls] == [CallStatus.AWAITING_APPROVAL] * 2
    assert asked == [(c.call_id, True) for c in calls]


async def test_no_step_waits_for_the_database_twice_where_once_does(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reading takes its run, what overtook it and its effect together; an answer, its question and run."""
    waited_for: Counter[str] = Counter()
    plain = Pipeline._exchange

    def noted(wire: Pipeline, words: Sequence[Any], last: Sequence[bytes]) -> Any:
        if words and not last and not wire.loose:
            waited_for[" ".join(words[-1].sql.split())] += 1
        return plain(wire, words, last)

    async with world_on(postgres_url) as world:
        await played(world)
        monkeypatch.setattr(Pipeline, "_exchange", noted)
        await played(world)
    for alone in ("UPDATE delivery SET", "SELECT approval.run_id FROM", "SELECT run.version"):
        assert not [sql for sql in waited_for if sql.startswith(alone)], waited_for
    assert [n for sql, n in waited_for.items() if "SELECT approval.run_id" in sql] == [1], waited_for
