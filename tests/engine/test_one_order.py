"""Places are asked for in one order by all transactions, so that no two wait for each other (PostgreSQL)."""

import asyncio
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session
from support.conversation import ANNA, TERMS
from support.gemini import Plan
from support.toolkit import Rule
from support.world import World

from orchestrator.domain.assessment import Ruling
from orchestrator.domain.model import Recipe, RunStatus, Step, StepKind
from orchestrator.domain.values import replace
from orchestrator.engine.limits import Ceilings, RateLimit
from orchestrator.engine.lines import Lines, PostingRate
from orchestrator.store import lines

pytestmark = pytest.mark.asyncio

TOOLS = ("lookup", "book", "refund", "pay")
_ORDER = "places asked for"
ALONE = replace(TERMS, reminders=(), together=False)
STORIES = {
    " ".join(tools): (Plan(tuple((tool, {"n": n}) for n, tool in enumerate(tools))), Plan(output="told"))
    for tools in (TOOLS, TOOLS[::-1])
}
ROOMY = Ceilings(dict.fromkeys(TOOLS, RateLimit(at_once=9)), {"there": 9, "back": 9})


def world_on(url: str, limits: Ceilings = ROOMY) -> World:
    rules = {
        "lookup": Rule(),
        "book": Rule(),
        "refund": Rule(Ruling.ASK, terms=ALONE),
        "pay": Rule(Ruling.ASK, terms=replace(ALONE, channel="C0OTHER")),
    }
    return World(
        url,
        stories=STORIES,
        rules=rules,
        limits=limits,
        lines=Lines(PostingRate(timedelta(seconds=1), 50)),
        eager=True,
    )


def pipeline(name: str, *tools: str) -> Recipe:
    return Recipe(name, steps=tuple(Step(tool, StepKind.TOOL, tool=tool) for tool in tools))


class Asked:
    """Which places each transaction asked for, and would have waited for, in its order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.each: list[list[str]] = []
        lock, spent_until = lines._LOCK.first, lines.spent_until

        def locked(s: Any, *, name: str) -> Any:
            self._note(s, name.removeprefix("orchestrator:"))
            return lock(s, name=name)

        def read(s: Any, line: str, *more: Any) -> Any:
            self._note(s, line)
            return spent_until(s, line, *more)

        monkeypatch.setattr(lines._LOCK, "first", locked)
        monkeypatch.setattr(lines, "spent_until", read)

    def _note(self, s: Any, place: str) -> None:
        if _ORDER not in s.info:
            self.each.append(s.info.setdefault(_ORDER, []))
        if place not in s.info[_ORDER]:
            s.info[_ORDER].append(place)

    def against(self) -> list[tuple[str, str]]:
        """Those asked for by somebody who held one that others take after it."""
        return [(a, b) for asked in self.each for a, b in pairwise(asked) if b < a]


async def test_who_comes_to_a_line_too_late_does_not_wait(postgres_url: str) -> None:
    """Two transactions hold what the other one asks for: only who comes in order waits."""
    engine = sa.create_engine(postgres_url)
    with Session(engine) as one, Session(engine) as other:
        assert lines.alone(one, "tool:book")
        assert lines.alone(other, "tool:refund")
        assert not lines.alone(other, "tool:book"), "or both would wait"
        assert lines.alone(other, "tool:refund"), "it has that already"
        waiting = asyncio.create_task(asyncio.to_thread(lines.alone, one, "tool:refund"))
        other.rollback()
        assert await waiting
    engine.dispose()


async def test_who_leaves_a_place_and_takes_another(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of a step is the beginning of the next, in one transaction."""
    async with world_on(postgres_url) as world:
        asked = Asked(monkeypatch)
        ways = pipeline("there", "lookup", "book"), pipeline("back", "book", "lookup")
        ran = [(await world.intake.start(way, "a day", ANNA)).run_id for way in ways]
        await world.to_the_end(*ran)
        assert set((await world.statuses()).values()) == {RunStatus.COMPLETED}
        assert {"tool:book", "tool:lookup", "workflow:there", "workflow:back"} == set().union(*asked.each)
        assert asked.against() == []
        await world.check(*ran)


async def test_who_takes_several_places_in_one_turn(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of tools and in Slack, in whichever order the model asked for them."""
    async with world_on(postgres_url) as world:
        asked = Asked(monkeypatch)
        ran = [await world.start(text) for text in STORIES]
        await world.settle()
        for run_id in ran:
            for approval in await world.open_approvals(run_id):
                await world.decide(approval, True)
        await world.to_the_end(*ran)
        assert set((await world.statuses()).values()) == {RunStatus.COMPLETED}
        assert {f"tool:{tool}" for tool in TOOLS} < set().union(*asked.each)
        assert len({place for place in set().union(*asked.each) if ":" not in place}) == 2
        assert asked.against() == []
        await world.check(*ran)
