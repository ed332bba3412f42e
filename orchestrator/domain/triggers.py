"""What starts a run by itself: a time, an entry of a feed, a signed webhook; and what each came to.

An *occurrence* is one such event: an instant of a schedule, an entry, a delivery. Its key is unique within
its trigger, and so is the run it starts.
"""

import hashlib
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import islice
from typing import Final, Protocol

from orchestrator.domain.consent import Actor, AtTimeout, Contract, Terms
from orchestrator.domain.plain import JsonObject
from orchestrator.domain.values import Value, replace

ON_TIME: Final = timedelta(minutes=5)
"""An instant that is noticed within this time was not missed: the worker was busy, not away."""
LOOK_BACK: Final = timedelta(days=31)
"""How far missed instants are looked for."""
MOST_COUNTED: Final = 1000
"""Most missed instants that are counted; whether there are more is known, how many more is not."""
MAX_KEY: Final = 180
"""Characters of an occurrence's key, which is its run's idempotency key too."""
KEEPS_FAILING: Final = 3
"""So many failures in a row are no blip any more."""
_PIECE: Final = 120
"""Instants gone through at once while the newest are looked for; no hour has more than 60."""
_HOUR: Final = timedelta(hours=1)
_LEAST: Final = timedelta(microseconds=1)


class Missed(StrEnum):
    """What becomes of instants that passed while nobody worked."""

    RUN_ONCE = "run_once"  # one run for all of them, the newest
    SKIP = "skip"
    RUN_ALL = "run_all"  # one run each, up to a bound, the newest of them


class First(StrEnum):
    """Which entries of a feed count when it is read for the first time."""

    LATEST = "latest"
    ALL = "all"
    NONE = "none"


class Happened(StrEnum):
    """What an occurrence came to."""

    STARTED = "started"
    REFUSED = "refused"  # its data did not fit the workflow; it is not tried again
    SKIPPED = "skipped"  # missed, and not to be made up for
    KNOWN = "known"  # it had come before; never stored


class Schedule(Protocol):
    """When it is time."""

    def after(self, moment: datetime) -> datetime:
        """The first instant later than that one, in UTC."""
        ...


class Owed(Value):
    """The instants a trigger owes: those to run, oldest first, and how many others are passed over.

    `more` says that still older ones were passed over, which nobody counted.
    """

    run: tuple[datetime, ...]
    passed: int = 0
    newest_passed: datetime | None = None
    more: bool = False


class FeedEntry(Value):
    """One entry of a feed.

    Args:
        key: Of its id; of its link and title where it has none.
        seen: What a mapping sees as `entry`.
    """

    key: str
    seen: JsonObject


class FeedReading(Value):
    """What reading a feed came to. `entries` are as the feed lists them; None where nothing has changed."""

    entries: tuple[FeedEntry, ...] | None
    etag: str = ""
    last_modified: str = ""


def owed(schedule: Schedule, since: datetime, now: datetime, missed: Missed, most: int) -> Owed:
    """What is due of the instants from `since` (itself one) to `now`.

    Those on time run each. Of the missed ones before them run all, up to `most`; or, where none is on time,
    the newest; or none. However long nobody worked and however often it would have been time, the work is
    bounded: of the missed ones the newest `MOST_COUNTED` are looked at, and none older than `LOOK_BACK`.
    """
    on_time = tuple(_instants(schedule, max(since, now - ON_TIME), now))
    early = _newest_before(schedule, max(since, now - LOOK_BACK), now - ON_TIME, MOST_COUNTED + 1)
    late = tuple(reversed(early[:MOST_COUNTED]))
    made_up = _made_up(late[-max(most, 1) :], bool(on_time), missed)
    passed = len(late) - len(made_up)
    return Owed(
        (*made_up, *on_time),
        passed,
        late[-1] if passed and not made_up else None,
        more=len(early) > MOST_COUNTED,
    )


def _instants(schedule: Schedule, begin: datetime, end: datetime) -> Iterator[datetime]:
    """Those from the one to the other, both included, the oldest first."""
    moment = schedule.after(begin - _LEAST)
    while moment <= end:
        yield moment
        moment = schedule.after(moment)


def _newest_before(schedule: Schedule, begin: datetime, end: datetime, most: int) -> list[datetime]:
    """The newest that many from `begin` on and before `end`, the newest first.

    A schedule tells only what comes next, so pieces are gone through one before the other: longer ones
    while they hold little, and shorter ones where there are more than `_PIECE` in one.
    """
    found: list[datetime] = []
    span, end = _HOUR, end - _LEAST
    while len(found) < most and end >= begin:
        start = max(begin, end - span)
        piece = list(islice(_instants(schedule, start, end), _PIECE + 1))
        if len(piece) > _PIECE:  # never in an hour: cron knows no seconds
            span = max(_HOUR, span / 2)
            continue
        found += reversed(piece)
        end = start - _LEAST
        span = span * 2 if len(piece) < _PIECE / 3 else span
    return found[:most]


def _made_up(late: Sequence[datetime], on_time: bool, missed: Missed) -> tuple[datetime, ...]:
    match missed:
        case Missed.RUN_ALL:
            return tuple(late)
        case Missed.RUN_ONCE if late and not on_time:
            return (late[-1],)
        case _:
            return ()


def instant_key(moment: datetime) -> str:
    """The key of an instant of a schedule, as `2026-11-22T21:00:00Z`."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def key_of(text: str) -> str:
    """A key that every column and index takes: the text itself, or its hash where that is long or odd."""
    plain = 0 < len(text) <= MAX_KEY and all("!" <= ch <= "~" for ch in text)
    return text if plain and not text.startswith("sha256:") else f"sha256:{_hash(text)}"


def mark(key: str) -> str:
    """A short stand-in for a key, to know it again by."""
    return _hash(key)[:24]


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def acting(trigger: str) -> Actor:
    """Who asks for the runs of a trigger."""
    return Actor(f"trigger:{trigger}", trigger, door="trigger")


def under(terms: Terms, contract: Contract | None) -> Terms:
    """The terms of a run that nobody watches: who is asked, where, and what becomes of no answer.

    The contract names other people only where one step decides: stages, quorum, four eyes and who may never
    decide stay as they are.
    """
    if contract is None:
        return terms
    people = contract.approvers if contract.approvers and not terms.stages else terms.approvers
    told = replace(terms, approvers=people, channel=contract.channel or terms.channel)
    if contract.on_no_answer is None:
        return told
    others = contract.escalate_to if contract.on_no_answer is AtTimeout.ESCALATE else ()
    return replace(told, at_timeout=contract.on_no_answer, escalate_to=others)
