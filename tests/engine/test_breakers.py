"""A neighbour that is away is left alone: by a clock set by hand, one call at a time or many at once."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs
from support.conversation import recipe

from orchestrator.domain.assessment import CallContext
from orchestrator.domain.consent import Actor
from orchestrator.domain.exchange import Correlation, CreateRequest, Snapshot
from orchestrator.domain.model import Outcome, OutcomeKind
from orchestrator.domain.retry import MOST_SECONDS, backoff
from orchestrator.engine.breakers import (
    FAILURES,
    LONGEST_PAUSE_SECONDS,
    PROBE_SECONDS,
    SHORTEST_PAUSE_SECONDS,
    Breaker,
    GuardedGemini,
    GuardedSlack,
    Position,
    SparedError,
)
from orchestrator.engine.meters import MeteredToolkit
from orchestrator.errors import RejectedError, StorageError, UnavailableError, UncertainError

pytestmark = pytest.mark.asyncio
DOWN = UnavailableError("no connection")
LOST = UncertainError("no answer")
NO = RejectedError("refused", code="invalid_request")
OK = "ok"
REQUEST = CreateRequest(recipe(), Correlation("run_1", 1, 1), "hi")


@dataclass
class Hand:
    """A breaker, its clock and its dice, and calls that end as they are told."""

    now: float = 1000.0
    roll: float = 1.0
    sent: int = 0
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.breaker = Breaker("gemini", clock=lambda: self.now, roll=lambda: self.roll, **self.options)

    @property
    def position(self) -> str:
        return self.breaker.state().position

    async def call(self, *ends: object) -> list[str]:
        """One call after another; `ok`, or the name of the error that came out."""
        told = []
        for end in ends:
            try:
                told.append(str(await self.breaker.call(self.work(end))))
            except Exception as e:  # noqa: BLE001  what came out is what the test looks at
                told.append(type(e).__name__)
        return told

    def work(self, end: object) -> Callable[[], Awaitable[object]]:
        async def work() -> object:
            self.sent += 1
            ended = await end if isinstance(end, asyncio.Future) else end
            if isinstance(ended, Exception):
                raise ended
            return ended

        return work

    async def open(self) -> "Hand":
        await self.call(*[DOWN] * FAILURES)
        assert self.position == "open"
        return self

    def later(self) -> None:
        """The pause is over."""
        self.now += self.breaker.state().rest
        assert self.position == "half_open"


# ------------------------------------------------------------------ opening


@pytest.mark.parametrize("error", [DOWN, LOST])
async def test_so_many_failures_in_a_row_open_it(error: Exception) -> None:
    hand = Hand()
    await hand.call(*[error] * (FAILURES - 1))
    assert (hand.position, hand.breaker.state().failures) == ("closed", FAILURES - 1)
    await hand.call(error)
    assert (hand.position, hand.breaker.state().opened) == ("open", 1)


@pytest.mark.parametrize("between", [OK, NO])
async def test_an_answer_of_any_kind_begins_the_count_anew(between: object) -> None:
    hand = Hand()
    for _ in range(10):
        await hand.call(*[DOWN] * (FAILURES - 1), between)
    assert (hand.position, hand.breaker.state().opened) == ("closed", 0)


@pytest.mark.parametrize("error", [NO, ValueError("a mistake of ours")])
async def test_a_refusal_or_a_mistake_of_ours_never_opens_it(error: Exception) -> None:
    hand = Hand()
    assert await hand.call(*[error] * 50) == [type(error).__name__] * 50
    assert hand.position == "closed"


async def test_a_mistake_of_ours_is_no_answer_either() -> None:
    hand = Hand()
    await hand.call(*[DOWN] * (FAILURES - 1), ValueError("x"), DOWN)
    assert hand.position == "open"


async def test_an_open_one_sends_nothing_and_says_for_how_long() -> None:
    hand = await Hand().open()
    rest, sent = hand.breaker.state().rest, hand.sent
    hand.now += rest / 2
    with pytest.raises(SparedError) as spared:
        await hand.breaker.call(hand.work(OK))
    assert isinstance(spared.value, UnavailableError)  # nothing happened: a create is put off
    assert spared.value.retry_after == pytest.approx(rest / 2)
    assert hand.sent == sent


# ------------------------------------------------------------------ told to wait


@pytest.mark.parametrize("seconds", [0.5, 12.0, 3600.0])
async def test_one_word_to_wait_opens_it_for_that_long(seconds: float) -> None:
    hand = Hand()
    await hand.call(UnavailableError("429", retry_after=seconds))
    assert hand.breaker.state().rest == pytest.approx(seconds)
    hand.now += seconds * 0.99
    assert await hand.call(OK) == ["SparedError"]
    hand.now += seconds * 0.02
    assert await hand.call(OK) == [OK]
    assert hand.position == "closed"


async def test_the_longest_word_holds_whoever_was_told() -> None:
    hand = Hand()
    slow: asyncio.Future[object] = asyncio.get_running_loop().create_future()
    under_way = asyncio.create_task(hand.call(slow))
    await asyncio.sleep(0)
    await hand.call(UnavailableError("429", retry_after=5))
    slow.set_result(UnavailableError("429", retry_after=60))
    await under_way
    assert hand.breaker.state().rest == pytest.approx(60)
    await hand.call()
    assert hand.breaker.state().opened == 1


async def test_a_shorter_word_takes_nothing_back() -> None:
    hand = Hand()
    slow: asyncio.Future[object] = asyncio.get_running_loop().create_future()
    under_way = asyncio.create_task(hand.call(slow))
    await asyncio.sleep(0)
    await hand.call(UnavailableError("429", retry_after=60))
    slow.set_result(UnavailableError("429", retry_after=5))
    await under_way
    assert hand.breaker.state().rest == pytest.approx(60)


async def test_no_time_at_all_is_a_failure_like_others() -> None:
    hand = Hand()
    await hand.call(UnavailableError("429", retry_after=0.0))
    assert (hand.position, hand.breaker.state().failures) == ("closed", 1)


async def test_where_only_part_of_a_neighbour_says_not_now() -> None:
    """`away` may know better: one busy channel of Slack is not Slack."""
    hand = Hand(options={"away": lambda e: None})
    await hand.call(*[UnavailableError("429", retry_after=30)] * 20)
    assert hand.position == "closed"


async def test_our_own_disk_says_nothing_about_a_neighbour() -> None:
    hand = Hand()
    await hand.call(*[StorageError("the disk is full")] * 20)
    assert hand.position == "closed"


# ------------------------------------------------------------------ half open


async def test_exactly_one_finds_out_and_its_success_closes() -> None:
    hand = await Hand().open()
    hand.later()
    sent = hand.sent
    answer: asyncio.Future[object] = asyncio.get_running_loop().create_future()
    probe = asyncio.create_task(hand.call(answer))
    await asyncio.sleep(0)
    assert await hand.call(*[OK] * 20) == ["SparedError"] * 20
    with pytest.raises(SparedError) as spared:
        await hand.breaker.call(hand.work(OK))
    assert spared.value.retry_after == PROBE_SECONDS
    assert hand.sent == sent + 1
    answer.set_result(OK)
    assert await probe == [OK]
    assert hand.position == "closed"
    assert await hand.call(*[OK] * 3) == [OK] * 3


@pytest.mark.parametrize("answer", [OK, NO])
async def test_any_answer_closes(answer: object) -> None:
    hand = await Hand().open()
    hand.later()
    await hand.call(answer)
    assert (hand.position, hand.breaker.state().failures) == ("closed", 0)


async def test_one_failure_opens_it_again_for_longer() -> None:
    hand, rests = await Hand().open(), []
    for _ in range(6):
        rests.append(hand.breaker.state().rest)
        hand.later()
        await hand.call(DOWN)
    assert rests == pytest.approx([2, 4, 8, 15, 15, 15])
    assert hand.breaker.state().opened == 7
    hand.later()
    await hand.call(OK)
    await hand.open()
    assert hand.breaker.state().rest == pytest.approx(2)  # a new trouble


@pytest.mark.parametrize("end", ["cancelled", "mistake"])
async def test_a_probe_that_told_nothing_leaves_it_to_the_next(end: str) -> None:
    hand = await Hand().open()
    hand.later()
    if end == "mistake":
        await hand.call(ValueError("x"))
    else:
        task = asyncio.create_task(hand.call(asyncio.get_running_loop().create_future()))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert hand.position == "half_open"
    assert await hand.call(OK) == [OK]
    assert hand.position == "closed"


@pytest.mark.parametrize(("end", "position"), [(OK, "open"), (DOWN, "open"), (NO, "open")])
async def test_old_news_moves_nothing(end: object, position: str) -> None:
    """A call that was under way when it opened says nothing about now, and is not the probe."""
    hand = Hand()
    slow: asyncio.Future[object] = asyncio.get_running_loop().create_future()
    under_way = asyncio.create_task(hand.call(slow))
    await asyncio.sleep(0)
    await hand.open()
    before = hand.breaker.state()
    slow.set_result(end)
    await under_way
    assert (hand.position, hand.breaker.state()) == (position, before)


async def test_many_that_fail_together_are_one_trouble() -> None:
    hand = Hand()
    slow: asyncio.Future[object] = asyncio.get_running_loop().create_future()
    tasks = [asyncio.create_task(hand.call(slow)) for _ in range(3 * FAILURES)]
    await asyncio.sleep(0)
    slow.set_result(DOWN)
    await asyncio.gather(*tasks)
    assert (hand.breaker.state().opened, hand.breaker.state().rest) == (1, pytest.approx(2))


# ------------------------------------------------------------------ pauses


@given(roll=st.floats(0, 1, exclude_max=True), strikes=st.integers(0, 40))
async def test_pauses_are_spread_and_bounded(roll: float, strikes: int) -> None:
    hand = await Hand(roll=roll).open()
    for _ in range(strikes):
        hand.later()
        await hand.call(DOWN)
    bound = min(LONGEST_PAUSE_SECONDS, 2.0 * 2 ** min(strikes, 10))
    assert SHORTEST_PAUSE_SECONDS * 0.999 <= hand.breaker.state().rest <= bound * 1.001
    expected = SHORTEST_PAUSE_SECONDS + (bound - SHORTEST_PAUSE_SECONDS) * roll
    assert hand.breaker.state().rest == pytest.approx(expected)


async def test_a_pause_and_the_outboxs_wait_stay_below_a_minute() -> None:
    """Promise P11: approvals can be seen within a minute after an outage."""
    assert MOST_SECONDS + LONGEST_PAUSE_SECONDS <= 60
    assert backoff(99, 0.9999, retry_after=LONGEST_PAUSE_SECONDS) <= timedelta(seconds=MOST_SECONDS)


@given(st.lists(st.sampled_from(["ok", "down", "no", "wait", "mistake", "time"]), max_size=80))
async def test_whatever_happens_it_comes_back(story: list[str]) -> None:
    """After any history the next call goes out no later than the longest word or pause allows."""
    ends = {
        "ok": OK,
        "down": DOWN,
        "no": NO,
        "wait": UnavailableError("429", retry_after=20),
        "mistake": ValueError("x"),
    }
    hand = Hand()
    for step in story:
        if step == "time":
            hand.now += 3
            continue
        before, sent = hand.position, hand.sent
        await hand.call(ends[step])
        assert (hand.sent == sent) == (before == "open")
    assert hand.breaker.state().rest <= 20
    hand.now += 20
    assert await hand.call(OK) == [OK]
    assert hand.position == "closed"


# ------------------------------------------------------------------ the ports


@dataclass
class Heard:
    """Meters that remember."""

    calls: list[tuple[str, str, str, float | None]] = field(default_factory=list)
    tools: list[tuple[str, str, float]] = field(default_factory=list)

    def called(self, neighbour: str, operation: str, outcome: str, seconds: float | None) -> None:
        self.calls.append((neighbour, operation, outcome, seconds))

    def ran(self, tool: str, outcome: str, seconds: float) -> None:
        self.tools.append((tool, outcome, seconds))


@dataclass
class Neighbour:
    """A port of either kind that takes two seconds and ends as it is told."""

    hand: Hand
    ends: list[object]
    said: list[str] = field(default_factory=list)

    async def _do(self, word: str) -> Any:
        self.said.append(word)
        self.hand.now += 2
        end = self.ends.pop(0)
        if isinstance(end, BaseException):
            raise end
        return end

    async def create(self, request: Any) -> Any:
        return await self._do("create")

    async def fetch(self, interaction_id: str) -> Any:
        return await self._do(f"fetch {interaction_id}")

    async def cancel(self, interaction_id: str) -> Any:
        return await self._do(f"cancel {interaction_id}")

    async def post(self, card: Any, *, seen_before: bool) -> Any:
        return await self._do(f"post {card} {seen_before}")

    async def update(self, card: Any) -> Any:
        return await self._do(f"update {card}")

    async def remind(self, card: Any, *, what: str, last: bool, seen_before: bool, others: Any = ()) -> Any:
        return await self._do(f"remind {card} {what} {last} {seen_before}")

    async def copy(self, card: Any, person: str, *, seen_before: bool) -> Any:
        return await self._do(f"copy {card} {person} {seen_before}")

    async def find_copy(self, card: Any, person: str) -> Any:
        return await self._do(f"find {card} {person}")

    async def ask_back(self, card: Any, telling: Any, *, seen_before: bool) -> Any:
        return await self._do(f"ask_back {card} {telling} {seen_before}")

    async def find_asked_back(self, card: Any, telling: Any) -> Any:
        return await self._do(f"find_asked_back {card} {telling}")

    async def redraw_asked_back(self, card: Any, number: int, place: Any) -> Any:
        return await self._do(f"redraw_asked_back {card} {number} {place}")

    async def members(self, groups: Any) -> Any:
        return await self._do(f"members {groups}")

    async def whisper(self, *, channel: str, user: str, text: str, response_url: str = "") -> None:
        self.said.append(f"whisper {channel} {user} {text} {response_url}")


async def test_gemini_behind_its_breaker() -> None:
    snapshot, hand, heard = Snapshot("i1", "in_progress"), Hand(), Heard()
    ends = [snapshot, snapshot, None, NO, asyncio.CancelledError(), KeyError("x"), *[LOST] * FAILURES]
    neighbour = Neighbour(hand, ends)
    gemini = GuardedGemini(neighbour, hand.breaker, heard)
    assert await gemini.create(REQUEST) is snapshot
    assert await gemini.fetch("i1") is snapshot
    assert await gemini.cancel("i1") is None
    for error in (RejectedError, asyncio.CancelledError, KeyError, *[UncertainError] * FAILURES):
        with pytest.raises(error):
            await gemini.create(REQUEST)
    sent = list(neighbour.said)
    assert sent[:3] == ["create", "fetch i1", "cancel i1"]
    for spared in (gemini.create(REQUEST), gemini.fetch("i1"), gemini.cancel("i1")):
        with pytest.raises(SparedError):
            await spared
    assert neighbour.said == sent
    words = [(operation, outcome) for _, operation, outcome, _ in heard.calls]
    assert words == [
        ("create", "ok"),
        ("fetch", "ok"),
        ("cancel", "ok"),
        ("create", "rejected"),
        ("create", "stopped"),
        ("create", "broken"),
        *[("create", "uncertain")] * FAILURES,
        ("create", "spared"),
        ("fetch", "spared"),
        ("cancel", "spared"),
    ]
    assert {seconds for _, _, outcome, seconds in heard.calls if outcome != "spared"} == {2.0}
    assert {seconds for _, _, outcome, seconds in heard.calls if outcome == "spared"} == {None}


async def test_slack_behind_its_breaker_and_whispers_beside_it() -> None:
    hand, card = Hand(), "card"
    neighbour = Neighbour(hand, [("C1", "1.0"), None, None, None, {}, *[None] * 4, *[DOWN] * FAILURES])
    slack: Any = GuardedSlack(neighbour, hand.breaker)
    assert await slack.post(card, seen_before=True) == ("C1", "1.0")
    assert await slack.update(card) is None
    assert await slack.remind(card, what="1", last=True, seen_before=False) is None
    assert await slack.copy(card, "U1", seen_before=True) is None
    assert await slack.members(["S1"]) == {}
    assert await slack.find_copy(card, "U1") is None
    assert await slack.ask_back(card, "1", seen_before=True) is None
    assert await slack.find_asked_back(card, "1") is None
    assert await slack.redraw_asked_back(card, 1, "there") is None
    for _ in range(FAILURES):
        with pytest.raises(UnavailableError):
            await slack.update(card)
    sent = list(neighbour.said)
    for spared in (slack.post(card, seen_before=False), slack.update(card)):
        with pytest.raises(SparedError):
            await spared
    assert neighbour.said == sent
    await slack.whisper(channel="C1", user="U1", text="hi", response_url="https://x")
    assert neighbour.said[:3] == ["post card True", "update card", "remind card 1 True False"]
    assert neighbour.said[3:6] == ["copy card U1 True", "members ['S1']", "find card U1"]
    assert neighbour.said[6:8] == ["ask_back card 1 True", "find_asked_back card 1"]
    assert neighbour.said[8] == "redraw_asked_back card 1 there"
    assert neighbour.said[-1] == "whisper C1 U1 hi https://x"


@pytest.mark.parametrize(
    ("end", "word"),
    [
        (Outcome(OutcomeKind.SUCCEEDED, {"refunded": 1}), "succeeded"),
        (LOST, "uncertain"),
        (DOWN, "unavailable"),
        (asyncio.CancelledError(), "stopped"),
        (OSError("x"), "broken"),
    ],
)
async def test_tools_are_counted_by_how_they_end(end: Any, word: str) -> None:
    hand, heard = Hand(), Heard()

    class Tools(Neighbour):
        async def execute(self, tool: str, *_: object) -> Any:
            return await self._do(tool)

        def declarations(self, names: object) -> object:
            return ("declared", names)

        def find(self, recipe: object, call: object) -> object:
            return ("found", recipe, call)

        def describe(self, tool: str) -> str:
            return f"what {tool} does"

    inner: Any = Tools(hand, [end])
    tools: Any = MeteredToolkit(inner, heard, lambda: hand.now)
    context = CallContext("c1", "run_1", "w", Actor("api:ci", "ci", "api"), None)
    running = tools.execute("refund", {}, context, asyncio.Event())
    if isinstance(end, BaseException):
        with pytest.raises(type(end)):
            await running
    else:
        assert await running is end
    assert heard.tools == [("refund", word, 2.0)]
    assert tools.declarations(["a"]) == ("declared", ["a"])
    assert tools.find(1, 2) == ("found", 1, 2)
    assert tools.describe("refund") == "what refund does"


async def test_every_position_has_its_word() -> None:
    assert {p.value for p in Position} == {"closed", "open", "half_open"}


async def test_the_log_says_why_it_opened() -> None:
    hand = Hand()
    with capture_logs() as logs:
        await hand.call(*[DOWN] * FAILURES)
        hand.now += LONGEST_PAUSE_SECONDS
        await hand.call(LOST, OK)
    opened = [(line["event"], line["why"]) for line in logs if line["event"] == "breaker_opened"]
    assert opened == [("breaker_opened", "no connection"), ("breaker_opened", "no answer")]
