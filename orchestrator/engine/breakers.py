"""A circuit breaker per neighbour: one that is away is left alone for a while, and asked by one call first.

    closed ──(so many failures in a row, or told to wait)──► open ──(the pause is over)──► half-open
      ▲                                                       ▲                               │
      └──────────────────(the one call succeeds)──────────────┴──(it fails: a longer pause)───┘

A call that meets an open breaker has not happened: it raises `UnavailableError` before the wire, so the
outbox puts the effect off and no create is ever in doubt for it. Nothing here sleeps or retries.
"""

import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeVar

import structlog

from orchestrator.domain.cards import Card, Overview, Picture
from orchestrator.domain.consent import Place
from orchestrator.domain.exchange import CreateRequest, Snapshot
from orchestrator.domain.inquiries import Telling
from orchestrator.domain.jobs import Harvest, JobKind, JobOrder, JobReading
from orchestrator.engine.meters import Meters, Stopwatch, Unmetered, outcome_of
from orchestrator.engine.ports import GeminiPort, JobsPort, SlackPort
from orchestrator.errors import RejectedError, StorageError, UnavailableError, UncertainError

FAILURES: Final = 5
"""In a row. A gateway has then ridden out blips five times over; single failures are the outbox's."""
FIRST_PAUSE_SECONDS: Final = 2.0
LONGEST_PAUSE_SECONDS: Final = 15.0
"""With the outbox's longest wait it stays below a minute: so soon is work taken up after an outage."""
SHORTEST_PAUSE_SECONDS: Final = 0.5
NOTEWORTHY_SECONDS: Final = 0.25
"""What a pause has to grow by for others to hear: many calls may be told to wait at the same moment."""
PROBE_SECONDS: Final = 1.0
"""How long the others are put off while one call finds out."""

T = TypeVar("T")
log = structlog.get_logger(__name__)


class Position(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class SparedError(UnavailableError):
    """Nothing was sent: the neighbour is left alone."""


@dataclass(frozen=True, slots=True)
class BreakerState:
    """How a breaker stands.

    Args:
        rest: Seconds until a call may try again, 0 unless open.
        failures: In a row, as counted while closed.
        opened: How often this process's own opened since it began.
    """

    position: Position
    rest: float
    failures: int
    opened: int


BreakerReader = Callable[[], Awaitable[Mapping[str, BreakerState]]]
"""Asks how the neighbours' breakers stand, by name; raises what a database raises."""


Openings = Callable[[], Awaitable[Mapping[str, int]]]
"""Asks how often each neighbour's breakers opened, in all processes together; raises as `BreakerReader`."""


async def nobody() -> Mapping[str, BreakerState]:
    """There is no neighbour."""
    return {}


def own(breakers: "Sequence[Breaker]") -> BreakerReader:
    """Those of this process, which calls the neighbours itself."""

    async def ask() -> Mapping[str, BreakerState]:
        return {breaker.name: breaker.state() for breaker in breakers}

    return ask


async def never() -> Mapping[str, int]:
    """There is no neighbour."""
    return {}


def own_openings(breakers: "Sequence[Breaker]") -> Openings:
    """Of the one process there is."""

    async def ask() -> Mapping[str, int]:
        return {breaker.name: breaker.state().opened for breaker in breakers}

    return ask


def is_away(error: Exception) -> bool | None:
    """What an error says about the neighbour: True it is away, False it answered, None neither."""
    if isinstance(error, RejectedError):
        return False
    if isinstance(error, StorageError):
        return None
    return True if isinstance(error, UnavailableError | UncertainError) else None


class Breaker:
    """One neighbour's breaker. For one event loop.

    Args:
        name: The neighbour's, for texts and numbers.
        clock: Seconds that only ever grow, so that a wall clock set back keeps nothing shut.
        roll: Dice for the pauses, in [0, 1).
        failures: How many in a row open it.
        away: As `is_away`, for a neighbour of whom more is known.
    """

    def __init__(
        self,
        name: str,
        *,
        clock: Stopwatch = time.monotonic,
        roll: Callable[[], float] = random.random,
        failures: int = FAILURES,
        away: Callable[[Exception], bool | None] = is_away,
    ) -> None:
        self.name = name
        self.clock = clock
        self._roll = roll
        self._limit = failures
        self._away = away
        self._until: float | None = None  # None while closed
        self._probing = False
        self._failures = self._strikes = self._opened = 0
        self.tell: Callable[[BreakerState], None] = lambda standing: None
        """Called in the event loop when it opens, for longer too, and when it closes."""
        self.asked: Callable[[str, float], None] = lambda place, seconds: None
        """Called in the event loop when the neighbour named a wait: "" for all of it, and its seconds."""
        self._era = 0
        """Grows with each opening and closing: what a call of an earlier one came to is old news."""

    def state(self) -> BreakerState:
        """How it stands now."""
        rest = 0.0 if self._until is None else max(0.0, self._until - self.clock())
        position = Position.OPEN if rest else Position.CLOSED if self._until is None else Position.HALF_OPEN
        return BreakerState(position, rest, self._failures, self._opened)

    def leave_alone(self, place: str, seconds: float) -> None:
        """It named a wait to somebody else, or before this process began. `place` is "", all of it."""
        if seconds - self.state().rest > NOTEWORTHY_SECONDS:
            self._open(seconds, "it had asked for that")

    async def call(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do it, unless the neighbour is left alone.

        Raises:
            SparedError: It was not begun; `retry_after` is the rest of the pause.
        """
        era = self._admit()
        verdict: bool | None = None
        told, why = 0.0, ""
        try:
            value = await work()
            verdict = False
        except Exception as e:
            verdict, why = self._away(e), str(e)
            told = (getattr(e, "retry_after", None) or 0.0) if verdict else 0.0
            raise
        finally:
            self._heard(era, verdict, told, why)
        return value

    def _admit(self) -> int:
        if self._until is not None:
            rest = self._until - self.clock()
            if rest > 0:
                raise SparedError(f"{self.name} is left alone for {rest:.1f} s more", retry_after=rest)
            if self._probing:
                raise SparedError(f"{self.name} was away; one call is finding out", retry_after=PROBE_SECONDS)
            self._probing = True
        return self._era

    def _heard(self, era: int, away: bool | None, told: float, why: str) -> None:
        if away and told > 0:
            self._open(told, why)  # whoever was told, it holds for all
            self.asked("", told)
        elif era != self._era:
            return
        elif away:
            self._failed(why)
        elif away is None:
            self._probing = False  # it told nothing: the next call finds out
        else:
            self._succeeded()

    def _failed(self, why: str) -> None:
        self._failures += 1
        if self._until is not None or self._failures >= self._limit:
            bound = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** min(self._strikes, 10))
            self._strikes += 1
            self._open(SHORTEST_PAUSE_SECONDS + (bound - SHORTEST_PAUSE_SECONDS) * self._roll(), why)

    def _open(self, seconds: float, why: str) -> None:
        now = self.clock()
        if self._until is None or self._until <= now:
            self._opened += 1
            log.warning("breaker_opened", neighbour=self.name, seconds=round(seconds, 1), why=why)
        before, self._until = self._until or now, max(self._until or now, now + seconds)
        self._probing = False
        self._era += 1
        if self._until - before > NOTEWORTHY_SECONDS:
            self.tell(self.state())

    def _succeeded(self) -> None:
        self._failures = 0
        if self._until is not None:
            log.info("breaker_closed", neighbour=self.name)
            self._until, self._probing, self._strikes = None, False, 0
            self._era += 1
            self.tell(self.state())


class _Line:
    """Calls to one neighbour: through its breaker, timed and counted."""

    def __init__(self, breaker: Breaker, meters: Meters) -> None:
        self._breaker = breaker
        self._meters = meters

    async def call(self, operation: str, work: Callable[[], Awaitable[T]]) -> T:
        name, clock = self._breaker.name, self._breaker.clock
        begun = clock()
        try:
            value = await self._breaker.call(work)
        except SparedError:
            self._meters.called(name, operation, "spared", None)
            raise
        except BaseException as e:
            self._meters.called(name, operation, outcome_of(e), clock() - begun)
            raise
        self._meters.called(name, operation, "ok", clock() - begun)
        return value


class GuardedGemini:
    """Gemini (`GeminiPort`) behind a breaker. A spared create was not sent; the effect waits.

    Args:
        meters: Hears of each call by `create`, `fetch`, `cancel`.
    """

    def __init__(self, gemini: GeminiPort, breaker: Breaker, meters: Meters | None = None) -> None:
        self._gemini = gemini
        self._line = _Line(breaker, meters or Unmetered())

    async def create(self, request: CreateRequest) -> Snapshot:
        return await self._line.call("create", lambda: self._gemini.create(request))

    async def fetch(self, interaction_id: str) -> Snapshot:
        return await self._line.call("fetch", lambda: self._gemini.fetch(interaction_id))

    async def cancel(self, interaction_id: str) -> Snapshot | None:
        return await self._line.call("cancel", lambda: self._gemini.cancel(interaction_id))


class GuardedJobs:
    """Gemini's long jobs (`JobsPort`) behind the breaker of Gemini.

    What a job has brought is fetched beside it: a full disk of ours says nothing about Gemini.

    Args:
        meters: Hears of each call by `start_job`, `fetch_job`, `find_job`, `cancel_job`.
    """

    def __init__(self, jobs: JobsPort, breaker: Breaker, meters: Meters | None = None) -> None:
        self._jobs = jobs
        self._line = _Line(breaker, meters or Unmetered())

    async def start(self, order: JobOrder) -> JobReading:
        return await self._line.call("start_job", lambda: self._jobs.start(order))

    async def fetch(self, kind: JobKind, remote: str) -> JobReading:
        return await self._line.call("fetch_job", lambda: self._jobs.fetch(kind, remote))

    async def find(self, order: JobOrder) -> tuple[JobReading, ...]:
        return await self._line.call("find_job", lambda: self._jobs.find(order))

    async def cancel(self, kind: JobKind, remote: str) -> None:
        await self._line.call("cancel_job", lambda: self._jobs.cancel(kind, remote))

    async def harvest(self, order: JobOrder, remote: str) -> Harvest:
        return await self._jobs.harvest(order, remote)


class GuardedSlack:
    """Slack (`SlackPort`) behind a breaker. Whispers pass by it: they are best effort, and whoever is
    whispered to has just been heard from.

    Args:
        meters: Hears of each call by `post`, `update`, `copy` and so on.
    """

    def __init__(self, slack: SlackPort, breaker: Breaker, meters: Meters | None = None) -> None:
        self._slack = slack
        self._line = _Line(breaker, meters or Unmetered())

    async def post(self, card: Card, *, seen_before: bool) -> tuple[str, str]:
        return await self._line.call("post", lambda: self._slack.post(card, seen_before=seen_before))

    async def update(self, card: Card) -> None:
        await self._line.call("update", lambda: self._slack.update(card))

    async def remind(
        self, card: Card, *, what: str, last: bool, seen_before: bool, others: Sequence[Card] = ()
    ) -> None:
        def say() -> Awaitable[None]:
            return self._slack.remind(card, what=what, last=last, seen_before=seen_before, others=others)

        await self._line.call("remind", say)

    async def copy(self, card: Card, person: str, *, seen_before: bool) -> Place:
        return await self._line.call("copy", lambda: self._slack.copy(card, person, seen_before=seen_before))

    async def find_copy(self, card: Card, person: str) -> Place | None:
        return await self._line.call("find_copy", lambda: self._slack.find_copy(card, person))

    async def members(self, groups: Sequence[str]) -> Mapping[str, Sequence[str]]:
        return await self._line.call("members", lambda: self._slack.members(groups))

    async def ask_back(self, card: Card, telling: Telling, *, seen_before: bool) -> Place:
        return await self._line.call(
            "ask_back", lambda: self._slack.ask_back(card, telling, seen_before=seen_before)
        )

    async def find_asked_back(self, card: Card, telling: Telling) -> Place | None:
        return await self._line.call("find_asked_back", lambda: self._slack.find_asked_back(card, telling))

    async def redraw_asked_back(self, card: Card, number: int, place: Place) -> None:
        await self._line.call("update", lambda: self._slack.redraw_asked_back(card, number, place))

    async def post_batch(self, batch: Overview, *, seen_before: bool) -> Place:
        return await self._line.call("post", lambda: self._slack.post_batch(batch, seen_before=seen_before))

    async def update_batch(self, batch: Overview) -> None:
        await self._line.call("update", lambda: self._slack.update_batch(batch))

    async def send_picture(self, picture: Picture) -> str:
        return await self._line.call("send_picture", lambda: self._slack.send_picture(picture))

    async def show_pictures(self, card: Card, files: Sequence[tuple[str, str]], *, seen_before: bool) -> None:
        await self._line.call(
            "show_pictures", lambda: self._slack.show_pictures(card, files, seen_before=seen_before)
        )

    async def whisper(self, *, channel: str, user: str, text: str, response_url: str = "") -> None:
        await self._slack.whisper(channel=channel, user=user, text=text, response_url=response_url)
