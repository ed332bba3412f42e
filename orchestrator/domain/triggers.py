"""What starts a run by itself: a time, an entry of a feed, a signed webhook; and what each came to.

An *occurrence* is one such event: an instant of a schedule, an entry, a delivery. Its key is unique within
its trigger, and so is the run it starts.
"""

import hashlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Protocol

from orchestrator.domain.consent import Actor, AtTimeout, Contract, Terms
from orchestrator.domain.plain import JsonObject

ON_TIME: Final = timedelta(minutes=5)
"""An instant that is noticed within this time was not missed: the worker was busy, not away."""
LOOK_BACK: Final = timedelta(days=31)
"""How far missed instants are looked for."""
MAX_KEY: Final = 180
"""Characters of an occurrence's key, which is its run's idempotency key too."""
KEEPS_FAILING: Final = 3
"""So many failures in a row are no blip any more."""


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


@dataclass(frozen=True, slots=True)
class Owed:
    """The instants a trigger owes: those to run, oldest first, and how many others are passed over."""

    run: tuple[datetime, ...]
    passed: int = 0
    newest_passed: datetime | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a feed.

    Args:
        key: Of its id; of its link and title where it has none.
        seen: What a mapping sees as `entry`.
    """

    key: str
    seen: JsonObject


@dataclass(frozen=True, slots=True)
class Look:
    """What reading a feed came to. `entries` are as the feed lists them; None where nothing has changed."""

    entries: tuple[Entry, ...] | None
    etag: str = ""
    last_modified: str = ""


def owed(schedule: Schedule, since: datetime, now: datetime, missed: Missed, most: int) -> Owed:
    """What is due of the instants from `since` (itself one) to `now`.

    Those on time run each. Of the missed ones before them run all, up to `most`; or, where none is on time,
    the newest; or none.
    """
    on_time: list[datetime] = []
    late: deque[datetime] = deque(maxlen=max(most, 1))
    many, moment = 0, since
    if now - since > LOOK_BACK:
        moment = schedule.after(now - LOOK_BACK)
    while moment <= now:
        if now - moment <= ON_TIME:
            on_time.append(moment)
        else:
            late.append(moment)
            many += 1
        moment = schedule.after(moment)
    made_up = _made_up(tuple(late), bool(on_time), missed)
    passed = many - len(made_up)
    return Owed((*made_up, *on_time), passed, late[-1] if passed and not made_up else None)


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
