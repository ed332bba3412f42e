"""Messages to one channel: one after the other, in order, no faster than Slack takes them; a whole engine."""

from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from support.conversation import TERMS
from support.gemini import Plan
from support.toolkit import Rule
from support.world import World

from orchestrator.domain.assessment import Ruling
from orchestrator.domain.cards import Card
from orchestrator.domain.consent import Terms
from orchestrator.domain.values import replace
from orchestrator.engine.lines import Lines, PostingRate
from orchestrator.errors import UnavailableError, UncertainError, UnreachedError
from orchestrator.store import claims

pytestmark = pytest.mark.asyncio

TEN = tuple(("refund", {"n": n}) for n in range(10))
STORIES = {
    "ten": (Plan(TEN), Plan(output="told")),
    "one": (Plan((("refund", {"n": 10}),)), Plan(output="told")),
    "other": (Plan((("pay", {"n": 11}),)), Plan(output="told")),
}
ALONE = replace(TERMS, reminders=(), together=False)
SECOND = timedelta(seconds=1)


def world_on(url: str, burst: int, terms: Terms = ALONE) -> World:
    rules = {
        "refund": Rule(Ruling.ASK, terms=terms),
        "pay": Rule(Ruling.ASK, terms=replace(terms, channel="C0OTHER")),
    }
    return World(url, stories=STORIES, rules=rules, lines=Lines(PostingRate(SECOND, burst)), eager=True)


class Told:
    """What was posted and when, and the tries that came to nothing."""

    def __init__(self, world: World, amiss: list[Exception]) -> None:
        self.world = world
        self.posted: list[tuple[int, datetime]] = []
        self.tried: list[int] = []
        self.looked_for: list[int] = []
        self._post, self._amiss = world.slack.post, amiss
        world.slack.post = self.post  # type: ignore[method-assign]

    async def post(self, card: Card, *, seen_before: bool) -> tuple[str, str]:
        number = card.call.arguments["n"]
        self.tried.append(number)
        self.looked_for += [number] * seen_before
        if number == 5 and self._amiss:
            raise self._amiss.pop()
        self.posted.append((number, self.world.clock()))
        return await self._post(card, seen_before=seen_before)

    async def until_all(self, count: int) -> list[int]:
        """The clock goes on to what is due next, until so many stand there."""
        for _ in range(200):
            await self.world.settle()
            if len(self.posted) >= count:
                return [number for number, _ in self.posted]
            due = await self.world.database.read(claims.next_due)
            assert due is not None
            self.world.clock.reach(due)
        raise AssertionError(f"only {self.posted} were posted")

    def gaps(self) -> list[timedelta]:
        times = [at for _, at in self.posted]
        return [b - a for a, b in pairwise(times)]


@pytest.mark.parametrize(
    "amiss",
    [UnavailableError("slow down", retry_after=3.0), UncertainError("no answer")],
    ids=["told to wait", "no answer"],
)
async def test_ten_messages_in_order_though_the_sixth_is_put_off(database_url: str, amiss: Exception) -> None:
    async with world_on(database_url, burst=4) as world:
        told = Told(world, [amiss])
        await world.start("ten")
        assert await told.until_all(10) == list(range(10))
        assert told.tried == [0, 1, 2, 3, 4, 5, *range(5, 10)]  # nobody tried in vain behind it
        assert all(gap >= SECOND for gap in told.gaps()[5:])
        assert told.gaps()[4] >= 2 * SECOND
        assert world.slack.violations == []


SLOWER = UnavailableError("slow down", retry_after=3.0)
SILENCE = UncertainError("no answer")
NOBODY = UnreachedError("Slack cannot be reached")


@pytest.mark.parametrize(
    ("amiss", "looked"),
    [
        ([SLOWER, SLOWER], 0),
        ([SILENCE], 1),
        ([SILENCE, SLOWER], 2),
        ([SLOWER, SILENCE], 1),
        ([NOBODY, NOBODY], 0),
        ([SILENCE, NOBODY], 2),
    ],
    ids=[
        "told to wait",
        "no answer",
        "no answer, then told to wait",
        "told to wait, then no answer",
        "not reached",
        "no answer, then not reached",
    ],
)
async def test_only_one_whose_earlier_try_may_stand_there_is_looked_for(
    sqlite_url: str, amiss: list[Exception], looked: int
) -> None:
    """An app that is not in Slack's marketplace may read a channel once a minute."""
    async with world_on(sqlite_url, burst=10) as world:
        told = Told(world, amiss[::-1])
        await world.start("ten")
        await told.until_all(10)
        assert told.looked_for == [5] * looked
        assert world.slack.violations == []


async def test_no_faster_than_the_channel_takes_them_and_other_channels_do_not_wait(sqlite_url: str) -> None:
    async with world_on(sqlite_url, burst=2) as world:
        told = Told(world, [])
        await world.start("ten")
        await world.settle()
        began = len(told.posted)
        assert 0 < began <= 2
        await world.start("one")
        await world.start("other")
        await world.settle()
        assert [n for n, _ in told.posted[began:]] == [11]
        told.posted.pop()
        assert await told.until_all(11) == list(range(11))
        assert all(gap == SECOND for gap in told.gaps()[2:])


async def test_one_that_never_gets_an_answer_is_waited_for_only_so_often(sqlite_url: str) -> None:
    async with world_on(sqlite_url, burst=10) as world:
        told = Told(world, [UncertainError("no answer") for _ in range(20)])
        await world.start("ten")
        assert await told.until_all(9) == [0, 1, 2, 3, 4, 6, 7, 8, 9]
        assert 3 <= told.tried.count(5) < 20


async def test_a_process_that_goes_away_leaves_the_line_as_it_is(sqlite_url: str) -> None:
    async with world_on(sqlite_url, burst=1) as world:
        told = Told(world, [])
        await world.start("ten")
        assert await told.until_all(3) == [0, 1, 2]
        await world.restart("killed")
        assert await told.until_all(10) == list(range(10))
        assert world.slack.violations == []


@pytest.mark.parametrize("back", [timedelta(minutes=10), timedelta(days=1)])
async def test_a_clock_that_was_set_back_keeps_nobody_from_a_place(
    database_url: str, back: timedelta
) -> None:
    """That is taken up to a time that is far away by then, and nobody waits there for it."""
    async with world_on(database_url, burst=1) as world:
        told = Told(world, [])
        await world.start("one")
        await told.until_all(1)
        world.clock.advance(-back)
        before = world.clock()
        await world.start("one")
        await told.until_all(2)
        assert world.clock() - before <= timedelta(minutes=1)


async def test_whoever_is_told_to_wait_for_long_is_waited_for(database_url: str) -> None:
    async with world_on(database_url, burst=4) as world:
        hour = UnavailableError("slow down", retry_after=3600.0)
        told = Told(world, [hour])
        await world.start("ten")
        assert await told.until_all(10) == list(range(10))
        assert told.gaps()[4] >= timedelta(hours=1)
