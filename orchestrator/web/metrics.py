"""`GET /metrics`: what this process did, how its neighbours' breakers stand, and what waits in the database.

No `from __future__ import annotations`: Litestar reads the annotations.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from litestar import Response, get
from litestar.di import NamedDependency
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from sqlalchemy.orm import Session

from orchestrator.engine.breakers import BreakerState, Position
from orchestrator.engine.polling import Polling
from orchestrator.failure_streak import FailureStreak
from orchestrator.store import triggers
from orchestrator.store.numbers import Numbers, ended_runs, numbers
from orchestrator.web.doors import Check, Doors
from orchestrator.web.health import PATIENCE_SECONDS, Probe
from orchestrator.web.problems import problems
from orchestrator.web.runs import READ

FRESH: Final = timedelta(seconds=5)
"""So long the database's numbers are told again without asking it: several monitors cost no more than one."""
ENDED_FRESH: Final = timedelta(seconds=60)
"""Counting the runs that ended walks an index over all of them."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The database's numbers, and when they were counted."""

    at: datetime
    numbers: Numbers
    ended_at: datetime
    ended: Mapping[str, int]
    failures: Mapping[str, int]


class Scrape:
    """Makes the text. One reading of the database at a time, kept for a while."""

    def __init__(self, doors: Doors, probe: Probe) -> None:
        self._doors, self._probe = doors, probe
        self._turn = asyncio.Lock()
        self._last: Reading | None = None
        self._unread, self._untold = (
            FailureStreak("metrics", traced=False),
            FailureStreak("metrics_of_breakers", traced=False),
        )

    async def text(self) -> str:
        """In Prometheus' text format. A database that does not answer is told as such, by `database_up` 0."""
        once = CollectorRegistry()
        breakers, checks, reading = await asyncio.gather(
            self._breakers(), self._probe.others(), self._reading()
        )
        ours = [*breakers, *_of_polling(self._doors.polling), _of_checks(checks)]
        once.register(_Families([*ours, *_of_database(reading)]))
        # In a thread: hundreds of tools are megabytes of text.
        counted = await asyncio.to_thread(generate_latest, self._doors.counters.registry)
        return (counted + generate_latest(once)).decode()

    async def _breakers(self) -> list[Metric]:
        """None where they are told by a database that does not answer, which is told as such."""
        with self._untold.attempt():
            async with asyncio.timeout(PATIENCE_SECONDS):
                return _of_breakers(await self._doors.breakers(), await self._doors.openings())
        return []

    async def _reading(self) -> Reading | None:
        with self._unread.attempt():
            async with asyncio.timeout(PATIENCE_SECONDS), self._turn:
                if self._last is None or not _fresh(self._last.at, self._doors.clock(), FRESH):
                    self._last = await self._read(self._last)
            return self._last
        return None

    async def _read(self, last: Reading | None) -> Reading:
        now = self._doors.clock()
        counted, failures = await self._doors.database.read(_counted, now)
        if last is not None and _fresh(last.ended_at, now, ENDED_FRESH):
            return Reading(now, counted, last.ended_at, last.ended, failures)
        return Reading(now, counted, now, await self._doors.database.read(ended_runs), failures)


def _counted(s: Session, now: datetime) -> tuple[Numbers, dict[str, int]]:
    return numbers(s, now), {name: row["failures"] for name, row in triggers.every(s).items()}


def _fresh(since: datetime, now: datetime, span: timedelta) -> bool:
    return timedelta(0) <= now - since < span  # the clock may be set back


@get(
    "/metrics",
    opt=READ,
    summary="Numbers for monitors, in Prometheus' text format",
    responses=problems(),
    media_type=CONTENT_TYPE_LATEST,
)
async def metrics(scrape: NamedDependency[Scrape]) -> Response[str]:
    """Calls, tools and deliveries are this process's own since it began, what waits is the service's."""
    # Litestar adds a charset to whatever begins with text/, also where there is one.
    return Response(await scrape.text(), media_type=CONTENT_TYPE_LATEST.removesuffix("; charset=utf-8"))


class _Families(Collector):
    """Numbers that were read for this one answer."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterable[Metric]:
        return self._families


def _of_breakers(standings: Mapping[str, BreakerState], openings: Mapping[str, int]) -> list[Metric]:
    """Who only answers has opened none itself, so that a sum over processes counts each opening once."""
    state = GaugeMetricFamily(
        "orchestrator_breaker_state",
        "How a neighbour's breaker stands: 1 for the one state it is in.",
        labels=("neighbour", "state"),
    )
    opened = CounterMetricFamily(
        "orchestrator_breaker_opened", "How often it opened in this process.", labels=("neighbour",)
    )
    by_all = CounterMetricFamily(
        "orchestrator_breaker_opened_by_all",
        "How often it opened in all processes together: each tells the same, so take one and no sum.",
        labels=("neighbour",),
    )
    for name, times in openings.items():
        by_all.add_metric((name,), times)
    for name, standing in standings.items():
        for position in Position:
            state.add_metric((name, position), float(standing.position is position))
        opened.add_metric((name,), standing.opened)
    return [state, opened, by_all]


def _of_checks(checks: Iterable[Check]) -> Metric:
    amiss = {check.name: float(bool(check.detail) or not check.ok) for check in checks}
    return _by("check", "degraded", "1 where /readyz finds something amiss, and says what.", amiss)


def _of_polling(polling: Polling | None) -> list[Metric]:
    """What this process promises, where it reads interactions at all."""
    if polling is None or (told := polling.told) is None:
        return []
    pace, per_second = told
    means = "Within what time an interaction is read again without news: at work, or waiting for us."
    every = {"live": pace.within.total_seconds(), "waiting": pace.waiting.total_seconds()}
    return [
        _by("interaction", "reading_interval_seconds", means, every),
        _one("readings_per_second_limit", "Most readings in any second, all processes.", per_second),
    ]


def _of_database(reading: Reading | None) -> list[Metric]:
    up = _one("database_up", "Whether the database answered within two seconds.", float(reading is not None))
    if reading is None:
        return [up]
    n = reading.numbers
    effects = GaugeMetricFamily(
        "orchestrator_effects",
        "Effects that are due, being performed (claimed), or given up (dead).",
        labels=("state", "kind"),
    )
    for state, kinds in (("due", n.due), ("claimed", n.claimed), ("dead", n.dead)):
        for kind, count in sorted(kinds.items()):
            effects.add_metric((state, kind), count)
    failures = dict(sorted(reading.failures.items()))
    return [
        up,
        _by("status", "runs", "Runs by status.", {**n.live_runs, **reading.ended}),
        effects,
        _by("trigger", "trigger_failures", "Failures of a trigger in a row; 0 is well.", failures),
        _one("effects_scheduled", "Effects that wait for a later time, timers mostly.", n.scheduled),
        _one("backlog_lag_seconds", "How long the longest due effect has been waiting.", n.lag),
        _one("approvals_open", "Questions that wait for a person.", n.open_approvals),
        _one("webhooks_waiting", "Stored webhooks nobody has worked on yet.", n.deliveries),
        _one("webhooks_parked", "Stored webhooks about interactions nobody knows.", n.parked),
        _by("state", "callbacks", "Messages to callers by state, but for the delivered.", n.callbacks),
        _one("callback_addresses_disabled", "Callers' addresses sent nothing.", n.addresses_disabled),
    ]


def _by(label: str, name: str, told: str, counts: Mapping[str, float]) -> Metric:
    metric = GaugeMetricFamily(f"orchestrator_{name}", told, labels=(label,))
    for key, count in counts.items():
        metric.add_metric((key,), count)
    return metric


def _one(name: str, told: str, value: float) -> Metric:
    return GaugeMetricFamily(f"orchestrator_{name}", told, value=value)
