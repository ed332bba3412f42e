"""What starts runs besides a caller: times, feeds, signed webhooks. Each occurrence starts one run, once.

    a timer, claimed ─┬─ cron: what is due starts its runs, in the transaction that moves the trigger on
                      └─ feed: it is read, then the same
    a signed delivery ─ its occurrence and its run are committed, then it is answered

What an occurrence is written down under is unique, and so is its run's idempotency key (`trigger:<name>`, the
occurrence). So processes that fire the same trigger, a crash in between, a delivery that comes twice or an
entry that is edited make no second run.
"""

import asyncio
import hashlib
import random
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

import structlog
from sqlalchemy.orm import Session

from orchestrator import failpoints
from orchestrator.domain.consent import Actor
from orchestrator.domain.effects import Effect, EffectKind, Urgency
from orchestrator.domain.retry import MOST_TOLD_SECONDS, backoff
from orchestrator.domain.triggers import (
    KEEPS_FAILING,
    FeedEntry,
    FeedReading,
    First,
    Happened,
    instant_key,
    key_of,
    mark,
    owed,
)
from orchestrator.engine.armed import Armed, Cron, Feed, FeedPort, Fired, Hook
from orchestrator.engine.commits import Commits
from orchestrator.engine.occurrences import REFUSED, Occasion, occur
from orchestrator.engine.tickets import Act
from orchestrator.errors import InvalidError, NotFoundError, RejectedError, UnavailableError
from orchestrator.failure_streak import FailureStreak
from orchestrator.store import claims, outbox, triggers
from orchestrator.store.claims import Claimed

RUNS_AT_ONCE: Final = 50
"""Most runs one transaction starts for a feed or a clock; the others follow at once, in one of their own."""
MAX_SEEN: Final = 2000
"""Entries of a feed that are known again although they start nothing, such as those of its first reading."""
NOT_HERE: Final = timedelta(minutes=1)
"""A trigger this process has not, but another may: while settings are being changed, each has its own."""
ARRANGE_SECONDS: Final = 300.0
KEEP: Final = timedelta(days=90)

Row = dict[str, Any]

log = structlog.get_logger(__name__)


class Triggers:
    """Fires them.

    Args:
        roll: Dice for the pause after a reading that failed, in [0, 1).
        keep: How long is known what an occurrence came to.
    """

    def __init__(
        self,
        commits: Commits,
        armed: Iterable[Armed] = (),
        feeds: FeedPort | None = None,
        roll: Callable[[], float] = random.random,
        keep: timedelta = KEEP,
    ) -> None:
        self._commits, self._feeds, self._roll, self._keep = commits, feeds, roll, keep
        self.armed: Mapping[str, Armed] = {a.name: a for a in sorted(armed, key=lambda a: a.name)}

    # --- the timers -------------------------------------------------------------------

    async def run(self, sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep) -> None:
        """Keep the rows as the settings want them, until cancelled."""
        streak = FailureStreak("triggers_arranging")
        while True:
            with streak.attempt():
                await self.arrange()
            await sleep(ARRANGE_SECONDS)

    async def arrange(self) -> None:
        """Bring rows and timers to what the settings say. Every process may, at any time."""
        await self._commits.write(self._arrange)

    def _arrange(self, s: Session) -> None:
        rows, now = triggers.every(s), self._commits.now()
        gone = [name for name in sorted(rows) if name not in self.armed]
        hooks = [name for name, a in self.armed.items() if isinstance(a.source, Hook)]
        outbox.drop(s, "", [_timer(name, now).key for name in (*gone, *hooks)])
        for name in gone:
            triggers.forget(s, name)
        for name in triggers.remembered(s) - self.armed.keys():
            triggers.prune(s, name, now - self._keep)
        waiting = [a for name, a in self.armed.items() if name not in hooks]
        outbox.add(s, "", [_timer(a.name, _due(rows.get(a.name), a, now)) for a in waiting])

    def gate(self, s: Session, effect: Claimed) -> Act | None:
        """What a timer comes to. The effect is held by its claim, then the trigger by its row."""
        armed, now = self.armed.get(effect.subject), self._commits.now()
        if armed is None or isinstance(armed.source, Hook):
            self._not_ours(s, effect, now)
            return None
        row = triggers.take(s, armed.name)
        if row["plan"] != armed.plan or _too_far(row["next_at"], armed, now):
            _plan(row, armed, now)
            triggers.move(s, row)
        if row["next_at"] > now:
            _wait(s, effect, row["next_at"])
            return None
        if isinstance(armed.source, Cron):
            self._tick(s, effect, armed, armed.source, row)
            return None
        return partial(self._look, effect, armed, armed.source, row["etag"], row["last_modified"])

    def _not_ours(self, s: Session, effect: Claimed, now: datetime) -> None:
        if triggers.read(s, effect.subject) is None:
            claims.done(s, effect)
        else:
            claims.put_off(s, effect, now + NOT_HERE, Urgency.ASKED)

    def _tick(self, s: Session, effect: Claimed, armed: Armed, cron: Cron, row: Row) -> None:
        now, since = self._commits.now(), row["next_at"]
        due = owed(cron.schedule, since, now, cron.missed, cron.most)
        run, rest = due.run[:RUNS_AT_ONCE], due.run[RUNS_AT_ONCE:]
        row["next_at"] = rest[0] if rest else cron.schedule.after(now)
        triggers.move(s, row)
        triggers.prune(s, armed.name, now - self._keep)
        passed = f"more than {due.passed}" if due.more else str(due.passed)
        if due.newest_passed is not None:
            note = f"{passed} missed since {instant_key(since)}, not made up for"
            key = instant_key(due.newest_passed)
            triggers.happen(s, armed.name, key, now, Happened.SKIPPED, note)
        note = f"{passed} missed before it" if due.passed and due.newest_passed is None else ""
        for moment in run:
            at = {"at": instant_key(moment), "local": cron.local(moment).isoformat(), "missed": due.passed}
            occur(s, armed, Occasion(instant_key(moment), at, note=note), now)
            note = ""
        _wait(s, effect, row["next_at"])

    # --- feeds ------------------------------------------------------------------------

    async def _look(self, effect: Claimed, armed: Armed, feed: Feed, etag: str, last_modified: str) -> None:
        if self._feeds is None:
            raise LookupError("nothing here reads feeds")
        try:
            told = {"etag": etag, "last_modified": last_modified, "inside": feed.inside}
            look = await self._feeds.look(feed.url, **told)
        except (UnavailableError, RejectedError, InvalidError) as e:
            log.warning("feed_not_read", trigger=armed.name, why=str(e))
            await self._commits.write(self._not_read, effect, armed, feed, e)
        else:
            failpoints.hit("after_look")
            await self._commits.write(self._read, effect, armed, feed, look)

    def _not_read(self, s: Session, effect: Claimed, armed: Armed, feed: Feed, error: Exception) -> None:
        """A blip is tried again soon, whatever lasts no oftener than the settings want it read."""
        if not claims.done(s, effect):
            return  # somebody else took it over
        row = triggers.take(s, armed.name)
        row["failures"] += 1
        row["error"] = str(error)
        asked = getattr(error, "retry_after", None)
        pause = feed.every
        if isinstance(error, UnavailableError) and row["failures"] < KEEPS_FAILING:
            pause = min(pause, backoff(row["failures"], self._roll()))
        pause = max(pause, timedelta(seconds=min(asked or 0.0, MOST_TOLD_SECONDS)))
        row["next_at"] = self._commits.now() + pause
        triggers.move(s, row)
        outbox.add(s, "", [_timer(armed.name, row["next_at"])])

    def _read(self, s: Session, effect: Claimed, armed: Armed, feed: Feed, look: FeedReading) -> None:
        if not claims.done(s, effect):
            return
        row, now = triggers.take(s, armed.name), self._commits.now()
        entries = look.entries or ()
        fresh = [] if look.entries is None else _fresh(s, armed.name, row["seen"], entries, feed.first)
        now_fired, rest = fresh[:RUNS_AT_ONCE], {e.key for e in fresh[RUNS_AT_ONCE:]}
        if look.entries is not None:
            row["seen"] = _marks([e for e in entries if e.key not in rest], row["seen"] or ())
        # With some left, the feed is read again whole, and at once.
        row["etag"], row["last_modified"] = ("", "") if rest else (look.etag, look.last_modified)
        row["next_at"] = now if rest else now + feed.every
        if not row["error"].startswith(REFUSED):
            row["failures"], row["error"] = 0, ""
        triggers.move(s, row)
        triggers.prune(s, armed.name, now - self._keep)
        for entry in now_fired:
            occur(s, armed, Occasion(entry.key, {"at": instant_key(now)}, {"entry": entry.seen}), now)
        outbox.add(s, "", [_timer(armed.name, row["next_at"])])

    # --- the doors --------------------------------------------------------------------

    async def deliver(self, name: str, delivery: str, body: bytes, value: object) -> Fired:
        """A verified delivery; returns after the commit.

        Args:
            delivery: Its id, the same over the sender's retries.
            value: The JSON of the body.

        Raises:
            NotFoundError: There is no trigger of that name that takes any.
        """
        armed = self.find(name)
        if not isinstance(armed.source, Hook):
            raise NotFoundError("this trigger takes no deliveries")
        digest = hashlib.sha256(body).hexdigest()

        def job(s: Session) -> tuple[str | None, Fired]:
            now = self._commits.now()
            triggers.prune(s, name, now - self._keep)
            at = {"at": instant_key(now)}
            fired = occur(s, armed, Occasion(key_of(delivery), at, {"body": value}, digest), now)
            return fired.run_id if fired.verdict is Happened.STARTED else None, fired

        return await self._commits.advance(job)

    async def fire(self, name: str, by: Actor, event: object = None) -> Fired:
        """Somebody fires it by hand: its run is theirs.

        Args:
            event: What a mapping sees as `entry` or `body`; without one a feed is read now.

        Raises:
            NotFoundError: There is no such trigger.
            InvalidError: A webhook's without an event.
        """
        armed = self.find(name)
        if isinstance(armed.source, Feed) and event is None:
            await self._commits.write(self._look_now, name)
            return Fired("", None, note="the feed is read now")
        if isinstance(armed.source, Hook) and event is None:
            raise InvalidError("a webhook's trigger needs an event", [("event", "is missing")])
        named = {Feed: "entry", Hook: "body"}.get(type(armed.source), "")
        seen = {named: event} if named else {}
        key = f"manual:{secrets.token_hex(8)}"

        def job(s: Session) -> tuple[str | None, Fired]:
            now = self._commits.now()
            at, note = {"at": instant_key(now)}, f"fired by {by.name or by.id}"
            fired = occur(s, armed, Occasion(key, at, seen, note=note, by=by), now)
            return fired.run_id, fired

        return await self._commits.advance(job)

    def find(self, name: str) -> Armed:
        """Raises `NotFoundError`."""
        if (armed := self.armed.get(name)) is None:
            raise NotFoundError("there is no trigger of that name")
        return armed

    def _look_now(self, s: Session, name: str) -> None:
        now = self._commits.now()
        outbox.add(s, "", [_timer(name, now)])
        row = triggers.take(s, name)
        row["next_at"] = now if row["plan"] else None
        triggers.move(s, row)


def _timer(name: str, due_at: datetime) -> Effect:
    return Effect(EffectKind.FIRE_TRIGGER, name, due_at)


def _wait(s: Session, effect: Claimed, until: datetime) -> None:
    claims.done(s, effect)
    outbox.add(s, "", [_timer(effect.subject, until)])


def _due(row: Row | None, armed: Armed, now: datetime) -> datetime:
    """When its timer goes off; at once where its next time is still to be worked out."""
    if row is None or row["plan"] != armed.plan or row["next_at"] is None:
        return now
    planned: datetime = row["next_at"]
    return now if _too_far(planned, armed, now) else planned


def _too_far(planned: datetime, armed: Armed, now: datetime) -> bool:
    """Whether it was planned by a clock that has been set back since."""
    if isinstance(armed.source, Cron):
        return planned > armed.source.schedule.after(now)
    longest = timedelta(seconds=MOST_TOLD_SECONDS)
    return isinstance(armed.source, Feed) and planned > now + max(armed.source.every, longest)


def _plan(row: Row, armed: Armed, now: datetime) -> None:
    """Settings or clock have changed: from now on their way. Another feed is read for the first time."""
    if row["plan"].partition(".")[0] != armed.plan.partition(".")[0]:
        row.update(etag="", last_modified="", seen=None)
    row["plan"] = armed.plan
    row["next_at"] = armed.source.schedule.after(now) if isinstance(armed.source, Cron) else now


def _fresh(
    s: Session, name: str, seen: Sequence[str] | None, entries: Sequence[FeedEntry], first: First
) -> list[FeedEntry]:
    """The entries that start runs, the oldest first."""
    if seen is None:
        new = {First.LATEST: _newest(entries), First.ALL: entries, First.NONE: ()}[first]
    else:
        marks = set(seen)
        new = [e for e in entries if mark(e.key) not in marks]
    there = triggers.known(s, name, [e.key for e in new])
    return [e for e in reversed(new) if e.key not in there]


def _newest(entries: Sequence[FeedEntry]) -> Sequence[FeedEntry]:
    """By its date; without one, the first, where feeds have their newest."""
    if not entries:
        return ()
    return (max(entries, key=lambda e: str(e.seen.get("published") or e.seen.get("updated") or "")),)


def _marks(entries: Sequence[FeedEntry], before: Sequence[str]) -> list[str]:
    """Those of this reading first; of earlier ones as many as there is room for."""
    return list(dict.fromkeys((*(mark(e.key) for e in entries), *before)))[:MAX_SEEN]
